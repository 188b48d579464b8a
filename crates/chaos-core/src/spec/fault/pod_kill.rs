//! `pod_kill`: instances die, and whoever manages them starts them again.
//!
//! Owns its parameters. It never names a process.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FaultInfo, FaultKind, Parameter, Undo};
use crate::duration::Span;
use crate::spec::DocumentError;

pub(super) const INFO: FaultInfo = FaultInfo {
    kind: FaultKind::PodKill,
    summary: "Kills the chosen instances; recovery is their return.",
    proof: "the process that was killed is gone (pidfd)",
    undo: Undo::Nothing,
    needs: "the right to signal the instance: its user or root",
    parameters: &[
        Parameter {
            name: "gracePeriod",
            values: "duration of at most 1h",
            default: "0s",
            summary: "time between the signal and SIGKILL; 0s is SIGKILL at once",
        },
        Parameter {
            name: "signal",
            values: "SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGABRT",
            default: "SIGTERM",
            summary: "what is sent first when there is a grace period",
        },
        Parameter {
            name: "interval",
            values: "duration of at least 100ms",
            default: "none: one kill",
            summary: "kill again this often while active, each time another draw of the seed",
        },
    ],
};

/// Parameters of `pod_kill`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodKill {
    /// Time between the first signal and SIGKILL, at most 1h; zero is SIGKILL at once.
    #[serde(default)]
    pub grace_period: Span,
    /// The first signal when there is a grace period.
    #[serde(default)]
    pub signal: KillSignal,
    /// Kill again this often while active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
}

/// Signals that ask a process to end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KillSignal {
    /// The usual request.
    #[default]
    #[serde(rename = "SIGTERM")]
    Term,
    /// As from a terminal.
    #[serde(rename = "SIGINT")]
    Interrupt,
    /// As from a lost terminal.
    #[serde(rename = "SIGHUP")]
    Hangup,
    /// As from a terminal, with a core dump.
    #[serde(rename = "SIGQUIT")]
    Quit,
    /// As by `abort()`.
    #[serde(rename = "SIGABRT")]
    Abort,
}

/// The shortest time between two kills.
const INTERVAL_MIN: Span = Span::milliseconds(100);
/// The longest time that an instance is given to end by itself.
const GRACE_MAX: Span = Span::seconds(3600);

impl PodKill {
    pub(super) fn validate(&self, path: &str) -> Result<(), DocumentError> {
        if self.grace_period > GRACE_MAX {
            return Err(DocumentError::at(format!("{path}.gracePeriod"), "too long")
                .value(self.grace_period)
                .expected(format!("at most {GRACE_MAX}")));
        }
        match self.interval {
            Some(interval) if interval < INTERVAL_MIN => {
                Err(DocumentError::at(format!("{path}.interval"), "too short")
                    .value(interval)
                    .expected(format!("at least {INTERVAL_MIN}")))
            }
            _ => Ok(()),
        }
    }
}

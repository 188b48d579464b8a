//! What happens at the end: how faults are undone, what counts as recovered, what is tried when nothing recovers.
//!
//! Owns these shapes. It never undoes or restarts anything.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DocumentError;
use crate::duration::Span;

/// The most actions of one document.
const ACTIONS_MAX: usize = 8;

/// How the faults of a run are undone when its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RevertMode {
    /// All at the same time.
    #[default]
    AtOnce,
    /// One target after the other, the health score checked between; all the rest at once on any alarm.
    Stepwise,
}

impl RevertMode {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How recovery is judged after the revert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recovery {
    /// How long to wait for steady state.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// How long steady state must last to count.
    #[serde(default)]
    pub hold: Span,
    /// What is tried, in this order, when an undo is not proven or steady state does not come back; then the same is
    /// waited for once more. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<RecoveryAction>,
}

fn default_timeout() -> Span {
    Span::seconds(120)
}

impl Default for Recovery {
    fn default() -> Self {
        Self { timeout: default_timeout(), hold: Span::default(), actions: Vec::new() }
    }
}

/// One way to help a target back, externally tagged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RecoveryAction {
    /// End the instances that were hit, so that whoever manages them starts them again.
    Restart(RestartAction),
    /// Run a command that the node's own configuration allows by this name.
    Command(CommandAction),
    /// Scale a workload; refused by a build that has no cluster support.
    #[schemars(skip)]
    Scale(serde_json::Value),
}

/// Parameters of [`RecoveryAction::Restart`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestartAction {}

/// Parameters of [`RecoveryAction::Command`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommandAction {
    /// Its name in the configuration of the node.
    pub name: String,
}

impl RecoveryAction {
    /// Its name, as it is written.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Restart(_) => "restart",
            Self::Command(_) => "command",
            Self::Scale(_) => "scale",
        }
    }
}

impl Recovery {
    pub(super) fn validate(&self) -> Result<(), DocumentError> {
        if self.hold > self.timeout {
            return Err(DocumentError::at("spec.recovery.hold", "longer than the timeout")
                .value(self.hold)
                .expected(format!("at most {}", self.timeout)));
        }
        if self.actions.len() > ACTIONS_MAX {
            return Err(DocumentError::at("spec.recovery.actions", "too many")
                .value(self.actions.len())
                .expected(format!("at most {ACTIONS_MAX}")));
        }
        for (index, action) in self.actions.iter().enumerate() {
            let path = format!("spec.recovery.actions[{index}]");
            match action {
                RecoveryAction::Scale(_) => {
                    return Err(DocumentError::at(
                        format!("{path}.scale"),
                        "this build can't reach a cluster yet",
                    )
                    .expected("one of restart, command"));
                }
                RecoveryAction::Command(command) if command.name.trim().is_empty() => {
                    return Err(DocumentError::at(format!("{path}.command.name"), "empty")
                        .expected("a name of the node's configuration"));
                }
                RecoveryAction::Restart(_) | RecoveryAction::Command(_) => {}
            }
        }
        Ok(())
    }
}

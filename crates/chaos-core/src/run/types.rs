//! The vocabulary of contract §6 as types.
//!
//! Owns names and ids. It never decides.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Id of a run: 12 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RunId(pub String);

/// Id of an injection: its run and a number, e.g. `4f1c09a2b7de-0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct InjectionId(pub String);

impl InjectionId {
    /// The `number`-th injection of `run`.
    pub fn of(run: &RunId, number: usize) -> Self {
        Self(format!("{run}-{number}"))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for InjectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a run is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Targets are resolved and gates asked.
    #[default]
    Preflight,
    /// Steady state is measured before anything is broken.
    Baseline,
    /// Faults are being applied; none is proven yet.
    Injecting,
    /// At least one fault is or was proven active.
    Active,
    /// Everything is being undone.
    Reverting,
    /// Everything is undone; steady state is awaited.
    Recovering,
    /// There is an outcome.
    Finished,
}

/// How a run stands, for lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Accepted, not started.
    Pending,
    /// In a phase before `finished`.
    Running,
    /// Went to its end.
    Completed,
    /// Ended by hand or by a guardrail.
    Stopped,
    /// A gate refused it.
    Blocked,
    /// Never started: the lever was engaged.
    Cancelled,
    /// It could not be carried out, or not be undone.
    Error,
}

/// What was learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The hypothesis held.
    Held,
    /// A weakness was found.
    Deviated,
    /// Ended by hand or by a guardrail.
    Stopped,
    /// A gate refused it.
    Blocked,
    /// There was no data to judge by.
    Inconclusive,
    /// It could not be carried out, or not be undone.
    Error,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Verdict; 6] =
        [Self::Held, Self::Deviated, Self::Stopped, Self::Blocked, Self::Inconclusive, Self::Error];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Deviated => "deviated",
            Self::Stopped => "stopped",
            Self::Blocked => "blocked",
            Self::Inconclusive => "inconclusive",
            Self::Error => "error",
        }
    }

    /// The verdict of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.name() == name)
    }

    /// The status that a finished run with this verdict has.
    pub fn status(self) -> Status {
        match self {
            Self::Held | Self::Deviated | Self::Inconclusive => Status::Completed,
            Self::Stopped => Status::Stopped,
            Self::Blocked => Status::Blocked,
            Self::Error => Status::Error,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Preflight => "preflight",
            Self::Baseline => "baseline",
            Self::Injecting => "injecting",
            Self::Active => "active",
            Self::Reverting => "reverting",
            Self::Recovering => "recovering",
            Self::Finished => "finished",
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Stopped => "stopped",
            Self::Blocked => "blocked",
            Self::Cancelled => "cancelled",
            Self::Error => "error",
        })
    }
}

/// Where an injection is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum InjectionState {
    /// Decided, not asked for.
    #[default]
    Planned,
    /// The undo record is on disk and the change is being made.
    Applying,
    /// Proven from the target's side.
    Active,
    /// Being undone.
    Reverting,
    /// Proven undone.
    Reverted,
    /// The target ended by itself: there is nothing to undo.
    TargetGone,
    /// It could not be applied or proven; proven undone.
    ApplyFailed,
    /// The undo is not proven: act now.
    RevertFailed,
}

impl InjectionState {
    /// Nothing follows this state.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Reverted | Self::TargetGone | Self::ApplyFailed | Self::RevertFailed)
    }
}

impl fmt::Display for InjectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Planned => "planned",
            Self::Applying => "applying",
            Self::Active => "active",
            Self::Reverting => "reverting",
            Self::Reverted => "reverted",
            Self::TargetGone => "target_gone",
            Self::ApplyFailed => "apply_failed",
            Self::RevertFailed => "revert_failed",
        })
    }
}

/// Why a run was ended before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stop {
    /// Who asked.
    pub cause: StopCause,
    /// In words.
    pub reason: String,
}

impl StopCause {
    /// The run was ended because something was wrong, not because somebody wanted it to end.
    pub fn is_alarm(self) -> bool {
        matches!(self, Self::Health | Self::Guardrail | Self::Probe | Self::Journal)
    }
}

/// Who ends a run before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// A person or a client, by `stop` or `delete`.
    Request,
    /// Whoever started it was interrupted.
    Interrupt,
    /// The server is going down.
    Shutdown,
    /// The health score fell below the threshold or is unknown.
    Health,
    /// A gate that is also asked during a run refuses: an alert, a budget, a window, a stop condition.
    Guardrail,
    /// The safety lever was engaged.
    Lever,
    /// A probe with `stopOnFailure` is out of tolerance.
    Probe,
    /// The journal can't be written.
    Journal,
}

//! The gates before a start: each a pure decision with its inputs, code and possible override.
//!
//! Owns the list of gates and of overrides. It never starts or stops anything.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Health;
use crate::spec::{Experiment, FaultKind};
use crate::target::{Inventory, Selection};

/// What is checked before a start, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// The affected share of the target stays within `maxAffected`.
    MaxAffected,
    /// A ready instance stays untouched.
    LastReadyInstance,
    /// What is killed is started again by somebody.
    UnmanagedKill,
    /// The health score is known and at or above the threshold.
    Health,
}

/// A cap that may be lifted for one run, by name and with a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Override {
    /// Lifts [`Gate::MaxAffected`].
    MaxAffected,
    /// Lifts [`Gate::LastReadyInstance`].
    LastReadyInstance,
    /// Lifts [`Gate::UnmanagedKill`].
    UnmanagedKill,
}

impl Override {
    /// Every override of this build.
    pub const ALL: [Override; 3] = [Self::MaxAffected, Self::LastReadyInstance, Self::UnmanagedKill];

    /// Its name on the command line and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxAffected => "max_affected",
            Self::LastReadyInstance => "last_ready_instance",
            Self::UnmanagedKill => "unmanaged_kill",
        }
    }

    /// The override of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

impl Gate {
    /// Its name, which is also the code of a refusal.
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxAffected => "max_affected",
            Self::LastReadyInstance => "last_ready_instance",
            Self::UnmanagedKill => "unmanaged_kill",
            Self::Health => "health",
        }
    }

    fn lifted_by(self) -> Option<Override> {
        Override::parse(self.name())
    }
}

/// What one gate decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// Which gate.
    pub gate: Gate,
    /// May the run go on?
    pub passed: bool,
    /// It would not have passed, but for an override.
    pub overridden: bool,
    /// What was compared, in words.
    pub message: String,
}

/// Everything that the gates look at.
#[derive(Debug, Clone, Copy)]
pub struct GateInput<'i> {
    /// The document.
    pub experiment: &'i Experiment,
    /// Score below which nothing starts.
    pub threshold: f64,
    /// What matches.
    pub inventory: &'i Inventory,
    /// What was chosen of it.
    pub selection: &'i Selection,
    /// What was measured.
    pub health: &'i Health,
    /// Caps that are lifted for this run.
    pub overrides: &'i BTreeSet<Override>,
}

/// Asks every gate.
pub fn decide(input: &GateInput<'_>) -> Vec<Decision> {
    [Gate::MaxAffected, Gate::LastReadyInstance, Gate::UnmanagedKill, Gate::Health]
        .into_iter()
        .filter_map(|gate| {
            let (passed, message) = ask(gate, input)?;
            let overridden = !passed && gate.lifted_by().is_some_and(|name| input.overrides.contains(&name));
            Some(Decision { gate, passed: passed || overridden, overridden, message })
        })
        .collect()
}

/// `None` when the gate has no say in this experiment.
fn ask(gate: Gate, input: &GateInput<'_>) -> Option<(bool, String)> {
    let Selection { affected, total, untouched_ready, .. } = input.selection;
    match gate {
        Gate::MaxAffected => {
            let cap = input.experiment.spec.safety.max_affected;
            let passed = *affected <= cap.of(*total);
            Some((passed, format!("{affected} of {total} instances affected, maxAffected {cap}")))
        }
        Gate::LastReadyInstance => {
            Some((*untouched_ready > 0, format!("{untouched_ready} ready instances stay untouched")))
        }
        Gate::UnmanagedKill => {
            let kills =
                input.experiment.spec.faults.iter().any(|item| item.fault.kind() == FaultKind::PodKill);
            let unmanaged: Vec<&str> = input
                .inventory
                .instances
                .iter()
                .filter(|instance| !instance.managed && input.selection.chosen.contains(&instance.id))
                .map(|instance| instance.id.as_str())
                .collect();
            kills.then(|| match unmanaged.as_slice() {
                [] => (true, "somebody restarts what is killed".to_owned()),
                some => (false, format!("nobody restarts {}", some.join(", "))),
            })
        }
        Gate::Health => Some((input.health.is_safe(input.threshold), input.health.explain(input.threshold))),
    }
}

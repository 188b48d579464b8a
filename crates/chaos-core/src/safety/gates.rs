//! The gates before a start and during a run: each a pure decision with its inputs, code and possible override.
//!
//! Owns the list of gates and of overrides, and what overrides do to a decision. It never starts or stops anything.

mod alert;
mod blast;
mod breaker;
mod budget;
mod condition;
mod consent;
mod health;
mod protected;
mod window;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Claim, Facts, Health, Policy};
use crate::spec::Experiment;
use crate::target::{Inventory, Selection};

pub use window::BESIDE_DURATION_MAX;

/// What is checked before a start, in this order; some of it during a run too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// The safety lever is released.
    Lever,
    /// The whole run fits into the windows of the policy.
    Window,
    /// As many people as the policy asks for have approved this document.
    Approval,
    /// Nothing that the policy protects is hit.
    Protected,
    /// No other run holds one of the chosen instances.
    Overlap,
    /// The target did not fail again and again.
    Breaker,
    /// The affected share of the target stays within `maxAffected`.
    MaxAffected,
    /// The instances that all runs hit stay within the caps of the policy.
    Caps,
    /// A ready instance stays untouched.
    LastReadyInstance,
    /// What is killed is started again by somebody.
    UnmanagedKill,
    /// No alert of the policy fires.
    Alert,
    /// Enough of each error budget is left, and none is spent too fast.
    Budget,
    /// Every stop condition has data and is not met.
    StopCondition,
    /// The health score is known and at or above the threshold.
    Health,
}

/// A cap that may be lifted for one run, by name and with a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Override {
    /// Lifts [`Gate::MaxAffected`] and [`Gate::Caps`].
    MaxAffected,
    /// Lifts [`Gate::LastReadyInstance`].
    LastReadyInstance,
    /// Lifts [`Gate::UnmanagedKill`].
    UnmanagedKill,
    /// Lifts [`Gate::Protected`].
    Protected,
    /// Lifts [`Gate::Window`].
    Window,
    /// Lifts [`Gate::Budget`].
    Budget,
}

impl Override {
    /// Every override of this build.
    pub const ALL: [Override; 6] = [
        Self::MaxAffected,
        Self::LastReadyInstance,
        Self::UnmanagedKill,
        Self::Protected,
        Self::Window,
        Self::Budget,
    ];

    /// Its name on the command line and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxAffected => "max_affected",
            Self::LastReadyInstance => "last_ready_instance",
            Self::UnmanagedKill => "unmanaged_kill",
            Self::Protected => "protected",
            Self::Window => "window",
            Self::Budget => "budget",
        }
    }

    /// The override of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

impl Gate {
    /// Every gate, in the order in which they are asked.
    pub const ALL: [Gate; 14] = [
        Self::Lever,
        Self::Window,
        Self::Approval,
        Self::Protected,
        Self::Overlap,
        Self::Breaker,
        Self::MaxAffected,
        Self::Caps,
        Self::LastReadyInstance,
        Self::UnmanagedKill,
        Self::Alert,
        Self::Budget,
        Self::StopCondition,
        Self::Health,
    ];

    /// Those that are asked during a run too; health is watched by the run itself.
    pub const DURING: [Gate; 5] = [Self::Lever, Self::Window, Self::Alert, Self::Budget, Self::StopCondition];

    /// Those that are asked again before each further draw of a run: what is hit is another then.
    pub const AGAIN: [Gate; 5] =
        [Self::Protected, Self::MaxAffected, Self::Caps, Self::LastReadyInstance, Self::UnmanagedKill];

    /// Its name, which is also the code of a refusal.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lever => "lever",
            Self::Window => "window",
            Self::Approval => "approval",
            Self::Protected => "protected",
            Self::Overlap => "overlap",
            Self::Breaker => "breaker",
            Self::MaxAffected => "max_affected",
            Self::Caps => "caps",
            Self::LastReadyInstance => "last_ready_instance",
            Self::UnmanagedKill => "unmanaged_kill",
            Self::Alert => "alert",
            Self::Budget => "budget",
            Self::StopCondition => "stop_condition",
            Self::Health => "health",
        }
    }

    /// Health, lever, approval, overlap, breaker, alerts and stop conditions have no override.
    pub fn lifted_by(self) -> Option<Override> {
        match self {
            Self::Caps => Some(Override::MaxAffected),
            gate => Override::parse(gate.name()),
        }
    }
}

/// How a decision stands. The worst of several is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// The run may go on.
    Passed,
    /// What would have been compared is not known: nothing starts, and a run ends when it stays so.
    Unknown,
    /// Nothing starts, and a run ends now.
    Refused,
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
    /// What would have been compared is not known, so it does not pass. A run that is on tolerates a few of these in
    /// a row.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
    /// What was compared, in words.
    pub message: String,
    /// What was compared, as values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, serde_json::Value>,
}

impl Decision {
    /// How it stands, overrides counted.
    pub fn standing(&self) -> Standing {
        match (self.passed, self.unknown) {
            (true, _) => Standing::Passed,
            (false, true) => Standing::Unknown,
            (false, false) => Standing::Refused,
        }
    }
}

/// Everything that the gates look at before a start.
#[derive(Debug, Clone, Copy)]
pub struct GateInput<'i> {
    /// The document.
    pub experiment: &'i Experiment,
    /// Score below which nothing starts.
    pub threshold: f64,
    /// What matches.
    pub inventory: &'i Inventory,
    /// What was chosen of it: with a ramp, what its last step hits.
    pub selection: &'i Selection,
    /// What was measured.
    pub health: &'i Health,
    /// Caps that are lifted for this run.
    pub overrides: &'i BTreeSet<Override>,
    /// A stop condition without data only warns.
    pub lenient: bool,
    /// Rules of the installation.
    pub policy: &'i Policy,
    /// What else is known.
    pub facts: &'i Facts,
}

impl<'i> GateInput<'i> {
    /// Of this, what the first draw is judged by.
    fn draw(&self) -> DrawInput<'i> {
        DrawInput {
            experiment: self.experiment,
            inventory: self.inventory,
            selection: self.selection,
            held: self.selection.chosen.len(),
            overrides: self.overrides,
            policy: self.policy,
            claims: &self.facts.claims,
        }
    }
}

/// Everything that the gates look at before another draw of a run that is on.
#[derive(Debug, Clone, Copy)]
pub struct DrawInput<'i> {
    /// The document.
    pub experiment: &'i Experiment,
    /// What matches.
    pub inventory: &'i Inventory,
    /// What was drawn of it; what the run still hits counts as affected.
    pub selection: &'i Selection,
    /// Instances that the run holds when it gets what was drawn.
    pub held: usize,
    /// Caps that are lifted for this run.
    pub overrides: &'i BTreeSet<Override>,
    /// Rules of the installation.
    pub policy: &'i Policy,
    /// What other runs have chosen.
    pub claims: &'i [Claim],
}

impl<'i> DrawInput<'i> {
    /// Instances that the run may hit: those chosen, or all when a fault draws again while it is active.
    fn reachable(&self) -> impl Iterator<Item = &'i crate::target::Instance> {
        let draws_again = self.experiment.spec.faults.iter().any(|item| item.fault.interval().is_some());
        let chosen: BTreeSet<&str> = self.selection.chosen.iter().map(String::as_str).collect();
        let instances = self.inventory.instances.iter();
        instances.filter(move |instance| draws_again || chosen.contains(instance.id.as_str()))
    }
}

/// Everything that the gates look at during a run. Of the facts only time, lever, budgets, alerts and conditions.
#[derive(Debug, Clone, Copy)]
pub struct GuardInput<'i> {
    /// The document.
    pub experiment: &'i Experiment,
    /// Caps that are lifted for this run.
    pub overrides: &'i BTreeSet<Override>,
    /// A stop condition without data only warns.
    pub lenient: bool,
    /// Rules of the installation.
    pub policy: &'i Policy,
    /// What else is known.
    pub facts: &'i Facts,
}

/// Asks every gate before a start, in the order of [`Gate::ALL`]; one that has no say is left out.
pub fn decide(input: &GateInput<'_>) -> Vec<Decision> {
    let ask = |gate| Some(settle(gate, ask(gate, input)?, input.overrides));
    Gate::ALL.into_iter().filter_map(ask).collect()
}

/// Asks every gate of [`Gate::AGAIN`]; one that has no say is left out.
pub fn again(input: &DrawInput<'_>) -> Vec<Decision> {
    let ask = |gate| Some(settle(gate, ask_again(gate, input)?, input.overrides));
    Gate::AGAIN.into_iter().filter_map(ask).collect()
}

/// Asks every gate of [`Gate::DURING`]; one that has no say is left out.
pub fn during(input: &GuardInput<'_>) -> Vec<Decision> {
    let ask = |gate| Some(settle(gate, ask_during(gate, input)?, input.overrides));
    Gate::DURING.into_iter().filter_map(ask).collect()
}

/// `None` when the gate has no say in this experiment.
fn ask(gate: Gate, input: &GateInput<'_>) -> Option<Finding> {
    let GateInput { policy, facts, .. } = input;
    match gate {
        Gate::Lever => Some(consent::lever(facts)),
        Gate::Window => window::before(policy, facts, &input.experiment.spec),
        Gate::Approval => consent::approval(input),
        Gate::Protected | Gate::MaxAffected | Gate::Caps | Gate::LastReadyInstance | Gate::UnmanagedKill => {
            ask_again(gate, &input.draw())
        }
        Gate::Overlap => Some(blast::overlap(&input.draw())),
        Gate::Breaker => breaker::breaker(input),
        Gate::Alert => alert::alert(policy, facts, input.lenient),
        Gate::Budget => budget::before(policy, facts),
        Gate::StopCondition => condition::condition(input.experiment, facts, input.lenient),
        Gate::Health => Some(health::health(input)),
    }
}

fn ask_again(gate: Gate, input: &DrawInput<'_>) -> Option<Finding> {
    match gate {
        Gate::Protected => protected::protected(input),
        Gate::MaxAffected => Some(blast::max_affected(input)),
        Gate::Caps => blast::caps(input),
        Gate::LastReadyInstance => Some(blast::last_ready_instance(input)),
        Gate::UnmanagedKill => blast::unmanaged_kill(input),
        // A draw leaves out what others hold; the rest is settled when a run starts, or watched during it.
        Gate::Overlap
        | Gate::Lever
        | Gate::Window
        | Gate::Approval
        | Gate::Breaker
        | Gate::Alert
        | Gate::Budget
        | Gate::StopCondition
        | Gate::Health => None,
    }
}

fn ask_during(gate: Gate, input: &GuardInput<'_>) -> Option<Finding> {
    let GuardInput { policy, facts, .. } = input;
    match gate {
        Gate::Lever => Some(consent::lever(facts)),
        Gate::Window => window::during(policy, facts),
        Gate::Alert => alert::alert(policy, facts, input.lenient),
        Gate::Budget => budget::during(policy, facts),
        Gate::StopCondition => condition::condition(input.experiment, facts, input.lenient),
        // What these look at is settled when a run starts, or watched by the run itself.
        Gate::Approval
        | Gate::Protected
        | Gate::Overlap
        | Gate::Breaker
        | Gate::MaxAffected
        | Gate::Caps
        | Gate::LastReadyInstance
        | Gate::UnmanagedKill
        | Gate::Health => None,
    }
}

fn settle(gate: Gate, finding: Finding, overrides: &BTreeSet<Override>) -> Decision {
    let passed = finding.standing == Standing::Passed;
    let overridden = !passed && gate.lifted_by().is_some_and(|name| overrides.contains(&name));
    Decision {
        gate,
        passed: passed || overridden,
        overridden,
        unknown: finding.standing == Standing::Unknown,
        message: finding.message,
        inputs: finding.inputs,
    }
}

/// What a gate found, before overrides.
struct Finding {
    standing: Standing,
    message: String,
    inputs: BTreeMap<String, serde_json::Value>,
}

impl Finding {
    fn new(standing: Standing, message: impl Into<String>) -> Self {
        Self { standing, message: message.into(), inputs: BTreeMap::new() }
    }

    fn passed_if(passed: bool, message: impl Into<String>) -> Self {
        Self::new(if passed { Standing::Passed } else { Standing::Refused }, message)
    }

    /// The worst of several, told by the messages of all that are as bad.
    fn worst(parts: Vec<(Standing, String)>) -> Self {
        let standing = parts.iter().map(|part| part.0).max().unwrap_or(Standing::Passed);
        let told = parts.into_iter().filter(|part| part.0 == standing).map(|part| part.1);
        Self::new(standing, told.collect::<Vec<_>>().join("; "))
    }

    /// Adds a value that was compared.
    fn with(mut self, name: &str, value: impl Serialize) -> Self {
        // Only a map with keys that are not text has no JSON, and none is given here.
        self.inputs.insert(name.to_owned(), serde_json::to_value(value).unwrap_or_default());
        self
    }
}

/// The most names that one message or input lists.
const LISTED_MAX: usize = 10;

/// Names for a message: the first few, and how many more.
fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let shown = names.iter().take(LISTED_MAX).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(LISTED_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A moment for a message, to the second.
fn told(at: Timestamp) -> impl std::fmt::Display {
    at.strftime("%F %H:%M:%S UTC")
}

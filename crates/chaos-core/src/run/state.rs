//! The state of a run: everything that its journal says, folded.
//!
//! Owns the data and its queries. It changes only through [`RunState::step`].

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::ActionOutcome;
use super::step::IllegalEvent;
use super::tolerance::{Judgement, Tally};
use super::types::{InjectionId, InjectionState, Phase, Status, Stop};
use super::verdict::{Failure, Outcome};
use crate::journal::{Record, RunHeader};
use crate::port::Evidence;
use crate::safety::{Decision, Health};
use crate::spec::{Probe, ProbePhase};
use crate::target::{Instance, Selection};

/// One injection of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Injection {
    /// Its id.
    pub id: InjectionId,
    /// Which entry of `spec.faults`.
    pub item: usize,
    /// Whom it hits.
    pub instance: Instance,
    /// Where it is.
    pub state: InjectionState,
    /// Run time at which it was proven active, in milliseconds.
    pub active_ms: Option<u64>,
    /// Run time at which it came to its final state, in milliseconds.
    pub ended_ms: Option<u64>,
    /// Milliseconds that the node took from the order to the proof.
    pub inject_took_ms: Option<f64>,
    /// Milliseconds that the node took from the request to the proof of the undo.
    pub revert_took_ms: Option<f64>,
    /// What proved its states.
    pub evidence: Vec<(InjectionState, Evidence)>,
    /// Why it failed.
    pub error: Option<String>,
    /// Undos of it that failed so far.
    #[serde(default)]
    pub revert_failures: u32,
}

/// Where an entry of `spec.faults` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// It waits for another (`after`), or for the start.
    #[default]
    Waiting,
    /// Asked for.
    Started,
    /// Proven active once.
    Active,
    /// Its own time is over.
    Ended,
}

/// Everything that is known of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct RunState {
    /// Where it is.
    pub phase: Phase,
    /// It has left the queue.
    pub started: bool,
    /// State of each entry of `spec.faults`.
    pub items: Vec<ItemState>,
    /// Draws made so far for each entry.
    pub draws: Vec<u32>,
    /// Every injection, in the order planned.
    pub injections: Vec<Injection>,
    /// Instances that match the target.
    pub instances: usize,
    /// Those that were ready before.
    pub ready_before: usize,
    /// The fewest ports that any ready one listened on before.
    pub ports_min: usize,
    /// Latest number of ready instances.
    pub ready_now: usize,
    /// What was drawn.
    pub selection: Option<Selection>,
    /// The drawn instances that the later steps of a ramp are taken from.
    #[serde(default)]
    pub drawn: Vec<Instance>,
    /// Steps of the ramp that were begun.
    #[serde(default)]
    pub ramp_steps: usize,
    /// What the gates said.
    pub decisions: Vec<Decision>,
    /// Health before the start.
    pub health_before: Option<Health>,
    /// Latest health.
    pub health: Option<Health>,
    /// The lowest known score while faults were active.
    pub score_min: Option<f64>,
    /// Samples in a row without a known score.
    pub health_unknown: u32,
    /// What the gates said that were asked last during the run.
    #[serde(default)]
    pub guards: Vec<Decision>,
    /// Times in a row that one of them could not be asked.
    #[serde(default)]
    pub guards_unknown: u32,
    /// Sums of the probes.
    pub tallies: BTreeMap<String, BTreeMap<ProbePhase, Tally>>,
    /// Run time of the first proven activation, in milliseconds.
    pub active_ms: Option<u64>,
    /// Run time at which the undo was asked for.
    pub reverting_ms: Option<u64>,
    /// Run time at which everything was in a final state.
    pub reverted_ms: Option<u64>,
    /// Run time since which steady state holds again.
    pub steady_ms: Option<u64>,
    /// Run time of recovery.
    pub recovered_ms: Option<u64>,
    /// Run time of the first measurement that did not pass while faults were active.
    pub detected_ms: Option<u64>,
    /// The instance that is being undone when they are undone one after the other.
    #[serde(default)]
    pub stepping: Option<String>,
    /// Run time by which the undo must be proven.
    #[serde(default)]
    pub revert_by_ms: u64,
    /// Undos that failed and wait to be tried again.
    #[serde(default)]
    pub retries: BTreeSet<InjectionId>,
    /// Recovery actions that were begun.
    #[serde(default)]
    pub actions_begun: usize,
    /// How they went.
    #[serde(default)]
    pub actions: Vec<ActionOutcome>,
    /// How often another process took it up.
    #[serde(default)]
    pub adopted: u32,
    /// Why it was ended before its time.
    pub stop: Option<Stop>,
    /// Why it could not be carried out.
    pub failure: Option<Failure>,
    /// The end.
    pub outcome: Option<Outcome>,
    /// Run time of the end.
    pub finished_ms: Option<u64>,
}

static EMPTY: Tally = Tally {
    measured: 0,
    passed: 0,
    no_data: 0,
    value: None,
    latency: Vec::new(),
    problem: None,
    latest_missed: 0,
};

impl RunState {
    /// A run that was accepted.
    pub fn new(header: &RunHeader) -> Self {
        let items = header.experiment.spec.faults.len();
        Self { items: vec![ItemState::Waiting; items], draws: vec![0; items], ..Self::default() }
    }

    /// The state after a journal.
    ///
    /// # Errors
    /// When a record can't follow the ones before it.
    pub fn replay<'r>(
        header: &RunHeader,
        records: impl IntoIterator<Item = &'r Record>,
    ) -> Result<Self, IllegalEvent> {
        let mut state = Self::new(header);
        for record in records {
            state.step(header, record.elapsed_ms, record.event.clone())?;
        }
        Ok(state)
    }

    /// How it stands, for lists.
    pub fn status(&self) -> Status {
        match &self.outcome {
            Some(_) if matches!(self.failure, Some(Failure::Lever(_))) => Status::Cancelled,
            Some(outcome) => outcome.verdict.status(),
            None if self.started => Status::Running,
            None => Status::Pending,
        }
    }

    /// Sum of a probe in a phase.
    pub fn tally(&self, probe: &str, phase: ProbePhase) -> &Tally {
        self.tallies.get(probe).and_then(|phases| phases.get(&phase)).unwrap_or(&EMPTY)
    }

    /// Injections whose end is not known.
    pub fn unfinished(&self) -> impl Iterator<Item = &Injection> {
        self.injections.iter().filter(|injection| !injection.state.is_final())
    }

    /// The undo of this injection was given up on, and is not proven since.
    pub fn given_up(&self, injection: &InjectionId) -> bool {
        let failed = |one: &&Injection| one.state == InjectionState::RevertFailed;
        self.injections.iter().filter(failed).any(|one| one.id == *injection)
    }

    /// Ids of the instances that were ever selected.
    pub fn selected_instances(&self) -> impl Iterator<Item = &str> {
        self.injections.iter().map(|injection| injection.instance.id.as_str())
    }

    /// In the phase after, the latest sample counts: recovery is a matter of when, not of how often it failed before.
    pub(super) fn judge_after(&self, probe: &Probe) -> Judgement {
        let tally = self.tally(&probe.name, ProbePhase::After);
        if tally.measured == 0 || tally.success().is_none() {
            return Judgement::NoData(format!(
                "{} of {} measurements without data",
                tally.no_data, tally.measured
            ));
        }
        if tally.latest_missed == 0 { Judgement::Within } else { super::tolerance::judge(probe, tally) }
    }
}

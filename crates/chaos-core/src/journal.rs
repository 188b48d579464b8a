//! The journal of a run: a header, then one record for each event, in order.
//!
//! Owns the format. A run's state is the fold of its records ([`crate::run::RunState::replay`]); nothing else is kept.

use std::collections::BTreeSet;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access::Actor;
use crate::port::Owner;
use crate::run::{Effect, Event, Phase, RunId, RunState, Status, StopCause, Verdict};
use crate::safety::Override;
use crate::spec::{Experiment, ExperimentKey};

/// What is known of a run before its first event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunHeader {
    /// The run.
    pub run: RunId,
    /// The document, with every default filled in.
    pub experiment: Experiment,
    /// Seed of every choice of this run.
    pub seed: u64,
    /// Health score below which nothing starts or goes on.
    pub threshold: f64,
    /// Caps lifted for this run.
    #[serde(default)]
    pub overrides: BTreeSet<Override>,
    /// Why they are lifted.
    #[serde(default)]
    pub reason: Option<String>,
    /// Who asked for it.
    #[serde(default)]
    pub actor: Actor,
    /// A stop condition without data only warns.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lenient: bool,
    /// What happens to its faults when its owner dies.
    pub owner: Owner,
    /// When it was accepted.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
}

impl RunHeader {
    /// Namespace and name of the experiment.
    pub fn key(&self) -> ExperimentKey {
        self.experiment.key()
    }
}

/// One entry of a journal: what happened, and what is therefore about to be done. It is on disk before that is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// Position in the journal, from 1 without gaps.
    pub seq: u64,
    /// Wall clock, for people; nothing is decided by it.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// Milliseconds of monotonic time since the run was accepted.
    pub elapsed_ms: u64,
    /// What happened.
    pub event: Event,
    /// What follows from it and is done next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<Effect>,
}

/// The most records that one journal takes; a run that reaches it is stopped and reverted.
pub const RECORDS_MAX: u64 = 500_000;

/// A run in one line, as lists show it; kept beside the journal, computed from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunSummary {
    /// The run.
    pub run: RunId,
    /// Name of the experiment.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its faults, e.g. `pod_kill`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it hits, in words.
    pub target: String,
    /// How it stands.
    pub status: Status,
    /// Where it is.
    pub phase: Phase,
    /// What was learnt, once it is finished.
    pub verdict: Option<Verdict>,
    /// Why, in words, once it is finished.
    pub reason: Option<String>,
    /// Who ended it before its time.
    #[serde(default)]
    pub stop_cause: Option<StopCause>,
    /// Some undo is not proven.
    pub revert_incomplete: bool,
    /// Exit code of contract §3, once it is finished.
    pub exit_code: Option<u8>,
    /// Who asked for it.
    #[serde(default)]
    pub actor: String,
    /// Instances hit.
    pub injections: usize,
    /// Of those, proven active now.
    pub active: usize,
    /// When it was accepted.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// Seconds from acceptance to the end, or to the latest record.
    pub duration_seconds: f64,
    /// Seconds from the first proven activation to the first measurement that did not pass.
    pub detection_seconds: Option<f64>,
    /// Seconds from the undo to steady state.
    pub recovery_seconds: Option<f64>,
}

impl RunSummary {
    /// Sums up a run at `elapsed_ms` of its time.
    pub fn of(header: &RunHeader, state: &RunState, elapsed_ms: u64) -> Self {
        let seconds = |ms: u64| ms as f64 / 1000.0;
        let since = |from: Option<u64>, to: Option<u64>| Some(seconds(to?.saturating_sub(from?)));
        let host = header.experiment.spec.target.host.as_ref();
        Self {
            run: header.run.clone(),
            name: header.experiment.metadata.name.clone(),
            namespace: header.experiment.metadata.namespace.clone(),
            kind: header.experiment.type_name(),
            target: host.map(ToString::to_string).unwrap_or_default(),
            status: state.status(),
            phase: state.phase,
            verdict: state.outcome.as_ref().map(|outcome| outcome.verdict),
            reason: state.outcome.as_ref().map(|outcome| outcome.reason.clone()),
            stop_cause: state.stop.as_ref().map(|stop| stop.cause),
            revert_incomplete: state.outcome.as_ref().is_some_and(|outcome| outcome.revert_incomplete),
            exit_code: state.outcome.as_ref().map(|outcome| outcome.exit_code()),
            actor: header.actor.name.clone(),
            injections: state.injections.len(),
            active: state
                .injections
                .iter()
                .filter(|one| one.state == crate::run::InjectionState::Active)
                .count(),
            created_at: header.created_at,
            duration_seconds: seconds(state.finished_ms.unwrap_or(elapsed_ms)),
            detection_seconds: since(state.active_ms, state.detected_ms),
            recovery_seconds: since(state.reverted_ms, state.recovered_ms),
        }
    }
}

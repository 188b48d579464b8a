//! The journal of a run: a header, then one record for each event, in order.
//!
//! Owns the format. A run's state is the fold of its records ([`crate::run::RunState::replay`]); nothing else is kept.

use std::collections::BTreeSet;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::port::Owner;
use crate::run::{Effect, Event, RunId};
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

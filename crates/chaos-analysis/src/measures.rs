//! The figures of a run, computed from its journal.
//!
//! Owns the fold over the records and the shape of the result. It never formats: that is [`crate::report`]'s.

mod fold;
mod next;
mod probes;
mod replay;
mod secrets;
mod timeline;

use chaos_core::journal::{Record, RunHeader};
use chaos_core::port::{Evidence, Owner};
use chaos_core::run::{IllegalEvent, InjectionId, InjectionState, Phase, RunId, Status, Stop, Verdict};
use chaos_core::safety::Decision;
use chaos_core::spec::ProbePhase;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use timeline::TIMELINE_MAX;

/// Instances that one line names.
const NAMED_MAX: usize = 20;

/// The first of them by name, and how many more there are.
pub(crate) fn named<T: AsRef<str>>(names: &[T]) -> String {
    let first: Vec<&str> = names.iter().take(NAMED_MAX).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(NAMED_MAX) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// A journal that no run can have written.
#[derive(Debug, thiserror::Error)]
#[error("cannot replay record {seq} of run {run}")]
pub struct DamagedJournal {
    /// The run.
    pub run: RunId,
    /// The record that can't follow the ones before it.
    pub seq: u64,
    /// Why not.
    #[source]
    pub source: IllegalEvent,
}

/// Everything that a report says about a run. Times in seconds count from the moment the run was accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measures {
    /// The run.
    pub run: RunId,
    /// Name of the experiment.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its faults, e.g. `pod_kill`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What should stay true, in words.
    pub hypothesis: Option<String>,
    /// There is an outcome; without one, everything here is as of the latest record.
    pub finished: bool,
    /// How it stands.
    pub status: Status,
    /// Where it is.
    pub phase: Phase,
    /// What was learnt, once it is finished.
    pub verdict: Option<Verdict>,
    /// Why, in words, once it is finished.
    pub reason: Option<String>,
    /// Exit code of `chaos run`, once it is finished.
    pub exit_code: Option<u8>,
    /// Some undo is not proven: act now.
    pub revert_incomplete: bool,
    /// What whoever reads this does next, the most urgent first.
    pub next_steps: Vec<String>,
    /// When it was accepted.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// Seconds from acceptance to the end, or to the latest record.
    pub duration_seconds: f64,
    /// How long each phase lasted, in the order they came.
    pub phases: Vec<PhaseMeasures>,
    /// Run time of the first proven effect.
    pub active_at_seconds: Option<f64>,
    /// Seconds from the first proven effect to the first measurement that did not pass.
    pub detection_seconds: Option<f64>,
    /// What noticed it.
    pub detected_by: Option<String>,
    /// Seconds from asking for the undo of everything to the proof of it.
    pub revert_seconds: Option<f64>,
    /// Seconds from that proof to steady state.
    pub recovery_seconds: Option<f64>,
    /// Why it was ended before its time.
    pub stop: Option<Stop>,
    /// What was hit.
    pub target: TargetMeasures,
    /// What was done, as written.
    pub faults: Vec<FaultMeasures>,
    /// Health score.
    pub health: HealthMeasures,
    /// What the gates said.
    pub gates: Vec<Decision>,
    /// Caps that were lifted for this run.
    pub overrides: Vec<String>,
    /// Why they were lifted.
    pub override_reason: Option<String>,
    /// What happens to its faults when its owner dies.
    pub owner: Owner,
    /// Every injection, in the order planned.
    pub injections: Vec<InjectionMeasures>,
    /// Every probe, in the order of the document.
    pub probes: Vec<ProbeMeasures>,
    /// What moved: each measure before, during and after.
    pub measured: Vec<Movement>,
    /// What happened, in order.
    pub timeline: Vec<TimelineEntry>,
    /// Entries left out of the middle of the timeline because there were more than [`TIMELINE_MAX`].
    pub timeline_omitted: usize,
    /// How to do it again.
    pub replay: Replay,
}

/// One phase of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseMeasures {
    /// Which.
    pub phase: Phase,
    /// Run time at which it began.
    pub started_at_seconds: f64,
    /// How long it lasted, or lasts so far.
    pub duration_seconds: f64,
}

/// What a run hit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TargetMeasures {
    /// In words.
    pub description: String,
    /// How many were asked for, as written.
    pub select: String,
    /// Seed of every choice.
    pub seed: u64,
    /// Instances that matched.
    pub matching: usize,
    /// Instances affected by the first draw, counting those that were not ready before.
    pub affected: Option<usize>,
    /// Instances of the first draw.
    pub chosen: Vec<String>,
}

/// One entry of `spec.faults`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FaultMeasures {
    /// Its kind, e.g. `pod_kill`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name, when it has one.
    pub name: Option<String>,
    /// The one it waits for.
    pub after: Option<String>,
    /// How long it stays, as written.
    pub duration: String,
    /// Its parameters, with every default filled in.
    pub parameters: serde_json::Value,
}

/// Health score over a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HealthMeasures {
    /// Below it nothing starts or goes on.
    pub threshold: f64,
    /// Before the start, when it was known.
    pub before: Option<f64>,
    /// The lowest known one while faults were active.
    pub lowest: Option<f64>,
    /// The latest known one after the undo.
    pub after: Option<f64>,
    /// The latest one in words, with the signal to blame.
    pub latest: Option<String>,
}

/// One injection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InjectionMeasures {
    /// Its id.
    pub id: InjectionId,
    /// Its fault, e.g. `pod_kill`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whom it hit.
    pub instance: String,
    /// Where it is.
    pub state: InjectionState,
    /// Nothing of it is left: its undo is proven, or it was never applied and never will be.
    pub undone: bool,
    /// Run time of its proven effect.
    pub active_at_seconds: Option<f64>,
    /// Run time of its final state.
    pub ended_at_seconds: Option<f64>,
    /// Milliseconds from the order to the proven effect.
    pub inject_ms: Option<f64>,
    /// Milliseconds from the request to the proven undo.
    pub revert_ms: Option<f64>,
    /// What proved its effect.
    pub effect: Vec<Evidence>,
    /// What proved its undo, or its end.
    pub undo: Vec<Evidence>,
    /// Why it failed.
    pub error: Option<String>,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeMeasures {
    /// Its name.
    pub name: String,
    /// Its check: `http`, `tcp`, `command`, `prometheus`, `load`.
    pub check: String,
    /// What was measured in each phase that it runs in, in the order before, chaos, after.
    pub phases: Vec<ProbePhaseMeasures>,
}

/// What one probe measured in one phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProbePhaseMeasures {
    /// The phase.
    pub phase: ProbePhase,
    /// How it is judged.
    pub judgement: ProbeJudgement,
    /// Why, when it is not within tolerance.
    pub explanation: Option<String>,
    /// Measurements that are complete.
    pub measured: u64,
    /// Those that met the expectation.
    pub passed: u64,
    /// Those that gave no data.
    pub no_data: u64,
    /// Availability: the share that passed, of those with data.
    pub success_ratio: Option<f64>,
    /// Median latency in milliseconds.
    pub latency_p50_ms: Option<f64>,
    /// 95th percentile of latency in milliseconds.
    pub latency_p95_ms: Option<f64>,
    /// 99th percentile of latency in milliseconds.
    pub latency_p99_ms: Option<f64>,
    /// The latest value, of probes that have one.
    pub value: Option<f64>,
}

/// How a probe in a phase is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProbeJudgement {
    /// Within tolerance.
    Within,
    /// Out of tolerance.
    Beyond,
    /// Some data, too little to say either.
    Inconclusive,
    /// The phase went by without any data.
    NoData,
    /// The run did not come to this phase, or has not measured in it yet.
    NotReached,
}

/// One measure before, during and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Movement {
    /// Name of the probe; `None` for what is measured of the target itself.
    pub probe: Option<String>,
    /// What is measured.
    pub measure: Measure,
    /// Before anything was broken.
    pub before: Option<f64>,
    /// While faults were active: the lowest for score and ready instances.
    pub during: Option<f64>,
    /// After the undo.
    pub after: Option<f64>,
    /// `during` less `before`.
    pub change: Option<f64>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Health score, 0 to 1.
    HealthScore,
    /// Ready instances of the target.
    ReadyInstances,
    /// Share of measurements that passed, 0 to 1.
    SuccessRatio,
    /// Median latency in milliseconds.
    LatencyP50Ms,
    /// 95th percentile of latency in milliseconds.
    LatencyP95Ms,
    /// 99th percentile of latency in milliseconds.
    LatencyP99Ms,
    /// The probe's own value.
    Value,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineEntry {
    /// Run time.
    pub at_seconds: f64,
    /// Wall clock.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// The phase that the run was in afterwards.
    pub phase: Phase,
    /// In words.
    pub what: String,
}

/// How to do a run again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Replay {
    /// Commands, in order.
    pub commands: Vec<String>,
    /// The document with the seed and the threshold of this run, and without secrets.
    pub document: serde_json::Value,
    /// Values in the document were replaced by `REDACTED` and have to be filled in first.
    pub redacted: bool,
}

impl Measures {
    /// Measures a run, finished or not.
    ///
    /// # Errors
    /// [`DamagedJournal`] when a record can't follow the ones before it.
    pub fn of(header: &RunHeader, records: &[Record]) -> Result<Self, DamagedJournal> {
        let mut fold = fold::Fold::new(header);
        for record in records {
            fold.add(record)?;
        }
        Ok(fold.finish())
    }

    /// Namespace and name.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Verdict or, without one, status and phase: the one word that is read first.
    pub fn headline(&self) -> String {
        match self.verdict {
            Some(_) if self.revert_incomplete => "revert incomplete".to_owned(),
            Some(verdict) => verdict.to_string(),
            None => format!("unfinished ({}, {})", self.status, self.phase),
        }
    }

    /// Why, in words; for an unfinished run, that it is unfinished.
    pub fn why(&self) -> String {
        self.reason.clone().unwrap_or_else(|| {
            let mut text = format!(
                "this run has no outcome yet; its journal ends after {:.3} s while {}",
                self.duration_seconds, self.phase
            );
            let open = self.injections.iter().filter(|one| !one.undone).count();
            if open > 0 {
                text += &format!("; the undo of {open} injections is not proven yet");
            }
            text
        })
    }
}

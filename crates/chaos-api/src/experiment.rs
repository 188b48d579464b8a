//! Experiments as the API shows them, and what is asked of them.
//!
//! Owns the rows of lists, the answers to stop and dry run, and the forms a request body may have.

use std::collections::BTreeMap;

use chaos_core::journal::RunSummary;
use chaos_core::run::{InjectionId, Phase, Resolution, RunId, Status, Verdict};
use chaos_core::spec::{Experiment, ExperimentKey, ShortRequest};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::run::RunDetail;

/// An experiment in one line, with its latest run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExperimentRecord {
    /// Name, unique in its namespace.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Its faults, e.g. `pod_kill`.
    #[serde(rename = "type")]
    pub kind: String,
    /// How its latest run stands; `pending` when it was only registered.
    pub status: Status,
    /// Where its latest run is; `null` when it was only registered.
    pub phase: Option<Phase>,
    /// What its latest run learnt.
    pub verdict: Option<Verdict>,
    /// Why, in words.
    pub reason: Option<String>,
    /// Its latest run.
    pub run: Option<RunId>,
    /// What it hits, in words.
    pub target: String,
    /// Labels of the document.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// When the document was registered, or its first run accepted.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// When the latest run was accepted.
    #[schemars(with = "Option<String>")]
    pub started_at: Option<Timestamp>,
    /// When the latest run ended.
    #[schemars(with = "Option<String>")]
    pub finished_at: Option<Timestamp>,
    /// Seconds from acceptance to the end of the latest run, or until now.
    pub duration_seconds: Option<f64>,
    /// Some undo of the latest run is not proven: act now.
    pub revert_incomplete: bool,
    /// Exit code of contract §3, once the latest run is finished.
    pub exit_code: Option<u8>,
    /// Instances hit by the latest run.
    pub injections: usize,
    /// Of those, proven active now.
    pub active: usize,
    /// Seconds from the first proven activation to the first measurement that did not pass.
    pub detection_seconds: Option<f64>,
    /// Seconds from the undo to steady state.
    pub recovery_seconds: Option<f64>,
}

impl ExperimentRecord {
    /// The row of a document, with its latest run when it has one.
    pub fn of(document: &Experiment, created_at: Timestamp, latest: Option<&RunSummary>) -> Self {
        let target = document.spec.target.host.as_ref().map(ToString::to_string).unwrap_or_default();
        let labels = document.metadata.labels.clone();
        let registered = Self::registered(document.key(), document.type_name(), target, labels, created_at);
        match latest {
            Some(run) => registered.with_run(run),
            None => registered,
        }
    }

    /// The row of an experiment that never ran.
    pub fn registered(
        key: ExperimentKey,
        kind: String,
        target: String,
        labels: BTreeMap<String, String>,
        created_at: Timestamp,
    ) -> Self {
        Self {
            name: key.name,
            namespace: key.namespace,
            kind,
            status: Status::Pending,
            phase: None,
            verdict: None,
            reason: None,
            run: None,
            target,
            labels,
            created_at,
            started_at: None,
            finished_at: None,
            duration_seconds: None,
            revert_incomplete: false,
            exit_code: None,
            injections: 0,
            active: 0,
            detection_seconds: None,
            recovery_seconds: None,
        }
    }

    /// The same experiment as this run of it shows it.
    #[must_use]
    pub fn with_run(self, run: &RunSummary) -> Self {
        let finished = run.phase == Phase::Finished;
        let length = std::time::Duration::try_from_secs_f64(run.duration_seconds).unwrap_or_default();
        Self {
            kind: run.kind.clone(),
            target: run.target.clone(),
            status: run.status,
            phase: Some(run.phase),
            verdict: run.verdict,
            reason: run.reason.clone(),
            run: Some(run.run.clone()),
            started_at: Some(run.created_at),
            finished_at: finished.then(|| run.created_at.checked_add(length).unwrap_or(run.created_at)),
            duration_seconds: Some(run.duration_seconds),
            revert_incomplete: run.revert_incomplete,
            exit_code: run.exit_code,
            injections: run.injections,
            active: run.active,
            detection_seconds: run.detection_seconds,
            recovery_seconds: run.recovery_seconds,
            ..self
        }
    }

    /// Namespace and name.
    pub fn key(&self) -> ExperimentKey {
        ExperimentKey { namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

/// One experiment, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExperimentDetail {
    /// Its row, in the same fields as in a list.
    #[serde(flatten)]
    pub record: ExperimentRecord,
    /// The document of the latest run or registration, with every default filled in; header values and bodies of its
    /// probes are not shown.
    pub document: Experiment,
    /// SHA-256 of that document, what is not shown of it included: what an approval is bound to.
    pub document_hash: String,
    /// The latest run; `null` when it was only registered.
    pub latest: Option<RunDetail>,
}

/// What a start would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DryRun {
    /// The document with every default filled in, and the seed that was used.
    pub plan: Experiment,
    /// Health score below which it would not start.
    pub threshold: f64,
    /// What would be hit, and what each gate says.
    pub resolution: Resolution,
    /// A gate refuses.
    pub blocked: bool,
}

/// Why an experiment is stopped; the body of a stop, which may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StopRequest {
    /// In words, for the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whoever started it was interrupted (exit code 130), it was not asked for by hand (exit code 4).
    #[serde(default)]
    pub interrupted: bool,
}

/// How a stop or a delete went: every fault of these runs is undone, or named.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StopResponse {
    /// Runs that were stopped; none when nothing was active.
    pub runs: Vec<StoppedRun>,
    /// Milliseconds from the request to the last proof.
    pub took_ms: f64,
}

impl StopResponse {
    /// Every undo is proven.
    pub fn is_complete(&self) -> bool {
        self.runs.iter().all(|run| run.unproven.is_empty())
    }
}

/// One run that was stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StoppedRun {
    /// The run.
    pub run: RunId,
    /// Its experiment.
    pub name: String,
    /// The namespace of that.
    pub namespace: String,
    /// Milliseconds from the request to the last proof.
    pub took_ms: f64,
    /// Injections proven undone.
    pub reverted: usize,
    /// Injections whose undo is not proven: act now.
    pub unproven: Vec<InjectionId>,
}

/// What may be sent to create an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ExperimentBody {
    /// A full document.
    Document(Box<Experiment>),
    /// The short form.
    Short(ShortRequest),
}

//! What the engine asks of the world: a node, probes, health, a journal, a clock.
//!
//! Owns the traits and the messages between engine and node. Implementations live in the adapters.

use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::journal::{Record, RunHeader, RunSummary};
use crate::run::{InjectionId, InjectionState, ProbeSample, RunId};
use crate::safety::{AlertMatch, AlertReading, Approval, Known, Lever, Policy, Signal};
use crate::spec::{ExperimentKey, Fault, Probe, ProbePhase, Target};
use crate::target::{Instance, Inventory};
use crate::text::shortened;

/// How long a holder goes on without hearing from whoever it works for.
pub const LEASE_DEFAULT: Duration = Duration::from_secs(15);

/// The most of an unknown error that is kept.
const UNKNOWN_CHARS_MAX: usize = 300;

/// What a holder does when its owner dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// A command line: undo at once.
    Command,
    /// A server: undo when the lease ends, unless it comes back before.
    Server,
}

/// One fault on one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InjectionPlan {
    /// Its id, unique for ever.
    pub id: InjectionId,
    /// What is done.
    pub fault: Fault,
    /// To whom.
    pub instance: Instance,
    /// How long it stays at most, from its proven activation.
    #[serde(with = "milliseconds")]
    pub duration: Duration,
}

/// Injections of one run that one node is asked to start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InjectOrder {
    /// The run.
    pub run: RunId,
    /// What happens when the owner dies.
    pub owner: Owner,
    /// Without a renewal within this time, everything is undone.
    #[serde(with = "milliseconds")]
    pub lease: Duration,
    /// What to start.
    pub injections: Vec<InjectionPlan>,
}

/// A change that a node reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InjectionReport {
    /// Which injection.
    pub injection: InjectionId,
    /// Its new state.
    pub state: InjectionState,
    /// What was read to say so.
    #[serde(default)]
    pub evidence: Vec<Evidence>,
    /// Why it failed, when it did.
    #[serde(default)]
    pub error: Option<String>,
    /// Milliseconds the node took for this step: from the order to this state for `active`, from the request to
    /// this state for `reverted`.
    #[serde(default)]
    pub took_ms: f64,
}

/// One observation that proves a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Where it was read, e.g. `pidfd of 4711` or `counter of our rule`.
    pub source: String,
    /// What it said, e.g. `exited`.
    pub observed: String,
}

impl Evidence {
    /// What was read where.
    pub fn new(source: impl Into<String>, observed: impl Into<String>) -> Self {
        Self { source: source.into(), observed: observed.into() }
    }
}

/// Why a node did not do what it was asked. On the wire, one that only a newer build has is [`NodeError::Unknown`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum NodeError {
    /// The node can't look at its processes.
    #[error("cannot list the processes that match {target}: {reason}")]
    Inventory {
        /// The target in words.
        target: String,
        /// The cause.
        reason: String,
    },
    /// No fault process could be started, so nothing was changed.
    #[error("cannot start a fault process for run {run}: {reason}")]
    Holder {
        /// The run.
        run: RunId,
        /// The cause.
        reason: String,
    },
    /// A host can't be asked now.
    #[error("host {host:?} is not reached: {reason}")]
    Unreachable {
        /// Its name; empty is the host of the service.
        host: String,
        /// The cause.
        reason: String,
    },
    /// No host has that name.
    #[error("no host {host:?}; known are {}", known.join(", "))]
    UnknownHost {
        /// The name.
        host: String,
        /// Hosts that there are, some of them when they are many.
        known: Vec<String>,
    },
    /// It must not: a limit of the node's own configuration, or what it protects. Nothing was done.
    #[error("the node refuses: {reason}")]
    Refused {
        /// The limit.
        reason: String,
    },
    /// It was tried, and did not work.
    #[error("the node tried and failed: {reason}")]
    Failed {
        /// What was tried, and the cause.
        reason: String,
    },
    /// An error that this build does not know, as it came.
    #[error("the node answers with an error that this build does not know: {0}")]
    #[serde(untagged)]
    Unknown(#[serde(deserialize_with = "in_words")] String),
}

/// Whatever stands there, as a text.
fn in_words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(shortened(&text, UNKNOWN_CHARS_MAX))
}

/// Takes what a node reports; never blocks.
pub type ReportSink = std::sync::Arc<dyn Fn(InjectionReport) + Send + Sync>;

/// What a node does to help a target back (`recovery.actions`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeAction {
    /// End this instance, so that whoever manages it starts it again. Refused when nobody does.
    Restart(Box<Instance>),
    /// Run the command that the configuration of this host has by this name.
    Command {
        /// Name of the host, as [`Instance::host`] has it.
        host: String,
        /// Name of the command.
        name: String,
    },
}

/// An injection that somebody gave an order for, and where it is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The injection.
    pub injection: InjectionId,
    /// Name of its host, as [`Instance::host`] has it.
    pub host: String,
}

/// A node agent in this process, or every one that there is.
pub trait Node: Send + Sync {
    /// What matches a target.
    fn inventory<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Inventory, NodeError>>;

    /// A run will soon have an order: whatever takes time and changes nothing may be done now.
    fn prepare<'a>(&'a self, _run: &'a RunId) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    /// A run is over: what was prepared and not used goes.
    fn release<'a>(&'a self, _run: &'a RunId) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Starts injections. Returns when a fault process has the order; each change comes through `reports`. Every
    /// injection of an accepted order ends in a final state that is reported, also when the fault process is killed.
    fn inject(&self, order: InjectOrder, reports: ReportSink) -> BoxFuture<'_, Result<(), NodeError>>;

    /// Prolongs the lease of a run.
    fn renew<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, ()>;

    /// Undoes these injections of a run, also while they are being applied, and once more those whose undo failed.
    /// Idempotent; returns at once, the outcome is reported.
    fn revert<'a>(&'a self, run: &'a RunId, injections: Vec<InjectionId>) -> BoxFuture<'a, ()>;

    /// Takes up injections that another process of this service ordered: says which of them are still held, once that
    /// is known or can't be found out in time. Every one ends in a final state that is reported, as after
    /// [`Node::inject`].
    fn attach<'a>(
        &'a self,
        run: &'a RunId,
        injections: Vec<Placed>,
        reports: ReportSink,
    ) -> BoxFuture<'a, Vec<InjectionId>>;

    /// Helps a target back; what was read to say that it is.
    fn act<'a>(&'a self, action: &'a NodeAction) -> BoxFuture<'a, Result<Vec<Evidence>, NodeError>>;
}

/// Makes measurements.
pub trait Prober: Send + Sync {
    /// Measures a probe in a phase until `stop` resolves or, when `once`, a single time. Hands each sample to `sink`,
    /// keeps to the probe's schedule whatever the answers do, and returns when the last sample is handed over.
    fn watch<'a>(
        &'a self,
        probe: &'a Probe,
        phase: ProbePhase,
        once: bool,
        stop: BoxFuture<'a, ()>,
        sink: &'a (dyn Fn(ProbeSample) + Send + Sync),
    ) -> BoxFuture<'a, ()>;
}

/// Reads the signals that were declared in the configuration, and whatever else gates ask of Prometheus.
pub trait SignalSource: Send + Sync {
    /// One value of each signal; a signal that can't be read is there without a value.
    fn signals(&self) -> BoxFuture<'_, Vec<Signal>>;

    /// The value of a PromQL query, fresh; `None` when it has no data.
    fn query<'a>(&'a self, query: &'a str) -> BoxFuture<'a, Known<Option<f64>>>;

    /// Alerts with these labels: which rules could fire, which do.
    fn alerts<'a>(&'a self, labels: &'a AlertMatch) -> BoxFuture<'a, AlertReading>;
}

/// Knows the rules of an installation, and what people decided.
pub trait Governance: Send + Sync {
    /// The rules.
    fn policy(&self) -> &Policy;

    /// The safety lever now.
    fn lever(&self) -> BoxFuture<'_, Known<Lever>>;

    /// Consents to a document, expired ones among them.
    fn approvals<'a>(
        &'a self,
        experiment: &'a ExperimentKey,
        document_hash: &'a str,
    ) -> BoxFuture<'a, Known<Vec<Approval>>>;

    /// Finished runs on a target, as `RunSummary::target` names it, the latest first, without those of which
    /// `safety::breaker::failed` says nothing.
    fn outcomes<'a>(&'a self, target: &'a str, limit: usize) -> BoxFuture<'a, Known<Vec<RunSummary>>>;
}

/// Why a journal could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}: {reason}")]
pub struct StoreError {
    /// What was attempted on what.
    pub action: String,
    /// The cause, in words.
    pub reason: String,
    /// It can't succeed by trying again (a conflict, a full disk is not one).
    pub conflict: bool,
}

/// Keeps runs and their journals.
pub trait Store: Send + Sync {
    /// Registers a run. When it returns, the run is on disk.
    fn create_run<'a>(
        &'a self,
        header: &'a RunHeader,
        summary: &'a RunSummary,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Appends records to a run's journal in order and replaces its summary, all or nothing. When it returns, they are
    /// on disk.
    fn append<'a>(
        &'a self,
        run: &'a RunId,
        records: &'a [Record],
        summary: &'a RunSummary,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Wall clock, for people.
    fn now(&self) -> Timestamp;
    /// Time since an arbitrary start, which never jumps.
    fn monotonic(&self) -> Duration;
}

mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

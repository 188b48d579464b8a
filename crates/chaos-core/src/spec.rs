//! The experiment document: what a user writes, strict, with a default for every field but target and faults.
//!
//! Owns the format of contract §2 and its errors. It never looks at what the document names: whether a target exists
//! or a URL answers is found out later.

mod condition;
mod error;
mod fault;
mod parse;
mod probe;
mod recovery;
mod schema;
mod short;
mod target;
mod validate;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use condition::{BurnRate, Condition, QueryBound};
pub use error::DocumentError;
pub use fault::{
    CpuStress, Direction, Fault, FaultInfo, FaultItem, FaultKind, KillSignal, MemoryPressure, MemorySize,
    NetworkPartition, OomVictim, Parameter, Peer, PodKill, PortRange, ProcessPause, Undo,
};
pub use parse::{
    DEPTH_MAX, DOCUMENT_BYTES_MAX, DOCUMENTS_MAX, NODES_MAX, parse_documents, parse_value, plain_values,
};
pub use probe::{
    BodyCheck, Bounds, CommandProbe, HttpExpect, HttpProbe, LatencyTolerance, LoadProbe, Method, Probe,
    ProbeCheck, ProbePhase, PrometheusProbe, TcpProbe, Tolerance,
};
pub use recovery::{CommandAction, Recovery, RecoveryAction, RestartAction, RevertMode};
pub use schema::document_schema;
pub use short::ShortRequest;
pub use target::{HostTarget, ProcessMatch, Select, Target};

use crate::duration::Span;
use crate::units::Percent;

/// The only value of `apiVersion` that this build reads.
pub const API_VERSION: &str = "chaos.engineering/v1";

/// One experiment: a hypothesis, what to break, what to watch, how far to go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Experiment {
    /// Always `chaos.engineering/v1`.
    pub api_version: ApiVersion,
    /// Always `Experiment`.
    pub kind: Kind,
    /// Name, namespace, labels.
    pub metadata: Metadata,
    /// The experiment itself.
    pub spec: ExperimentSpec,
}

/// `apiVersion` of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The first and current version.
    #[default]
    #[serde(rename = "chaos.engineering/v1")]
    V1,
}

/// `kind` of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// One experiment.
    #[default]
    Experiment,
}

/// Who the document is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Name, unique in its namespace: lower-case letters, digits, `-` and `.`, at most 63 characters.
    pub name: String,
    /// Namespace; `default` when absent.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Free labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Free annotations, not interpreted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

fn default_namespace() -> String {
    "default".to_owned()
}

/// The key of an experiment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ExperimentKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl std::fmt::Display for ExperimentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Experiment {
    /// Namespace and name.
    pub fn key(&self) -> ExperimentKey {
        ExperimentKey { namespace: self.metadata.namespace.clone(), name: self.metadata.name.clone() }
    }

    /// The kinds of its faults joined by `+`, e.g. `pod_kill`.
    pub fn type_name(&self) -> String {
        let mut kinds: Vec<&str> = self.spec.faults.iter().map(|item| item.fault.kind().name()).collect();
        kinds.dedup();
        kinds.join("+")
    }
}

/// The body of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExperimentSpec {
    /// What should stay true, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypothesis: Option<String>,
    /// What is hit.
    pub target: Target,
    /// What is done to it; run together unless `after` orders them. 1 to 16.
    pub faults: Vec<FaultItem>,
    /// How long the faults stay, counted from the moment the first is proven active.
    #[serde(default = "default_duration")]
    pub duration: Span,
    /// Shares of the target that are hit one after the other, growing, e.g. `[10%, 25%, 50%]`: the duration is divided
    /// among them, and each but the first waits for the health score and the probes to be as they should. Takes the
    /// place of `target.select`; at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ramp: Vec<Percent>,
    /// How the faults are undone at the end; an emergency stop is always at once.
    #[serde(default, skip_serializing_if = "RevertMode::is_default")]
    pub revert: RevertMode,
    /// How long steady state is watched before; 0 is one sample of each `before` probe.
    #[serde(default)]
    pub baseline: Span,
    /// What is measured; at most 64. Without any, readiness of the targets and the health score are the hypothesis.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<Probe>,
    /// What must not be exceeded.
    #[serde(default)]
    pub safety: Safety,
    /// What counts as recovered, and by when.
    #[serde(default)]
    pub recovery: Recovery,
}

fn default_duration() -> Span {
    Span::seconds(30)
}

/// Limits of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Safety {
    /// A health score (0 to 1) below this blocks the start and stops a run; absent: the configured one, else 0.8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub threshold: Option<f64>,
    /// The largest share of the target that may be affected, counting what is already unready.
    #[serde(default = "default_max_affected")]
    pub max_affected: Percent,
    /// What ends the run before its time; at most 16. A condition without data before the start blocks it: it could
    /// never fire.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop_when: Vec<Condition>,
}

/// The threshold when neither document nor configuration has one.
pub const DEFAULT_THRESHOLD: f64 = 0.8;

fn default_max_affected() -> Percent {
    Percent::new(50.0).unwrap_or_else(|| unreachable!("50 is a percentage"))
}

impl Default for Safety {
    fn default() -> Self {
        Self { threshold: None, max_affected: default_max_affected(), stop_when: Vec::new() }
    }
}

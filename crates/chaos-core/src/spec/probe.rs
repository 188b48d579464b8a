//! Probes as written: what is measured, when, and how much deviation is tolerated.
//!
//! Owns the shape of `spec.probes`. Measuring is the probe adapters' work, judging is [`crate::run::tolerance`]'s.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Span;
use crate::units::Percent;

/// One entry of `spec.probes`: exactly one check and how it is judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Probe {
    /// Name, unique in the document.
    pub name: String,
    /// An HTTP request and what its answer must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    /// A TCP connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpProbe>,
    /// A program, started without a shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandProbe>,
    /// An instant PromQL query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusProbe>,
    /// Open-loop HTTP load for as long as its phases last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadProbe>,
    /// Readiness in a cluster; refused by a build that has no cluster support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub kubernetes: Option<serde_json::Value>,
    /// Time between the starts of two measurements.
    #[serde(default = "default_every")]
    pub every: Span,
    /// The longest that one measurement may take.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// When it is measured.
    #[serde(default = "default_during")]
    pub during: Vec<ProbePhase>,
    /// How much deviation is tolerated.
    #[serde(default)]
    pub tolerance: Tolerance,
    /// Stops the run as soon as it is out of tolerance while faults are active.
    #[serde(default)]
    pub stop_on_failure: bool,
}

fn default_every() -> Span {
    Span::seconds(2)
}

fn default_timeout() -> Span {
    Span::seconds(1)
}

fn default_during() -> Vec<ProbePhase> {
    vec![ProbePhase::Before, ProbePhase::Chaos, ProbePhase::After]
}

/// Which check a probe makes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ProbeCheck<'p> {
    /// See [`HttpProbe`].
    Http(&'p HttpProbe),
    /// See [`TcpProbe`].
    Tcp(&'p TcpProbe),
    /// See [`CommandProbe`].
    Command(&'p CommandProbe),
    /// See [`PrometheusProbe`].
    Prometheus(&'p PrometheusProbe),
    /// See [`LoadProbe`].
    Load(&'p LoadProbe),
}

impl ProbeCheck<'_> {
    /// Its key in the document.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Command(_) => "command",
            Self::Prometheus(_) => "prometheus",
            Self::Load(_) => "load",
        }
    }
}

impl Probe {
    /// The one check it has; a parsed document has exactly one.
    pub fn check(&self) -> Option<ProbeCheck<'_>> {
        let mut checks = self.checks();
        let first = checks.next();
        if checks.next().is_some() { None } else { first }
    }

    pub(super) fn checks(&self) -> impl Iterator<Item = ProbeCheck<'_>> {
        [
            self.http.as_ref().map(ProbeCheck::Http),
            self.tcp.as_ref().map(ProbeCheck::Tcp),
            self.command.as_ref().map(ProbeCheck::Command),
            self.prometheus.as_ref().map(ProbeCheck::Prometheus),
            self.load.as_ref().map(ProbeCheck::Load),
        ]
        .into_iter()
        .flatten()
    }

    /// Is it measured in that phase?
    pub fn runs_in(&self, phase: ProbePhase) -> bool {
        self.during.contains(&phase) || self.during.contains(&ProbePhase::Always)
    }
}

/// Parts of a run in which probes are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProbePhase {
    /// Baseline: before anything is broken.
    Before,
    /// While faults are active.
    Chaos,
    /// After the revert.
    After,
    /// In all three.
    Always,
}

/// An HTTP request and its expectation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpProbe {
    /// `http://` or `https://`.
    pub url: String,
    /// Method.
    #[serde(default)]
    pub method: Method,
    /// Request headers; values never reach logs or reports.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Request body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// What the answer must be.
    #[serde(default)]
    pub expect: HttpExpect,
}

/// HTTP methods of probes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// GET.
    #[default]
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
}

/// What an answer must be; every given field must hold. Without any: a status from 200 to 399.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpExpect {
    /// The status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 599))]
    pub status: Option<u16>,
    /// Headers that must be there with that value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// What the body must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyCheck>,
    /// The longest time to the last byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Span>,
}

/// What a body must hold; every given field must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BodyCheck {
    /// A part of the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// An RFC 9535 JSON path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_path: Option<String>,
    /// What the JSON path must select; without it, anything at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<serde_json::Value>,
}

/// A TCP connection that must open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpProbe {
    /// `host:port`.
    pub address: String,
}

/// A program that must exit with 0 (or the code expected).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommandProbe {
    /// Program and arguments; never read by a shell.
    pub argv: Vec<String>,
    /// The exit code that passes.
    #[serde(default)]
    pub exit_code: i32,
    /// A part of what it prints on standard output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout_contains: Option<String>,
}

/// An instant query whose one value is judged by `tolerance.value`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrometheusProbe {
    /// Base URL; the configured Prometheus when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// PromQL that gives one value.
    pub query: String,
}

/// Open-loop load: requests start on a fixed schedule, whatever the answers do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadProbe {
    /// `http://` or `https://`.
    pub url: String,
    /// Method.
    #[serde(default)]
    pub method: Method,
    /// Requests a second, 1 to 10000.
    #[serde(default = "default_rate")]
    #[schemars(range(min = 1, max = 10000))]
    pub rate: u32,
    /// What each answer must be; `latency` counts from the scheduled start.
    #[serde(default)]
    pub expect: HttpExpect,
}

fn default_rate() -> u32 {
    50
}

/// How much deviation is tolerated in each phase.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tolerance {
    /// The least share of measurements (of requests, for `load`) that must succeed; 100% when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<Percent>,
    /// Bounds on the measured value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Bounds>,
    /// Bounds on latency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyTolerance>,
}

/// Inclusive bounds; at least one is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bounds {
    /// The least value that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The largest value that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

impl Bounds {
    /// Is `value` within? Not a number never is.
    pub fn contain(&self, value: f64) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max) && !value.is_nan()
    }
}

/// Upper bounds on percentiles of latency over a phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LatencyTolerance {
    /// Median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50: Option<Span>,
    /// 95th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95: Option<Span>,
    /// 99th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99: Option<Span>,
}

//! The list of operations: every route of contract §4 that this build has.
//!
//! Owns paths and methods. Server, OpenAPI document and client take them from here, so none can have a route that the
//! others don't know.

use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use crate::{
    CreateQuery, DeleteQuery, EventsQuery, HealthQuery, JournalQuery, ListQuery, NamespaceQuery, ReportQuery,
    RunsQuery, TargetsQuery,
};

/// One method of one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Create an experiment and start it.
    CreateExperiment,
    /// List experiments.
    ListExperiments,
    /// One experiment with its latest run.
    GetExperiment,
    /// Stop, revert and delete an experiment.
    DeleteExperiment,
    /// Emergency stop of one experiment.
    StopExperiment,
    /// Emergency stop of all.
    StopAll,
    /// Runs of an experiment.
    ListRuns,
    /// Start an experiment again.
    StartRun,
    /// One run.
    GetRun,
    /// The journal of a run.
    GetRunEvents,
    /// The report of a run.
    GetRunReport,
    /// Events of every run, live.
    StreamEvents,
    /// Health score and signals.
    GetSystemHealth,
    /// The catalogue of faults.
    ListFaults,
    /// What could be hit.
    PreviewTargets,
    /// The process answers.
    GetLive,
    /// Runs can be started.
    GetReady,
    /// Prometheus metrics.
    GetMetrics,
    /// This document.
    GetOpenApi,
}

/// What a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// No body.
    None,
    /// An experiment document or the short form.
    Experiment,
    /// An optional reason.
    Stop,
}

/// A query parameter with its schema.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryParameter {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of its value.
    pub schema: Value,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Operation; 19] = [
        Self::CreateExperiment,
        Self::ListExperiments,
        Self::GetExperiment,
        Self::DeleteExperiment,
        Self::StopExperiment,
        Self::StopAll,
        Self::ListRuns,
        Self::StartRun,
        Self::GetRun,
        Self::GetRunEvents,
        Self::GetRunReport,
        Self::StreamEvents,
        Self::GetSystemHealth,
        Self::ListFaults,
        Self::PreviewTargets,
        Self::GetLive,
        Self::GetReady,
        Self::GetMetrics,
        Self::GetOpenApi,
    ];

    /// Its path, with `{name}` and `{id}` for what varies.
    pub fn path(self) -> &'static str {
        match self {
            Self::CreateExperiment | Self::ListExperiments => "/api/v1/experiments",
            Self::GetExperiment | Self::DeleteExperiment => "/api/v1/experiments/{name}",
            Self::StopExperiment => "/api/v1/experiments/{name}/stop",
            Self::StopAll => "/api/v1/stop",
            Self::ListRuns | Self::StartRun => "/api/v1/experiments/{name}/runs",
            Self::GetRun => "/api/v1/experiments/{name}/runs/{id}",
            Self::GetRunEvents => "/api/v1/experiments/{name}/runs/{id}/events",
            Self::GetRunReport => "/api/v1/experiments/{name}/runs/{id}/report",
            Self::StreamEvents => "/api/v1/events",
            Self::GetSystemHealth => "/api/v1/system/health",
            Self::ListFaults => "/api/v1/faults",
            Self::PreviewTargets => "/api/v1/targets",
            Self::GetLive => "/health",
            Self::GetReady => "/ready",
            Self::GetMetrics => "/metrics",
            Self::GetOpenApi => "/openapi.json",
        }
    }

    /// Its method, in lower case.
    pub fn method(self) -> &'static str {
        match self {
            Self::CreateExperiment | Self::StopExperiment | Self::StopAll | Self::StartRun => "post",
            Self::DeleteExperiment => "delete",
            _ => "get",
        }
    }

    /// It changes something, so it needs a token.
    pub fn writes(self) -> bool {
        self.method() != "get"
    }

    /// Its body.
    pub fn body(self) -> BodyKind {
        match self {
            Self::CreateExperiment => BodyKind::Experiment,
            Self::StopExperiment | Self::StopAll => BodyKind::Stop,
            _ => BodyKind::None,
        }
    }

    /// What it does, in one sentence.
    pub fn summary(self) -> &'static str {
        match self {
            Self::CreateExperiment => "Create an experiment from a document and start it.",
            Self::ListExperiments => "List experiments with their latest runs, by name.",
            Self::GetExperiment => "One experiment with its latest run.",
            Self::DeleteExperiment => {
                "Stop and revert what is active, then delete the experiment and its runs."
            }
            Self::StopExperiment => {
                "Stop the active run; answers when every fault is proven reverted or named."
            }
            Self::StopAll => "Stop every run; answers when every fault is proven reverted or named.",
            Self::ListRuns => "Runs of an experiment, the latest first.",
            Self::StartRun => "Start the experiment again with its latest document.",
            Self::GetRun => "One run.",
            Self::GetRunEvents => "The journal of a run; as server-sent events when those are accepted.",
            Self::GetRunReport => "The report of a run.",
            Self::StreamEvents => "Server-sent events of every run, resumable by Last-Event-ID.",
            Self::GetSystemHealth => "Health score and the signals behind it.",
            Self::ListFaults => "The catalogue of faults with JSON Schema of their parameters.",
            Self::PreviewTargets => "What a target matches and what would be drawn; changes nothing.",
            Self::GetLive => "The process answers.",
            Self::GetReady => "Journals can be written and runs be started.",
            Self::GetMetrics => "Metrics for Prometheus.",
            Self::GetOpenApi => "This document.",
        }
    }

    /// Its query parameters.
    pub fn parameters(self, generator: &mut SchemaGenerator) -> Vec<QueryParameter> {
        match self {
            Self::CreateExperiment | Self::StartRun => parameters::<CreateQuery>(generator),
            Self::ListExperiments => parameters::<ListQuery>(generator),
            Self::DeleteExperiment => parameters::<DeleteQuery>(generator),
            Self::GetExperiment | Self::GetRun | Self::StopExperiment => {
                parameters::<NamespaceQuery>(generator)
            }
            Self::ListRuns => parameters::<RunsQuery>(generator),
            Self::GetRunEvents => parameters::<JournalQuery>(generator),
            Self::GetRunReport => parameters::<ReportQuery>(generator),
            Self::StreamEvents => parameters::<EventsQuery>(generator),
            Self::GetSystemHealth => parameters::<HealthQuery>(generator),
            Self::PreviewTargets => parameters::<TargetsQuery>(generator),
            Self::StopAll
            | Self::ListFaults
            | Self::GetLive
            | Self::GetReady
            | Self::GetMetrics
            | Self::GetOpenApi => Vec::new(),
        }
    }
}

/// The fields of a query type, each with its own schema.
fn parameters<T: JsonSchema>(generator: &mut SchemaGenerator) -> Vec<QueryParameter> {
    let schema: Schema = T::json_schema(generator);
    let properties =
        schema.as_object().and_then(|object| object.get("properties")).and_then(Value::as_object);
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = schema.clone();
        let description = schema.as_object_mut().and_then(|object| object.remove("description"));
        let description = description.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
        QueryParameter { name: name.clone(), description, schema }
    };
    properties.into_iter().flatten().map(parameter).collect()
}

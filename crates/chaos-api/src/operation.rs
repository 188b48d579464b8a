//! The list of operations: every route of contract §4 that this build has.
//!
//! Owns paths, methods and who may call. Server, OpenAPI document and client take them from here, so none can have a
//! route that the others don't know, and no route can forget to ask who calls.

use chaos_core::access::Permission;
use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use crate::{
    AuditQuery, CreateQuery, DeleteQuery, EventsQuery, HealthQuery, IncidentQuery, IncidentsQuery,
    JournalQuery, ListQuery, NamespaceQuery, ReportQuery, RunsQuery, TargetsQuery,
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
    /// The safety lever.
    GetLever,
    /// Engage or release the safety lever.
    SetLever,
    /// Approve an experiment.
    ApproveExperiment,
    /// Tokens, without their secrets.
    ListTokens,
    /// Make a token.
    CreateToken,
    /// Replace a token by a new one.
    RotateToken,
    /// Revoke a token.
    RevokeToken,
    /// Entries of the audit log.
    ListAudit,
    /// Check the whole audit log.
    VerifyAudit,
    /// Incidents.
    ListIncidents,
    /// One incident.
    GetIncident,
    /// Close an incident.
    CloseIncident,
    /// Every host.
    ListAgents,
    /// An agent's door.
    ConnectAgent,
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
    /// Which way the lever is moved, and why.
    Lever,
    /// Which document was looked at, an optional reason, and how long it counts.
    Approval,
    /// Name, role and lifetime of a token.
    Token,
    /// What was found out.
    Close,
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
    pub const ALL: [Operation; 33] = [
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
        Self::GetLever,
        Self::SetLever,
        Self::ApproveExperiment,
        Self::ListTokens,
        Self::CreateToken,
        Self::RotateToken,
        Self::RevokeToken,
        Self::ListAudit,
        Self::VerifyAudit,
        Self::ListIncidents,
        Self::GetIncident,
        Self::CloseIncident,
        Self::ListAgents,
        Self::ConnectAgent,
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
            Self::GetLever | Self::SetLever => "/api/v1/lever",
            Self::ApproveExperiment => "/api/v1/experiments/{name}/approve",
            Self::ListTokens | Self::CreateToken => "/api/v1/tokens",
            Self::RotateToken => "/api/v1/tokens/{id}/rotate",
            Self::RevokeToken => "/api/v1/tokens/{id}",
            Self::ListAudit => "/api/v1/audit",
            Self::VerifyAudit => "/api/v1/audit/verify",
            Self::ListIncidents => "/api/v1/incidents",
            Self::GetIncident => "/api/v1/incidents/{id}",
            Self::CloseIncident => "/api/v1/incidents/{id}/close",
            Self::ListAgents => "/api/v1/agents",
            Self::ConnectAgent => "/api/v1/agents/connect",
            Self::GetLive => "/health",
            Self::GetReady => "/ready",
            Self::GetMetrics => "/metrics",
            Self::GetOpenApi => "/openapi.json",
        }
    }

    /// Its method, in lower case.
    pub fn method(self) -> &'static str {
        match self {
            Self::CreateExperiment
            | Self::StopExperiment
            | Self::StopAll
            | Self::StartRun
            | Self::ApproveExperiment
            | Self::CreateToken
            | Self::RotateToken
            | Self::CloseIncident => "post",
            Self::SetLever => "put",
            Self::DeleteExperiment | Self::RevokeToken => "delete",
            _ => "get",
        }
    }

    /// It changes something.
    pub fn writes(self) -> bool {
        self.method() != "get"
    }

    /// What a caller must be allowed to do; `None`: anybody may call, without a token, from anywhere. Releasing the
    /// lever and overrides need more than this, which the server asks for once it has read the request.
    pub fn permission(self) -> Option<Permission> {
        Some(match self {
            Self::GetLive | Self::GetReady | Self::GetMetrics | Self::GetSystemHealth => return None,
            Self::CreateExperiment | Self::StartRun | Self::DeleteExperiment => Permission::Run,
            Self::StopExperiment | Self::StopAll => Permission::Stop,
            Self::SetLever => Permission::EngageLever,
            Self::ApproveExperiment => Permission::Approve,
            Self::ListTokens | Self::CreateToken | Self::RotateToken | Self::RevokeToken => {
                Permission::ManageTokens
            }
            Self::CloseIncident => Permission::CloseIncident,
            Self::ConnectAgent => Permission::Connect,
            Self::ListExperiments
            | Self::GetExperiment
            | Self::ListRuns
            | Self::GetRun
            | Self::GetRunEvents
            | Self::GetRunReport
            | Self::StreamEvents
            | Self::ListFaults
            | Self::PreviewTargets
            | Self::GetLever
            | Self::ListAudit
            | Self::VerifyAudit
            | Self::ListIncidents
            | Self::GetIncident
            | Self::ListAgents
            | Self::GetOpenApi => Permission::Read,
        })
    }

    /// Its body.
    pub fn body(self) -> BodyKind {
        match self {
            Self::CreateExperiment => BodyKind::Experiment,
            Self::StopExperiment | Self::StopAll => BodyKind::Stop,
            Self::SetLever => BodyKind::Lever,
            Self::ApproveExperiment => BodyKind::Approval,
            Self::CreateToken => BodyKind::Token,
            Self::CloseIncident => BodyKind::Close,
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
            Self::GetLever => "The safety lever: engaged, nothing runs.",
            Self::SetLever => {
                "Engage the safety lever, which stops every run and answers when every fault is proven reverted or \
                 named, or release it, which needs an operator."
            }
            Self::ApproveExperiment => {
                "Consent to the document that is registered, if it is the one that was looked at."
            }
            Self::ListTokens => "Tokens, the revoked ones among them, without their secrets.",
            Self::CreateToken => "Make a token; this answer alone has its secret.",
            Self::RotateToken => {
                "Replace a token by one with the same name, role and lifetime; the old one is not taken any more."
            }
            Self::RevokeToken => "Revoke a token: it is not taken any more from now on.",
            Self::ListAudit => "Entries of the audit log, in order.",
            Self::VerifyAudit => "Check every entry of the audit log against the hash chain.",
            Self::ListIncidents => "Incidents, the latest first.",
            Self::GetIncident => "One incident; as a post-mortem skeleton with `format=md`.",
            Self::CloseIncident => "Close an incident with what was found out.",
            Self::ListAgents => "Every host that is or was connected: what it can do, allows and holds.",
            Self::ConnectAgent => "The door for the agent of another host: upgrades to a WebSocket.",
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
            Self::GetExperiment | Self::GetRun | Self::StopExperiment | Self::ApproveExperiment => {
                parameters::<NamespaceQuery>(generator)
            }
            Self::ListRuns => parameters::<RunsQuery>(generator),
            Self::GetRunEvents => parameters::<JournalQuery>(generator),
            Self::GetRunReport => parameters::<ReportQuery>(generator),
            Self::StreamEvents => parameters::<EventsQuery>(generator),
            Self::GetSystemHealth => parameters::<HealthQuery>(generator),
            Self::PreviewTargets => parameters::<TargetsQuery>(generator),
            Self::ListAudit => parameters::<AuditQuery>(generator),
            Self::ListIncidents => parameters::<IncidentsQuery>(generator),
            Self::GetIncident => parameters::<IncidentQuery>(generator),
            Self::StopAll
            | Self::ListFaults
            | Self::GetLever
            | Self::SetLever
            | Self::ListTokens
            | Self::CreateToken
            | Self::RotateToken
            | Self::RevokeToken
            | Self::VerifyAudit
            | Self::CloseIncident
            | Self::ListAgents
            | Self::ConnectAgent
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

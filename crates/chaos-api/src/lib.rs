//! The HTTP API: its wire types, its OpenAPI document and its client.
//!
//! Owns every name on the wire of contract §4. What is already a record of [`chaos_core`] is used as it is. It never
//! serves a request and never decides anything.

mod access;
mod client;
mod event;
mod experiment;
mod faults;
#[doc(hidden)]
pub mod foreign;
mod openapi;
mod operation;
mod problem;
mod query;
mod records;
mod run;
mod safety;
mod system;
mod targets;

pub use access::{NewToken, TokenInfo, TokenRequest};
pub use client::{Client, ClientError, Endpoint, EndpointError, Page};
pub use event::EventEnvelope;
pub use experiment::{
    DryRun, ExperimentBody, ExperimentDetail, ExperimentRecord, StopRequest, StopResponse, StoppedRun,
};
pub use faults::{FaultDescription, ParameterDescription, catalogue};
pub use openapi::openapi;
pub use operation::{BodyKind, Operation, QueryParameter};
pub use problem::{PROBLEM_MEDIA_TYPE, Problem, ProblemCode};
pub use query::{
    AuditQuery, CreateQuery, DeleteQuery, EventsQuery, HealthQuery, IncidentQuery, IncidentsQuery,
    JournalQuery, ListQuery, NamespaceQuery, ReportFormat, ReportQuery, RunsQuery, TargetsQuery,
};
pub use records::{AuditVerification, CloseRequest, IncidentFormat};
pub use run::{ProbeResult, RunDetail};
pub use safety::{ApprovalRequest, LeverRequest, LeverResponse};
pub use system::{BreakerState, Live, ServerInfo, SystemHealth};
pub use targets::TargetsPreview;

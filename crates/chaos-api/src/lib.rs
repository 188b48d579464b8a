//! The HTTP API: its wire types, its OpenAPI document and its client.
//!
//! Owns every name on the wire of contract §4. What is already a record of [`chaos_core`] is used as it is. It never
//! serves a request and never decides anything.

mod client;
mod event;
mod experiment;
mod faults;
mod openapi;
mod operation;
mod problem;
mod query;
mod run;
mod system;
mod targets;

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
    CreateQuery, DeleteQuery, EventsQuery, HealthQuery, JournalQuery, ListQuery, NamespaceQuery,
    ReportFormat, ReportQuery, RunsQuery, TargetsQuery,
};
pub use run::{ProbeResult, RunDetail};
pub use system::{BreakerState, Live, ServerInfo, SystemHealth};
pub use targets::TargetsPreview;

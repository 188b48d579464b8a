//! Incidents: the record of a run that a guardrail ended or whose undo is not proven.
//!
//! Owns the shape. What goes into one is read from a finished journal by the analysis; a store keeps it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::run::RunId;
use crate::safety::{Decision, Health};
use crate::spec::ExperimentKey;

/// The annotation of an experiment that names what to do when it goes wrong, as alerting rules have it.
pub const RUNBOOK_ANNOTATION: &str = "runbook_url";

/// Why there is an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentCause {
    /// A guardrail ended the run.
    Guardrail,
    /// The undo of a fault is not proven.
    RevertIncomplete,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentStatus {
    /// Somebody has to look at it.
    Open,
    /// Somebody did.
    Closed,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentEntry {
    /// When.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// Milliseconds of the run's time.
    pub elapsed_ms: u64,
    /// What, in one line.
    pub text: String,
}

/// An incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Incident {
    /// Its id: `inc-` and the id of the run.
    pub id: String,
    /// The run that it is about.
    pub run: RunId,
    /// Its experiment.
    pub experiment: ExperimentKey,
    /// Why.
    pub cause: IncidentCause,
    /// In one line.
    pub summary: String,
    /// What was hit.
    pub targets: Vec<String>,
    /// What to do, as the experiment's `runbook_url` annotation says.
    pub runbook: Option<String>,
    /// What happened, in order.
    pub timeline: Vec<IncidentEntry>,
    /// What was decided before the start and during the run.
    pub decisions: Vec<Decision>,
    /// Health before the start.
    pub health_before: Option<Health>,
    /// The latest health.
    pub health_after: Option<Health>,
    /// How it stands.
    pub status: IncidentStatus,
    /// When it was opened.
    #[schemars(with = "String")]
    pub opened_at: Timestamp,
    /// When it was closed.
    #[schemars(with = "Option<String>")]
    pub closed_at: Option<Timestamp>,
    /// Who closed it.
    pub closed_by: Option<String>,
    /// What was found out.
    pub note: Option<String>,
}

impl Incident {
    /// The id of the incident of a run.
    pub fn id_of(run: &RunId) -> String {
        format!("inc-{run}")
    }
}

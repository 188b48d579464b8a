//! Audit log and incidents as the API takes and shows them.
//!
//! Owns what is asked and answered beside the entries and incidents themselves, which are [`chaos_core`]'s.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What came of checking the whole audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditVerification {
    /// Every entry is as it was written, and none is missing.
    pub intact: bool,
    /// Entries that were checked; when the log was changed, those before the first that does not fit.
    pub entries: u64,
    /// The first entry that is not as it was written.
    pub tampered_at: Option<u64>,
    /// What does not fit.
    pub reason: Option<String>,
}

/// The body of `POST /api/v1/incidents/{id}/close`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseRequest {
    /// What was found out, at most 10 000 characters.
    pub note: String,
}

/// Forms of an incident.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentFormat {
    /// For programs.
    #[default]
    Json,
    /// The skeleton of a post-mortem, in Markdown.
    Md,
}

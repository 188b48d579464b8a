//! The report as JSON: the measures as they are, under a version.
//!
//! Owns the version. Fields are added without raising it, never renamed nor removed.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use super::ReportError;
use crate::measures::Measures;

/// Version of the report's shape.
pub const SCHEMA_VERSION: u32 = 1;

/// A report as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JsonReport {
    /// Always [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Everything else.
    #[serde(flatten)]
    pub measures: Measures,
}

/// JSON Schema of a report.
pub fn schema() -> Schema {
    schemars::schema_for!(JsonReport)
}

pub(super) fn write(run: &Measures) -> Result<String, ReportError> {
    let report = JsonReport { schema_version: SCHEMA_VERSION, measures: run.clone() };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

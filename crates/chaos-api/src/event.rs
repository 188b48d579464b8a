//! One event of the stream of all runs.
//!
//! Owns its shape. Its position is the `id:` of the server-sent event, by which a client goes on after a break.

use chaos_core::journal::{Record, RunSummary};
use chaos_core::run::RunId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A journal record with its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventEnvelope {
    /// Position over all journals, ascending, with gaps only where runs were deleted.
    pub position: u64,
    /// The run.
    pub run: RunId,
    /// Its experiment.
    pub name: String,
    /// The namespace of that.
    pub namespace: String,
    /// What happened.
    pub record: Record,
    /// The run as it is now, which may be later than the record.
    pub summary: RunSummary,
}

impl EventEnvelope {
    /// `event:` of the server-sent event.
    pub const NAME: &'static str = "record";
}

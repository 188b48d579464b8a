//! The safety lever and approvals: what people decide about all runs, and about one.
//!
//! Owns their shapes and the hash that an approval is bound to. It never stops a run.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::audit::hex;
use crate::spec::{Experiment, ExperimentKey};

/// Longest reason that is kept, in characters.
pub const REASON_CHARS_MAX: usize = 500;

/// The safety lever of an installation. Engaged, it ends every run and lets none start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lever {
    /// Nothing may run.
    pub engaged: bool,
    /// Why it was moved.
    pub reason: String,
    /// Who moved it.
    pub actor: String,
    /// When.
    #[schemars(with = "String")]
    pub at: Timestamp,
}

impl Lever {
    /// One that nobody ever moved.
    pub fn untouched() -> Self {
        Self { engaged: false, reason: String::new(), actor: String::new(), at: Timestamp::UNIX_EPOCH }
    }
}

/// Somebody's consent to one document, as it is: a changed document needs another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// The experiment.
    pub experiment: ExperimentKey,
    /// [`document_hash`] of what was approved.
    pub document_hash: String,
    /// Who approved it.
    pub approver: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// From when on it does not count any more.
    #[schemars(with = "String")]
    pub expires_at: Timestamp,
}

/// SHA-256 of a document with every default filled in, in lower-case hexadecimal digits.
pub fn document_hash(experiment: &Experiment) -> String {
    // Fields have a fixed order and maps are sorted, so the same document is the same text.
    let text = serde_json::to_vec(experiment).unwrap_or_default();
    hex(&Sha256::digest(&text))
}

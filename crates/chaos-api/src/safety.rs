//! The safety lever and approvals as the API takes and shows them.
//!
//! Owns the bodies. What a lever and an approval are is [`chaos_core::safety`]'s.

use chaos_core::duration::Span;
use chaos_core::safety::Lever;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::StopResponse;

/// The body of `PUT /api/v1/lever`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeverRequest {
    /// `true` ends every run and lets none start, `false` lets runs start again.
    pub engaged: bool,
    /// Why, in words, at most 500 characters.
    pub reason: String,
}

/// How moving the lever went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LeverResponse {
    /// The lever now.
    #[serde(flatten)]
    pub lever: Lever,
    /// What was stopped by engaging it; nothing when it was released.
    #[serde(flatten)]
    pub stopped: StopResponse,
}

/// The body of `POST /api/v1/experiments/{name}/approve`, which may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRequest {
    /// Hash of the document that was looked at, as `document_hash` of the experiment shows it: when another one is
    /// registered by now, nothing is approved. The document that is registered, whichever that is, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_hash: Option<String>,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How long the consent counts, at most 7 days; a day when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for: Option<Span>,
}

//! Tokens as the API shows them.
//!
//! Owns what of a token leaves the server: everything but its hash, and its secret once.

use std::fmt;

use chaos_core::access::{Role, TokenRecord};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is known of a token; never the token itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenInfo {
    /// Short public id, the first part of the token.
    pub id: String,
    /// Whose it is.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// From when on it is not taken any more; `null`: never.
    #[schemars(with = "Option<String>")]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    #[schemars(with = "Option<String>")]
    pub revoked_at: Option<Timestamp>,
    /// It is taken now.
    pub valid: bool,
}

impl TokenInfo {
    /// What may be shown of a record.
    pub fn of(record: &TokenRecord, now: Timestamp) -> Self {
        Self {
            id: record.id.clone(),
            name: record.name.clone(),
            role: record.role,
            created_at: record.created_at,
            created_by: record.created_by.clone(),
            expires_at: record.expires_at,
            revoked_at: record.revoked_at,
            valid: record.is_valid(now),
        }
    }
}

/// The body of `POST /api/v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// Whose it is: 1 to 63 of `a-z 0-9 - _ . @`, a letter or digit first; unique among the tokens that are not revoked.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// From when on it is not taken any more, at most ten years from now; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub expires_at: Option<Timestamp>,
}

/// A token that was just made: the only answer that ever has the secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewToken {
    /// What is known of it from now on.
    #[serde(flatten)]
    pub info: TokenInfo,
    /// The token itself, `chaos_<id>_<secret>`, for the `Authorization: Bearer` header.
    pub token: String,
}

impl fmt::Debug for NewToken {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewToken").field("info", &self.info).finish_non_exhaustive()
    }
}

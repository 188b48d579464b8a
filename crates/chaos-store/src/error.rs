//! How a failure of the database becomes the error of the port.
//!
//! Owns the choice between a failure (trying again may help) and a refusal (it can't).

use std::fmt::Display;

use chaos_core::port::StoreError;

/// Something went wrong below; trying again may help.
pub(crate) fn failed(action: impl Into<String>, cause: impl Display) -> StoreError {
    StoreError { action: action.into(), reason: cause.to_string(), conflict: false }
}

/// What is asked for contradicts what is stored; trying again can't help.
pub(crate) fn refused(action: impl Into<String>, reason: impl Into<String>) -> StoreError {
    StoreError { action: action.into(), reason: reason.into(), conflict: true }
}

/// Why there is no connection that may write.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The database can't be reached, or does not do what it was asked.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// Somebody else writes to it.
    #[error("{0}")]
    Owned(String),
}

impl ConnectError {
    pub(crate) fn while_doing(self, action: impl Into<String>) -> StoreError {
        match self {
            Self::Database(error) => failed(action, error),
            Self::Owned(reason) => refused(action, reason),
        }
    }
}

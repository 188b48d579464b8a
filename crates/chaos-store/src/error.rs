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

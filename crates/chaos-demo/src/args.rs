//! Owns the reading of `--key value` lists, strictly. It never knows which keys exist.

use std::{str::FromStr, time::Duration};

/// Why an argument list was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum UsageError {
    /// Not one of ours.
    #[error("unknown argument {0:?}; see --help")]
    Unknown(String),
    /// The list ended after a key.
    #[error("{0} needs a value")]
    NoValue(String),
    /// The value can't be read or is out of bounds.
    #[error("{key} {value:?}: {expected}")]
    Bad {
        /// The key as written.
        key: String,
        /// The value as written.
        value: String,
        /// What would have been accepted.
        expected: &'static str,
    },
}

/// One `--key value`.
pub(crate) struct Pair<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: &'a str,
}

impl Pair<'_> {
    /// The value as a `T`, or an error that says what was `expected`.
    pub(crate) fn parse<T: FromStr>(&self, expected: &'static str) -> Result<T, UsageError> {
        self.value.parse().map_err(|_| self.bad(expected))
    }

    /// A positive number of milliseconds.
    pub(crate) fn millis(&self) -> Result<Duration, UsageError> {
        match self.parse::<u32>("expected milliseconds from 1 to 60000")? {
            millis @ 1..=60_000 => Ok(Duration::from_millis(millis.into())),
            _ => Err(self.bad("expected milliseconds from 1 to 60000")),
        }
    }

    /// `on` or `off`.
    pub(crate) fn switch(&self) -> Result<bool, UsageError> {
        match self.value {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(self.bad("expected on or off")),
        }
    }

    pub(crate) fn bad(&self, expected: &'static str) -> UsageError {
        UsageError::Bad { key: self.key.to_owned(), value: self.value.to_owned(), expected }
    }

    pub(crate) fn unknown(&self) -> UsageError {
        UsageError::Unknown(self.key.to_owned())
    }
}

/// The arguments as pairs; what does not start with `--` in a key's place is an error.
pub(crate) fn pairs(arguments: &[String]) -> Result<Vec<Pair<'_>>, UsageError> {
    arguments
        .chunks(2)
        .map(|chunk| match chunk {
            [key, _] | [key] if !key.starts_with("--") => Err(UsageError::Unknown(key.clone())),
            [key, value] => Ok(Pair { key, value }),
            _ => Err(UsageError::NoValue(chunk.concat())),
        })
        .collect()
}

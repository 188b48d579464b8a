//! How the program ends: what went wrong in words, and the one translation into exit codes.
//!
//! Owns the codes of the command line. It never decides a verdict.

use std::fmt;
use std::path::PathBuf;

use chaos_api::ClientError;
use chaos_core::spec::DocumentError;

/// Internal error.
pub(crate) const INTERNAL: u8 = 1;
/// Usage or invalid document.
pub(crate) const USAGE: u8 = 2;
/// A weakness was found, or another verdict than `--expect` says.
pub(crate) const DEVIATED: u8 = 3;
/// A guardrail or a hand ended it.
pub(crate) const STOPPED: u8 = 4;
/// A gate refused the start.
pub(crate) const BLOCKED: u8 = 5;
/// An undo is not proven.
pub(crate) const REVERT_INCOMPLETE: u8 = 7;

/// Exit codes from worst to best: what needs hands first, then what kept the run from happening, then what it found.
const WORST_FIRST: [u8; 11] =
    [REVERT_INCOMPLETE, 129, 143, 130, INTERNAL, USAGE, DEVIATED, STOPPED, BLOCKED, 6, 0];

/// The worst of several exit codes; 0 when there is none.
pub(crate) fn worst(codes: impl IntoIterator<Item = u8>) -> u8 {
    let rank = |code: &u8| WORST_FIRST.iter().position(|one| one == code).unwrap_or(WORST_FIRST.len() - 1);
    codes.into_iter().min_by_key(rank).unwrap_or(0)
}

/// The exit code of work that is done, whose result could not be printed perhaps: that must not hide anything worse.
pub(crate) fn after_printing(printed: Result<(), Failure>, code: u8) -> u8 {
    match printed {
        Ok(()) => code,
        Err(failure) => {
            crate::output::complain(&format!("error: {failure}"));
            worst([code, failure.code()])
        }
    }
}

/// Why a verb could not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line, a file or the configuration is wrong: what, in words.
    Usage(String),
    /// Defects of an input.
    Document {
        /// Where it came from.
        source: String,
        /// What is wrong with it.
        errors: Vec<DocumentError>,
    },
    /// The server could not be asked, or refused.
    Client(ClientError),
    /// A file could not be read or written.
    File {
        /// What was attempted.
        action: &'static str,
        /// On which.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Everything else.
    Other(anyhow::Error),
}

impl Failure {
    /// A mistake of the caller.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// A file that could not be dealt with.
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::File { action, path: path.into(), source }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Document { .. } => USAGE,
            Self::File { action, source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::IsADirectory if *action == "read" => USAGE,
                _ => INTERNAL,
            },
            Self::Client(error) => error.exit_code(),
            Self::Other(_) => INTERNAL,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => f.write_str(text),
            Self::Document { source, errors } => {
                let lines: Vec<String> = errors.iter().map(|error| format!("{source}: {error}")).collect();
                f.write_str(&lines.join("\n"))
            }
            Self::Client(ClientError::Problem(problem)) if problem.detail.is_empty() => {
                f.write_str(&problem.title)
            }
            Self::Client(error) => error.fmt(f),
            Self::File { action, path, source } => write!(f, "cannot {action} {}: {source}", path.display()),
            Self::Other(error) => write!(f, "{error:#}"),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unproven_undo_outweighs_everything() {
        assert_eq!(worst([0, 3, 7, 1]), 7);
        assert_eq!(worst([0, 6, 5]), 5);
        assert_eq!(worst([3, 2]), 2);
        assert_eq!(worst([]), 0);
    }
}

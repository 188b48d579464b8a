//! Why a conversation with nf_tables failed: what was attempted, on what, and what the kernel said.

use nix::errno::Errno;

/// Failure of an operation on our table.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NftError {
    /// The netlink socket could not be made or set up.
    #[error("could not {attempted} for nf_tables: {source}")]
    Socket {
        /// The step that failed.
        attempted: &'static str,
        /// What the kernel answered.
        source: Errno,
    },
    /// A network namespace could not be entered.
    #[error("could not {attempted}: {source}")]
    Namespace {
        /// The step that failed.
        attempted: &'static str,
        /// What the kernel answered.
        source: Errno,
    },
    /// The kernel refused one message of a batch, so nothing of the batch was applied.
    #[error("nf_tables refused to {attempted}: {source}{}", in_brackets(detail.as_deref()))]
    Refused {
        /// The message that was refused, in words.
        attempted: String,
        /// The kernel's own explanation, where it gave one.
        detail: Option<String>,
        /// The error number.
        source: Errno,
    },
    /// The kernel did not answer within the bound on one exchange.
    #[error("nf_tables did not answer within {waited_ms} ms when asked to {attempted}")]
    NoAnswer {
        /// What was asked.
        attempted: String,
        /// How long was waited, in milliseconds.
        waited_ms: u64,
    },
    /// Others kept changing the rule set faster than it could be read or guarded.
    #[error("the rule set kept changing while trying to {attempted}; gave up after {attempts} attempts")]
    Contended {
        /// What was attempted.
        attempted: &'static str,
        /// How many times.
        attempts: u32,
    },
    /// A specification that cannot be expressed, or that exceeds a named limit.
    #[error("this partition cannot be installed: {reason}")]
    Invalid {
        /// Why.
        reason: String,
    },
    /// The elements were sent, and the kernel accepted them, but reading back did not show them.
    #[error("{injection}: {expected} elements were written and {found} read back with the new lease")]
    NotInEffect {
        /// The injection's name.
        injection: String,
        /// Elements that were written.
        expected: usize,
        /// Elements the kernel shows with the new lease.
        found: usize,
    },
}

impl NftError {
    /// Whether the kernel said that the thing to be changed is not there (any more).
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Refused { source: Errno::ENOENT, .. })
    }

    /// Whether the kernel may have made the change all the same.
    pub(super) fn leaves_doubt(&self) -> bool {
        matches!(self, Self::NoAnswer { .. } | Self::Socket { .. })
    }

    /// Whether the rule set changed after its generation was read.
    pub(super) fn outdated(&self) -> bool {
        matches!(self, Self::Refused { source: Errno::ERESTART, .. })
    }
}

fn in_brackets(detail: Option<&str>) -> String {
    detail.map(|text| format!(" ({text})")).unwrap_or_default()
}

//! What this process may do, by its effective capabilities. It never raises or drops one.

use super::{SysError, proc};

/// The capabilities that faults need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Signals to processes of others.
    Kill,
    /// Network administration: nftables, queueing disciplines.
    NetAdmin,
    /// Raw sockets.
    NetRaw,
    /// Tracing processes of others.
    SysPtrace,
    /// Namespaces, mounts, cgroups.
    SysAdmin,
    /// Lowering an OOM score, raising limits.
    SysResource,
    /// Reading and writing past file permissions.
    DacOverride,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Kill,
        Self::NetAdmin,
        Self::NetRaw,
        Self::SysPtrace,
        Self::SysAdmin,
        Self::SysResource,
        Self::DacOverride,
    ];

    /// The name that manuals use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "CAP_KILL",
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::NetRaw => "CAP_NET_RAW",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::SysResource => "CAP_SYS_RESOURCE",
            Self::DacOverride => "CAP_DAC_OVERRIDE",
        }
    }

    /// Number of the bit in `CapEff`.
    fn bit(self) -> u32 {
        match self {
            Self::DacOverride => 1,
            Self::Kill => 5,
            Self::NetAdmin => 12,
            Self::NetRaw => 13,
            Self::SysPtrace => 19,
            Self::SysAdmin => 21,
            Self::SysResource => 24,
        }
    }
}

/// True when this process has the capability in effect.
#[must_use]
pub fn has(capability: Capability) -> bool {
    proc::status(super::own_pid())
        .is_ok_and(|status| status.effective_capabilities & (1 << capability.bit()) != 0)
}

/// Fails with a typed error when this process lacks the capability.
///
/// # Errors
/// [`SysError::NotPermitted`] naming the capability and what it was wanted for.
pub fn require(capability: Capability, attempted: &str) -> Result<(), SysError> {
    if has(capability) {
        return Ok(());
    }
    Err(SysError::NotPermitted { attempted: attempted.to_owned(), needs: Some(capability.name()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_that_is_missing_is_named() {
        for capability in Capability::ALL {
            match require(capability, "testing") {
                Ok(()) => assert!(has(capability)),
                Err(error) => assert!(error.to_string().contains(capability.name()) && !has(capability)),
            }
        }
    }
}

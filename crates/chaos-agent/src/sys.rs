//! The kernel's edge: typed, bounded wrappers of `/proc`, pidfds, ptrace, cgroups, fork and small file
//! operations. The only place of the product with `unsafe` code. It decides nothing: what a fault is, when
//! it ends and what may be hit is said elsewhere.
#![expect(unsafe_code, reason = "system calls that no safe crate wraps; each block says why it is sound")]

pub mod capability;
pub mod cgroup;
pub mod error;
pub mod files;
pub mod kernel;
pub mod namespace;
pub mod nft;
pub mod pause;
pub mod pidfd;
pub mod private;
pub mod proc;
pub mod supervision;
pub mod worker;

pub use error::SysError;

/// What identifies a process for its whole life: a pid alone is reused.
pub use chaos_core::target::ProcessRef as Identity;

/// This process' own pid.
#[must_use]
pub fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

#[cfg(test)]
pub(crate) mod testing;

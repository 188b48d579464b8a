//! The node agent: fault processes, undo records, host targets.
//!
//! Owns everything that changes this host and the way back. A fault is made by a small process of its own
//! ([`holder`]) from one file per fault ([`faults`]), written down before it is made ([`undo`]), held as a lease, and
//! undone by that process, by the node that started it ([`local`]), by the next start ([`sweep`]), or by the kernel.
//! [`link`] puts the node at the end of a link to a server, in the same process or over a WebSocket; [`lock`] keeps the
//! state folder for one owner. Nothing outside of [`sys`] holds unsafe code.

pub mod doctor;
pub mod faults;
#[doc(hidden)]
pub mod foreign;
pub mod holder;
pub mod host;
pub mod link;
pub mod local;
pub mod lock;
#[cfg(test)]
mod scripted;
pub mod sweep;
pub mod sys;
pub mod undo;

use std::path::PathBuf;

/// Where state is kept when nobody says otherwise: `/var/lib/chaos` for root, else below the user's state folder.
#[must_use]
pub fn default_state_dir() -> PathBuf {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if nix::unistd::geteuid().is_root() {
        return PathBuf::from("/var/lib/chaos");
    }
    let state = folder("XDG_STATE_HOME").filter(|folder| folder.is_absolute());
    let state = state.or_else(|| folder("HOME").map(|home| home.join(".local/state")));
    state.unwrap_or_else(std::env::temp_dir).join("chaos")
}

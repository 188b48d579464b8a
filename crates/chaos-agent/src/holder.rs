//! The fault process: it makes the faults of one run on this node, holds them, and undoes them on its own deadline,
//! on request, at the end of its lease and when its parent dies. One thread, no runtime, nothing inherited but the
//! control socket; it never outlives its last injection.
//!
//! It is the same executable run again under another name, so that no second binary has to be found. What it decides
//! is in [`session`], which knows the world only through a trait; the process around that is a thin shell.

mod injection;
pub mod session;
mod shell;
pub(crate) mod wire;
pub mod world;

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::sys::{SysError, supervision};

/// `argv[0]` of a fault process.
pub const NAME: &str = "chaos-holder";

/// Runs this process as a fault process when it was started as one. To be called first in `main`, before any
/// argument is parsed, any thread started or any file opened.
#[must_use]
pub fn run_if_holder() -> Option<ExitCode> {
    if std::env::args_os().next()? != NAME {
        return None;
    }
    Some(match run() {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads what a fault process prints; the parent sees it end and undoes from the records.
        Err(_) => ExitCode::FAILURE,
    })
}

/// The control socket is standard input: the one descriptor that every way of starting a process can hand over.
fn run() -> Result<(), SysError> {
    supervision::close_leaked_descriptors()?;
    nix::unistd::setsid().map_err(|errno| SysError::io("starting a session", errno))?;
    nix::unistd::chdir("/").map_err(|errno| SysError::io("leaving the folder", errno))?;
    let name = std::ffi::CString::new(NAME).unwrap_or_default();
    nix::sys::prctl::set_name(&name).map_err(|errno| SysError::io("naming the process", errno))?;
    // The last to be taken when memory runs out; only root may ask for it.
    let _ = crate::sys::worker::set_oom_score(crate::sys::own_pid(), -1000);
    let control = std::io::stdin().as_fd().try_clone_to_owned();
    let control = control.map_err(|source| SysError::io("taking the control socket", source))?;
    shell::Shell::open(UnixStream::from(control))?.run()
}

/// Time since boot, which never jumps and is the same for every process of this host.
pub(crate) fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
}

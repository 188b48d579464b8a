//! `orchestrator`: a small real service for `chaos demo` to break.
//!
//! One process is supervisor and balancer, its children are the replicas; all of them are the calling
//! executable started again with `orchestrator` as `argv[0]`. This crate owns that system and the handle
//! that starts and stops it. It never injects a fault and knows nothing of experiments.
//!
//! ```text
//! caller ──Orchestrator::start──▶ orchestrator (supervisor + balancer, public port)
//!                                   ├─▶ orchestrator replica --index 0   (traffic port, admin port)
//!                                   └─▶ orchestrator replica --index …   one worker pool, one cgroup each
//! ```

mod args;
mod balancer;
mod breaker;
mod budget;
mod cgroup;
mod client;
mod config;
mod handle;
mod health;
mod processes;
mod replica;
mod supervisor;
mod wire;

use std::{ffi::OsStr, io::Write as _, path::Path, process::ExitCode};

pub use breaker::State as BreakerState;
pub use client::AskError;
pub use config::{Config, DEFAULT_PORT, MAX_REPLICAS, Tuning};
pub use handle::{Handle, Orchestrator, StartError, StopError};
pub use wire::{FleetHealth, ReplicaInfo};

/// The `argv[0]` that turns the host executable into this system.
pub const NAME: &str = "orchestrator";

/// Exit code for arguments that make no sense.
const USAGE: u8 = 2;

/// Whether a process that was started with this `argv[0]` is to be the demo system.
#[must_use]
pub fn is_orchestrator(argv0: &OsStr) -> bool {
    Path::new(argv0).file_name() == Some(OsStr::new(NAME))
}

/// Runs the role that `arguments` (without `argv[0]`) name until it ends: `replica …` or, by default, the
/// supervisor with the balancer. Call it before any thread or runtime of the host program exists.
pub fn main(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    // Re-executed through /proc/self/exe the kernel would call us "exe"; a failure costs only the name.
    let _ = nix::sys::prctl::set_name(c"orchestrator");
    let arguments: Vec<String> = arguments.into_iter().collect();
    let outcome = match arguments.split_first() {
        Some((first, _)) if first == "--help" || first == "-h" => {
            let _ = writeln!(std::io::stdout(), "{}", config::USAGE);
            return ExitCode::SUCCESS;
        }
        Some((role, rest)) if role == "replica" => {
            replica::Settings::parse(rest).map(|settings| replica::run(&settings))
        }
        _ => Config::from_args(&arguments).map(|config| supervisor::run(&config)),
    };
    match outcome {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => {
            complain(&format!("{failure:#}"));
            ExitCode::FAILURE
        }
        Err(usage) => {
            complain(&usage.to_string());
            ExitCode::from(USAGE)
        }
    }
}

/// One line on standard error; losing it is no reason to die.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{NAME}[{}]: {line}", std::process::id());
}

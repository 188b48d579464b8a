//! `chaos-agent`: the node agent's own small program.
//!
//! Owns its command line. It never listens; without a command it says what it can do.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use chaos_agent::{doctor, holder, sweep};
use chaos_core::run::InjectionState;

const USAGE: &str = "usage: chaos-agent recover [--state DIR] [--force] | doctor | --version";
/// Something could not be undone.
const EXIT_REVERT_INCOMPLETE: u8 = 7;

fn main() -> ExitCode {
    if let Some(code) = holder::run_if_holder() {
        return code;
    }
    run().unwrap_or_else(|error| {
        eprintln!("chaos-agent: {error:#}");
        ExitCode::FAILURE
    })
}

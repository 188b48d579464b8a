//! The soak: faults on real systems while processes of ours are killed, and the proof that nothing is left.
//!
//! Owns the program behind `cargo xtask soak`. It runs in a room, kills only what is in there, and never judges by
//! anything but snapshots.

mod ledger;
mod plant;
mod steps;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

use crate::world::World;
use crate::{node, room};

/// Longest life of a whole soak.
const LIMIT: Duration = Duration::from_secs(3600);

/// Arguments of the program.
#[derive(Debug, Clone, Parser)]
#[command(name = "soak", about = "Kills our own processes at random during faults, and looks for what is left")]
pub struct Arguments {
    /// How many kills at random points
    #[arg(long, default_value_t = 200)]
    pub kills: u32,
    /// Where chance begins; drawn and printed when absent
    #[arg(long)]
    pub seed: Option<u64>,
    /// Instead kill fault processes at each of their steps, one after the other
    #[arg(long)]
    pub steps: bool,
    /// With --steps: only every n-th step
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub every: u32,
    /// Leave something behind on purpose: the soak must then fail
    #[arg(long, value_enum, value_name = "WHAT")]
    pub plant: Option<plant::Plant>,
    /// The program `chaos`
    #[arg(long, default_value = "chaos", value_name = "FILE")]
    pub chaos: PathBuf,
}

/// The program `soak`, in all its roles.
#[must_use]
#[expect(clippy::print_stderr, reason = "a program that talks to whoever runs it")]
pub fn main() -> ExitCode {
    if let Some(code) = chaos_agent::holder::run_if_holder() {
        return code;
    }
    let role = std::env::args_os().next().unwrap_or_default();
    if chaos_demo::is_orchestrator(&role) {
        return chaos_demo::main(std::env::args().skip(1));
    }
    if role == node::NAME {
        return node::main();
    }
    let arguments = Arguments::parse();
    match if room::is_inside() { inside(&arguments) } else { enter() } {
        Ok(code) => code,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Starts this program again in a room, with the same arguments.
fn enter() -> Result<ExitCode> {
    let program = std::env::current_exe().context("the path of this program")?;
    let room = program.with_file_name("room");
    let status = room::command(&room, LIMIT, &program)
        .args(std::env::args_os().skip(1))
        .status()
        .with_context(|| format!("starting {} (cargo build -p e2e --bins)", room.display()))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn inside(arguments: &Arguments) -> Result<ExitCode> {
    let folder = tempfile::tempdir().context("making a folder")?;
    let state = folder.path().join("state");
    let mut world = World::start(Path::new("/proc/self/exe"), state)?;
    let ledger = if arguments.steps { steps::run(&mut world, arguments)? } else { steps::run(&mut world, arguments)? };
    Ok(ledger.close())
}

//! The soak: faults on real systems while processes of ours are killed, and the proof that nothing is left.
//!
//! Owns the program behind `cargo xtask soak`. It runs in a room, kills only what is in there, and never judges by
//! anything but snapshots.

mod chance;
mod ledger;
mod owner;
pub mod plant;
mod prey;
mod remote;
mod rounds;
mod steps;
mod strikes;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use chaos_core::spec::{Fault, FaultKind};
use clap::Parser;

use crate::world::World;
use crate::{node, room};

/// Longest life of a whole soak.
const LIMIT: Duration = Duration::from_secs(3600);
/// The lease of runs by a bare node, which is also how long the kernel keeps their partitions.
const LEASE: Duration = Duration::from_millis(600);
/// How much later than the lease everything must be as before.
const SLACK: Duration = Duration::from_millis(2500);
/// How long `recover` and a supervisor may take together.
const RECOVERED_WITHIN: Duration = Duration::from_secs(3);

/// Arguments of the program.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "soak",
    about = "Kills our own processes at random during faults, and looks for what is left"
)]
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
    /// Only bare nodes as owners: no servers, no command lines, no agents
    #[arg(long)]
    pub bare: bool,
    /// The program `chaos`; otherwise the one beside this program
    #[arg(long, value_name = "FILE")]
    pub chaos: Option<PathBuf>,
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
#[expect(clippy::print_stderr, reason = "the soak talks to whoever runs it")]
fn enter() -> Result<ExitCode> {
    if let Some(name) = room::missing_program() {
        eprintln!("skipped: {name} is not installed");
        return Ok(ExitCode::from(room::NO_ROOM));
    }
    let program = std::env::current_exe().context("the path of this program")?;
    let room = program.with_file_name("room");
    let status = room::command(&room, LIMIT, &program)
        .args(std::env::args_os().skip(1))
        .status()
        .with_context(|| format!("starting {} (cargo build -p e2e --bins)", room.display()))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

#[expect(clippy::print_stdout, reason = "the soak talks to whoever runs it")]
fn inside(arguments: &Arguments) -> Result<ExitCode> {
    let beside = std::env::current_exe().context("the path of this program")?.with_file_name("chaos");
    let chaos = arguments.chaos.clone().unwrap_or(beside);
    if !arguments.bare && !arguments.steps && !chaos.is_file() {
        bail!("{} is not there: cargo build --workspace --bins", chaos.display());
    }
    let folder = tempfile::tempdir().context("making a folder")?;
    // Of everything on one host, of a server, and of an agent of another host.
    let states = ["state", "server", "agent"].map(|name| folder.path().join(name));
    owner::configure(&states[0])?;
    let mut world = World::start(Path::new("/proc/self/exe"), states.to_vec())?;
    let ledger = if arguments.steps {
        steps::run(&mut world, arguments)?
    } else {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seed = arguments.seed.unwrap_or(u64::from(now.subsec_nanos()));
        println!("soak: seed {seed}");
        rounds::run(&mut world, arguments, &chaos, seed)?
    };
    Ok(ledger.close())
}

/// A fault that is small, quick and the same everywhere.
fn small(kind: FaultKind) -> Fault {
    let text = match kind {
        FaultKind::PodKill => r#"{"pod_kill":{"gracePeriod":"0s"}}"#,
        FaultKind::CpuStress => r#"{"cpu_stress":{"load":"20%","cores":2}}"#,
        FaultKind::MemoryPressure => r#"{"memory_pressure":{"size":"4Mi"}}"#,
        FaultKind::ProcessPause | FaultKind::NetworkPartition => "",
    };
    serde_json::from_str(text).unwrap_or_else(|_| kind.with_defaults())
}

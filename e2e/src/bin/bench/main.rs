//! `cargo xtask bench`: the figures of the product, measured on this machine in one run, as one table.
//!
//! Owns what is measured and how. It judges a figure against what it should reach and says so; it is no test.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a task talks to the person who runs it")]

mod latency;
mod load;
mod size;
mod table;
mod world;

use std::process::ExitCode;

use anyhow::Result;
use table::Row;
use world::World;

/// Runs of each fault.
const ROUNDS: usize = 100;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let mut rows: Vec<Row> = Vec::new();
    let mut world = World::start().await?;
    eprintln!("server {} on {}, orchestrator {}", world.server_pid(), world.address(), world.app.base_url);
    rows.extend(size::of_server(&world)?);
    let only: Vec<String> = std::env::args().skip(1).collect();
    for fault in
        latency::FAULTS.into_iter().filter(|fault| only.is_empty() || only.iter().any(|one| one == fault))
    {
        eprintln!("{fault}: {ROUNDS} times …");
        rows.extend(latency::measure(&mut world, fault, ROUNDS).await?);
    }
    eprintln!("everything of ours killed during a partition …");
    rows.extend(latency::kernel_alone(&mut world).await?);
    eprintln!("CPU load, 10 s each, beside stress-ng …");
    rows.extend(load::measure(&mut world).await?);
    world.stop().await?;
    eprintln!("program and probes …");
    rows.extend(size::of_program()?);
    rows.push(size::probe_jitter()?);
    table::print(&rows);
    Ok(ExitCode::SUCCESS)
}

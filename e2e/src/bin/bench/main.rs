//! `cargo xtask bench`: the figures of the product, measured on this machine in one run, as one table.
//!
//! Owns what is measured and how. It judges a figure against what it should reach and says so; it is no test. With
//! arguments it measures only what they name: a fault, `many`, `kernel`, `load`, `scale`, `far`, `pages`, `sizes`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a task talks to the person who runs it")]

mod far;
mod fleet;
mod latency;
mod load;
mod many;
mod pages;
mod scale;
mod service;
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
    let only: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
    let mut rows: Vec<Row> = Vec::new();
    let mut add = |what: &str, measured: Result<Vec<Row>>| match measured {
        Ok(measured) => rows.extend(measured),
        // The other figures are worth something without it.
        Err(error) => rows.push(Row::failed(what, &error)),
    };
    if latency::FAULTS.into_iter().chain(["many", "kernel", "load", "sizes"]).any(wanted) {
        add("faults on this host", on_this_host(&wanted).await);
    }
    if wanted("scale") {
        add("a thousand agents", Box::pin(scale::measure()).await);
    }
    if wanted("far") {
        add("an agent", Box::pin(far::measure()).await);
    }
    if wanted("pages") {
        add("pages of experiments", pages::measure().await.map(|row| vec![row]));
    }
    if wanted("sizes") {
        eprintln!("program, probes and journal …");
        add("program", size::of_program());
        add("probes", size::probe_jitter().map(|row| vec![row]));
        add("journal", size::append_rate().map(|row| vec![row]));
    }
    table::print(&rows);
    Ok(ExitCode::SUCCESS)
}

/// A server that does everything on its own host.
async fn on_this_host(wanted: &impl Fn(&str) -> bool) -> Result<Vec<Row>> {
    let mut world = World::start().await?;
    eprintln!("server {} on {}, orchestrator {}", world.server_pid(), world.address(), world.app.base_url);
    let mut rows = size::of_server(&world)?;
    for fault in latency::FAULTS.into_iter().filter(|fault| wanted(fault)) {
        eprintln!("{fault}: {ROUNDS} times …");
        rows.extend(latency::measure(&mut world, fault, ROUNDS).await?);
    }
    if wanted("many") {
        rows.extend(many::measure(&mut world).await?);
    }
    if wanted("kernel") {
        eprintln!("everything of ours killed during a partition …");
        rows.extend(latency::kernel_alone(&mut world).await?);
    }
    if wanted("load") {
        eprintln!("CPU load, 10 s each, beside stress-ng …");
        rows.extend(load::measure(&mut world).await?);
    }
    world.stop()?;
    Ok(rows)
}

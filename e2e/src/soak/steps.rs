//! Kills at every step: each fault is run under a tracer again and again, and its fault process is killed as it
//! enters or leaves its n-th system call that changes something, n from 1 until it runs through.
//!
//! Each step twice: the fault process alone, so that its node undoes; and its node in the same moment, so that only
//! the kernel and the next start are left.

use std::io::Read as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chaos_core::port::{InjectionReport, Owner};
use chaos_core::run::InjectionState;
use chaos_core::spec::FaultKind;

use super::ledger::Ledger;
use super::rounds::judge;
use super::{Arguments, LEASE, small};
use crate::node::{self, Request};
use crate::trace::{self, Kill};
use crate::world::World;

/// How long a fault is held.
const HELD: Duration = Duration::from_millis(20);
/// More stops than this are not tried for one fault.
const STOPS_MAX: u32 = 5_000;

/// Every fault, each at every step.
pub(super) fn run(world: &mut World, arguments: &Arguments) -> Result<Ledger> {
    let mut ledger = Ledger::default();
    for kind in FaultKind::ALL {
        for house in 0..world.houses.len() {
            // Only a partition has another way for each kind of network.
            if house == 0 || kind == FaultKind::NetworkPartition {
                every_step(world, kind, house, arguments.every.max(1), &mut ledger)?;
            }
        }
    }
    Ok(ledger)
}

#[expect(clippy::print_stdout, reason = "the soak talks to whoever runs it")]
fn every_step(
    world: &mut World,
    kind: FaultKind,
    house: usize,
    every: u32,
    ledger: &mut Ledger,
) -> Result<()> {
    let begun = Instant::now();
    let before = (ledger.kills(), ledger.residues());
    let network = if house == 0 { "shared" } else { "own" };
    let mut at = 1;
    while at <= STOPS_MAX {
        let alone = one(world, kind, house, Kill { at, owner_too: false }, ledger)?;
        let together = one(world, kind, house, Kill { at, owner_too: true }, ledger)?;
        if !alone && !together {
            break;
        }
        at += every;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let (kills, residues) = (ledger.kills() - before.0, ledger.residues() - before.1);
    println!(
        "{kind} ({network} network): {kills} kills up to stop {at}, {residues} residues, {seconds:.1} s"
    );
    Ok(())
}

/// One run; false when it went through without reaching the step.
fn one(world: &mut World, kind: FaultKind, house: usize, kill: Kill, ledger: &mut Ledger) -> Result<bool> {
    let request = Request {
        state: world.scope.states.first().context("no state folder")?.clone(),
        run: format!("s{}-{house}-{}-{}", kind as u8, kill.at, u8::from(kill.owner_too)),
        target: world.houses[house].target(),
        pick: kill.at as usize,
        faults: vec![small(kind)],
        duration_ms: u64::try_from(HELD.as_millis())?,
        owner: Owner::Command,
        lease_ms: u64::try_from(LEASE.as_millis())?,
    };
    let mut owner = node::spawn(Stdio::piped())?;
    let traced = trace::run(&mut owner, kill, |owner| node::send(owner, &request))?;
    let mut printed = String::new();
    owner.stdout.take().context("no output of the node")?.read_to_string(&mut printed)?;
    let killed = traced.killed_at.is_some();
    let at = traced.killed_at.as_deref().unwrap_or("not killed");
    let case = format!(
        "{kind} on system {house}, stop {}{} ({at})",
        kill.at,
        if kill.owner_too { " with its node" } else { "" }
    );
    if killed {
        ledger
            .kill(kind.name(), if kill.owner_too { "fault process with its node" } else { "fault process" });
    }
    if !(kill.owner_too && killed) {
        judge_reports(&case, &printed, killed, ledger);
    }
    judge(world, None, &case, LEASE, ledger)?;
    Ok(killed)
}

/// What the node said: everything ends, nothing ends as not undone, and what nobody killed was active in between.
fn judge_reports(case: &str, printed: &str, killed: bool, ledger: &mut Ledger) {
    let reports: Vec<InjectionReport> =
        printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    match reports.last() {
        Some(last) if !last.state.is_final() => ledger.fault(case, &format!("no final report: {last:?}")),
        Some(last) if last.state == InjectionState::RevertFailed => {
            ledger.fault(case, &format!("revert failed: {:?}", last.error));
        }
        Some(last) if !killed && last.state != InjectionState::Reverted => {
            ledger.fault(case, &format!("{}: {:?}", last.state, last.error));
        }
        Some(_) => {}
        // Killed before it could be handed the order.
        None if killed && printed.starts_with(node::REFUSED) => {}
        None => ledger.fault(case, "the node reported nothing"),
    }
}

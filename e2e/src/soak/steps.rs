//! Kills at every step: each fault is run under a tracer again and again, and its fault process is killed as it
//! enters or leaves its n-th system call that changes something, n from 1 until it runs through.
//!
//! Every second time its owner is killed in the same moment, so that only the kernel and the next start are left.

use std::io::Read as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chaos_agent::sweep;
use chaos_core::port::{InjectionReport, Owner};
use chaos_core::run::InjectionState;
use chaos_core::spec::{Fault, FaultKind};

use super::Arguments;
use super::ledger::{Ledger, When};
use crate::node::{self, Request};
use crate::trace::{self, Kill};
use crate::world::World;

/// The lease of the runs, which is also how long the kernel keeps a partition.
const LEASE: Duration = Duration::from_millis(600);
/// How long a fault is held.
const HELD: Duration = Duration::from_millis(20);
/// How much later than the lease everything must be as before.
const SLACK: Duration = Duration::from_millis(1500);
/// How long `recover` and a supervisor may take together.
const RECOVERED_WITHIN: Duration = Duration::from_secs(3);
/// More steps than this are not tried for one fault.
const STEPS_MAX: u32 = 5_000;

/// Every fault, each at every step.
pub(super) fn run(world: &mut World, arguments: &Arguments) -> Result<Ledger> {
    let mut ledger = Ledger::default();
    for kind in FaultKind::ALL {
        every_step(world, kind, arguments.every.max(1), &mut ledger)?;
    }
    Ok(ledger)
}

#[expect(clippy::print_stdout, reason = "the soak talks to whoever runs it")]
fn every_step(world: &mut World, kind: FaultKind, every: u32, ledger: &mut Ledger) -> Result<()> {
    let begun = Instant::now();
    let before = ledger.residues();
    let mut at = 1;
    let mut last = 0;
    while at <= STEPS_MAX {
        let kill = Kill { at, owner_too: at % 2 == 0 };
        let Some(stops) = one(world, kind, kill, ledger)? else { break };
        last = stops;
        at += every;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let found = ledger.residues() - before;
    println!("{kind}: killed at {last} stops of its fault process, {found} residues, {seconds:.1} s");
    Ok(())
}

/// One run; none when it went through without reaching the step.
fn one(world: &mut World, kind: FaultKind, kill: Kill, ledger: &mut Ledger) -> Result<Option<u32>> {
    let state = world.scope.states.first().context("no state folder")?;
    let house = &world.houses[(kill.at / 2) as usize % world.houses.len()];
    let target = house.target();
    let request = Request {
        state: state.clone(),
        run: format!("steps-{kind}-{}", kill.at).replace('_', "-"),
        target,
        pick: kill.at as usize,
        faults: vec![small(kind)],
        duration_ms: u64::try_from(HELD.as_millis())?,
        owner: Owner::Command,
        lease_ms: u64::try_from(LEASE.as_millis())?,
    };
    let mut owner = node::spawn()?;
    let traced = trace::run(&mut owner, kill, |owner| node::send(owner, &request))?;
    let case = format!("{kind} at stop {} ({})", kill.at, traced.killed_at.as_deref().unwrap_or("not killed"));
    let mut printed = String::new();
    owner.stdout.take().context("no output of the node")?.read_to_string(&mut printed)?;
    if !(kill.owner_too && traced.killed_at.is_some()) {
        judge_reports(&case, &printed, ledger);
    }
    if traced.killed_at.is_some() {
        ledger.kill(kind.name());
    }
    clean(world, &case, ledger)?;
    Ok(traced.killed_at.map(|_| traced.stops))
}

/// A fault that is small, quick and the same everywhere.
pub(super) fn small(kind: FaultKind) -> Fault {
    let text = match kind {
        FaultKind::PodKill => r#"{"pod_kill":{"gracePeriod":"0s"}}"#,
        FaultKind::CpuStress => r#"{"cpu_stress":{"load":"20%","cores":2}}"#,
        FaultKind::MemoryPressure => r#"{"memory_pressure":{"size":"4Mi"}}"#,
        FaultKind::ProcessPause | FaultKind::NetworkPartition => "",
    };
    serde_json::from_str(text).unwrap_or_else(|_| kind.with_defaults())
}

/// What the node said: everything ends, and nothing ends as not undone.
fn judge_reports(case: &str, printed: &str, ledger: &mut Ledger) {
    let reports: Vec<InjectionReport> =
        printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    match reports.last() {
        Some(last) if !last.state.is_final() => ledger.fault(case, &format!("no final report: {last:?}")),
        Some(last) if last.state == InjectionState::RevertFailed => {
            ledger.fault(case, &format!("revert failed: {:?}", last.error));
        }
        Some(_) => {}
        None => ledger.fault(case, "the node reported nothing"),
    }
}

/// Waits for the kernel and the living, then recovers, and writes down what is left each time.
pub(super) fn clean(world: &mut World, case: &str, ledger: &mut Ledger) -> Result<()> {
    let (left, took) = world.heal(LEASE + SLACK)?;
    ledger.residue(case, When::BeforeRecover, &left);
    ledger.healed(took);
    let (for_recover, _) = world.spotless(Duration::ZERO)?;
    ledger.swept(&for_recover);
    for state in world.scope.states.clone() {
        for report in sweep::recover(&state, false)? {
            if report.state == InjectionState::RevertFailed {
                ledger.fault(case, &format!("recover: {:?}", report.error));
            }
        }
    }
    let (left, _) = world.spotless(RECOVERED_WITHIN)?;
    ledger.residue(case, When::AfterRecover, &left);
    if !left.is_empty() {
        world.accept()?;
    }
    ledger.check()
}

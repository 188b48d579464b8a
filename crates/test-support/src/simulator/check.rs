//! The promises that take time: leases, deadlines, and how everything stands when trouble is over.
//!
//! Owns these checks. Those that hold at a single step are checked where the step is.

use std::collections::BTreeSet;
use std::time::Duration;

use chaos_core::run::{Event, InjectionId, InjectionState, Phase, RunState, Verdict};
use tokio::time::sleep;

use super::ports::names;
use super::service::{LEASE, World};
use super::universe::KernelRules as _;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What a node may take beyond the lease: a look, an undo, its proof.
const SLACK: Duration = Duration::from_millis(1500);
/// The longest that a fault may be there in any of the scenarios: its run, stepwise undo, margins.
const LONGEST: Duration = Duration::from_secs(45);

/// Looks again and again until the world ends.
pub(super) async fn watch(world: &World) {
    loop {
        sleep(LOOK_EVERY).await;
        for machine in world.universe.machines() {
            look(world, &machine);
        }
    }
}

/// 3: a fault is a lease. Nothing goes on for longer than that when nobody can speak with whoever holds it.
fn look(world: &World, machine: &str) {
    let universe = &world.universe;
    let now = universe.now();
    let contact = world.in_contact(machine);
    let (since, agent, failing) = {
        let mut inside = universe.inside();
        let Some(known) = inside.machines.get_mut(machine) else { return };
        if contact {
            known.contact = now;
        }
        let failing = known.failing_undos.values().any(|left| *left > 0);
        (known.contact, known.agent, failing)
    };
    if failing {
        return;
    }
    let running = |process| {
        universe.inside().machines.get(machine).is_some_and(|known| known.running.contains(&process))
    };
    for (id, acting) in universe.acting(machine) {
        let held = running(acting.holder);
        if held && now > since + LEASE + SLACK && now > acting.since + LEASE + SLACK {
            universe.breach(format!("3: {id} goes on {:?} after the last contact", now - since));
        }
        if now > acting.since + LONGEST {
            universe.breach(format!("3: {id} goes on for {:?}", now - acting.since));
        }
        // A node that lives sweeps at once what a dead fault process left.
        let swept_by = agent.filter(|_| world.has_agent(machine)).map(|(_, since)| since.max(acting.since));
        let known = universe.inside().told_unproven.contains(&id);
        if let Some(swept_by) = swept_by.filter(|_| !held && !known && !acting.kind.expires())
            && now > swept_by + LONGEST / 2
        {
            universe.breach(format!("3: {id} is held by nobody and still acts"));
        }
    }
}

/// What still acts or has an undo record, but for what a journal says out loud is not undone.
fn left_in_silence(world: &World) -> Vec<String> {
    let unproven: BTreeSet<InjectionId> = world
        .disk
        .all()
        .iter()
        .filter_map(|run| RunState::replay(&run.header, &run.records).ok())
        .flat_map(|state| state.injections)
        .filter(|injection| injection.state == InjectionState::RevertFailed)
        .map(|injection| injection.id)
        .collect();
    let mut left = Vec::new();
    for machine in world.universe.machines() {
        let acting: Vec<InjectionId> = world.universe.acting(&machine).into_keys().collect();
        let records: Vec<InjectionId> = {
            let inside = world.universe.inside();
            inside
                .machines
                .get(&machine)
                .map(|known| known.records.keys().cloned().collect())
                .unwrap_or_default()
        };
        let silent = |ids: Vec<InjectionId>| -> Vec<InjectionId> {
            ids.into_iter().filter(|id| !unproven.contains(id)).collect()
        };
        let (acting, records) = (silent(acting), silent(records));
        if !acting.is_empty() {
            left.push(format!("2: {} still act on {machine:?}", names(&acting)));
        }
        if !records.is_empty() {
            left.push(format!("2: undo records of {} are left on {machine:?}", names(&records)));
        }
    }
    left
}

/// Nothing at all is left, once whoever was told has started the agents again.
pub(super) fn after_repair(world: &World) {
    for machine in world.universe.machines() {
        let acting = world.universe.acting(&machine);
        if !acting.is_empty() {
            let ids = names(acting.keys());
            world.universe.breach(format!("2: {ids} act on {machine:?} after every start"));
        }
    }
}

/// How everything stands in the end.
pub(super) fn end(world: &World) {
    let universe = &world.universe;
    for left in left_in_silence(world) {
        universe.breach(left);
    }
    let calm = !universe.inside().disturbed;
    for run in world.disk.all() {
        let summary = &run.summary;
        let (id, phase, reason) =
            (&summary.run, summary.phase, summary.reason.as_deref().unwrap_or_default());
        universe.note(format!("in the end {id} is {phase}, {:?}: {reason}", summary.verdict));
    }
    for run in world.disk.all() {
        let id = &run.header.run;
        let state = match RunState::replay(&run.header, &run.records) {
            Ok(state) => state,
            Err(error) => {
                return universe.breach(format!("10: the journal of {id} can't be replayed: {error}"));
            }
        };
        if state.phase != Phase::Finished {
            universe.breach(format!("2: the journal of {id} has no end: {}", state.phase));
            continue;
        }
        if state.unfinished().any(|injection| injection.state != InjectionState::Planned) {
            universe.breach(format!("2: run {id} is finished, some of its injections are not"));
        }
        if run.summary.verdict != state.outcome.as_ref().map(|outcome| outcome.verdict) {
            universe.breach(format!("10: the summary of {id} is not what its journal says"));
        }
        check_order(world, &run.header.run.0, &run.records);
        let verdict = run.summary.verdict;
        if calm
            && !matches!(
                verdict,
                Some(Verdict::Held | Verdict::Blocked | Verdict::Stopped | Verdict::Deviated)
            )
        {
            universe.breach(format!(
                "run {id} is {verdict:?} though nothing went wrong: {:?}",
                run.summary.reason
            ));
        }
        let gave_up = state.injections.iter().any(|one| one.state == InjectionState::RevertFailed);
        if calm && gave_up {
            universe.breach(format!("2: an undo of {id} is given up on though nothing went wrong"));
        }
    }
}

/// 5 and 6, as the journal has them: no order follows a stop, and no verdict rests on silence.
fn check_order(world: &World, run: &str, records: &[chaos_core::journal::Record]) {
    let mut stopped = false;
    for record in records {
        let injects =
            record.effects.iter().any(|effect| matches!(effect, chaos_core::run::Effect::Inject(_)));
        if stopped && injects {
            world.universe.breach(format!("5: record {} of {run} orders after a stop", record.seq));
        }
        stopped |= matches!(record.event, Event::StopRequested(_));
    }
}

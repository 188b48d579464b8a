//! The promises that take time: leases, deadlines, and how everything stands when trouble is over.
//!
//! Owns these checks. Those that hold at a single step are checked where the step is.

use std::collections::BTreeSet;
use std::time::Duration;

use chaos_core::run::{Event, Failure, InjectionId, InjectionState, Phase, RunState, Verdict};
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

/// 3: a fault is a lease. Nothing goes on for longer than that when nobody speaks with whoever holds it, and what nobody
/// holds any more is undone at once.
fn look(world: &World, machine: &str) {
    let universe = &world.universe;
    let now = universe.now();
    let has_agent = world.has_agent(machine);
    let (contact, agent, running, ended, tried) = {
        let mut inside = universe.inside();
        let Some(known) = inside.machines.get_mut(machine) else { return };
        // Nothing is between the service and the agent in its process.
        if machine.is_empty() && has_agent {
            known.contact = now;
        }
        let agent = known.agent.filter(|_| has_agent).map(|(_, since)| since);
        (known.contact, agent, known.running.clone(), known.ended.clone(), known.undone.clone())
    };
    for (id, acting) in universe.acting(machine) {
        let held = running.contains(&acting.holder);
        if held && now > contact.max(acting.since) + LEASE + SLACK {
            universe.breach(format!("3: {id} goes on {:?} after the last contact", now - contact));
        }
        // An undo that fails is no silence once the journal says it: whoever reads that is to act.
        let is_too_long = now > acting.since + LONGEST;
        if is_too_long && !unproven(world).contains(&id) {
            universe.breach(format!("3: {id} goes on for {:?}", now - acting.since));
        }
        // A node that lives sweeps at once what a dead fault process left, and one that starts does, too.
        let ended = ended.get(&acting.holder).copied().unwrap_or_default();
        let left = agent.filter(|_| !held && !acting.kind.expires()).map(|since| since.max(ended));
        if let Some(left) = left.filter(|_| !tried.contains(&id))
            && now > left + SLACK
        {
            universe.breach(format!("3: {id} is held by nobody, and nobody has tried to undo it"));
        }
    }
}

/// What a journal says out loud is not undone.
fn unproven(world: &World) -> BTreeSet<InjectionId> {
    let runs = world.disk.all();
    let states = runs.iter().filter_map(|run| RunState::replay(&run.header, &run.records).ok());
    let failed = states
        .flat_map(|state| state.injections)
        .filter(|injection| injection.state == InjectionState::RevertFailed);
    failed.map(|injection| injection.id).collect()
}

/// What still acts or has an undo record, but for what a journal says out loud is not undone.
fn left_in_silence(world: &World) -> Vec<String> {
    let unproven = unproven(world);
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
        // Kills by one run may leave another nothing to choose from, which is an error, and no defect.
        let nothing_left = universe.inside().killed_all
            && matches!(&state.failure, Some(Failure::Target(reason)) if reason.starts_with("nothing matches"));
        if calm
            && !nothing_left
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

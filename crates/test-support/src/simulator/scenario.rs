//! What is done to the world by a seed: experiments, stops, kills, cuts, full disks, clocks that jump.
//!
//! Owns the choice. Everything is drawn from the universe's randomness, so a seed is a scenario.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chaos_core::access::Actor;
use chaos_core::journal::RunHeader;
use chaos_core::port::{Clock as _, Owner};
use chaos_core::run::{RunId, Stop, StopCause};
use chaos_core::safety::Override;
use chaos_core::spec::parse_documents;
use tokio::time::sleep;

use super::holder;
use super::host::{APPS, INSTANCES};
use super::service::World;

/// A stop that nothing disturbs has undone everything by then.
const STOP_WITHIN: Duration = Duration::from_secs(3);
/// How long things are done to the world.
const TROUBLE: Duration = Duration::from_secs(30);

/// Starts every machine, then does what the seed says until trouble ends.
pub(super) async fn play(world: &World) {
    prepare(world);
    world.start_service().await;
    for host in &world.hosts {
        world.start_agent(host);
    }
    sleep(Duration::from_millis(600)).await;
    let calm = world.universe.once_in(10);
    let runs = 1 + world.universe.below(3);
    for number in 0..runs {
        let world = world.clone();
        tokio::spawn(async move { experiment(&world, number).await });
    }
    if calm {
        return sleep(TROUBLE).await;
    }
    let troubles = 1 + world.universe.below(7);
    for _ in 0..troubles {
        let world = world.clone();
        tokio::spawn(async move {
            sleep(world.universe.milliseconds(0, 12_000)).await;
            trouble(&world).await;
        });
    }
    sleep(TROUBLE).await;
}

fn prepare(world: &World) {
    let mut machines = world.hosts.clone();
    if world.has_local {
        machines.push(String::new());
    }
    for machine in machines {
        for app in APPS {
            for _ in 0..INSTANCES {
                let process = world.universe.new_process(&machine);
                let mut inside = world.universe.inside();
                let known = inside.machines.entry(machine.clone()).or_default();
                known.victims.entry(app.to_owned()).or_default().push(process);
            }
        }
    }
}

/// Submits an experiment; one that is refused, because its target is taken or the service is down, is none.
async fn experiment(world: &World, number: u64) {
    let universe = &world.universe;
    sleep(universe.milliseconds(0, 6000)).await;
    let Some(service) = world.service() else { return };
    let text = document(world, number);
    let Ok(mut documents) = parse_documents(&text) else {
        return universe.breach(format!("the simulator wrote a document with a defect:\n{text}"));
    };
    let header = RunHeader {
        run: RunId(format!("{:012x}", universe.below(1 << 47))),
        experiment: documents.remove(0),
        seed: universe.below(u64::MAX),
        threshold: 0.3,
        overrides: BTreeSet::from(Override::ALL),
        reason: Some("simulated".to_owned()),
        actor: Actor::default(),
        lenient: false,
        owner: Owner::Server,
        created_at: world.clock.now(),
    };
    if universe.once_in(6) {
        let failing = 1 + universe.below(6);
        plan_failing_undo(world, &header.run, u32::try_from(failing).unwrap_or(1));
    }
    let run = header.run.clone();
    universe.note(format!("submit {run} {}", text.replace('\n', " ")));
    let submitted = tokio::select! {
        biased;
        () = service.actor.killed.cancelled() => return,
        submitted = service.engine.submit(header) => submitted,
    };
    if let Err(error) = submitted {
        return universe.note(format!("refused {run}: {error}"));
    }
    if universe.once_in(3) {
        stop(world, &run).await;
    }
}

/// A document of an experiment, drawn.
fn document(world: &World, number: u64) -> String {
    let universe = &world.universe;
    let kinds = [
        "process_pause: {}",
        "cpu_stress: {}",
        "memory_pressure: {}",
        "network_partition: {}",
        "pod_kill: {}",
    ];
    let pick = |list: &[&str]| {
        let index = usize::try_from(universe.below(list.len() as u64)).unwrap_or(0);
        list.get(index).copied().unwrap_or_default().to_owned()
    };
    let (fault, app) = (pick(&kinds), pick(&APPS));
    let progressive = universe.once_in(5);
    let count = if progressive {
        "ramp: [10%, 30%, 50%]".to_owned()
    } else {
        format!("baseline: {}ms", if universe.once_in(4) { 500 } else { 0 })
    };
    let select = if progressive { "one".to_owned() } else { pick(&["one", "25%", "50%", "<=50%"]) };
    let own = if progressive || !universe.once_in(4) { "" } else { ", duration: 1s" };
    let second =
        if !progressive && universe.once_in(4) { format!(", {{ {} }}", pick(&kinds)) } else { String::new() };
    let revert = pick(&["at_once", "stepwise"]);
    let actions = if universe.once_in(3) { "[{ restart: {} }]" } else { "[]" };
    let probes = if universe.once_in(2) { "[{ name: p, tcp: { address: 'localhost:1' } }]" } else { "[]" };
    let hosts =
        if universe.once_in(2) { format!(", hosts: [{}]", pick(&host_names(world))) } else { String::new() };
    let duration = 1 + universe.below(8);
    format!(
        "apiVersion: chaos.engineering/v1\nkind: Experiment\nmetadata: {{ name: e{number} }}\nspec:\n  \
         target: {{ host: {{ app: {app} }}, select: '{select}'{hosts} }}\n  faults: [ {{ {fault}{own} }}{second} ]\n  \
         {count}\n  revert: {revert}\n  duration: {duration}s\n  probes: {probes}\n  \
         recovery: {{ timeout: 20s, actions: {actions} }}\n"
    )
}

/// Stops a run, often while its faults are just being applied.
async fn stop(world: &World, run: &RunId) {
    let universe = &world.universe;
    let most = if universe.once_in(2) { 120 } else { 5000 };
    sleep(universe.milliseconds(0, most)).await;
    let begin = universe.now();
    let stop = Stop { cause: StopCause::Request, reason: "simulated".to_owned() };
    universe.note(format!("stop {run}"));
    if let Some(service) = world.service() {
        tokio::select! {
            biased;
            () = service.actor.killed.cancelled() => {}
            _ = service.engine.stop(run, stop) => {}
        }
    }
    let took = universe.now() - begin;
    if took > STOP_WITHIN && !universe.inside().disturbed {
        universe.breach(format!("5: the stop of {run} took {took:?} though nothing went wrong"));
    }
}

fn host_names(world: &World) -> Vec<&str> {
    let mut names: Vec<&str> = world.hosts.iter().map(String::as_str).collect();
    if world.has_local {
        names.push(chaos_core::link::LOCAL_HOST);
    }
    names
}

/// Undos of the first injections of a run fail some times.
fn plan_failing_undo(world: &World, run: &RunId, times: u32) {
    world.universe.disturb();
    for machine in world.universe.machines() {
        let mut inside = world.universe.inside();
        let known = inside.machines.entry(machine).or_default();
        for number in 0..2 {
            known.failing_undos.insert(chaos_core::run::InjectionId::of(run, number), times);
        }
    }
}

/// One thing that goes wrong.
async fn trouble(world: &World) {
    let universe = &world.universe;
    let host = {
        let names = &world.hosts;
        let index = usize::try_from(universe.below(names.len() as u64)).unwrap_or(0);
        names.get(index).cloned().unwrap_or_default()
    };
    let pause = universe.milliseconds(20, 9000);
    match universe.below(14) {
        0 | 1 => {
            world.kill_service();
            sleep(pause).await;
            world.start_service().await;
        }
        2 | 3 => {
            world.kill_agent(&host);
            sleep(pause).await;
            world.start_agent(&host);
        }
        4 | 5 => holder::kill_any(universe),
        6 => {
            world.kill_service();
            world.kill_agent(&host);
            holder::kill_any(universe);
            sleep(pause).await;
            world.start_agent(&host);
            sleep(universe.milliseconds(0, 4000)).await;
            world.start_service().await;
        }
        7 | 8 => world.cut(&host, pause),
        9 => crash_at_a_step(world, &host, pause).await,
        10 => {
            universe.disturb();
            world.disk.set_full(true);
            sleep(universe.milliseconds(100, 3000)).await;
            world.disk.set_full(false);
        }
        11 => {
            universe.disturb();
            let hours = i64::try_from(universe.below(49)).unwrap_or(0) - 24;
            world.clock.jumped_ms.store(hours * 3_600_000, Ordering::SeqCst);
            universe.note(format!("the wall clock jumps by {hours} h"));
        }
        12 => {
            universe.disturb();
            world.silent.store(true, Ordering::SeqCst);
            sleep(universe.milliseconds(500, 6000)).await;
            world.silent.store(false, Ordering::SeqCst);
        }
        _ => {
            universe.disturb();
            world.decided.engaged.store(true, Ordering::SeqCst);
            universe.note("the lever is engaged");
            let stop = Stop { cause: StopCause::Lever, reason: "simulated".to_owned() };
            if let Some(service) = world.service() {
                tokio::select! {
                    biased;
                    () = service.actor.killed.cancelled() => {}
                    _ = service.engine.stop_all(&stop) => {}
                }
            }
            sleep(universe.milliseconds(500, 3000)).await;
            world.decided.engaged.store(false, Ordering::SeqCst);
        }
    }
}

/// Kills somebody between two of its steps, wherever those are, and starts it again a little later.
async fn crash_at_a_step(world: &World, host: &str, pause: Duration) {
    let universe = &world.universe;
    let steps = 1 + u32::try_from(universe.below(60)).unwrap_or(0);
    match universe.below(3) {
        0 => universe.plan_crash("server", steps),
        1 => universe.plan_crash(&format!("agent {host}"), steps),
        _ => universe.plan_crash("holder", steps),
    }
    sleep(Duration::from_secs(6) + pause).await;
    world.start_service().await;
    world.start_agent(host);
}

//! The process around a session in the simulation: a task, a pipe in memory, signals, an end.
//!
//! Owns the fault processes that live, so that a sweep can end one at once. It decides nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use chaos_agent::holder::session::Session;
use chaos_agent::local::machine::HolderProcess;
use chaos_core::run::RunId;
use chaos_core::target::ProcessRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, copy_bidirectional, duplex};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use super::host::SimHost;
use super::universe::{Actor, Universe};

/// Bytes that fit into a pipe: no test sends more at a time.
const PIPE_BYTES: usize = 1 << 20;
/// Steps that a fault process may take to undo everything when a sweep ends it.
const STEPS_TO_END: u32 = 200;

struct Live {
    host: SimHost,
    session: Arc<Mutex<Session<SimHost>>>,
    signal: Arc<Notify>,
}

thread_local! {
    static LIVE: LazyLock<Mutex<BTreeMap<ProcessRef, Live>>> = const { LazyLock::new(Mutex::default) };
}

fn with_live<T>(look: impl FnOnce(&mut BTreeMap<ProcessRef, Live>) -> T) -> T {
    LIVE.with(|live| look(&mut live.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// Forgets the fault processes of another world.
pub(super) fn forget() {
    with_live(BTreeMap::clear);
}

/// Starts a fault process for whoever asks.
pub(super) fn start(parent: &SimHost, run: &RunId) -> HolderProcess {
    let universe = parent.universe.clone();
    let actor = universe.start(&parent.name, &format!("holder {run}"));
    let host = SimHost { universe: universe.clone(), name: parent.name.clone(), actor: Arc::clone(&actor) };
    let session = Arc::new(Mutex::new(Session::new(host.clone())));
    let signal = Arc::new(Notify::new());
    let live = Live { host: host.clone(), session: Arc::clone(&session), signal: Arc::clone(&signal) };
    with_live(|all| all.insert(actor.process, live));
    let (control, near) = duplex(PIPE_BYTES);
    let (far, own) = duplex(PIPE_BYTES);
    let hides_death = universe.broken.notices_no_death;
    tokio::spawn(carry(near, far, Arc::clone(&parent.actor), Arc::clone(&actor), hides_death));
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        live_on(&host, &session, &signal, own).await;
        let of_its_own_will = !host.actor.is_dead();
        host.universe.exit(&host.name, &host.actor);
        with_live(|all| all.remove(&host.actor.process));
        if hides_death && !of_its_own_will {
            std::future::pending::<()>().await;
        }
        let _ = tell.send(of_its_own_will);
    });
    HolderProcess {
        identity: actor.process,
        control: Box::new(control),
        ended: Box::pin(async move { told.await.unwrap_or(false) }),
    }
}

/// The pipe between a node and a fault process: closed for the other when one of them is dead.
async fn carry(
    mut near: DuplexStream,
    mut far: DuplexStream,
    parent: Arc<Actor>,
    child: Arc<Actor>,
    hides_death: bool,
) {
    tokio::select! {
        biased;
        () = parent.killed.cancelled() => {}
        () = child.killed.cancelled() => if hides_death {
            parent.killed.cancelled().await;
        },
        _ = copy_bidirectional(&mut near, &mut far) => {}
    }
}

async fn live_on(host: &SimHost, session: &Mutex<Session<SimHost>>, signal: &Notify, mut pipe: DuplexStream) {
    let mut changes = host.universe.changes.subscribe();
    let mut buffer = vec![0; 16 << 10];
    let mut closed = false;
    loop {
        let (output, over, connected, wake_at) = {
            let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
            if host.universe.broken.ignores_leases {
                session.receive(b"\"renew\"\n");
            }
            session.step();
            let output = session.output().to_vec();
            session.written(output.len());
            (output, session.is_over(), session.is_connected(), session.wake_at())
        };
        if !output.is_empty() && pipe.write_all(&output).await.is_err() {
            closed = true;
        }
        if over || host.actor.is_dead() {
            return;
        }
        // A step costs time, so that others can come between two of them.
        let wake = wake_at.map(|at| Instant::now() + at.saturating_sub(host.universe.now()));
        tokio::select! {
            biased;
            () = host.actor.killed.cancelled() => return,
            () = signal.notified() => lock(session).terminate(),
            read = pipe.read(&mut buffer), if !closed && connected => match read {
                Ok(length @ 1..) => lock(session).receive(buffer.get(..length).unwrap_or_default()),
                Ok(0) | Err(_) => {
                    closed = true;
                    lock(session).control_closed();
                }
            },
            _ = changes.changed() => lock(session).look_again(),
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => tokio::task::yield_now().await,
        }
    }
}

fn lock(session: &Mutex<Session<SimHost>>) -> std::sync::MutexGuard<'_, Session<SimHost>> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends a fault process the signal to end.
pub(super) fn terminate(universe: &Universe, process: ProcessRef) {
    universe.note(format!("signal to {}", process.pid));
    with_live(|all| all.get(&process).map(|live| live.signal.notify_one()));
}

/// Kills a fault process.
pub(super) fn kill(universe: &Universe, process: ProcessRef) {
    let host = with_live(|all| all.get(&process).map(|live| live.host.clone()));
    if let Some(host) = host {
        universe.kill(&host.name, &host.actor);
    }
}

/// Ends a fault process and waits for it. Its parent is dead, so nobody hears it: what it has to say is written down.
pub(super) fn end_now(universe: &Universe, machine: &str, process: ProcessRef) {
    let Some((session, host)) =
        with_live(|all| all.get(&process).map(|live| (Arc::clone(&live.session), live.host.clone())))
    else {
        return;
    };
    let over = {
        let mut session = lock(&session);
        session.terminate();
        session.control_closed();
        for _ in 0..STEPS_TO_END {
            session.step();
            if session.is_over() {
                break;
            }
        }
        session.is_over()
    };
    // One that takes longer goes on by itself.
    if over {
        universe.exit(machine, &host.actor);
    } else {
        with_live(|all| all.get(&process).map(|live| live.signal.notify_one()));
    }
}

/// Kills a fault process that lives, if there is one.
pub(super) fn kill_any(universe: &Universe) {
    let all: Vec<SimHost> = with_live(|all| all.values().map(|live| live.host.clone()).collect());
    if let Some(host) = all.get(usize::try_from(universe.below(all.len() as u64)).unwrap_or(0)) {
        universe.kill(&host.name, &host.actor);
    }
}

/// Kills a victim; its supervisor starts another one a little later.
pub(super) fn kill_victim(universe: &Universe, machine: &str, process: ProcessRef) {
    universe.note(format!("victim {} ends", process.pid));
    universe.ended(machine, process);
    let app = {
        let mut inside = universe.inside();
        let victims = inside.machines.get_mut(machine).map(|machine| &mut machine.victims);
        victims.into_iter().flatten().find_map(|(app, processes)| {
            let place = processes.iter().position(|one| *one == process)?;
            processes.remove(place);
            Some((app.clone(), processes.is_empty()))
        })
    };
    let Some((app, was_last)) = app else { return };
    universe.inside().killed_all |= was_last;
    let (universe, machine) = (universe.clone(), machine.to_owned());
    tokio::spawn(async move {
        sleep(universe.milliseconds(200, 1500)).await;
        let process = universe.new_process(&machine);
        if let Some(machine) = universe.inside().machines.get_mut(&machine) {
            machine.victims.entry(app).or_default().push(process);
        }
    });
}

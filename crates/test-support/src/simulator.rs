//! A deterministic simulation of service, agents, fault processes, disks, clocks and network in one thread.
//!
//! Engine, hub, both ends of the link, node, fault-process sessions, sweep and state machine are the shipping code; only
//! what is below them is simulated: kernels ([`host`]), processes that can be killed between any two steps
//! ([`universe`]), a journal's disk that is slow, full or torn by a crash ([`disk`]), a network that delays, loses and
//! cuts ([`network`]), wall clocks that jump ([`ports`]). Time is tokio's paused clock, and every choice comes from the
//! seed, so the same seed is the same run to the last step. Promises are numbered as in ARCHITECTURE.md.
//!
//! Owns how one seed is played and judged.

pub mod broken;
mod check;
mod disk;
mod holder;
mod host;
mod network;
mod ports;
mod scenario;
mod service;
mod universe;

use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::sleep;

use broken::Broken;
use service::World;
use universe::Universe;

/// How long everything has to come to rest when trouble is over.
const REST: Duration = Duration::from_secs(150);

/// More starts than any undo fails in these scenarios.
const STARTS_MAX: u32 = 12;

/// What came of one seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    /// The seed.
    pub seed: u64,
    /// Steps that had an effect outside of a process.
    pub steps: u64,
    /// Runs that were accepted.
    pub runs: usize,
    /// The first promise that did not hold.
    pub breach: Option<String>,
    /// The last steps, for a breach.
    pub trace: Vec<String>,
}

/// Plays one seed to its end.
///
/// # Panics
/// When no runtime can be made.
#[must_use]
#[expect(clippy::expect_used, reason = "a runtime of one thread without I/O needs nothing of the system")]
pub fn play(seed: u64, broken: Broken) -> Played {
    holder::forget();
    let runtime =
        Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime in memory");
    let played = runtime.block_on(async {
        let universe = Universe::new(seed, broken);
        let hosts = 1 + universe.below(3);
        let names = ["a", "b", "c"].into_iter().take(usize::try_from(hosts).unwrap_or(1));
        let has_local = universe.once_in(3);
        let world = World::new(universe.clone(), names.map(str::to_owned).collect(), has_local);
        let watching = tokio::spawn({
            let world = world.clone();
            async move { check::watch(&world).await }
        });
        scenario::play(&world).await;
        world.start_service().await;
        for host in &world.hosts {
            world.start_agent(host);
        }
        rest(&world).await;
        watching.abort();
        check::end(&world);
        repair(&world).await;
        check::after_repair(&world);
        let steps = universe.inside().steps;
        Played {
            seed,
            steps,
            runs: world.disk.all().len(),
            breach: universe.breached(),
            trace: universe.trace(),
        }
    });
    holder::forget();
    played
}

/// What people do when a run says that an undo is not proven: they start the agent again until it is.
async fn repair(world: &World) {
    for _ in 0..STARTS_MAX {
        let acts = |machine: &String| !world.universe.acting(machine).is_empty();
        if !world.universe.machines().iter().any(acts) {
            return;
        }
        for host in &world.hosts {
            world.kill_agent(host);
            world.start_agent(host);
        }
        world.kill_service();
        world.start_service().await;
        sleep(Duration::from_secs(6)).await;
    }
}

/// Waits until every run has ended and nothing acts, or until that should long have been so.
async fn rest(world: &World) {
    let deadline = world.universe.now() + REST;
    while world.universe.now() < deadline && world.universe.breached().is_none() {
        sleep(Duration::from_millis(500)).await;
        let acting =
            world.universe.machines().iter().any(|machine| !world.universe.acting(machine).is_empty());
        let records = world.universe.inside().machines.values().any(|machine| !machine.records.is_empty());
        if !acting
            && !records
            && world.disk.unfinished().is_empty()
            && world.universe.now() > Duration::from_secs(40)
        {
            return;
        }
    }
}

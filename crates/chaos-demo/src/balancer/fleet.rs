//! Owns what is known of each replica: process, ports, health, circuit. It never talks to one.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    breaker::{Breaker, Event, Limits, State, Ticket},
    config::{Config, Tuning},
    health::Health,
    wire::{FleetHealth, ReplicaHealth, ReplicaInfo, ReplicaReady},
};

/// The error ratio looks at this many calls …
const WINDOW: usize = 20;
/// … and opens the circuit when this many percent of them failed.
const RATIO_PERCENT: usize = 50;

/// All replicas.
pub(crate) struct Fleet {
    slots: Vec<Arc<Slot>>,
    /// Whose turn it is for first attempts …
    cursor: AtomicUsize,
    /// … and for retries. With one cursor for both, retries at a fixed delay fall into step with the
    /// requests and spare the failing replica, or the opposite.
    retry_cursor: AtomicUsize,
    live: watch::Sender<usize>,
}

/// The place of one replica, over all its restarts.
pub(crate) struct Slot {
    pub(crate) index: u16,
    pub(crate) cgroups: Vec<PathBuf>,
    facts: Mutex<Facts>,
    /// `None`: circuit breakers are off.
    circuit: Option<Mutex<Breaker>>,
    /// Counts how often the circuit opened; calls under way watch it.
    openings: watch::Sender<u64>,
    live: watch::Sender<usize>,
}

struct Facts {
    pid: Option<u32>,
    port: u16,
    admin_port: u16,
    health: Health,
    restarts: u32,
    queue_depth: usize,
    queue_wait: Duration,
}

/// A replica chosen for one call.
pub(crate) struct Choice {
    pub(crate) slot: Arc<Slot>,
    pub(crate) port: u16,
    /// To be handed back with the outcome; `None` when no circuit has a say.
    pub(crate) ticket: Option<Ticket>,
    pub(crate) openings: watch::Receiver<u64>,
}

impl Fleet {
    pub(crate) fn new(config: &Config, cgroups: impl Fn(u16) -> Vec<PathBuf>) -> Self {
        let live = watch::Sender::new(0);
        let slots = (0..config.replicas)
            .map(|index| {
                Arc::new(Slot {
                    index,
                    cgroups: cgroups(index),
                    facts: Mutex::new(Facts {
                        pid: None,
                        port: 0,
                        admin_port: 0,
                        health: Health::absent(),
                        restarts: 0,
                        queue_depth: 0,
                        queue_wait: Duration::ZERO,
                    }),
                    circuit: config.breaker.then(|| Mutex::new(Breaker::new(limits(&config.tuning)))),
                    openings: watch::Sender::new(0),
                    live: live.clone(),
                })
            })
            .collect();
        Self { slots, cursor: AtomicUsize::new(0), retry_cursor: AtomicUsize::new(0), live }
    }

    pub(crate) fn slots(&self) -> &[Arc<Slot>] {
        &self.slots
    }

    /// Waits until every replica has reported ready.
    pub(crate) async fn all_live(&self) {
        let mut live = self.live.subscribe();
        // The sender lives as long as `self`.
        let _ = live.wait_for(|count| *count == self.slots.len()).await;
    }

    /// The next replica in turn that is healthy, not among `tried`, and whose circuit lets calls through.
    /// When no healthy replica has such a circuit, circuits are ignored: all of them failing together says
    /// more about us than about them.
    pub(crate) fn choose(&self, tried: &[u16]) -> Option<Choice> {
        let cursor = if tried.is_empty() { &self.cursor } else { &self.retry_cursor };
        let start = cursor.fetch_add(1, Ordering::Relaxed);
        let count = self.slots.len();
        let in_turn = || (0..count).filter_map(|step| self.slots.get((start + step) % count));
        let fresh = |slot: &&Arc<Slot>| !tried.contains(&slot.index);
        if let Some(choice) = in_turn().filter(fresh).find_map(Slot::admit) {
            return Some(choice);
        }
        if self.slots.iter().any(|slot| slot.in_rotation()) {
            return None;
        }
        in_turn().filter(fresh).find_map(Slot::force)
    }

    /// Whether a replica beyond those `tried` would take a call.
    pub(crate) fn has_other(&self, tried: &[u16]) -> bool {
        self.slots.iter().any(|slot| !tried.contains(&slot.index) && slot.in_rotation())
    }

    /// Whether mere slowness may still open a circuit: of no more than half of the replicas. When most are
    /// slow the machine is, and turning replicas away would make that worse.
    pub(crate) fn may_suspect(&self) -> bool {
        let suspects = self.slots.iter().filter(|slot| slot.state() != State::Closed).count();
        (suspects + 1) * 2 <= self.slots.len()
    }

    pub(crate) fn infos(&self) -> Vec<ReplicaInfo> {
        self.slots.iter().map(|slot| slot.info()).collect()
    }

    pub(crate) fn health(&self) -> FleetHealth {
        let infos = self.infos();
        let count = |what: fn(&ReplicaInfo) -> bool| infos.iter().filter(|info| what(info)).count();
        let in_rotation = count(|info| info.in_rotation);
        let status = match in_rotation {
            0 => "down",
            some if some < infos.len() => "degraded",
            _ => "ok",
        };
        FleetHealth {
            status: status.to_owned(),
            replicas: infos.len(),
            live: count(|info| info.pid.is_some()),
            healthy: count(|info| info.healthy),
            in_rotation,
        }
    }
}

impl Slot {
    /// A process of this replica reported ready.
    pub(crate) fn up(&self, pid: Option<u32>, ready: &ReplicaReady) {
        let mut facts = self.facts();
        facts.pid = pid;
        facts.port = ready.port;
        facts.admin_port = ready.admin_port;
        facts.health = Health::ready();
        drop(facts);
        self.tell(Event::Replaced);
        self.live.send_modify(|count| *count += 1);
    }

    /// Its process, which had been up, ended or is about to.
    pub(crate) fn down(&self) {
        let mut facts = self.facts();
        facts.pid = None;
        facts.health = Health::absent();
        drop(facts);
        self.live.send_modify(|count| *count = count.saturating_sub(1));
    }

    pub(crate) fn restarted(&self) {
        self.facts().restarts += 1;
    }

    /// Its ports, to be used again by its next process; 0 before the first.
    pub(crate) fn ports(&self) -> (u16, u16) {
        let facts = self.facts();
        (facts.port, facts.admin_port)
    }

    /// Whether there is a process to check.
    pub(crate) fn is_live(&self) -> bool {
        self.facts().pid.is_some()
    }

    /// Takes the outcome of one health check.
    pub(crate) fn checked(&self, report: Option<&ReplicaHealth>, tuning: &Tuning) {
        let mut facts = self.facts();
        if facts.pid.is_none() {
            return;
        }
        facts.health.record(report.is_some(), tuning.healthy_after, tuning.unhealthy_after);
        if let Some(report) = report {
            facts.queue_depth = report.queue_depth;
            facts.queue_wait = Duration::try_from_secs_f64(report.queue_wait_seconds).unwrap_or_default();
        }
    }

    /// Depth of its queue and wait of its latest job, as of the latest health check.
    pub(crate) fn queue(&self) -> (usize, Duration) {
        let facts = self.facts();
        (facts.queue_depth, facts.queue_wait)
    }

    /// The ticket of a trial, if one is due now.
    pub(crate) fn trial(&self) -> Option<Ticket> {
        if self.facts().health.is_healthy() { self.tell(Event::TrialOffered) } else { None }
    }

    /// Hands an outcome to the circuit.
    pub(crate) fn report(&self, ticket: Option<Ticket>, passed: bool) {
        if let Some(ticket) = ticket {
            self.tell(if passed { Event::Passed(ticket) } else { Event::Failed(ticket) });
        }
    }

    pub(crate) fn info(&self) -> ReplicaInfo {
        let breaker = self.state();
        let facts = self.facts();
        let healthy = facts.health.is_healthy();
        ReplicaInfo {
            index: self.index,
            pid: facts.pid,
            port: facts.port,
            admin_port: facts.admin_port,
            healthy,
            in_rotation: healthy && breaker == State::Closed,
            breaker,
            restarts: facts.restarts,
            cgroups: self.cgroups.clone(),
        }
    }

    fn in_rotation(&self) -> bool {
        self.facts().health.is_healthy() && self.state() == State::Closed
    }

    fn admit(self: &Arc<Self>) -> Option<Choice> {
        // Watched from before the admission on, so that no opening is missed.
        let openings = self.openings.subscribe();
        let ticket = match &self.circuit {
            Some(circuit) => Some(lock(circuit).admit()?),
            None => None,
        };
        self.choice(ticket, openings)
    }

    fn force(self: &Arc<Self>) -> Option<Choice> {
        self.choice(None, self.openings.subscribe())
    }

    fn choice(self: &Arc<Self>, ticket: Option<Ticket>, openings: watch::Receiver<u64>) -> Option<Choice> {
        let facts = self.facts();
        let port = facts.port;
        facts.health.is_healthy().then(|| Choice { slot: Arc::clone(self), port, ticket, openings })
    }

    fn state(&self) -> State {
        self.circuit.as_ref().map_or(State::Closed, |circuit| lock(circuit).state())
    }

    fn tell(&self, event: Event) -> Option<Ticket> {
        let mut breaker = lock(self.circuit.as_ref()?);
        let before = breaker.state();
        let ticket = breaker.step(event, Instant::now());
        if before != State::Open && breaker.state() == State::Open {
            self.openings.send_modify(|count| *count += 1);
        }
        ticket
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        lock(&self.facts)
    }
}

fn limits(tuning: &Tuning) -> Limits {
    Limits {
        consecutive: tuning.breaker_failures,
        window: WINDOW,
        ratio_percent: RATIO_PERCENT,
        open_for: tuning.breaker_open,
    }
}

/// No holder of these locks can leave half a change behind, so a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn fleet(replicas: u16, breaker: bool) -> Fleet {
        let fleet = Fleet::new(&Config { replicas, breaker, ..Config::default() }, |_| Vec::new());
        for slot in fleet.slots() {
            slot.up(Some(1), &ReplicaReady { port: 1, admin_port: 2 });
        }
        fleet
    }

    fn chosen(fleet: &Fleet, tried: &[u16]) -> Option<u16> {
        fleet.choose(tried).map(|choice| choice.slot.index)
    }

    fn open(fleet: &Fleet, index: usize) {
        let slot = &fleet.slots()[index];
        while let Some(choice) = slot.admit() {
            slot.report(choice.ticket, false);
        }
    }

    #[test]
    fn replicas_take_turns_and_those_out_of_rotation_are_passed_over() {
        let fleet = fleet(4, true);
        let turns: Vec<_> = (0..5).map(|_| chosen(&fleet, &[])).collect();
        assert_eq!(turns, [0, 1, 2, 3, 0].map(Some));
        fleet.slots()[1].down();
        open(&fleet, 2);
        let turns: BTreeSet<_> = (0..8).map(|_| chosen(&fleet, &[])).collect();
        assert_eq!(turns, BTreeSet::from([Some(0), Some(3)]));
        assert_eq!(chosen(&fleet, &[0]), Some(3));
        assert_eq!(chosen(&fleet, &[0, 3]), None, "an open circuit is no place for a retry");
        assert!(fleet.has_other(&[0]) && !fleet.has_other(&[0, 3]));
        assert_eq!((fleet.health().live, fleet.health().in_rotation), (3, 2));
    }

    #[test]
    fn retries_do_not_disturb_the_turns() {
        let fleet = fleet(4, false);
        let turns: Vec<_> = (0..4)
            .map(|_| {
                let first = chosen(&fleet, &[]);
                assert_ne!(chosen(&fleet, &[first.expect("somebody")]), first);
                first
            })
            .collect();
        assert_eq!(turns, [0, 1, 2, 3].map(Some));
    }

    #[test]
    fn circuits_are_ignored_when_all_are_open() {
        let fleet = fleet(2, true);
        open(&fleet, 0);
        open(&fleet, 1);
        assert_eq!(fleet.health().status, "down");
        let choice = fleet.choose(&[]).expect("better than nobody");
        assert!(choice.ticket.is_none());
    }

    #[test]
    fn slowness_opens_at_most_half_of_the_circuits() {
        for (replicas, most) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)] {
            let fleet = fleet(replicas, true);
            let mut opened = 0;
            while fleet.may_suspect() {
                open(&fleet, opened);
                opened += 1;
            }
            assert_eq!(opened, most, "of {replicas}");
        }
    }

    #[test]
    fn a_new_process_starts_with_a_closed_circuit() {
        let fleet = fleet(4, true);
        open(&fleet, 0);
        fleet.slots()[0].down();
        fleet.slots()[0].up(Some(2), &ReplicaReady { port: 1, admin_port: 2 });
        assert_eq!(fleet.infos()[0].breaker, State::Closed);
        assert_eq!(fleet.health().in_rotation, 4);
    }
}

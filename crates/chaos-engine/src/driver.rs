//! One task per run: takes events, moves the state machine on, writes the journal, then does what follows.
//!
//! Owns the run's state and every task that belongs to it. It decides nothing itself.

mod effects;

use std::collections::BTreeSet;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use chaos_core::journal::{RECORDS_MAX, Record, RunHeader, RunSummary};
use chaos_core::port::Placed;
use chaos_core::run::{Effect, Event, Injection, InjectionId, Phase, RunState, Stop, StopCause};
use chaos_core::safety::Claim;
use tokio::sync::{Semaphore, broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::claims::Claims;
use crate::engine::{Limits, Ports, Published, RunSnapshot};
use crate::measure::{Measurement, SAMPLES_WAITING_MAX};

/// Events that are journalled together at most. Only what waits already is: a thousand undos that are reported at once
/// take a few commits, not one for each handful.
const BATCH_MAX: usize = 1024;
/// Records kept for the undo of a run whose journal is nearly full: a few for each instance that a node may have.
const RECORDS_RESERVED: u64 = 50_000;
/// How often a journal that can't be written is tried again once the run has ended.
const JOURNAL_TRIES: u32 = 20;
/// Time between these tries.
const JOURNAL_PAUSE: Duration = Duration::from_millis(500);

/// What every driver of an engine shares.
pub(crate) struct Surroundings {
    pub(crate) ports: Ports,
    pub(crate) limits: Limits,
    pub(crate) bus: broadcast::Sender<Published>,
    pub(crate) claims: Arc<Claims>,
}

pub(crate) struct Driver {
    ports: Ports,
    limits: Limits,
    header: Arc<RunHeader>,
    state: RunState,
    events: mpsc::UnboundedSender<Event>,
    inbox: mpsc::UnboundedReceiver<Event>,
    samples: mpsc::Sender<Event>,
    samples_inbox: mpsc::Receiver<Event>,
    snapshots: watch::Sender<RunSnapshot>,
    bus: broadcast::Sender<Published>,
    claims: Arc<Claims>,
    accepted: Duration,
    /// Time of the run before that.
    passed: Duration,
    seq: u64,
    unwritten: Vec<Record>,
    /// A write is no reason to be deaf. Not before a run that is taken up knows what its hosts hold.
    listens: bool,
    /// What follows from events that came in during a write: done once they are written, too.
    meanwhile: Option<Vec<Effect>>,
    ordered: BTreeSet<InjectionId>,
    before: Arc<BTreeSet<String>>,
    measurement: Option<Measurement>,
    /// Those that only complete what is in flight.
    ending: Vec<Measurement>,
    health: Option<JoinSet<()>>,
    tasks: JoinSet<()>,
}

impl Driver {
    pub(crate) fn new(
        surroundings: Surroundings,
        begin: &RunSnapshot,
        elapsed_ms: u64,
        (events, inbox): (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>),
        snapshots: watch::Sender<RunSnapshot>,
    ) -> Self {
        let Surroundings { ports, limits, bus, claims } = surroundings;
        let (samples, samples_inbox) = mpsc::channel(SAMPLES_WAITING_MAX);
        Self {
            accepted: ports.clock.monotonic(),
            passed: Duration::from_millis(elapsed_ms),
            state: (*begin.state).clone(),
            ports,
            limits,
            header: Arc::clone(&begin.header),
            events,
            inbox,
            samples,
            samples_inbox,
            snapshots,
            bus,
            claims,
            seq: 0,
            unwritten: Vec::new(),
            listens: false,
            meanwhile: None,
            ordered: BTreeSet::new(),
            before: Arc::default(),
            measurement: None,
            ending: Vec::new(),
            health: None,
            tasks: JoinSet::new(),
        }
    }

    /// Goes on behind these records, which are on disk.
    pub(crate) fn after(mut self, records: &[Record]) -> Self {
        self.seq = records.last().map_or(0, |last| last.seq);
        for record in records {
            if let Event::Resolved(resolution) = &record.event {
                self.before = Arc::new(resolution.matching.iter().cloned().collect());
            }
            for effect in &record.effects {
                if let Effect::Inject(ids) = effect {
                    self.ordered.extend(ids.iter().cloned());
                }
            }
        }
        self
    }

    /// Drives a run to its end that another process began: first its hosts are asked what they still hold. A stop
    /// does not wait for their answer.
    pub(crate) async fn take_up(mut self) {
        let target = self.header.experiment.spec.target.host.as_ref();
        self.claims.restore(Claim {
            run: self.header.run.clone(),
            experiment: self.header.key(),
            target: target.map(ToString::to_string).unwrap_or_default(),
            instances: self.state.selected_instances().map(str::to_owned).collect(),
        });
        let open = self.state.unfinished().filter(|injection| self.ordered.contains(&injection.id));
        let placed = |injection: &Injection| Placed {
            injection: injection.id.clone(),
            host: injection.instance.host.clone(),
        };
        let placed: Vec<Placed> = open.map(placed).collect();
        let (node, run, reports) = (Arc::clone(&self.ports.node), self.header.run.clone(), self.reports());
        let mut attached = Box::pin(async move { node.attach(&run, placed, reports).await });
        // What the hosts tell of single faults belongs behind what they hold.
        let mut reported = Vec::new();
        while self.state.phase != Phase::Finished {
            tokio::select! {
                biased;
                Some(event) = self.inbox.recv() => match event {
                    Event::Injection(_) => reported.push(event),
                    event => self.handle(vec![event]).await,
                },
                held = &mut attached => {
                    self.handle(vec![Event::Adopted { held }]).await;
                    break;
                }
            }
        }
        drop(attached);
        if !reported.is_empty() && self.state.phase != Phase::Finished {
            self.handle(reported).await;
        }
        self.drive().await;
    }

    /// Waits for a slot, then drives the run to its end. A stop ends it while it waits, too.
    pub(crate) async fn run(mut self, slots: Arc<Semaphore>) {
        let slot = tokio::select! {
            biased;
            Some(event) = self.inbox.recv() => { self.handle(vec![event]).await; None }
            slot = slots.acquire_owned() => slot.ok(),
        };
        if slot.is_some() {
            self.handle(vec![Event::Started]).await;
        }
        self.drive().await;
        drop(slot);
    }

    async fn drive(&mut self) {
        self.listens = true;
        let mut renewal = interval(self.limits.lease / 3);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.state.phase != Phase::Finished {
            tokio::select! {
                biased;
                Some(event) = self.inbox.recv() => self.handle_batch(event).await,
                _ = renewal.tick() => if !self.ordered.is_empty() { self.ports.node.renew(&self.header.run).await },
                () = ready(()), if self.meanwhile.is_some() => self.handle(Vec::new()).await,
                Some(event) = self.samples_inbox.recv() => self.handle_batch(event).await,
            }
        }
        if self.meanwhile.is_some() {
            self.handle(Vec::new()).await;
        }
        for _ in 0..JOURNAL_TRIES {
            if self.unwritten.is_empty() || self.write().await {
                break;
            }
            sleep(JOURNAL_PAUSE).await;
        }
    }

    async fn handle_batch(&mut self, first: Event) {
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX {
            match self.inbox.try_recv().or_else(|_| self.samples_inbox.try_recv()) {
                Ok(event) => batch.push(event),
                Err(_) => break,
            }
        }
        self.handle(batch).await;
    }

    /// Journal first, effect second; what comes of it arrives as another event.
    async fn handle(&mut self, batch: Vec<Event>) {
        while self.tasks.try_join_next().is_some() {}
        let mut effects = self.meanwhile.take().unwrap_or_default();
        effects.extend(self.take_in(batch).await);
        // What only reads may begin before its event is on disk.
        if let Some(reading) = effects.iter().position(|effect| *effect == Effect::Resolve) {
            effects.remove(reading);
            self.resolve();
        }
        let written = self.write().await;
        self.publish();
        for effect in effects {
            // What can't be journalled is not begun, nor what a stop in the same batch came after; what undoes goes on.
            let begins = matches!(effect, Effect::Inject(_) | Effect::Redraw { .. });
            if !begins || (written && self.state.phase <= Phase::Active) {
                self.execute(effect).await;
            }
        }
        let full = self.seq >= RECORDS_MAX - RECORDS_RESERVED;
        if (!written || full) && self.state.phase != Phase::Finished && self.state.stop.is_none() {
            let reason = if full { "the journal is full" } else { "the journal can't be written" }.to_owned();
            let _ = self.events.send(Event::StopRequested(Stop { cause: StopCause::Journal, reason }));
        }
    }

    /// Moves the state on and says what follows, but for the undo of what a node was told to do, which goes to the node
    /// here. Only what begins needs its intent on disk: a disk that hangs never keeps a fault alive, and a service that
    /// dies before it wrote of the undo finds a run of which something is gone, and undoes the rest.
    async fn take_in(&mut self, batch: Vec<Event>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for event in batch {
            let elapsed_ms = self.elapsed_ms();
            if let Event::Resolved(resolution) = &event {
                self.before = Arc::new(resolution.matching.iter().cloned().collect());
            }
            match self.state.step(&self.header, elapsed_ms, event.clone()) {
                Ok(next) => {
                    self.seq += 1;
                    let at = self.ports.clock.now();
                    effects.extend(next.iter().cloned());
                    self.unwritten.push(Record { seq: self.seq, at, elapsed_ms, event, effects: next });
                }
                Err(illegal) => tracing::error!(run = %self.header.run, "{illegal}"),
            }
            if self.state.phase == Phase::Finished {
                break;
            }
        }
        for effect in &mut effects {
            if let Effect::Revert(ids) = effect {
                *ids = self.revert_ordered(std::mem::take(ids)).await;
            }
        }
        effects
    }

    fn elapsed_ms(&self) -> u64 {
        let elapsed = self.passed + self.ports.clock.monotonic().saturating_sub(self.accepted);
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }

    /// Writes what is not written yet; it stays for the next time when that fails. What comes in until then is taken in.
    async fn write(&mut self) -> bool {
        if self.unwritten.is_empty() {
            return true;
        }
        let mut records = std::mem::take(&mut self.unwritten);
        let summary = RunSummary::of(&self.header, &self.state, self.elapsed_ms());
        let (store, run) = (Arc::clone(&self.ports.store), self.header.run.clone());
        let mut append = store.append(&run, &records, &summary);
        let written = loop {
            let listens = self.listens && self.state.phase != Phase::Finished;
            tokio::select! {
                biased;
                written = &mut append => break written,
                Some(event) = self.inbox.recv(), if listens => {
                    let effects = self.take_in(vec![event]).await;
                    self.meanwhile.get_or_insert_default().extend(effects);
                }
            }
        };
        drop(append);
        match written {
            Ok(()) => {
                // Nobody listening is fine.
                let (header, records) = (Arc::clone(&self.header), records.into());
                let _ = self.bus.send(Published { header, records, summary });
                true
            }
            Err(error) => {
                tracing::error!(run = %run, "{error}");
                records.append(&mut self.unwritten);
                self.unwritten = records;
                false
            }
        }
    }

    fn publish(&self) {
        let summary = RunSummary::of(&self.header, &self.state, self.elapsed_ms());
        self.snapshots.send_replace(RunSnapshot {
            header: Arc::clone(&self.header),
            state: Arc::new(self.state.clone()),
            summary,
        });
    }
}

//! One task per run: takes events, moves the state machine on, writes the journal, then does what follows.
//!
//! Owns the run's state and every task that belongs to it. It decides nothing itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chaos_core::duration::Span;
use chaos_core::journal::{RECORDS_MAX, Record, RunHeader, RunSummary};
use chaos_core::port::{Evidence, InjectOrder, InjectionPlan, InjectionReport, Placed, ReportSink};
use chaos_core::run::{
    Effect, Event, Injection, InjectionId, InjectionState, Phase, RunState, STEPWISE_TIMEOUT, Stop,
    StopCause, Timer,
};
use chaos_core::safety::Claim;
use chaos_core::spec::{ProbePhase, RevertMode};
use chaos_core::target::Instance;
use tokio::sync::{Semaphore, broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::claims::Claims;
use crate::engine::{Limits, Ports, Published, RunSnapshot};
use crate::errands::{draw_again, help};
use crate::health::Readiness;
use crate::measure::{Measurement, SAMPLES_WAITING_MAX};
use crate::preflight::resolve;
use crate::watch::Watched;

/// Events that are journalled together at most. Only what waits already is: a thousand undos that are reported at once
/// take a few commits, not one for each handful.
const BATCH_MAX: usize = 1024;
/// Records kept for the undo of a run whose journal is nearly full: a few for each instance that a node may have.
const RECORDS_RESERVED: u64 = 50_000;
/// How often a journal that can't be written is tried again once the run has ended.
const JOURNAL_TRIES: u32 = 20;
/// Time between these tries.
const JOURNAL_PAUSE: Duration = Duration::from_millis(500);
/// The holder keeps a fault this much longer than the engine's own timer, so that one of them ends it, not a race.
const DURATION_MARGIN: Duration = Duration::from_secs(1);

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
        let mut renewal = interval(self.limits.lease / 3);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.state.phase != Phase::Finished {
            tokio::select! {
                biased;
                Some(event) = self.inbox.recv() => self.handle_batch(event).await,
                _ = renewal.tick() => if !self.ordered.is_empty() { self.ports.node.renew(&self.header.run).await },
                Some(event) = self.samples_inbox.recv() => self.handle_batch(event).await,
            }
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
        let mut effects = Vec::new();
        while self.tasks.try_join_next().is_some() {}
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

    fn elapsed_ms(&self) -> u64 {
        let elapsed = self.passed + self.ports.clock.monotonic().saturating_sub(self.accepted);
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }

    /// Writes what is not written yet; it stays for the next time when that fails.
    async fn write(&mut self) -> bool {
        if self.unwritten.is_empty() {
            return true;
        }
        let summary = RunSummary::of(&self.header, &self.state, self.elapsed_ms());
        match self.ports.store.append(&self.header.run, &self.unwritten, &summary).await {
            Ok(()) => {
                let records = std::mem::take(&mut self.unwritten).into();
                // Nobody listening is fine.
                let _ = self.bus.send(Published { header: Arc::clone(&self.header), records, summary });
                true
            }
            Err(error) => {
                tracing::error!(run = %self.header.run, "{error}");
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

    async fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::Resolve => self.resolve(),
            Effect::Measure { phase, once } => self.measure(phase, once),
            Effect::StopMeasuring => self.stop_measuring(),
            Effect::WatchHealth { every } => self.watch_health(every),
            Effect::SetTimer { timer, after } => self.set_timer(timer, after),
            Effect::Inject(ids) => self.inject(&ids).await,
            Effect::Revert(ids) => self.revert(ids).await,
            Effect::Redraw { item, draw } => self.redraw(item, draw),
            Effect::Act { action } => self.act(action),
            Effect::Finish => {
                self.measurement = None;
                self.ending.clear();
                self.health = None;
                self.tasks.shutdown().await;
                self.ports.node.release(&self.header.run).await;
            }
        }
    }

    fn resolve(&mut self) {
        let (ports, header, events) = (self.ports.clone(), Arc::clone(&self.header), self.events.clone());
        let claims = Arc::clone(&self.claims);
        self.tasks.spawn(async move {
            let resolved = resolve(&ports, &header, &claims, true);
            let (resolved, ()) = tokio::join!(resolved, ports.node.prepare(&header.run));
            let event = match resolved {
                Ok(resolution) => Event::Resolved(Box::new(resolution)),
                Err(failure) => Event::Failed(failure),
            };
            let _ = events.send(event);
        });
    }

    fn stop_measuring(&mut self) {
        if let Some(measurement) = self.measurement.take() {
            measurement.stop().cancel();
            self.ending.push(measurement);
        }
    }

    fn measure(&mut self, phase: ProbePhase, once: bool) {
        self.stop_measuring();
        let measurement = Measurement::start(&self.ports, &self.header, phase, once, &self.samples);
        if once {
            let (ended, events) = (measurement.ended(), self.samples.clone());
            self.tasks.spawn(async move {
                ended.await;
                let _ = events.send(Event::BaselineEnded).await; // behind the last sample, in the same queue
            });
        }
        self.measurement = Some(measurement);
    }

    fn set_timer(&mut self, timer: Timer, after: Span) {
        let baseline = self
            .measurement
            .as_ref()
            .filter(|_| timer == Timer::Baseline)
            .map(|one| (one.stop(), one.ended()));
        let (events, samples) = (self.events.clone(), self.samples.clone());
        self.tasks.spawn(async move {
            sleep(after.0).await;
            if let Some((stop, ended)) = baseline {
                stop.cancel();
                ended.await;
                let _ = samples.send(Event::BaselineEnded).await;
            } else {
                let _ = events.send(Event::Elapsed(timer));
            }
        });
    }

    fn watch_health(&mut self, every: Span) {
        let ports_min = self.state.ports_min;
        let recovering = (self.state.phase == Phase::Recovering)
            .then_some(Readiness::AsBefore { ready: self.state.ready_before, ports_min });
        let watched = Watched {
            ports: self.ports.clone(),
            header: Arc::clone(&self.header),
            samples: self.samples.clone(),
            snapshots: self.snapshots.subscribe(),
            before: Arc::clone(&self.before),
            ports_min,
            recovering,
        };
        self.health = Some(watched.start(every));
    }

    async fn inject(&mut self, ids: &[InjectionId]) {
        let spec = &self.header.experiment.spec;
        let left = self.state.active_ms.map_or(spec.duration.0, |active| {
            (Duration::from_millis(active) + spec.duration.0)
                .saturating_sub(Duration::from_millis(self.elapsed_ms()))
        });
        let margin = match spec.revert {
            RevertMode::AtOnce => DURATION_MARGIN,
            RevertMode::Stepwise => DURATION_MARGIN + STEPWISE_TIMEOUT,
        };
        let injections: Vec<InjectionPlan> = self
            .state
            .injections
            .iter()
            .filter(|injection| ids.contains(&injection.id))
            .map(|injection| {
                let item = &spec.faults[injection.item];
                let duration = item.duration.map_or(left, |own| own.0.min(left)) + margin;
                let (fault, instance) = (item.fault.clone(), injection.instance.clone());
                InjectionPlan { id: injection.id.clone(), fault, instance, duration }
            })
            .collect();
        self.ordered.extend(ids.iter().cloned());
        let reports = self.reports();
        let order = InjectOrder {
            run: self.header.run.clone(),
            owner: self.header.owner,
            lease: self.limits.lease,
            injections,
        };
        if let Err(error) = self.ports.node.inject(order, reports).await {
            for id in ids {
                self.report(id, InjectionState::ApplyFailed, Some(error.to_string()));
            }
        }
    }

    /// Where nodes report to.
    fn reports(&self) -> ReportSink {
        let events = self.events.clone();
        Arc::new(move |report| {
            let _ = events.send(Event::Injection(report));
        })
    }

    async fn revert(&mut self, ids: Vec<InjectionId>) {
        let (ordered, never): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| self.ordered.contains(id));
        for id in &never {
            self.report(id, InjectionState::Reverted, None);
        }
        if !ordered.is_empty() {
            self.ports.node.revert(&self.header.run, ordered).await;
        }
    }

    /// Reports what this side knows of an injection that never reached the node.
    fn report(&self, id: &InjectionId, state: InjectionState, error: Option<String>) {
        let evidence = vec![Evidence::new("engine", "never reached the node: nothing was changed")];
        let report = InjectionReport { injection: id.clone(), state, evidence, error, took_ms: 0.0 };
        let _ = self.events.send(Event::Injection(report));
    }

    fn act(&mut self, action: usize) {
        let (ports, header, events) = (self.ports.clone(), Arc::clone(&self.header), self.events.clone());
        let hit: BTreeMap<String, Instance> = self
            .state
            .injections
            .iter()
            .map(|injection| (injection.instance.id.clone(), injection.instance.clone()))
            .collect();
        self.tasks.spawn(async move {
            let outcome = help(&ports, &header, action, hit.into_values().collect()).await;
            let _ = events.send(Event::Acted(outcome));
        });
    }

    fn redraw(&mut self, item: usize, draw: u32) {
        let (ports, header, events) = (self.ports.clone(), Arc::clone(&self.header), self.events.clone());
        let claims = Arc::clone(&self.claims);
        self.tasks.spawn(async move {
            let chosen = match draw_again(&ports, &header, &claims, draw).await {
                Ok(chosen) => chosen,
                Err(failure) => {
                    tracing::warn!(run = %header.run, "draw {draw} of fault {item} is skipped: {failure:?}");
                    Vec::new()
                }
            };
            let _ = events.send(Event::Redrawn { item, chosen });
        });
    }
}

//! The engine as others use it: submit, stop, look, listen.
//!
//! Owns the table of active runs and the queue. A run's state belongs to its driver alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chaos_core::journal::{Record, RunHeader, RunSummary};
use chaos_core::port::{Clock, Governance, Node, Prober, SignalSource, Store, StoreError};
use chaos_core::run::{
    Event, Failure, InjectionId, InjectionState, Phase, Resolution, RunId, RunState, Stop, StopCause,
};
use chaos_core::safety::Health;
use chaos_core::spec::{ExperimentKey, Target};
use tokio::sync::{Semaphore, broadcast, mpsc, watch};
use tokio_util::task::TaskTracker;

use crate::claims::Claims;
use crate::driver::{Driver, Surroundings};
use crate::health::{Readiness, health};
use crate::preflight;

/// What the engine needs of the world.
#[derive(Clone)]
pub struct Ports {
    /// Where faults are done.
    pub node: Arc<dyn Node>,
    /// Who measures probes.
    pub prober: Arc<dyn Prober>,
    /// Declared signals.
    pub signals: Arc<dyn SignalSource>,
    /// Where journals are kept.
    pub store: Arc<dyn Store>,
    /// Rules and what people decided.
    pub governance: Arc<dyn Governance>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// Bounds of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Runs that are active at the same time.
    pub active_runs_max: usize,
    /// Runs that are active or wait.
    pub accepted_runs_max: usize,
    /// How long a node goes on without hearing from us.
    pub lease: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { active_runs_max: 256, accepted_runs_max: 1024, lease: chaos_core::port::LEASE_DEFAULT }
    }
}

/// An end that is on disk may be heard of before the table of active runs shows it: how long a start of the same name
/// waits for that.
const CLOSING_GRACE: Duration = Duration::from_millis(250);
/// Records that listeners may lag behind before they miss some.
const BUS_CAPACITY: usize = 4096;

/// What the bus carries: records of one run that are on disk.
#[derive(Debug, Clone)]
pub struct Published {
    /// The run.
    pub header: Arc<RunHeader>,
    /// The new records.
    pub records: Arc<[Record]>,
    /// The run after them.
    pub summary: RunSummary,
}

/// A run at one moment.
#[derive(Debug, Clone)]
pub struct RunSnapshot {
    /// What was asked for.
    pub header: Arc<RunHeader>,
    /// Where it is.
    pub state: Arc<RunState>,
    /// In one line.
    pub summary: RunSummary,
}

/// Why a run was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// A run of that experiment is active.
    #[error("experiment {key} has an active run {run}")]
    NameInUse {
        /// The experiment.
        key: ExperimentKey,
        /// Its run.
        run: RunId,
    },
    /// Too many runs.
    #[error("{accepted} runs are active or waiting, the limit is {limit}")]
    QueueFull {
        /// Accepted runs.
        accepted: usize,
        /// The limit.
        limit: usize,
    },
    /// The engine is going down.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The journal can't be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a stop went.
#[derive(Debug, Clone)]
pub struct StopReport {
    /// The run.
    pub run: RunId,
    /// From the request to the last proof.
    pub took: Duration,
    /// Injections proven undone, or never made.
    pub reverted: usize,
    /// Injections whose undo is not proven.
    pub unproven: Vec<InjectionId>,
}

/// Runs experiments. Clones share everything.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

struct Shared {
    ports: Ports,
    limits: Limits,
    runs: Mutex<BTreeMap<RunId, Active>>,
    slots: Arc<Semaphore>,
    bus: broadcast::Sender<Published>,
    claims: Arc<Claims>,
    accepting: AtomicBool,
    drivers: TaskTracker,
}

#[derive(Clone)]
struct Active {
    header: Arc<RunHeader>,
    events: mpsc::UnboundedSender<Event>,
    snapshots: watch::Receiver<RunSnapshot>,
}

impl Active {
    fn is_finished(&self) -> bool {
        self.snapshots.borrow().state.phase == Phase::Finished
    }

    /// It holds the name of that experiment.
    fn is_of(&self, key: &ExperimentKey) -> bool {
        self.header.key() == *key && !self.is_finished()
    }
}

impl Engine {
    /// An engine without runs.
    pub fn new(ports: Ports, limits: Limits) -> Self {
        Self(Arc::new(Shared {
            ports,
            limits,
            runs: Mutex::new(BTreeMap::new()),
            slots: Arc::new(Semaphore::new(limits.active_runs_max)),
            bus: broadcast::channel(BUS_CAPACITY).0,
            claims: Arc::default(),
            accepting: AtomicBool::new(true),
            drivers: TaskTracker::new(),
        }))
    }

    /// The ports it works with.
    pub fn ports(&self) -> &Ports {
        &self.0.ports
    }

    /// Every record that is written from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Published> {
        self.0.bus.subscribe()
    }

    /// Accepts a run and starts it as soon as there is room. When this returns, the run is on disk.
    ///
    /// # Errors
    /// [`SubmitError`]; nothing was started.
    pub async fn submit(&self, header: RunHeader) -> Result<RunSnapshot, SubmitError> {
        let state = RunState::new(&header);
        let admitted = self.admit(header, state, 0).await?;
        let Admitted { snapshot, driver, guard } = admitted;
        self.0.ports.store.create_run(&snapshot.header, &snapshot.summary).await?;
        let slots = Arc::clone(&self.0.slots);
        self.0.drivers.spawn(async move {
            driver.run(slots).await;
            drop(guard);
        });
        Ok(snapshot)
    }

    /// Takes up a run that another process began and did not end, from its journal: it goes on when its hosts still
    /// hold every fault, else it is undone; its journal gets its end in any case.
    ///
    /// # Errors
    /// [`SubmitError`], also when the journal can't be read: its faults are undone by their own records.
    pub async fn adopt(&self, header: RunHeader, records: &[Record]) -> Result<RunSnapshot, SubmitError> {
        let state = RunState::replay(&header, records).map_err(|error| StoreError {
            action: format!("read the journal of run {}", header.run),
            reason: error.to_string(),
            conflict: true,
        })?;
        let elapsed_ms = records.last().map_or(0, |last| last.elapsed_ms + self.away_ms(last));
        let Admitted { snapshot, driver, guard } = self.admit(header, state, elapsed_ms).await?;
        let driver = driver.after(records);
        self.0.drivers.spawn(async move {
            driver.take_up().await;
            drop(guard);
        });
        Ok(snapshot)
    }

    /// How long nobody drove a run. The wall clock is all that outlives a process; one that went back says nothing.
    fn away_ms(&self, last: &Record) -> u64 {
        let away = self.0.ports.clock.now().duration_since(last.at).as_millis();
        u64::try_from(away).unwrap_or(0)
    }

    async fn admit(
        &self,
        header: RunHeader,
        state: RunState,
        elapsed_ms: u64,
    ) -> Result<Admitted, SubmitError> {
        let header = Arc::new(header);
        let summary = RunSummary::of(&header, &state, elapsed_ms);
        let snapshot = RunSnapshot { header: Arc::clone(&header), state: Arc::new(state), summary };
        let (snapshots, watcher) = watch::channel(snapshot.clone());
        let (events, inbox) = mpsc::unbounded_channel();
        let active = Active { header: Arc::clone(&header), events: events.clone(), snapshots: watcher };
        if let Err(error) = self.reserve(&active) {
            self.until_closed(&error).await;
            self.reserve(&active)?;
        }
        // From here on the run is in the table: whatever ends this future, the guard takes it out again.
        let guard = TableGuard { shared: Arc::clone(&self.0), run: header.run.clone() };
        let surroundings = Surroundings {
            ports: self.0.ports.clone(),
            limits: self.0.limits,
            bus: self.0.bus.clone(),
            claims: Arc::clone(&self.0.claims),
        };
        let driver = Driver::new(surroundings, &snapshot, elapsed_ms, (events, inbox), snapshots);
        Ok(Admitted { snapshot, driver, guard })
    }

    fn reserve(&self, active: &Active) -> Result<(), SubmitError> {
        let mut runs = self.runs();
        if !self.0.accepting.load(Ordering::SeqCst) {
            return Err(SubmitError::ShuttingDown);
        }
        if runs.len() >= self.0.limits.accepted_runs_max {
            return Err(SubmitError::QueueFull {
                accepted: runs.len(),
                limit: self.0.limits.accepted_runs_max,
            });
        }
        let key = active.header.key();
        if let Some(other) = runs.values().find(|other| other.is_of(&key)) {
            return Err(SubmitError::NameInUse { key, run: other.header.run.clone() });
        }
        runs.insert(active.header.run.clone(), active.clone());
        Ok(())
    }

    /// Gives a run that is about to end, and holds the name, the time to do so.
    async fn until_closed(&self, error: &SubmitError) {
        if let SubmitError::NameInUse { run, .. } = error {
            let _ = tokio::time::timeout(CLOSING_GRACE, self.finished(run)).await;
        }
    }

    fn runs(&self) -> MutexGuard<'_, BTreeMap<RunId, Active>> {
        self.0.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Active and waiting runs, oldest id first.
    pub fn active(&self) -> Vec<RunSnapshot> {
        let snapshot = |active: &Active| active.snapshots.borrow().clone();
        self.runs().values().filter(|active| !active.is_finished()).map(snapshot).collect()
    }

    /// The active run of an experiment.
    pub fn active_run(&self, key: &ExperimentKey) -> Option<RunSnapshot> {
        self.runs()
            .values()
            .find(|active| active.header.key() == *key)
            .map(|active| active.snapshots.borrow().clone())
    }

    /// Ends a run now, in whatever phase it is, and returns when every fault is proven undone or given up on. `None`
    /// when the run is not active.
    pub async fn stop(&self, run: &RunId, stop: Stop) -> Option<StopReport> {
        let mut active = self.runs().get(run).cloned()?;
        let begin = self.0.ports.clock.monotonic();
        let _ = active.events.send(Event::StopRequested(stop)); // fails only when the driver has ended
        let undone = |snapshot: &RunSnapshot| {
            let phase = snapshot.state.phase;
            phase == Phase::Finished
                || (phase == Phase::Recovering && snapshot.state.unfinished().next().is_none())
        };
        let ended = active.snapshots.wait_for(undone).await.map(|snapshot| snapshot.clone());
        let last = ended.unwrap_or_else(|_| active.snapshots.borrow().clone());
        let injections = &last.state.injections;
        let phase = last.state.phase;
        let unproven: Vec<InjectionId> = injections
            .iter()
            .filter(|injection| is_unproven(phase, injection.state))
            .map(|injection| injection.id.clone())
            .collect();
        Some(StopReport {
            run: run.clone(),
            took: self.0.ports.clock.monotonic().saturating_sub(begin),
            reverted: injections.len() - unproven.len(),
            unproven,
        })
    }

    /// Ends every run, active and waiting, all at once.
    pub async fn stop_all(&self, stop: &Stop) -> Vec<StopReport> {
        let ids: BTreeSet<RunId> = self.runs().keys().cloned().collect();
        let stops = ids.iter().map(|run| self.stop(run, stop.clone()));
        futures_util::future::join_all(stops).await.into_iter().flatten().collect()
    }

    /// Resolves when a run has ended, with its last state; `None` when it is not active.
    pub async fn finished(&self, run: &RunId) -> Option<RunSnapshot> {
        let mut active = self.runs().get(run).cloned()?;
        let ended = active.snapshots.wait_for(|snapshot| snapshot.state.phase == Phase::Finished).await;
        ended.ok().map(|snapshot| snapshot.clone())
    }

    /// What a start would find and what the gates would say; nothing is begun or claimed.
    ///
    /// # Errors
    /// [`Failure`] when the target matches too little or the node can't be asked.
    pub async fn look(&self, header: &RunHeader) -> Result<Resolution, Failure> {
        preflight::resolve(&self.0.ports, header, &self.0.claims, false).await
    }

    /// Health of a target now; of the signals alone when there is none.
    pub async fn health(&self, target: &Target) -> Health {
        let inventory = self.0.ports.node.inventory(target).await.map_err(|error| error.to_string());
        health(&self.0.ports, inventory.as_ref().map_err(Clone::clone), &Readiness::All).await
    }

    /// Takes no more runs, ends all there are, and returns when each is undone and its journal closed.
    pub async fn shutdown(&self) -> Vec<StopReport> {
        self.0.accepting.store(false, Ordering::SeqCst);
        let reason = "the server is shutting down".to_owned();
        let reports = self.stop_all(&Stop { cause: StopCause::Shutdown, reason }).await;
        self.0.drivers.close();
        self.0.drivers.wait().await;
        reports
    }
}

/// Something may be left of an injection that was last seen like this. The driver may have died since: what was planned
/// may have been ordered before anybody could see it.
fn is_unproven(phase: Phase, state: InjectionState) -> bool {
    match state {
        InjectionState::Reverted | InjectionState::TargetGone | InjectionState::ApplyFailed => false,
        InjectionState::Planned => matches!(phase, Phase::Injecting | Phase::Active | Phase::Reverting),
        InjectionState::Applying
        | InjectionState::Active
        | InjectionState::Reverting
        | InjectionState::RevertFailed => true,
    }
}

/// A run that has its place in the table.
struct Admitted {
    snapshot: RunSnapshot,
    driver: Driver,
    guard: TableGuard,
}

/// Takes a run out of the table when its driver has ended, or never began.
struct TableGuard {
    shared: Arc<Shared>,
    run: RunId,
}

impl Drop for TableGuard {
    fn drop(&mut self) {
        self.shared.claims.release(&self.run);
        self.shared.runs.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.run);
    }
}

//! This host as a node: starts fault processes, speaks with them, and ends what they leave when they are killed.
//!
//! Owns the promise that every injection of an accepted order ends in a final state that is reported. It never makes
//! or undoes a fault in this process, but for the records of a fault process that has died.

mod link;
mod spawn;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chaos_core::port::{InjectOrder, Node, NodeError, ReportSink};
use chaos_core::run::{InjectionId, RunId};
use chaos_core::spec::{FaultKind, HostTarget};
use chaos_core::target::{Inventory, ProcessRef};
use futures_util::future::BoxFuture;

use self::spawn::Spawned;
use crate::holder::monotonic;
use crate::holder::wire::{self, Begin, Command, Inject, Revert};
use crate::host::{self, Asker};
use crate::sys;

use link::{Link, Open};

/// Most injections of one order.
pub const ORDER_INJECTIONS_MAX: usize = 10_000;

/// How a node of this host is set up.
#[derive(Debug, Clone)]
pub struct LocalConfig {
    /// The state folder; undo records are below it.
    pub state_dir: PathBuf,
    /// The program whose `main` begins with [`crate::holder::run_if_holder`]: this one, unless a test says otherwise.
    pub executable: PathBuf,
    /// Processes of this product that are never hit; this process always is one.
    pub registered: Vec<ProcessRef>,
    /// What the node does at most.
    pub limits: Limits,
}

/// What a node does at most, whatever it is asked for.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest duration of a fault.
    pub duration_max: Duration,
    /// The faults that it makes.
    pub faults: Vec<FaultKind>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { duration_max: chaos_core::duration::Span::MAX.0, faults: FaultKind::ALL.to_vec() }
    }
}

impl LocalConfig {
    /// This program, every fault, records below `state_dir`.
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            executable: PathBuf::from("/proc/self/exe"),
            registered: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// A node agent in this process.
#[derive(Debug)]
pub struct LocalNode {
    config: LocalConfig,
    state: Arc<State>,
}

/// What the links to the fault processes share with the node.
#[derive(Debug, Default)]
struct State {
    registered: Mutex<Vec<ProcessRef>>,
    links: Mutex<BTreeMap<RunId, Link>>,
    /// Fault processes that were started ahead of their first order. One whose socket is dropped ends by itself.
    prepared: Mutex<BTreeMap<RunId, Spawned>>,
}

impl State {
    fn links(&self) -> MutexGuard<'_, BTreeMap<RunId, Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prepared(&self) -> MutexGuard<'_, BTreeMap<RunId, Spawned>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn registered(&self) -> MutexGuard<'_, Vec<ProcessRef>> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LocalNode {
    /// A node. Nothing is started yet; a start of the program calls [`crate::sweep::recover`] before.
    #[must_use]
    pub fn new(config: LocalConfig) -> Self {
        let mut registered = config.registered.clone();
        registered.extend(sys::proc::identity(sys::own_pid()));
        let state = State { registered: Mutex::new(registered), ..State::default() };
        Self { config, state: Arc::new(state) }
    }

    /// One more process of this product that must never be hit.
    pub fn register(&self, process: ProcessRef) {
        self.state.registered().push(process);
    }

    fn check(&self, order: &InjectOrder) -> Result<(), NodeError> {
        let refused = |reason: String| Err(NodeError::Refused { reason });
        if order.injections.len() > ORDER_INJECTIONS_MAX {
            return refused(format!("{} injections, at most {ORDER_INJECTIONS_MAX}", order.injections.len()));
        }
        let Limits { duration_max, faults } = &self.config.limits;
        for injection in &order.injections {
            let kind = injection.fault.kind();
            if !faults.contains(&kind) {
                return refused(format!("{kind} is not allowed here"));
            }
            if injection.duration > *duration_max {
                return refused(format!(
                    "{:?} is longer than the limit of {duration_max:?}",
                    injection.duration
                ));
            }
        }
        Ok(())
    }

    async fn start(&self, order: InjectOrder, sink: ReportSink) -> Result<(), NodeError> {
        let ordered_at = monotonic();
        self.check(&order)?;
        let run = order.run.clone();
        let holder = |reason: String| NodeError::Holder { run: run.clone(), reason };
        let mut lines = Vec::new();
        let mut open = Vec::new();
        for plan in order.injections {
            open.push((plan.id.clone(), Open { sink: sink.clone(), active: false }));
            lines.extend(wire::line(&Command::Inject(Inject { plan, ordered_at })).map_err(holder)?);
        }
        if self.state.links().get(&run).is_some_and(|link| link.add(&open, &lines)) {
            return Ok(());
        }
        let begin = Begin {
            run: run.clone(),
            owner: order.owner,
            lease: order.lease,
            state: std::path::absolute(&self.config.state_dir).map_err(|error| holder(error.to_string()))?,
            parent: sys::proc::identity(sys::own_pid()).map_err(|error| holder(error.to_string()))?,
            registered: self.state.registered().clone(),
        };
        let mut first = wire::line(&Command::Begin(begin)).map_err(holder)?;
        first.append(&mut lines);
        let prepared = self.state.prepared().remove(&run);
        let spawned = match prepared {
            Some(spawned) => spawned,
            None => self.spawn(&run).await.map_err(holder)?,
        };
        let log = crate::undo::UndoLog::new(&self.config.state_dir);
        link::attach(run.clone(), spawned, first, open, log, &self.state).map_err(holder)
    }

    async fn spawn(&self, run: &RunId) -> Result<Spawned, String> {
        let (executable, title) = (self.config.executable.clone(), run.clone());
        let spawned = tokio::task::spawn_blocking(move || spawn::holder(&executable, &title)).await;
        let spawned = spawned.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        self.register(spawned.process);
        Ok(spawned)
    }

    fn tell(&self, run: &RunId, command: &Command) {
        // A run without a link has no open injection: there is nothing to prolong or to undo.
        if let (Some(link), Ok(line)) = (self.state.links().get(run), wire::line(command)) {
            link.send(line);
        }
    }
}

impl Node for LocalNode {
    fn inventory<'a>(&'a self, target: &'a HostTarget) -> BoxFuture<'a, Result<Inventory, NodeError>> {
        let asker = Asker { registered: self.state.registered().clone(), callers: Vec::new() };
        let wanted = target.clone();
        let failed = |reason: String| NodeError::Inventory { target: target.to_string(), reason };
        Box::pin(async move {
            let looked_up = tokio::task::spawn_blocking(move || host::inventory(&wanted, &asker)).await;
            looked_up.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
        })
    }

    fn prepare<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            // What can't be started now is started with the order, which says why it can't.
            if let Ok(spawned) = self.spawn(run).await {
                self.state.prepared().insert(run.clone(), spawned);
            }
        })
    }

    fn release<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let Some(mut spawned) = self.state.prepared().remove(run) else { return };
            drop(spawned.control);
            let _ = spawned.child.wait().await;
            self.state.registered().retain(|process| *process != spawned.process);
        })
    }

    fn inject(&self, order: InjectOrder, reports: ReportSink) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(self.start(order, reports))
    }

    fn renew<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, ()> {
        Box::pin(async move { self.tell(run, &Command::Renew) })
    }

    fn revert<'a>(&'a self, run: &'a RunId, injections: Vec<InjectionId>) -> BoxFuture<'a, ()> {
        let command = Command::Revert(Revert { injections, requested_at: monotonic() });
        Box::pin(async move { self.tell(run, &command) })
    }
}

//! This host as a node: starts fault processes, speaks with them, and ends what they leave when they are killed.
//!
//! Owns the promise that every injection of an accepted order ends in a final state that is reported. It never makes
//! or undoes a fault in this process, but for the records of a fault process that has died or given up. The host below
//! is behind [`machine::Machine`].

mod command;
mod injections;
mod limits;
mod link;
pub mod machine;
mod spawn;
mod this_host;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chaos_core::port::{
    Evidence, InjectOrder, InjectionReport, Node, NodeAction, NodeError, Owner, Placed, ReportSink,
};
use chaos_core::run::{InjectionId, InjectionState, RunId};
use chaos_core::spec::{FaultKind, HostTarget, Target};
use chaos_core::target::{Instance, Inventory, ProcessRef};
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use self::injections::{Injections, TakenUp};
use self::link::{HandedOver, Link, Order};
use self::machine::{HolderProcess, Machine, apart};
use self::this_host::ThisHost;
use crate::faults::FaultError;
use crate::holder::wire::{self, Begin, Command, Inject, Revert};
use crate::host::Asker;
use crate::sweep::{self, Known};

pub use command::{COMMAND_OUTPUT_BYTES_MAX, COMMAND_TIMEOUT};
pub(crate) use limits::check_lease;
pub use limits::{
    COMMANDS_IN_FLIGHT_MAX, INJECTIONS_MAX, LEASE_MAX, LEASE_MIN, Limits, ORDER_INJECTIONS_MAX,
};

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

/// A node agent in this process. Sinks are called while its list of injections is locked: they must not block, as every
/// sink, and must not call the node.
pub struct LocalNode {
    config: LocalConfig,
    state: Arc<State>,
}

/// What the links to the fault processes share with the node.
struct State {
    machine: Arc<dyn Machine>,
    registered: Mutex<Vec<ProcessRef>>,
    links: Mutex<BTreeMap<RunId, Link>>,
    /// Fault processes that were started ahead of their first order.
    prepared: Mutex<BTreeMap<RunId, HolderProcess>>,
    /// Always locked after `links`, where both are.
    injections: Injections,
    commands: Semaphore,
}

impl State {
    fn links(&self) -> MutexGuard<'_, BTreeMap<RunId, Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prepared(&self) -> MutexGuard<'_, BTreeMap<RunId, HolderProcess>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn registered(&self) -> MutexGuard<'_, Vec<ProcessRef>> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings to an end what no fault process works on any more, one after the other, and reports each.
    async fn settle(&self, run: &RunId, left: Vec<(InjectionId, Known)>) {
        for (id, known) in left {
            let injection = id.clone();
            let work = move |machine: &dyn Machine| sweep::settle_left(machine.remains(), &id, known);
            let settled = apart(&self.machine, work).await;
            // A panic in there must not be silence.
            let report = settled.unwrap_or_else(|reason| InjectionReport {
                injection,
                state: InjectionState::RevertFailed,
                evidence: Vec::new(),
                error: Some(format!("undoing from its record: {reason}")),
                took_ms: 0.0,
            });
            self.injections.hand_on(run, report);
        }
    }
}

impl LocalNode {
    /// A node on this host. Nothing is started yet; a start of the program calls [`crate::sweep::recover`] before.
    #[must_use]
    pub fn new(config: LocalConfig) -> Self {
        let machine = ThisHost::new(config.executable.clone(), &config.state_dir);
        Self::on(Arc::new(machine), config)
    }

    /// A node on any machine. Of the configuration, the executable means nothing there.
    #[must_use]
    pub fn on(machine: Arc<dyn Machine>, config: LocalConfig) -> Self {
        let mut registered = config.registered.clone();
        registered.extend(machine.own_identity());
        let state = State {
            machine,
            registered: Mutex::new(registered),
            links: Mutex::default(),
            prepared: Mutex::default(),
            injections: Injections::default(),
            commands: Semaphore::new(COMMANDS_IN_FLIGHT_MAX),
        };
        Self { config, state: Arc::new(state) }
    }

    /// One more process of this product that must never be hit.
    pub fn register(&self, process: ProcessRef) {
        self.state.registered().push(process);
    }

    /// The injections that this node answers for: those without a final state, and those whose undo failed.
    #[must_use]
    pub fn open(&self) -> Vec<(RunId, InjectionId, InjectionState)> {
        self.state.injections.all()
    }

    /// Runs a command of the configuration: no shell, at most [`COMMAND_TIMEOUT`], at most
    /// [`COMMAND_OUTPUT_BYTES_MAX`] of what it printed.
    ///
    /// # Errors
    /// [`NodeError::Refused`] when there is no such command (the error names those that there are) or too many run
    /// already, [`NodeError::Failed`] when it failed, with what it printed.
    pub async fn run_command(&self, name: &str) -> Result<String, NodeError> {
        let argv = self.config.limits.command(name).map_err(|reason| NodeError::Refused { reason })?;
        let Ok(_running) = self.state.commands.try_acquire() else {
            let reason = format!("{COMMANDS_IN_FLIGHT_MAX} commands run here already");
            return Err(NodeError::Refused { reason });
        };
        let done = self.state.machine.run_program(argv).await;
        done.map_err(|cause| NodeError::Failed { reason: format!("command {name}: {cause}") })
    }

    fn now(&self) -> Duration {
        machine::now(&*self.state.machine)
    }

    async fn check(&self, order: &InjectOrder) -> Result<(), NodeError> {
        let refused = |reason: String| NodeError::Refused { reason };
        self.config.limits.check(order, self.state.injections.len()).map_err(refused)?;
        let instances = order.injections.iter().map(|injection| injection.instance.clone()).collect();
        self.check_apps(instances).await
    }

    async fn check_apps(&self, instances: Vec<Instance>) -> Result<(), NodeError> {
        let Some(apps) = self.config.limits.apps.clone() else { return Ok(()) };
        let work = move |machine: &dyn Machine| limits::check_apps(machine, &apps, &instances);
        let checked = apart(&self.state.machine, work).await;
        checked.map_err(|reason| NodeError::Failed { reason: format!("listing processes: {reason}") })?
    }

    async fn start(&self, order: InjectOrder, sink: ReportSink) -> Result<(), NodeError> {
        let ordered_at = self.now();
        self.check(&order).await?;
        let run = order.run.clone();
        let failed = |reason: String| NodeError::Holder { run: run.clone(), reason };
        let (mut injections, mut lines) = (Vec::new(), Vec::new());
        for plan in order.injections {
            injections.push(plan.id.clone());
            lines.extend(wire::line(&Command::Inject(Inject { plan, ordered_at })).map_err(failed)?);
        }
        let (owner, lease) = (order.owner, order.lease);
        let order = Order { run: order.run, injections, lines, sink };
        let stuck = || failed("the one that it has takes no orders".to_owned());
        match self.state.hand_over(&order) {
            HandedOver::Yes => return Ok(()),
            HandedOver::Stuck => return Err(stuck()),
            HandedOver::NoLink => {}
        }
        let begin = self.begin(&run, owner, lease).map_err(failed)?;
        let prepared = self.state.prepared().remove(&run);
        let holder = match prepared {
            Some(holder) => holder,
            None => self.start_holder(&run).await.map_err(failed)?,
        };
        match link::open(&self.state, holder, begin, &order) {
            HandedOver::Yes => Ok(()),
            HandedOver::Stuck | HandedOver::NoLink => Err(stuck()),
        }
    }

    /// The first line for a fault process.
    fn begin(&self, run: &RunId, owner: Owner, lease: Duration) -> Result<Vec<u8>, String> {
        wire::line(&Command::Begin(Begin {
            run: run.clone(),
            owner,
            lease,
            state: std::path::absolute(&self.config.state_dir).map_err(|error| error.to_string())?,
            parent: self.state.machine.own_identity().map_err(|error| error.to_string())?,
            registered: self.state.registered().clone(),
        }))
    }

    async fn start_holder(&self, run: &RunId) -> Result<HolderProcess, String> {
        let title = run.clone();
        let started = apart(&self.state.machine, move |machine| machine.start_holder(&title)).await?;
        let holder = started.map_err(|error| error.to_string())?;
        self.register(holder.identity);
        Ok(holder)
    }

    fn tell(&self, run: &RunId, command: &Command) {
        if let Ok(line) = wire::line(command) {
            self.state.send(run, line);
        }
    }

    /// Settles in the background.
    fn settle_soon(&self, run: &RunId, left: Vec<(InjectionId, Known)>) {
        if !left.is_empty() {
            let (state, run) = (Arc::clone(&self.state), run.clone());
            tokio::spawn(async move { state.settle(&run, left).await });
        }
    }

    async fn look_up(&self, target: HostTarget) -> Result<Inventory, NodeError> {
        let asker = Asker { registered: self.state.registered().clone(), callers: Vec::new() };
        let name = target.to_string();
        let looked_up = apart(&self.state.machine, move |machine| machine.inventory(&target, &asker)).await;
        let found = looked_up.and_then(|found| found.map_err(|error| error.to_string()));
        found.map_err(|reason| NodeError::Inventory { target: name, reason })
    }

    /// Whether this node itself sees who would start an instance again: a supervisor of the same name shows only when
    /// its app is looked up, which the id begins with.
    async fn is_started_again(&self, instance: &Instance, id: &str) -> Result<bool, NodeError> {
        if instance.managed {
            return Ok(true);
        }
        let Some((app, _)) = id.rsplit_once('/') else { return Ok(false) };
        let of_app = self.look_up(HostTarget::App(app.to_owned())).await?;
        Ok(of_app.instances.iter().any(|found| found.managed && found.process == instance.process))
    }

    /// Ends an instance that somebody will start again.
    async fn restart(&self, instance: Instance) -> Result<Vec<Evidence>, NodeError> {
        let refused = |reason: String| NodeError::Refused { reason };
        let id = instance.id.clone();
        if !self.config.limits.faults.contains(&FaultKind::PodKill) {
            return Err(refused(format!("{} is not allowed here, and so no restart", FaultKind::PodKill)));
        }
        let found = self.look_up(HostTarget::Pid(instance.process.pid)).await?;
        if let Some(protected) = found.protected.first() {
            return Err(refused(format!("{id} is protected: {}", protected.reason)));
        }
        // What belongs to it is this node's to say.
        let Some(instance) = found.instances.into_iter().find(|found| found.process == instance.process)
        else {
            return Ok(vec![Evidence::new(format!("process of {id}"), "it has ended already")]);
        };
        self.check_apps(vec![instance.clone()]).await?;
        if !self.is_started_again(&instance, &id).await? {
            return Err(refused(format!("nobody would start {id} again")));
        }
        let ended = apart(&self.state.machine, move |machine| machine.end_instance(&instance)).await;
        let failed = |cause: String| NodeError::Failed { reason: format!("ending {id}: {cause}") };
        ended.map_err(failed)?.map_err(|error| match error {
            FaultError::Refused { reason } => refused(format!("ending {id}: {reason}")),
            error => failed(error.to_string()),
        })
    }
}

impl Node for LocalNode {
    fn inventory<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Inventory, NodeError>> {
        Box::pin(async move {
            match &target.host {
                Some(target) => self.look_up(target.clone()).await,
                None => {
                    let reason = "this host has processes only".to_owned();
                    Err(NodeError::Inventory { target: "a cluster".to_owned(), reason })
                }
            }
        })
    }

    fn prepare<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            // What can't be started now is started with the order, which says why it can't.
            if let Ok(holder) = self.start_holder(run).await {
                self.state.prepared().insert(run.clone(), holder);
            }
        })
    }

    fn release<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let Some(holder) = self.state.prepared().remove(run) else { return };
            drop(holder.control);
            let _ = holder.ended.await;
            self.state.registered().retain(|process| *process != holder.identity);
        })
    }

    fn inject(&self, order: InjectOrder, reports: ReportSink) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(self.start(order, reports))
    }

    fn renew<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, ()> {
        Box::pin(async move { self.tell(run, &Command::Renew) })
    }

    fn revert<'a>(&'a self, run: &'a RunId, injections: Vec<InjectionId>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.settle_soon(run, self.state.injections.take_given_up(run, &injections));
            let requested_at = self.now();
            // Before it is told, so that its answer is not before the question.
            self.state.injections.ask_back(run, Some(&injections));
            self.tell(run, &Command::Revert(Revert { injections, requested_at }));
            self.state.await_answer(run);
        })
    }

    fn attach<'a>(
        &'a self,
        run: &'a RunId,
        injections: Vec<Placed>,
        reports: ReportSink,
    ) -> BoxFuture<'a, Vec<InjectionId>> {
        Box::pin(async move {
            let (mut held, mut left) = (Vec::new(), Vec::new());
            for id in injections.into_iter().map(|placed| placed.injection) {
                match self.state.injections.take_up(run, &id, &reports) {
                    TakenUp::Held => held.push(id),
                    TakenUp::Ended => {}
                    TakenUp::Left(known) => left.push((id, known)),
                }
            }
            self.settle_soon(run, left);
            held
        })
    }

    fn act<'a>(&'a self, action: &'a NodeAction) -> BoxFuture<'a, Result<Vec<Evidence>, NodeError>> {
        Box::pin(async move {
            match action {
                NodeAction::Restart(instance) => self.restart((**instance).clone()).await,
                NodeAction::Command { name, .. } => {
                    let printed = self.run_command(name).await?;
                    Ok(vec![Evidence::new(format!("command {name}"), printed)])
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;

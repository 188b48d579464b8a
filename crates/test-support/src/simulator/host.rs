//! One machine as its processes see it: the world of a fault process, the machine below a node, what a sweep finds.
//!
//! Owns the simulated kernel's answers. Each is one step of the process that asks, so that it can be killed before it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chaos_agent::faults::{FaultError, Held, Injector, Step, Surroundings};
use chaos_agent::holder::world::{HeldProcess, World};
use chaos_agent::host::{Asker, HostError};
use chaos_agent::local::machine::{HolderProcess, Machine};
use chaos_agent::sweep::Remains;
use chaos_agent::sys::SysError;
use chaos_agent::undo::{Found, UndoData, UndoError, UndoRecord, UndoRecords};
use chaos_core::port::{Evidence, InjectionPlan};
use chaos_core::run::{InjectionId, RunId};
use chaos_core::spec::{FaultKind, HostTarget};
use chaos_core::target::{Instance, Inventory, ProcessRef};
use futures_util::future::BoxFuture;
use tokio::time::sleep;

use super::holder;
use super::universe::{Acting, Actor, KernelRules, Universe};

/// Apps that run on every machine.
pub(super) const APPS: [&str; 2] = ["cart", "checkout"];
/// Instances of each.
pub(super) const INSTANCES: usize = 4;

/// A machine as one of its processes sees it.
#[derive(Clone)]
pub(super) struct SimHost {
    pub(super) universe: Universe,
    /// Name of the machine; empty is that of the server.
    pub(super) name: String,
    pub(super) actor: Arc<Actor>,
}

impl SimHost {
    fn step(&self, what: impl AsRef<str>) -> bool {
        self.universe.step(&self.name, &self.actor, what)
    }

    fn with<T>(&self, look: impl FnOnce(&mut super::universe::Machine) -> T) -> T {
        look(self.universe.inside().machines.entry(self.name.clone()).or_default())
    }

    fn dead(&self) -> SysError {
        SysError::io("anything", io::Error::other("this process is dead"))
    }

    /// Takes a fault away, unless it is to fail.
    fn undo_once(&self, id: &InjectionId) -> Result<(), FaultError> {
        if !self.step(format!("undo {id}")) {
            return Err(FaultError::NotProven { observed: "dead".to_owned() });
        }
        let assumes = self.universe.broken.assumes_undone;
        let fails = self.with(|machine| {
            machine.undone.insert(id.clone());
            let left = machine.failing_undos.entry(id.clone()).or_default();
            let fails = *left > 0;
            *left = left.saturating_sub(1);
            if !fails {
                machine.acting.remove(id);
            }
            fails
        });
        if fails && !assumes {
            return Err(FaultError::NotProven { observed: "it is still there".to_owned() });
        }
        Ok(())
    }

    fn prove_undone(&self, id: &InjectionId) -> Result<Vec<Evidence>, FaultError> {
        let acts = self.universe.acting(&self.name).contains_key(id);
        if acts && !self.universe.broken.assumes_undone {
            return Err(FaultError::NotProven { observed: "it is still there".to_owned() });
        }
        Ok(vec![Evidence::new("simulated kernel", "nothing is left")])
    }
}

impl World for SimHost {
    type Records = Self;
    type Injector = SimInjector;
    type Process = SimProcess;

    fn now(&self) -> Duration {
        self.universe.now()
    }

    fn unix_ms(&self) -> u64 {
        0
    }

    fn own_identity(&self) -> Result<ProcessRef, SysError> {
        Ok(self.actor.process)
    }

    fn undo_records(&self, _: &Path) -> Self {
        self.clone()
    }

    fn injector(&self, plan: &InjectionPlan, surroundings: &Surroundings) -> Box<SimInjector> {
        Box::new(SimInjector {
            host: self.clone(),
            id: plan.id.clone(),
            kind: plan.fault.kind(),
            victim: plan.instance.process,
            steps_left: 1 + u32::try_from(self.universe.below(3)).unwrap_or(0),
            kernel_lease: surroundings.kernel_lease,
        })
    }

    fn hold(&self, process: ProcessRef) -> Result<SimProcess, SysError> {
        let held = SimProcess { host: self.clone(), process };
        if held.is_alive() { Ok(held) } else { Err(SysError::Gone { pid: process.pid }) }
    }

    fn is_running(&self, process: ProcessRef) -> bool {
        self.with(|machine| machine.running.contains(&process))
    }
}

pub(super) struct SimProcess {
    host: SimHost,
    process: ProcessRef,
}

impl HeldProcess for SimProcess {
    fn is_alive(&self) -> bool {
        self.host.is_running(self.process)
    }
}

/// How a fault is made in the simulated kernel: some steps, each of which changes something.
pub(super) struct SimInjector {
    host: SimHost,
    id: InjectionId,
    kind: FaultKind,
    victim: ProcessRef,
    steps_left: u32,
    kernel_lease: Duration,
}

impl SimInjector {
    /// The promises about a first change: it is written down, nobody made it before, nobody undid it before.
    fn check(&self) {
        let (universe, id) = (&self.host.universe, &self.id);
        let (record, undone, by) = self.host.with(|machine| {
            let by = *machine.applied_by.entry(id.clone()).or_insert(self.host.actor.process);
            (machine.records.contains_key(id), machine.undone.contains(id), by)
        });
        if !record {
            universe.breach(format!("1: {id} is applied without an undo record on the disk"));
        }
        if undone {
            universe.breach(format!("5: {id} is applied after its undo"));
        }
        if by != self.host.actor.process {
            universe.breach(format!("5: {id} is applied by a second fault process"));
        }
    }

    fn until(&self) -> Option<Duration> {
        self.kind.expires().then(|| self.host.universe.now() + self.kernel_lease)
    }
}

impl Injector for SimInjector {
    fn plan(&mut self) -> Result<UndoData, FaultError> {
        if !self.host.step(format!("plan {}", self.id)) {
            return Err(self.host.dead().into());
        }
        Ok(UndoData::Nothing)
    }

    fn apply(&mut self) -> Result<Step, FaultError> {
        if !self.host.step(format!("apply {}", self.id)) {
            return Err(self.host.dead().into());
        }
        self.check();
        if !self.host.is_running(self.victim) {
            return Err(SysError::Gone { pid: self.victim.pid }.into());
        }
        if self.kind == FaultKind::PodKill {
            holder::kill_victim(&self.host.universe, &self.host.name, self.victim);
            return Ok(Step::Done);
        }
        let acting = Acting {
            kind: self.kind,
            holder: self.host.actor.process,
            since: self.host.universe.now(),
            until: self.until(),
            victim: self.victim,
        };
        self.host.with(|machine| machine.acting.insert(self.id.clone(), acting));
        self.steps_left -= 1;
        Ok(if self.steps_left == 0 {
            Step::Done
        } else {
            Step::Again(self.host.universe.milliseconds(1, 60))
        })
    }

    fn prove_active(&mut self) -> Result<Option<Vec<Evidence>>, FaultError> {
        if !self.host.step(format!("prove {}", self.id)) {
            return Err(self.host.dead().into());
        }
        let acts = self.kind == FaultKind::PodKill && !self.host.is_running(self.victim)
            || self.host.universe.acting(&self.host.name).contains_key(&self.id);
        Ok(acts.then(|| vec![Evidence::new("simulated kernel", "it acts")]))
    }

    fn hold(&mut self) -> Result<Held, FaultError> {
        if !self.host.step(format!("hold {}", self.id)) {
            return Err(self.host.dead().into());
        }
        if self.kind == FaultKind::PodKill {
            return Ok(Held::For(Duration::MAX));
        }
        if !self.host.universe.acting(&self.host.name).contains_key(&self.id) {
            return Ok(Held::Lost("the kernel has ended it".to_owned()));
        }
        if !self.kind.expires() {
            return Ok(Held::For(Duration::MAX));
        }
        let until = self.until();
        self.host.with(|machine| machine.acting.get_mut(&self.id).map(|acting| acting.until = until));
        Ok(Held::For(self.kernel_lease / 3))
    }

    fn undo(&mut self) -> Result<(), FaultError> {
        self.host.undo_once(&self.id)
    }

    fn prove_reverted(&mut self) -> Result<Vec<Evidence>, FaultError> {
        self.host.prove_undone(&self.id)
    }
}

impl UndoRecords for SimHost {
    fn write(&self, record: &UndoRecord) -> Result<(), UndoError> {
        let id = &record.injection;
        if !self.step(format!("write record {id}")) {
            return Err(self.dead().into());
        }
        if self.with(|machine| machine.disk_is_full) {
            return Err(SysError::io("writing", io::Error::from(io::ErrorKind::StorageFull)).into());
        }
        if self.universe.broken.forgets_undo_records {
            return Ok(());
        }
        self.with(|machine| machine.records.insert(id.clone(), record.clone()));
        // It is on the disk, and whoever wrote it may not live to see that.
        self.step(format!("written {id}"));
        Ok(())
    }

    fn read(&self, id: &InjectionId) -> Result<Option<UndoRecord>, UndoError> {
        Ok(self.with(|machine| machine.records.get(id).cloned()))
    }

    fn remove(&self, id: &InjectionId) -> Result<(), UndoError> {
        if !self.step(format!("remove record {id}")) {
            return Err(self.dead().into());
        }
        if self.universe.acting(&self.name).contains_key(id) && !self.universe.broken.assumes_undone {
            self.universe.breach(format!("2: the undo record of {id} is removed while it acts"));
        }
        self.with(|machine| machine.records.remove(id));
        Ok(())
    }

    fn all(&self) -> Result<Vec<Found>, UndoError> {
        let records = self.with(|machine| machine.records.clone());
        Ok(records
            .into_iter()
            .map(|(id, record)| (PathBuf::from(format!("{id}.json")), Ok(record)))
            .collect())
    }

    fn set_aside(&self, path: &Path) -> Result<PathBuf, UndoError> {
        Ok(path.to_owned())
    }

    fn discard_unfinished(&self, _: &dyn Fn(i32) -> bool) -> Result<(), UndoError> {
        Ok(())
    }
}

impl Remains for SimHost {
    fn now(&self) -> Duration {
        self.universe.now()
    }

    fn records(&self) -> &dyn UndoRecords {
        self
    }

    fn is_at_work(&self, holder: ProcessRef) -> bool {
        self.is_running(holder)
    }

    fn is_taken(&self, pid: i32) -> bool {
        self.with(|machine| machine.running.iter().any(|process| process.pid == pid))
    }

    fn end(&self, holders: &[ProcessRef]) {
        for process in holders {
            if self.step(format!("terminate {}", process.pid)) {
                holder::end_now(&self.universe, &self.name, *process);
            }
        }
    }

    fn undo(&self, record: &UndoRecord) -> Result<Vec<Evidence>, FaultError> {
        self.undo_once(&record.injection)?;
        self.prove_undone(&record.injection)
    }

    fn remove_inert(&self, _: &BTreeSet<String>) {}
}

impl Machine for SimHost {
    fn remains(&self) -> &dyn Remains {
        self
    }

    fn own_identity(&self) -> Result<ProcessRef, SysError> {
        Ok(self.actor.process)
    }

    fn start_holder(&self, run: &RunId) -> Result<HolderProcess, SysError> {
        if !self.step(format!("start a fault process for {run}")) {
            return Err(self.dead());
        }
        Ok(holder::start(self, run))
    }

    fn terminate(&self, process: ProcessRef) -> Result<(), SysError> {
        holder::terminate(&self.universe, process);
        Ok(())
    }

    fn kill(&self, process: ProcessRef) -> Result<(), SysError> {
        holder::kill(&self.universe, process);
        Ok(())
    }

    fn inventory(&self, target: &HostTarget, _: &Asker) -> Result<Inventory, HostError> {
        let HostTarget::App(app) = target else { return Ok(Inventory::default()) };
        let (victims, acting) = self
            .with(|machine| (machine.victims.get(app).cloned().unwrap_or_default(), machine.acting.clone()));
        let paused = |process: &ProcessRef| {
            acting.values().any(|one| one.victim == *process && one.kind == FaultKind::ProcessPause)
        };
        let instances = victims.iter().map(|process| instance(app, *process, !paused(process))).collect();
        Ok(Inventory { instances, ..Inventory::default() })
    }

    fn processes_of_apps(&self, apps: &[String]) -> Result<BTreeSet<ProcessRef>, HostError> {
        let of = |app: &String| self.with(|machine| machine.victims.get(app).cloned().unwrap_or_default());
        Ok(apps.iter().flat_map(of).collect())
    }

    fn end_instance(&self, instance: &Instance) -> Result<Vec<Evidence>, FaultError> {
        holder::kill_victim(&self.universe, &self.name, instance.process);
        Ok(vec![Evidence::new("simulated kernel", "exited")])
    }

    fn run_program<'a>(&'a self, _: &'a [String]) -> BoxFuture<'a, Result<String, String>> {
        Box::pin(async { Ok(String::new()) })
    }

    fn apart(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let host = self.clone();
        Box::pin(async move {
            if host.universe.once_in(4) {
                sleep(host.universe.milliseconds(0, 3)).await;
            }
            if host.actor.is_dead() {
                std::future::pending::<()>().await;
            }
            work();
        })
    }
}

fn instance(app: &str, process: ProcessRef, ready: bool) -> Instance {
    Instance {
        id: format!("{app}/{}", process.pid),
        host: String::new(),
        process,
        processes: vec![process],
        command: app.to_owned(),
        ready,
        managed: true,
        ports: vec![],
        network_namespace: 1,
        shares_host_network: true,
        own_cgroup: None,
    }
}

//! A host in memory for unit tests: processes, undo records, faults and a clock that a test moves. It writes down
//! everything that is done to it, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chaos_core::port::{Evidence, InjectOrder, InjectionPlan, Owner};
use chaos_core::run::{InjectionId, RunId};
use chaos_core::spec::FaultKind;
use chaos_core::target::{Instance, ProcessRef};

use crate::faults::{FaultError, Held, Injector, Step, Surroundings};
use crate::holder::world::{HeldProcess, World};
use crate::sweep::Remains;
use crate::sys::SysError;
use crate::undo::{Found, NetworkUndo, UndoData, UndoError, UndoRecord, UndoRecords};

/// The node.
pub(crate) const NODE: ProcessRef = ProcessRef { pid: 100, start_time: 1 };
/// The fault process of tests that have one only; others follow.
pub(crate) const HOLDER: ProcessRef = ProcessRef { pid: 200, start_time: 1 };
/// The lease of orders.
pub(crate) const LEASE: Duration = Duration::from_secs(15);

/// How one injection goes. By default it is made in one step, seen at once, and undone at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    /// Steps before the last one.
    pub(crate) steps: u32,
    /// The step that is refused, from 0.
    pub(crate) fails_at: Option<u32>,
    /// The step that needs more in the undo record first, from 0.
    pub(crate) records_at: Option<u32>,
    /// So many attempts to undo it fail.
    pub(crate) undo_fails: u32,
    /// It is never seen to act.
    pub(crate) stays_unseen: bool,
    /// Somebody else takes it away.
    pub(crate) is_lost: bool,
}

#[derive(Default)]
struct Inside {
    now: Duration,
    log: Vec<String>,
    records: BTreeMap<InjectionId, UndoRecord>,
    running: BTreeSet<ProcessRef>,
    scripts: BTreeMap<InjectionId, Script>,
    /// What acts on its target now.
    acting: BTreeSet<InjectionId>,
    disk_is_full: bool,
    /// Fault processes that are told to end, or killed, take longer than anybody waits.
    is_stubborn: bool,
    /// Records that can't be read.
    damaged: Vec<PathBuf>,
}

/// One host, as one of its processes sees it; every copy is of the same host.
#[derive(Clone)]
pub(crate) struct ScriptedHost {
    inside: Arc<Mutex<Inside>>,
    own: ProcessRef,
}

impl ScriptedHost {
    /// A host on which the node and one fault process run, which sees it.
    pub(crate) fn new() -> Self {
        let host = Self { inside: Arc::default(), own: HOLDER };
        host.inside().running.extend([NODE, HOLDER]);
        host
    }

    /// The same host, as another process sees it, which runs now.
    pub(crate) fn seen_by(&self, process: ProcessRef) -> Self {
        self.start(process);
        Self { inside: Arc::clone(&self.inside), own: process }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    fn note(&self, what: impl Into<String>) {
        self.inside().log.push(what.into());
    }

    /// What was done so far; the next call begins anew.
    pub(crate) fn done(&self) -> Vec<String> {
        std::mem::take(&mut self.inside().log)
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.inside().now += time;
    }

    pub(crate) fn script(&self, id: &InjectionId, script: Script) {
        self.inside().scripts.insert(id.clone(), script);
    }

    pub(crate) fn fill_disk(&self) {
        self.inside().disk_is_full = true;
    }

    pub(crate) fn make_stubborn(&self) {
        self.inside().is_stubborn = true;
    }

    pub(crate) fn start(&self, process: ProcessRef) {
        self.inside().running.insert(process);
    }

    pub(crate) fn end(&self, process: ProcessRef) {
        self.inside().running.remove(&process);
    }

    pub(crate) fn record(&self, id: &InjectionId) -> Option<UndoRecord> {
        self.inside().records.get(id).cloned()
    }

    pub(crate) fn keep(&self, record: UndoRecord) {
        self.inside().records.insert(record.injection.clone(), record);
    }

    pub(crate) fn damage(&self, path: &str) {
        self.inside().damaged.push(path.into());
    }

    pub(crate) fn acts(&self, id: &InjectionId) -> bool {
        self.inside().acting.contains(id)
    }

    fn undo_once(&self, id: &InjectionId) -> Result<(), FaultError> {
        let mut inside = self.inside();
        inside.log.push(format!("undo {id}"));
        let script = inside.scripts.entry(id.clone()).or_default();
        if script.undo_fails > 0 {
            script.undo_fails -= 1;
            return Err(FaultError::NotProven { observed: "it is still there".to_owned() });
        }
        inside.acting.remove(id);
        Ok(())
    }
}

/// An order for a target each, by a server, for a minute.
pub(crate) fn order(count: usize) -> InjectOrder {
    let run = RunId("run".to_owned());
    let plan = |number: usize| InjectionPlan {
        id: InjectionId::of(&run, number),
        fault: FaultKind::ProcessPause.with_defaults(),
        instance: instance(number),
        duration: Duration::from_secs(60),
    };
    InjectOrder {
        run: run.clone(),
        owner: Owner::Server,
        lease: LEASE,
        injections: (0..count).map(plan).collect(),
    }
}

/// The target of an injection of [`order`].
pub(crate) fn instance(number: usize) -> Instance {
    let process = ProcessRef { pid: 1000 + i32::try_from(number).unwrap(), start_time: 1 };
    Instance {
        id: format!("app/{}", process.pid),
        process,
        processes: vec![process],
        command: "app".into(),
        ready: true,
        managed: true,
        ports: vec![],
        network_namespace: 1,
        shares_host_network: true,
        own_cgroup: None,
        host: String::new(),
    }
}

impl World for ScriptedHost {
    type Records = Self;
    type Injector = ScriptedInjector;
    type Process = HeldHere;

    fn now(&self) -> Duration {
        self.inside().now
    }

    fn unix_ms(&self) -> u64 {
        0
    }

    fn own_identity(&self) -> Result<ProcessRef, SysError> {
        Ok(self.own)
    }

    fn undo_records(&self, _: &Path) -> Self {
        self.clone()
    }

    fn injector(&self, plan: &InjectionPlan, _: &Surroundings) -> Box<ScriptedInjector> {
        Box::new(ScriptedInjector { host: self.clone(), id: plan.id.clone(), step: 0, recorded: false })
    }

    fn hold(&self, process: ProcessRef) -> Result<HeldHere, SysError> {
        let held = HeldHere(self.clone(), process);
        if held.is_alive() { Ok(held) } else { Err(SysError::Gone { pid: process.pid }) }
    }

    fn is_running(&self, process: ProcessRef) -> bool {
        self.inside().running.contains(&process)
    }
}

pub(crate) struct HeldHere(ScriptedHost, ProcessRef);

impl HeldProcess for HeldHere {
    fn is_alive(&self) -> bool {
        self.0.is_running(self.1)
    }
}

pub(crate) struct ScriptedInjector {
    host: ScriptedHost,
    id: InjectionId,
    step: u32,
    recorded: bool,
}

impl ScriptedInjector {
    fn script(&self) -> Script {
        self.host.inside().scripts.get(&self.id).cloned().unwrap_or_default()
    }
}

impl Injector for ScriptedInjector {
    fn plan(&mut self) -> Result<UndoData, FaultError> {
        self.host.note(format!("plan {}", self.id));
        Ok(UndoData::Nothing)
    }

    fn apply(&mut self) -> Result<Step, FaultError> {
        let (script, id) = (self.script(), &self.id);
        if script.records_at == Some(self.step) && !self.recorded {
            self.recorded = true;
            return Ok(Step::Record(more_data()));
        }
        if script.fails_at == Some(self.step) {
            return Err(FaultError::Refused { reason: format!("step {}", self.step) });
        }
        self.host.note(format!("apply {id} {}", self.step));
        self.host.inside().acting.insert(id.clone());
        self.step += 1;
        Ok(if self.step > script.steps { Step::Done } else { Step::Again(Duration::ZERO) })
    }

    fn prove_active(&mut self) -> Result<Option<Vec<Evidence>>, FaultError> {
        let seen = !self.script().stays_unseen && self.host.acts(&self.id);
        Ok(seen.then(|| vec![Evidence::new("host", "it acts")]))
    }

    fn hold(&mut self) -> Result<Held, FaultError> {
        Ok(if self.script().is_lost { Held::Lost("taken".to_owned()) } else { Held::For(Duration::MAX) })
    }

    fn undo(&mut self) -> Result<(), FaultError> {
        self.host.undo_once(&self.id)
    }

    fn prove_reverted(&mut self) -> Result<Vec<Evidence>, FaultError> {
        Ok(vec![Evidence::new("host", "nothing is left")])
    }
}

/// What a step may need in the record.
pub(crate) fn more_data() -> UndoData {
    let process = instance(0).process;
    UndoData::Network(NetworkUndo { name: "more".to_owned(), namespace: 1, process, cgroup: None })
}

impl UndoRecords for ScriptedHost {
    fn write(&self, record: &UndoRecord) -> Result<(), UndoError> {
        if self.inside().disk_is_full {
            let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(SysError::io("writing", full).into());
        }
        let ended = record.outcome.as_ref().map(|outcome| format!(" {}", outcome.state)).unwrap_or_default();
        self.note(format!("write {}{ended}", record.injection));
        self.keep(record.clone());
        Ok(())
    }

    fn read(&self, id: &InjectionId) -> Result<Option<UndoRecord>, UndoError> {
        Ok(self.record(id))
    }

    fn remove(&self, id: &InjectionId) -> Result<(), UndoError> {
        self.note(format!("remove {id}"));
        self.inside().records.remove(id);
        Ok(())
    }

    fn all(&self) -> Result<Vec<Found>, UndoError> {
        let inside = self.inside();
        let whole = inside.records.values().map(|record| {
            (PathBuf::from(format!("{}.json", record.injection)), Ok::<_, UndoError>(record.clone()))
        });
        let damaged = inside.damaged.iter().map(|path| {
            (path.clone(), Err(UndoError::Damaged { path: path.clone(), reason: "half of it".to_owned() }))
        });
        Ok(whole.chain(damaged).collect())
    }

    fn set_aside(&self, path: &Path) -> Result<PathBuf, UndoError> {
        self.inside().damaged.retain(|damaged| damaged != path);
        Ok(path.with_extension("damaged-0"))
    }

    fn discard_unfinished(&self, _: &dyn Fn(i32) -> bool) -> Result<(), UndoError> {
        Ok(())
    }
}

impl Remains for ScriptedHost {
    fn now(&self) -> Duration {
        World::now(self)
    }

    fn records(&self) -> &dyn UndoRecords {
        self
    }

    fn is_at_work(&self, holder: ProcessRef) -> bool {
        self.is_running(holder)
    }

    fn is_taken(&self, pid: i32) -> bool {
        self.inside().running.iter().any(|process| process.pid == pid)
    }

    fn end(&self, holders: &[ProcessRef]) {
        for holder in holders {
            self.note(format!("end {}", holder.pid));
            if !self.inside().is_stubborn {
                Self::end(self, *holder);
            }
        }
    }

    fn undo(&self, record: &UndoRecord) -> Result<Vec<Evidence>, FaultError> {
        self.undo_once(&record.injection)?;
        Ok(vec![Evidence::new("host", "nothing is left")])
    }

    fn remove_inert(&self, recorded: &BTreeSet<String>) {
        self.note(format!("remove inert but {recorded:?}"));
    }
}

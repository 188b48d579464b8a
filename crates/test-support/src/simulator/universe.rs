//! Everything that outlives a process in the simulation: kernels, disks, who is alive; and the promises that hold
//! between them, checked at every step.
//!
//! Owns the only randomness (by the seed), the trace, and the first promise that was broken.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chaos_agent::undo::UndoRecord;
use chaos_core::link::ServerFrame;
use chaos_core::run::InjectionId;
use chaos_core::spec::FaultKind;
use chaos_core::target::ProcessRef;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::broken::Broken;

/// Lines of the trace that are kept, the latest.
const TRACE_MAX: usize = 600;

/// A simulated process that can be killed between any two of its steps.
#[derive(Debug)]
pub(super) struct Actor {
    pub(super) name: String,
    pub(super) process: ProcessRef,
    dead: AtomicBool,
    pub(super) killed: CancellationToken,
}

impl Actor {
    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }
}

/// What a fault does to its victim, as the kernel has it.
#[derive(Debug, Clone)]
pub(super) struct Acting {
    pub(super) kind: FaultKind,
    pub(super) holder: ProcessRef,
    pub(super) since: Duration,
    /// The kernel ends it by itself then.
    pub(super) until: Option<Duration>,
    pub(super) victim: ProcessRef,
}

/// One machine.
#[derive(Debug, Default)]
pub(super) struct Machine {
    pub(super) running: BTreeSet<ProcessRef>,
    /// When processes ended.
    pub(super) ended: BTreeMap<ProcessRef, Duration>,
    pub(super) victims: BTreeMap<String, Vec<ProcessRef>>,
    pub(super) records: BTreeMap<InjectionId, UndoRecord>,
    pub(super) acting: BTreeMap<InjectionId, Acting>,
    /// So many attempts to undo it will fail.
    pub(super) failing_undos: BTreeMap<InjectionId, u32>,
    /// Who applied it first.
    pub(super) applied_by: BTreeMap<InjectionId, ProcessRef>,
    /// Whose undo began.
    pub(super) undone: BTreeSet<InjectionId>,
    pub(super) disk_is_full: bool,
    pub(super) incarnations: u64,
    /// The agent process that runs now, and since when.
    pub(super) agent: Option<(ProcessRef, Duration)>,
    /// When its agent heard of the server for the last time.
    pub(super) contact: Duration,
}

pub(super) struct Inside {
    rng: ChaCha8Rng,
    trace: VecDeque<String>,
    pub(super) machines: BTreeMap<String, Machine>,
    pub(super) steps: u64,
    next_pid: i32,
    broken_promise: Option<String>,
    /// Whoever's name begins so is killed after that many more of its steps.
    crash: Option<(String, u32)>,
    /// For a broken variant: what was ordered last.
    pub(super) last_order: Option<ServerFrame>,
    /// At some time an app had no instance left on a machine.
    pub(super) killed_all: bool,
    /// Somebody was killed, a link was cut, a disk was full, an undo failed.
    pub(super) disturbed: bool,
}

/// The world of one run of the simulator. Copies are the same world.
#[derive(Clone)]
pub(super) struct Universe {
    inside: Arc<Mutex<Inside>>,
    start: Instant,
    /// Changes whenever a process begins or ends.
    pub(super) changes: Arc<watch::Sender<u64>>,
    pub(super) broken: Broken,
}

impl Universe {
    pub(super) fn new(seed: u64, broken: Broken) -> Self {
        let inside = Inside {
            rng: ChaCha8Rng::seed_from_u64(seed),
            trace: VecDeque::new(),
            machines: BTreeMap::new(),
            steps: 0,
            next_pid: 1000,
            broken_promise: None,
            crash: None,
            last_order: None,
            killed_all: false,
            disturbed: false,
        };
        Self {
            inside: Arc::new(Mutex::new(inside)),
            start: Instant::now(),
            changes: Arc::new(watch::channel(0).0),
            broken,
        }
    }

    pub(super) fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time since the beginning, the same on every machine.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// A number below `bound`.
    pub(super) fn below(&self, bound: u64) -> u64 {
        self.inside().rng.next_u64() % bound.max(1)
    }

    /// True once in so many times.
    pub(super) fn once_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(super) fn milliseconds(&self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least + 1))
    }

    pub(super) fn note(&self, what: impl AsRef<str>) {
        let line = format!("{:>9.3} {}", self.now().as_secs_f64(), what.as_ref());
        let mut inside = self.inside();
        inside.trace.push_back(line);
        if inside.trace.len() > TRACE_MAX {
            inside.trace.pop_front();
        }
    }

    pub(super) fn trace(&self) -> Vec<String> {
        self.inside().trace.iter().cloned().collect()
    }

    /// A promise does not hold. The first is kept.
    pub(super) fn breach(&self, what: impl Into<String>) {
        let what = what.into();
        self.note(format!("BREACH {what}"));
        self.inside().broken_promise.get_or_insert(what);
    }

    pub(super) fn breached(&self) -> Option<String> {
        self.inside().broken_promise.clone()
    }

    pub(super) fn disturb(&self) {
        self.inside().disturbed = true;
    }

    /// A new process on a machine.
    pub(super) fn start(&self, machine: &str, name: &str) -> Arc<Actor> {
        let process = self.new_process(machine);
        self.note(format!("start {name} ({})", process.pid));
        Arc::new(Actor {
            name: name.to_owned(),
            process,
            dead: AtomicBool::new(false),
            killed: CancellationToken::new(),
        })
    }

    pub(super) fn new_process(&self, machine: &str) -> ProcessRef {
        let mut inside = self.inside();
        inside.next_pid += 1;
        let process = ProcessRef { pid: inside.next_pid, start_time: 1 };
        inside.machines.entry(machine.to_owned()).or_default().running.insert(process);
        drop(inside);
        self.changed();
        process
    }

    pub(super) fn changed(&self) {
        self.changes.send_modify(|number| *number += 1);
    }

    /// A process is gone, whatever the reason; what it held by being alive ends with it.
    pub(super) fn ended(&self, machine: &str, process: ProcessRef) {
        let now = self.now();
        let mut inside = self.inside();
        if let Some(machine) = inside.machines.get_mut(machine) {
            machine.running.remove(&process);
            machine.ended.insert(process, now);
            machine.acting.retain(|_, acting| {
                let held = acting.holder == process && acting.kind.ends_with_its_holder();
                !held && acting.victim != process && acting.until.is_none_or(|until| now < until)
            });
        }
        drop(inside);
        self.changed();
    }

    /// Kills a process: nothing that it does has an effect from now on.
    pub(super) fn kill(&self, machine: &str, actor: &Actor) {
        if !actor.dead.swap(true, Ordering::SeqCst) {
            self.note(format!("kill {} ({})", actor.name, actor.process.pid));
            self.disturb();
            actor.killed.cancel();
            self.ended(machine, actor.process);
        }
    }

    /// Ends a process of its own will.
    pub(super) fn exit(&self, machine: &str, actor: &Actor) {
        if !actor.dead.swap(true, Ordering::SeqCst) {
            self.note(format!("exit {} ({})", actor.name, actor.process.pid));
            actor.killed.cancel();
            self.ended(machine, actor.process);
        }
    }

    /// Whoever is called so is killed after that many more of its steps.
    pub(super) fn plan_crash(&self, name: &str, steps: u32) {
        self.inside().crash = Some((name.to_owned(), steps));
    }

    /// One step of a process that has an effect outside of it. False when it is dead, and the step does not happen.
    pub(super) fn step(&self, machine: &str, actor: &Actor, what: impl AsRef<str>) -> bool {
        if actor.is_dead() {
            return false;
        }
        let crashes = {
            let mut inside = self.inside();
            inside.steps += 1;
            match &mut inside.crash {
                Some((name, left)) if actor.name.starts_with(name.as_str()) => {
                    *left = left.saturating_sub(1);
                    *left == 0
                }
                _ => false,
            }
        };
        if crashes {
            self.inside().crash = None;
            self.note(format!("crash before: {}", what.as_ref()));
            self.kill(machine, actor);
            return false;
        }
        self.note(format!("{}: {}", actor.name, what.as_ref()));
        true
    }

    /// What acts on this machine now.
    pub(super) fn acting(&self, machine: &str) -> BTreeMap<InjectionId, Acting> {
        let now = self.now();
        let mut inside = self.inside();
        let Some(machine) = inside.machines.get_mut(machine) else { return BTreeMap::new() };
        machine.acting.retain(|_, acting| acting.until.is_none_or(|until| now < until));
        machine.acting.clone()
    }

    /// The agent of a machine hears of the server.
    pub(super) fn contact(&self, machine: &str) {
        let now = self.now();
        if let Some(machine) = self.inside().machines.get_mut(machine) {
            machine.contact = now;
        }
    }

    pub(super) fn machines(&self) -> Vec<String> {
        self.inside().machines.keys().cloned().collect()
    }
}

/// How the simulated kernel treats a fault. The real ones differ: here each way out has a fault that needs it.
pub(super) trait KernelRules {
    /// It ends with the process that holds it.
    fn ends_with_its_holder(self) -> bool;
    /// It ends when nobody refreshes it.
    fn expires(self) -> bool;
}

impl KernelRules for FaultKind {
    fn ends_with_its_holder(self) -> bool {
        matches!(self, Self::ProcessPause | Self::CpuStress)
    }

    fn expires(self) -> bool {
        self == Self::NetworkPartition
    }
}

//! Victims, nodes and waiting for the tests. Whatever is started here ends with its value.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chaos_agent::local::{LEASE_MAX, LocalConfig, LocalNode};
use chaos_agent::sys::pidfd::PidFd;
use chaos_agent::sys::proc;
use chaos_core::port::{InjectOrder, InjectionPlan, InjectionReport, Node, Owner, ReportSink};
use chaos_core::run::{InjectionId, InjectionState, RunId};
use chaos_core::spec::{Fault, FaultKind};
use chaos_core::target::{Instance, ProcessRef};

/// The program that holds faults.
pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_chaos-agent");
/// Most time anything may take here before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Long enough never to be the reason for an undo.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// A process that ends with its value.
pub(crate) struct Victim {
    pub(crate) child: Child,
    pub(crate) process: ProcessRef,
}

impl Victim {
    pub(crate) fn start(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self::from(&mut command)
    }

    pub(crate) fn from(command: &mut Command) -> Self {
        let child = command.spawn().expect("the victim starts");
        let process = proc::identity(i32::try_from(child.id()).unwrap()).expect("the victim runs");
        Self { child, process }
    }

    pub(crate) fn sleeping() -> Self {
        Self::start("sleep", &["600"])
    }

    /// One that burns CPU time, with a child that does so too.
    pub(crate) fn busy() -> Self {
        let victim = Self::start("sh", &["-c", "(while :; do :; done) & while :; do :; done"]);
        let root = victim.process.pid;
        eventually("the victim has its child", || child_of(root).is_some());
        victim
    }

    pub(crate) fn instance(&self) -> Instance {
        instance_of(self.process)
    }

    pub(crate) fn is_running(&self) -> bool {
        proc::runs(self.process)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Its children first: they are found through it.
        while let Some(child) = child_of(self.process.pid) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), nix::sys::signal::SIGKILL);
            eventually("a child of the victim ends", || child_of(self.process.pid) != Some(child));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn child_of(pid: i32) -> Option<i32> {
    let is_child = |other: &i32| proc::stat(*other).is_ok_and(|stat| stat.parent == pid && !stat.is_dead());
    proc::pids().unwrap().into_iter().find(is_child)
}

pub(crate) fn instance_of(process: ProcessRef) -> Instance {
    let network_namespace = proc::namespace_inode(process.pid, "net").unwrap_or(0);
    Instance {
        id: format!("victim/{}", process.pid),
        process,
        processes: vec![process],
        command: "victim".into(),
        ready: true,
        managed: false,
        ports: vec![],
        network_namespace,
        shares_host_network: proc::namespace_inode(chaos_agent::sys::own_pid(), "net").ok()
            == Some(network_namespace),
        own_cgroup: None,
        host: String::new(),
    }
}

/// Polls until the condition holds.
pub(crate) fn eventually(what: &str, condition: impl FnMut() -> bool) {
    within(PATIENCE, what, condition);
}

pub(crate) fn within(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The reports of one run, in the order they came.
#[derive(Clone, Default)]
pub(crate) struct Reports(Arc<Mutex<Vec<InjectionReport>>>);

impl Reports {
    pub(crate) fn sink(&self) -> ReportSink {
        let reports = Arc::clone(&self.0);
        Arc::new(move |report| reports.lock().unwrap().push(report))
    }

    pub(crate) fn all(&self) -> Vec<InjectionReport> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn states(&self) -> Vec<InjectionState> {
        self.all().iter().map(|report| report.state).collect()
    }

    pub(crate) fn has(&self, state: InjectionState) -> bool {
        self.states().contains(&state)
    }

    pub(crate) fn wait_for(&self, state: InjectionState) -> InjectionReport {
        let what = format!("a report of {state}");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let all = self.all();
            if let Some(found) = all.iter().find(|report| report.state == state) {
                return found.clone();
            }
            let ended = all.iter().any(|report| report.state.is_final());
            assert!(!ended && Instant::now() < deadline, "{what}: there is {all:#?}");
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// A node with a state folder and a runtime of its own.
pub(crate) struct Site {
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) node: LocalNode,
    pub(crate) state: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let node = LocalNode::new(config(state.path()));
        Self { runtime, node, state }
    }

    pub(crate) fn inject(&self, order: InjectOrder) -> Reports {
        let reports = Reports::default();
        self.runtime.block_on(self.node.inject(order, reports.sink())).expect("the order is accepted");
        reports
    }

    pub(crate) fn revert(&self, order: &InjectOrder) {
        let ids = order.injections.iter().map(|injection| injection.id.clone()).collect();
        self.runtime.block_on(self.node.revert(&order.run, ids));
    }

    /// Records that are on disk.
    pub(crate) fn records(&self) -> Vec<PathBuf> {
        records(self.state.path())
    }

    /// The fault process of a run.
    pub(crate) fn holder(&self, run: &RunId) -> ProcessRef {
        // Just started, it has no arguments to be known by yet.
        let mut found = None;
        eventually("the run has a fault process", || {
            found = holder(run);
            found.is_some()
        });
        found.expect("it was found")
    }
}

pub(crate) fn records(state: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(state.join("undo"))
        .map_or_else(|_| Vec::new(), |entries| entries.flatten().map(|entry| entry.path()).collect())
}

pub(crate) fn config(state: &Path) -> LocalConfig {
    LocalConfig { executable: AGENT.into(), ..LocalConfig::new(state) }
}

/// The fault process of a run, by its command line.
pub(crate) fn holder(run: &RunId) -> Option<ProcessRef> {
    let is_it = |pid: &i32| {
        let line = proc::command_line(*pid).unwrap_or_default();
        line.first().is_some_and(|name| name == "chaos-holder") && line.get(1) == Some(&run.0)
    };
    proc::pids().unwrap().into_iter().find(is_it).and_then(|pid| proc::identity(pid).ok())
}

/// A run id that no other test uses.
pub(crate) fn new_run() -> RunId {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    RunId(format!("{:07x}{number:05x}", std::process::id()))
}

pub(crate) fn order(fault: Fault, instances: &[Instance]) -> InjectOrder {
    let run = new_run();
    let plan = |(number, instance): (usize, &Instance)| InjectionPlan {
        id: InjectionId::of(&run, number),
        fault: fault.clone(),
        instance: instance.clone(),
        duration: LONG,
    };
    let injections = instances.iter().enumerate().map(plan).collect();
    InjectOrder { run: run.clone(), owner: Owner::Command, lease: LEASE_MAX, injections }
}

pub(crate) fn kill(process: ProcessRef) {
    chaos_agent::sys::pidfd::PidFd::open(process).unwrap().send_signal(9).unwrap();
}

/// A stopped process, which is killed with its value.
pub(crate) struct Stopped(PidFd);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.send_signal(libc::SIGKILL);
    }
}

/// Stops a process as somebody at a terminal would, and waits until it stands still.
pub(crate) fn stop(process: ProcessRef) -> Stopped {
    let stopped = Stopped(PidFd::open(process).unwrap());
    stopped.0.send_signal(libc::SIGSTOP).unwrap();
    eventually("it stands still", || proc::stat(process.pid).unwrap().state == 'T');
    stopped
}

/// Whether a process has used CPU time since.
pub(crate) fn cpu_time(process: ProcessRef) -> Duration {
    proc::process_cpu_time(process.pid).unwrap()
}

pub(crate) fn runs_on(process: ProcessRef) -> bool {
    let before = cpu_time(process);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if cpu_time(process) > before {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

pub(crate) fn stands_still(process: ProcessRef) -> bool {
    let before = cpu_time(process);
    // Pacing of the measurement: twenty milliseconds of a busy loop would show.
    std::thread::sleep(Duration::from_millis(20));
    cpu_time(process) == before
}

/// Held: in a tracing stop, using no CPU time. Else it must be seen to run.
pub(crate) fn is_held(process: ProcessRef) -> bool {
    let stopped = || proc::stat(process.pid).unwrap().state == 't';
    if stopped() {
        let still = stands_still(process);
        // It may have been let go while it was measured.
        if stopped() {
            assert!(still, "it used CPU time in its stop");
            return true;
        }
    }
    assert!(runs_on(process), "neither held nor running");
    false
}

pub(crate) fn default_fault(kind: FaultKind) -> Fault {
    kind.with_defaults()
}

//! Scripted ports: a node whose faults are entries of a list, a journal in memory, rules that a test can change.
//!
//! Owns no test.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chaos_core::access::{Actor, Role};
use chaos_core::journal::{Record, RunHeader, RunSummary};
use chaos_core::port::{
    Clock, Evidence, Governance, InjectOrder, InjectionReport, Node, NodeAction, NodeError, Owner, Placed,
    Prober, ReportSink, SignalSource, Store, StoreError,
};
use chaos_core::run::{Effect, InjectionId, InjectionState, Phase, ProbeSample, RunId, Stop, StopCause};
use chaos_core::safety::{AlertMatch, AlertReading, Approval, Known, Lever, Policy, Signal};
use chaos_core::spec::{ExperimentKey, FaultKind, HostTarget, Probe, ProbePhase, Target, parse_documents};
use chaos_core::target::{Instance, Inventory, ProcessRef};
use chaos_engine::{Engine, Limits, Ports};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

/// Instances of every app.
pub(crate) const INSTANCES: i32 = 4;

/// A node whose faults are entries of a list.
#[derive(Default)]
pub(crate) struct ScriptedNode {
    /// Apply never ends by itself.
    pub(crate) hangs: AtomicBool,
    /// No fault process can be started.
    pub(crate) refuses: AtomicBool,
    /// Journal of the run when the order came.
    pub(crate) journal: Arc<Journal>,
    pub(crate) open: Mutex<Vec<(InjectionId, ReportSink)>>,
    pub(crate) orders: AtomicU64,
    pub(crate) renewals: AtomicU64,
    /// So many undos fail.
    pub(crate) failing_undos: AtomicU64,
    /// What it still holds of a service that died.
    pub(crate) held: Mutex<Vec<InjectionId>>,
    pub(crate) acts: Mutex<Vec<NodeAction>>,
    /// Ids of the instances that were ever hit.
    pub(crate) hit: Mutex<BTreeSet<String>>,
    /// What is hit never gets ready again.
    pub(crate) stays_down: AtomicBool,
}

pub(crate) fn report(injection: &InjectionId, state: InjectionState) -> InjectionReport {
    let evidence = vec![Evidence::new("script", "so it is written")];
    InjectionReport { injection: injection.clone(), state, evidence, error: None, took_ms: 1.0 }
}

impl Node for ScriptedNode {
    fn inventory<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Inventory, NodeError>> {
        let Some(HostTarget::App(app)) = &target.host else { panic!("an app") };
        let stays_down = self.stays_down.load(Ordering::SeqCst);
        let hit = self.hit.lock().expect("no panic").clone();
        let instances = (0..INSTANCES)
            .map(|number| {
                let process = ProcessRef { pid: 100 + number, start_time: 1 };
                let id = format!("{app}/{number}");
                Instance {
                    ready: !(stays_down && hit.contains(&id)),
                    id,
                    process,
                    processes: vec![process],
                    command: "a".into(),
                    managed: true,
                    ports: vec![],
                    network_namespace: 1,
                    shares_host_network: true,
                    own_cgroup: None,
                    host: String::new(),
                }
            })
            .collect();
        async { Ok(Inventory { instances, ..Inventory::default() }) }.boxed()
    }

    fn inject(&self, order: InjectOrder, reports: ReportSink) -> BoxFuture<'_, Result<(), NodeError>> {
        async move {
            self.orders.fetch_add(1, Ordering::SeqCst);
            let planned = |record: &Record| {
                record
                    .effects
                    .iter()
                    .any(|effect| matches!(effect, Effect::Inject(ids) if *ids == ids_of(&order)))
            };
            assert!(
                self.journal.records().iter().any(planned),
                "the journal has the intent before the node has the order"
            );
            if self.refuses.load(Ordering::SeqCst) {
                return Err(NodeError::Holder { run: order.run, reason: "no more processes".into() });
            }
            for plan in order.injections {
                self.hit.lock().expect("no panic").insert(plan.instance.id.clone());
                reports(report(&plan.id, InjectionState::Applying));
                if !self.hangs.load(Ordering::SeqCst) {
                    reports(report(&plan.id, InjectionState::Active));
                }
                if plan.fault.kind() == FaultKind::PodKill {
                    reports(report(&plan.id, InjectionState::Reverted));
                    continue;
                }
                self.open.lock().expect("no panic").push((plan.id, Arc::clone(&reports)));
            }
            Ok(())
        }
        .boxed()
    }

    fn renew<'a>(&'a self, _: &'a RunId) -> BoxFuture<'a, ()> {
        self.renewals.fetch_add(1, Ordering::SeqCst);
        async {}.boxed()
    }

    fn revert<'a>(&'a self, _: &'a RunId, injections: Vec<InjectionId>) -> BoxFuture<'a, ()> {
        self.open.lock().expect("no panic").retain(|(id, reports)| {
            if injections.contains(id) {
                let failures = &self.failing_undos;
                let fails = failures.load(Ordering::SeqCst) > 0;
                if fails {
                    failures.fetch_sub(1, Ordering::SeqCst);
                }
                let state = if fails { InjectionState::RevertFailed } else { InjectionState::Reverted };
                reports(report(id, state));
                return fails;
            }
            true
        });
        async {}.boxed()
    }

    fn attach<'a>(
        &'a self,
        _: &'a RunId,
        injections: Vec<Placed>,
        reports: ReportSink,
    ) -> BoxFuture<'a, Vec<InjectionId>> {
        let held = self.held.lock().expect("no panic").clone();
        let ids = injections.into_iter().map(|placed| placed.injection);
        let (kept, lost): (Vec<_>, Vec<_>) = ids.partition(|id| held.contains(id));
        for id in &lost {
            reports(report(id, InjectionState::Reverted));
        }
        let open = kept.iter().map(|id| (id.clone(), Arc::clone(&reports)));
        self.open.lock().expect("no panic").extend(open);
        async { kept }.boxed()
    }

    fn act<'a>(&'a self, action: &'a NodeAction) -> BoxFuture<'a, Result<Vec<Evidence>, NodeError>> {
        self.acts.lock().expect("no panic").push(action.clone());
        async { Ok(vec![Evidence::new("script", "it came back")]) }.boxed()
    }
}

pub(crate) fn ids_of(order: &InjectOrder) -> Vec<InjectionId> {
    order.injections.iter().map(|plan| plan.id.clone()).collect()
}

/// A journal in memory that can be full.
#[derive(Default)]
pub(crate) struct Journal {
    pub(crate) records: Mutex<Vec<Record>>,
    pub(crate) full: AtomicBool,
    /// A write takes the driver with it.
    pub(crate) kills: AtomicBool,
    /// Held by a test for as long as a write shall not come back.
    pub(crate) busy: tokio::sync::Mutex<()>,
}

impl Journal {
    pub(crate) fn records(&self) -> Vec<Record> {
        self.records.lock().expect("no panic").clone()
    }
}

impl Store for Journal {
    fn create_run<'a>(
        &'a self,
        _: &'a RunHeader,
        _: &'a RunSummary,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async { Ok(()) }.boxed()
    }

    fn append<'a>(
        &'a self,
        _: &'a RunId,
        records: &'a [Record],
        _: &'a RunSummary,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async {
            let _written = self.busy.lock().await;
            assert!(!self.kills.load(Ordering::SeqCst), "a defect, as it was asked for");
            if self.full.load(Ordering::SeqCst) {
                return Err(StoreError {
                    action: "append".into(),
                    reason: "disk full".into(),
                    conflict: false,
                });
            }
            self.records.lock().expect("no panic").extend_from_slice(records);
            Ok(())
        }
        .boxed()
    }
}

pub(crate) struct NoProbes;

impl Prober for NoProbes {
    fn watch<'a>(
        &'a self,
        probe: &'a Probe,
        phase: ProbePhase,
        once: bool,
        stop: BoxFuture<'a, ()>,
        sink: &'a (dyn Fn(ProbeSample) + Send + Sync),
    ) -> BoxFuture<'a, ()> {
        async move {
            sink(ProbeSample {
                probe: probe.name.clone(),
                phase,
                measured: 1,
                passed: 1,
                no_data: 0,
                value: None,
                latency: vec![],
                problem: None,
            });
            if !once {
                stop.await;
            }
        }
        .boxed()
    }
}

impl SignalSource for NoProbes {
    fn signals(&self) -> BoxFuture<'_, Vec<Signal>> {
        async { vec![] }.boxed()
    }

    fn query<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Known<Option<f64>>> {
        async { Ok(None) }.boxed()
    }

    fn alerts<'a>(&'a self, labels: &'a AlertMatch) -> BoxFuture<'a, AlertReading> {
        async { AlertReading::of(labels, &Err("no Prometheus".to_owned())) }.boxed()
    }
}

/// No rules, and a lever that a test can move.
#[derive(Default)]
pub(crate) struct Rules {
    pub(crate) policy: Policy,
    pub(crate) engaged: AtomicBool,
}

impl Governance for Rules {
    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn lever(&self) -> BoxFuture<'_, Known<Lever>> {
        let engaged = self.engaged.load(Ordering::SeqCst);
        async move { Ok(Lever { engaged, reason: "drill".into(), ..Lever::untouched() }) }.boxed()
    }

    fn approvals<'a>(&'a self, _: &'a ExperimentKey, _: &'a str) -> BoxFuture<'a, Known<Vec<Approval>>> {
        async { Ok(vec![]) }.boxed()
    }

    fn outcomes<'a>(&'a self, _: &'a str, _: usize) -> BoxFuture<'a, Known<Vec<RunSummary>>> {
        async { Ok(vec![]) }.boxed()
    }
}

/// Time as the paused runtime has it.
pub(crate) struct TestClock(pub(crate) tokio::time::Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) node: Arc<ScriptedNode>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) rules: Arc<Rules>,
}

pub(crate) fn bench(limits: Limits) -> Bench {
    bench_with(limits, Policy::default())
}

pub(crate) fn bench_with(limits: Limits, policy: Policy) -> Bench {
    let journal = Arc::new(Journal::default());
    let node = Arc::new(ScriptedNode { journal: Arc::clone(&journal), ..ScriptedNode::default() });
    let rules = Arc::new(Rules { policy, ..Rules::default() });
    let ports = Ports {
        governance: Arc::clone(&rules) as Arc<dyn Governance>,
        node: Arc::clone(&node) as Arc<dyn Node>,
        prober: Arc::new(NoProbes),
        signals: Arc::new(NoProbes),
        store: Arc::clone(&journal) as Arc<dyn Store>,
        clock: Arc::new(TestClock(tokio::time::Instant::now())),
    };
    Bench { engine: Engine::new(ports, limits), node, journal, rules }
}

pub(crate) fn header(name: &str) -> RunHeader {
    header_of(name, "50%", "[ { process_pause: {} } ]", "50%")
}

/// A run that hits `select` of four instances with `faults`, `most` of them at the same time.
pub(crate) fn header_of(name: &str, select: &str, faults: &str, most: &str) -> RunHeader {
    let text = format!(
        "apiVersion: chaos.engineering/v1
kind: Experiment
metadata: {{ name: {name} }}
spec:
  target: {{ host: {{ app: {name} }}, select: {select} }}
  faults: {faults}
  duration: 10s
  safety: {{ maxAffected: {most} }}
  probes: [ {{ name: p, tcp: {{ address: 'localhost:1' }} }} ]
"
    );
    RunHeader {
        run: RunId(format!("{name:0<12}")),
        experiment: parse_documents(&text).expect("valid").remove(0),
        seed: 7,
        threshold: 0.8,
        overrides: BTreeSet::new(),
        reason: None,
        actor: Actor { name: "ada".into(), role: Role::Operator },
        lenient: false,
        owner: Owner::Command,
        created_at: Timestamp::UNIX_EPOCH,
    }
}

pub(crate) fn by_hand() -> Stop {
    Stop { cause: StopCause::Request, reason: "enough".into() }
}

/// Lets every other task go on as far as it can.
pub(crate) async fn turns(count: u32) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn until(engine: &Engine, run: &RunId, phase: Phase) {
    let reached = async {
        while engine.active().iter().any(|one| one.header.run == *run && one.state.phase < phase) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), reached).await.expect("the phase is reached");
}

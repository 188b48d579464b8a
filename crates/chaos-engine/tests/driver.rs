//! The engine against scripted ports: order of journal and effect, stops in every phase, ends of processes.
//!
//! Real nodes, stores and probes are tested where they live, and together in `e2e`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chaos_core::journal::{Record, RunHeader, RunSummary};
use chaos_core::port::{
    Clock, Evidence, InjectOrder, InjectionReport, Node, NodeError, Owner, Prober, ReportSink, SignalSource,
    Store, StoreError,
};
use chaos_core::run::{
    Effect, InjectionId, InjectionState, Phase, ProbeSample, RunId, Stop, StopCause, Verdict,
};
use chaos_core::safety::Signal;
use chaos_core::spec::{HostTarget, Probe, ProbePhase, parse_documents};
use chaos_core::target::{Instance, Inventory, ProcessRef};
use chaos_engine::{Engine, Limits, Ports, SubmitError, close_abandoned};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

/// A node whose faults are entries of a list.
#[derive(Default)]
struct ScriptedNode {
    /// Apply never ends by itself.
    hangs: AtomicBool,
    /// No fault process can be started.
    refuses: AtomicBool,
    /// Journal of the run when the order came.
    journal: Arc<Journal>,
    open: Mutex<Vec<(InjectionId, ReportSink)>>,
    orders: AtomicU64,
    renewals: AtomicU64,
}

fn report(injection: &InjectionId, state: InjectionState) -> InjectionReport {
    let evidence = vec![Evidence::new("script", "so it is written")];
    InjectionReport { injection: injection.clone(), state, evidence, error: None, took_ms: 1.0 }
}

impl Node for ScriptedNode {
    fn inventory<'a>(&'a self, _: &'a HostTarget) -> BoxFuture<'a, Result<Inventory, NodeError>> {
        let instances = (0..4)
            .map(|number| {
                let process = ProcessRef { pid: 100 + number, start_time: 1 };
                Instance {
                    id: format!("a/{number}"),
                    process,
                    processes: vec![process],
                    command: "a".into(),
                    ready: true,
                    managed: true,
                    ports: vec![],
                    network_namespace: 1,
                    shares_host_network: true,
                    own_cgroup: None,
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
                reports(report(&plan.id, InjectionState::Applying));
                if !self.hangs.load(Ordering::SeqCst) {
                    reports(report(&plan.id, InjectionState::Active));
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
            let asked = injections.contains(id);
            if asked {
                reports(report(id, InjectionState::Reverted));
            }
            !asked
        });
        async {}.boxed()
    }
}

fn ids_of(order: &InjectOrder) -> Vec<InjectionId> {
    order.injections.iter().map(|plan| plan.id.clone()).collect()
}

/// A journal in memory that can be full.
#[derive(Default)]
struct Journal {
    records: Mutex<Vec<Record>>,
    full: AtomicBool,
    /// Held by a test for as long as a write shall not come back.
    busy: tokio::sync::Mutex<()>,
}

impl Journal {
    fn records(&self) -> Vec<Record> {
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

struct NoProbes;

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
}

/// Time as the paused runtime has it.
struct TestClock(tokio::time::Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

struct Bench {
    engine: Engine,
    node: Arc<ScriptedNode>,
    journal: Arc<Journal>,
}

fn bench(limits: Limits) -> Bench {
    let journal = Arc::new(Journal::default());
    let node = Arc::new(ScriptedNode { journal: Arc::clone(&journal), ..ScriptedNode::default() });
    let ports = Ports {
        node: Arc::clone(&node) as Arc<dyn Node>,
        prober: Arc::new(NoProbes),
        signals: Arc::new(NoProbes),
        store: Arc::clone(&journal) as Arc<dyn Store>,
        clock: Arc::new(TestClock(tokio::time::Instant::now())),
    };
    Bench { engine: Engine::new(ports, limits), node, journal }
}

fn header(name: &str) -> RunHeader {
    let text = format!(
        "apiVersion: chaos.engineering/v1
kind: Experiment
metadata: {{ name: {name} }}
spec:
  target: {{ host: {{ app: a }}, select: 50% }}
  faults: [ {{ process_pause: {{}} }} ]
  duration: 10s
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
        owner: Owner::Command,
        created_at: Timestamp::UNIX_EPOCH,
    }
}

fn by_hand() -> Stop {
    Stop { cause: StopCause::Request, reason: "enough".into() }
}

/// Lets every other task go on as far as it can.
async fn turns(count: u32) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

async fn until(engine: &Engine, run: &RunId, phase: Phase) {
    let reached = async {
        while engine.active().iter().any(|one| one.header.run == *run && one.state.phase < phase) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), reached).await.expect("the phase is reached");
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_through_its_phases_and_the_lease_is_renewed() {
    let bench = bench(Limits::default());
    let run = bench.engine.submit(header("a")).await.expect("accepted").header.run.clone();
    let end = bench.engine.finished(&run).await.expect("it was active");
    assert_eq!(end.summary.verdict, Some(Verdict::Held), "{:?}", end.state.outcome);
    assert!(end.summary.duration_seconds >= 10.0);
    assert!(bench.node.renewals.load(Ordering::SeqCst) >= 2, "a third of 15 s, twice in 10 s");
    let seqs: Vec<u64> = bench.journal.records().iter().map(|record| record.seq).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "without gaps");
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_injecting_does_not_wait_for_the_injection() {
    let bench = bench(Limits::default());
    bench.node.hangs.store(true, Ordering::SeqCst);
    let run = bench.engine.submit(header("a")).await.expect("accepted").header.run.clone();
    until(&bench.engine, &run, Phase::Injecting).await;
    let report = bench.engine.stop(&run, by_hand()).await.expect("it is active");
    assert!(report.unproven.is_empty() && report.reverted == 2, "{report:?}");
    assert!(report.took < Duration::from_millis(100), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_comes_together_with_the_start_of_the_injection_lets_nothing_begin() {
    let bench = bench(Limits::default());
    let mut header = header("a");
    header.experiment.spec.probes.clear();
    let slow = bench.journal.busy.lock().await;
    let run = bench.engine.submit(header).await.expect("accepted").header.run.clone();
    // Both what the gates say and the stop wait behind the first write, and are taken up together.
    turns(50).await;
    let release = async {
        turns(50).await;
        drop(slow);
    };
    let (report, ()) = tokio::join!(bench.engine.stop(&run, by_hand()), release);
    assert!(report.expect("it is active").unproven.is_empty());
    assert_eq!(bench.node.orders.load(Ordering::SeqCst), 0, "no apply after stop");
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_run_that_waits_in_the_queue() {
    let bench = bench(Limits { active_runs_max: 1, ..Limits::default() });
    let first = bench.engine.submit(header("a")).await.expect("accepted").header.run.clone();
    until(&bench.engine, &first, Phase::Active).await;
    let second = bench.engine.submit(header("b")).await.expect("accepted").header.run.clone();
    let report = bench.engine.stop(&second, by_hand()).await.expect("it waits");
    assert_eq!(report.reverted, 0);
    assert_eq!(bench.node.orders.load(Ordering::SeqCst), 1, "the second never reached the node");
    bench.engine.stop(&first, by_hand()).await.expect("it is active");
}

#[tokio::test(start_paused = true)]
async fn a_name_in_use_and_a_full_queue_are_refused() {
    let bench = bench(Limits { accepted_runs_max: 1, ..Limits::default() });
    bench.engine.submit(header("a")).await.expect("accepted");
    let again = RunHeader { run: RunId("other".into()), ..header("a") };
    let error = bench.engine.submit(again).await.map(|_| ()).expect_err("in use");
    assert!(
        matches!(error, SubmitError::QueueFull { limit: 1, .. } | SubmitError::NameInUse { .. }),
        "{error}"
    );
    bench.engine.stop_all(&by_hand()).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_injected_when_the_journal_is_full() {
    let bench = bench(Limits::default());
    bench.journal.full.store(true, Ordering::SeqCst);
    let run = bench.engine.submit(header("a")).await.expect("accepted").header.run.clone();
    let end = bench.engine.finished(&run).await.expect("it was active");
    assert_eq!(end.summary.verdict, Some(Verdict::Stopped));
    assert_eq!(bench.node.orders.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_fills_up_while_a_fault_is_active_reverts_it_and_is_written_when_there_is_room() {
    let bench = bench(Limits::default());
    let run = bench.engine.submit(header("a")).await.expect("accepted").header.run.clone();
    until(&bench.engine, &run, Phase::Active).await;
    bench.journal.full.store(true, Ordering::SeqCst);
    let end = bench.engine.finished(&run).await.expect("it was active");
    assert_eq!(end.summary.verdict, Some(Verdict::Stopped), "{:?}", end.state.outcome);
    assert!(bench.node.open.lock().expect("no panic").is_empty(), "everything is undone");
    bench.journal.full.store(false, Ordering::SeqCst);
    bench.engine.shutdown().await;
    let seqs: Vec<u64> = bench.journal.records().iter().map(|record| record.seq).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "nothing is lost");
}

#[tokio::test(start_paused = true)]
async fn a_node_without_a_fault_process_is_an_error_and_leaves_nothing() {
    let bench = bench(Limits::default());
    bench.node.refuses.store(true, Ordering::SeqCst);
    let run = bench.engine.submit(header("a")).await.expect("accepted").header.run.clone();
    let end = bench.engine.finished(&run).await.expect("it was active");
    assert_eq!((end.summary.verdict, end.summary.exit_code), (Some(Verdict::Error), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_reverts_everything_and_takes_no_more() {
    let bench = bench(Limits::default());
    for name in ["a", "b", "c"] {
        let run = bench.engine.submit(header(name)).await.expect("accepted").header.run.clone();
        until(&bench.engine, &run, Phase::Active).await;
    }
    let reports = bench.engine.shutdown().await;
    assert_eq!(reports.len(), 3);
    assert!(reports.iter().all(|report| report.reverted == 2 && report.unproven.is_empty()), "{reports:?}");
    assert!(matches!(bench.engine.submit(header("d")).await, Err(SubmitError::ShuttingDown)));
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_run_is_closed_with_what_the_sweep_found() {
    let bench = bench(Limits::default());
    let header = header("a");
    let run = bench.engine.submit(header.clone()).await.expect("accepted").header.run.clone();
    until(&bench.engine, &run, Phase::Active).await;
    let so_far = bench.journal.records(); // as a killed process leaves it
    let swept = [report(&InjectionId::of(&run, 1), InjectionState::RevertFailed)];
    let after = Journal::default();
    let clock = TestClock(tokio::time::Instant::now());
    let summary =
        close_abandoned(&after, &clock, &header, &so_far, &swept).await.expect("the store takes it");
    assert_eq!((summary.phase, summary.exit_code), (Phase::Finished, Some(7)), "what is not undone is said");
    let closed = close_abandoned(&Journal::default(), &clock, &header, &so_far, &[])
        .await
        .expect("the store takes it");
    assert_eq!((closed.phase, closed.exit_code), (Phase::Finished, Some(1)), "no record left: proven undone");
    assert_eq!(after.records().first().map(|record| record.seq), Some(so_far.len() as u64 + 1));
    bench.engine.stop_all(&by_hand()).await;
}

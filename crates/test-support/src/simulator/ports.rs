//! The other ports of a simulated service: a node that is watched, probes, signals, rules, a clock that jumps.
//!
//! Owns the promises that are seen between engine and hub.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chaos_core::journal::RunSummary;
use chaos_core::port::{
    Clock, Evidence, Governance, InjectOrder, InjectionReport, Node, NodeAction, NodeError, Placed, Prober,
    ReportSink, SignalSource,
};
use chaos_core::run::{InjectionId, InjectionState, ProbeSample, RunId};
use chaos_core::safety::{AlertMatch, AlertReading, Approval, Known, Lever, Policy, Signal};
use chaos_core::spec::{ExperimentKey, Probe, ProbePhase, Target};
use chaos_core::target::Inventory;
use chaos_engine::hub::Hub;
use futures_util::future::{BoxFuture, pending};
use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use super::disk::Disk;
use super::universe::{Actor, Universe};

/// What people decided; survives every service.
#[derive(Default)]
pub(super) struct Decided {
    pub(super) engaged: std::sync::atomic::AtomicBool,
    policy: Policy,
}

impl Governance for Decided {
    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn lever(&self) -> BoxFuture<'_, Known<Lever>> {
        let engaged = self.engaged.load(Ordering::SeqCst);
        Box::pin(async move { Ok(Lever { engaged, ..Lever::untouched() }) })
    }

    fn approvals<'a>(&'a self, _: &'a ExperimentKey, _: &'a str) -> BoxFuture<'a, Known<Vec<Approval>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn outcomes<'a>(&'a self, _: &'a str, _: usize) -> BoxFuture<'a, Known<Vec<RunSummary>>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// Wall clock with jumps; monotonic time without.
pub(super) struct SimClock {
    pub(super) universe: Universe,
    pub(super) jumped_ms: AtomicI64,
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let since = i64::try_from(self.universe.now().as_millis()).unwrap_or(i64::MAX);
        let jumped = self.jumped_ms.load(Ordering::SeqCst);
        let base = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 50);
        base + SignedDuration::from_millis(since.saturating_add(jumped))
    }

    fn monotonic(&self) -> Duration {
        self.universe.now()
    }
}

/// Probes that pass, fail or have nothing to say, and a declared signal that may be silent.
pub(super) struct SimSignals {
    pub(super) silent: Arc<std::sync::atomic::AtomicBool>,
}

impl Prober for SimSignals {
    fn watch<'a>(
        &'a self,
        probe: &'a Probe,
        phase: ProbePhase,
        once: bool,
        stop: BoxFuture<'a, ()>,
        sink: &'a (dyn Fn(ProbeSample) + Send + Sync),
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut stop = stop;
            loop {
                let silent = self.silent.load(Ordering::SeqCst);
                sink(ProbeSample {
                    probe: probe.name.clone(),
                    phase,
                    measured: 1,
                    passed: u64::from(!silent),
                    no_data: u64::from(silent),
                    value: None,
                    latency: Vec::new(),
                    problem: None,
                });
                if once {
                    return;
                }
                tokio::select! {
                    biased;
                    () = &mut stop => return,
                    () = sleep(Duration::from_secs(1)) => {}
                }
            }
        })
    }
}

impl SignalSource for SimSignals {
    fn signals(&self) -> BoxFuture<'_, Vec<Signal>> {
        Box::pin(async { Vec::new() })
    }

    fn query<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Known<Option<f64>>> {
        Box::pin(async { Ok(None) })
    }

    fn alerts<'a>(&'a self, labels: &'a AlertMatch) -> BoxFuture<'a, AlertReading> {
        Box::pin(async { AlertReading::of(labels, &Err("no Prometheus".to_owned())) })
    }
}

/// The hub, watched: no order without its intent on disk, no end that is not so.
pub(super) struct Watched {
    pub(super) universe: Universe,
    pub(super) actor: Arc<Actor>,
    pub(super) disk: Disk,
    pub(super) hub: Hub,
    pub(super) active: Arc<Mutex<BTreeMap<InjectionId, InjectionState>>>,
    pub(super) ordered: AtomicU64,
}

impl Watched {
    async fn alive(&self, what: String) {
        if !self.universe.step("", &self.actor, what) {
            pending::<()>().await;
        }
    }

    /// What is told to the engine must be so.
    fn sink(&self, inner: ReportSink) -> ReportSink {
        let (universe, actor, active) =
            (self.universe.clone(), Arc::clone(&self.actor), Arc::clone(&self.active));
        Arc::new(move |report: InjectionReport| {
            if actor.is_dead() {
                return;
            }
            let id = &report.injection;
            active.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), report.state);
            let concluded = report.state.is_final() && report.state != InjectionState::RevertFailed;
            let acts = universe.machines().iter().any(|machine| universe.acting(machine).contains_key(id));
            if concluded && acts {
                universe.breach(format!("2: {id} is told to be {} and still acts", report.state));
            }
            inner(report);
        })
    }
}

impl Node for Watched {
    fn inventory<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Inventory, NodeError>> {
        self.hub.inventory(target)
    }

    fn prepare<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, ()> {
        self.hub.prepare(run)
    }

    fn release<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, ()> {
        self.hub.release(run)
    }

    fn inject(&self, order: InjectOrder, reports: ReportSink) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(async move {
            self.alive(format!("order {} of {}", order.injections.len(), order.run)).await;
            self.ordered.fetch_add(1, Ordering::SeqCst);
            let ids: Vec<InjectionId> = order.injections.iter().map(|plan| plan.id.clone()).collect();
            if let Err(reason) = self.disk.allows(&order.run, &ids) {
                self.universe.breach(format!("1: {reason}, and it is ordered"));
            }
            let sink = self.sink(reports);
            self.hub.inject(order, sink).await
        })
    }

    fn renew<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, ()> {
        if self.universe.broken.renews_nothing || self.actor.is_dead() {
            return Box::pin(async {});
        }
        self.hub.renew(run)
    }

    fn revert<'a>(&'a self, run: &'a RunId, injections: Vec<InjectionId>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.alive(format!("undo {} of {run}", injections.len())).await;
            let mut injections = injections;
            if self.universe.broken.ignores_early_stops {
                let known = self.active.lock().unwrap_or_else(PoisonError::into_inner);
                injections.retain(|id| known.get(id).is_some_and(|state| *state > InjectionState::Applying));
            }
            self.hub.revert(run, injections).await;
        })
    }

    fn attach<'a>(
        &'a self,
        run: &'a RunId,
        injections: Vec<Placed>,
        reports: ReportSink,
    ) -> BoxFuture<'a, Vec<InjectionId>> {
        let sink = self.sink(reports);
        self.hub.attach(run, injections, sink)
    }

    fn act<'a>(&'a self, action: &'a NodeAction) -> BoxFuture<'a, Result<Vec<Evidence>, NodeError>> {
        self.hub.act(action)
    }
}

/// Ids that are in use somewhere, for messages.
pub(super) fn names<'i>(ids: impl IntoIterator<Item = &'i InjectionId>) -> String {
    let names: BTreeSet<String> = ids.into_iter().map(ToString::to_string).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

//! A node that does what the test says, in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chaos_core::port::{
    Evidence, InjectOrder, InjectionReport, Node, NodeAction, NodeError, Placed, ReportSink,
};
use chaos_core::run::{InjectionId, InjectionState, RunId};
use chaos_core::spec::{HostTarget, Target};
use chaos_core::target::{Instance, Inventory, ProcessRef};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// Apps that have instances; runs on different ones don't meet.
pub(crate) const APPS: [&str; 3] = ["orchestrator", "second", "third"];

/// Four ready instances of each of [`APPS`], whose faults come and go at once unless told otherwise.
#[derive(Default)]
pub(crate) struct ScriptedNode {
    /// Instances that are not ready.
    pub(crate) unready: AtomicUsize,
    /// It can't look at its processes.
    pub(crate) inventory_fails: AtomicBool,
    /// It never answers when it is asked for them.
    pub(crate) inventory_hangs: AtomicBool,
    /// The undo is not proven.
    pub(crate) revert_fails: AtomicBool,
    /// Milliseconds from an order to revert to its proof.
    pub(crate) revert_takes_ms: AtomicUsize,
    active: Mutex<BTreeMap<InjectionId, ReportSink>>,
    /// Those whose undo failed, and may be tried again.
    failed: Mutex<BTreeMap<InjectionId, ReportSink>>,
}

impl ScriptedNode {
    /// Faults that are active.
    pub(crate) fn active(&self) -> usize {
        self.active.lock().unwrap().len()
    }
}

fn instance(app: &str, number: i32, ready: bool) -> Instance {
    let process = ProcessRef { pid: 1000 + number, start_time: 1 };
    Instance {
        id: format!("{app}/{}", process.pid),
        process,
        processes: vec![process],
        command: app.into(),
        ready,
        managed: true,
        ports: Vec::new(),
        network_namespace: 1,
        shares_host_network: true,
        own_cgroup: None,
        host: String::new(),
    }
}

fn report(injection: &InjectionId, state: InjectionState, took_ms: f64) -> InjectionReport {
    let evidence = vec![Evidence::new("script", state.to_string())];
    InjectionReport { injection: injection.clone(), state, evidence, error: None, took_ms }
}

impl Node for ScriptedNode {
    fn inventory<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Inventory, NodeError>> {
        let unready = self.unready.load(Ordering::SeqCst);
        let instances = match &target.host {
            Some(HostTarget::App(name)) if APPS.contains(&name.as_str()) => {
                (0..4).map(|number| instance(name, number, number as usize >= unready)).collect()
            }
            _ => Vec::new(),
        };
        let apps = vec!["checkout".to_owned(), "orchestrator".to_owned()];
        let (fails, hangs) =
            (self.inventory_fails.load(Ordering::SeqCst), self.inventory_hangs.load(Ordering::SeqCst));
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            if fails {
                return Err(NodeError::Inventory {
                    target: format!("{:?}", target.host),
                    reason: "the script says so".into(),
                });
            }
            Ok(Inventory { instances, apps, ..Inventory::default() })
        }
        .boxed()
    }

    fn inject(&self, order: InjectOrder, reports: ReportSink) -> BoxFuture<'_, Result<(), NodeError>> {
        for plan in order.injections {
            reports(report(&plan.id, InjectionState::Applying, 0.1));
            self.active.lock().unwrap().insert(plan.id.clone(), Arc::clone(&reports));
            reports(report(&plan.id, InjectionState::Active, 2.0));
        }
        async { Ok(()) }.boxed()
    }

    fn renew<'a>(&'a self, _: &'a RunId) -> BoxFuture<'a, ()> {
        async {}.boxed()
    }

    fn revert<'a>(&'a self, _: &'a RunId, injections: Vec<InjectionId>) -> BoxFuture<'a, ()> {
        let takes = Duration::from_millis(self.revert_takes_ms.load(Ordering::SeqCst) as u64);
        let fails = self.revert_fails.load(Ordering::SeqCst);
        for id in injections {
            let reports = self.active.lock().unwrap().remove(&id);
            let reports = reports.or_else(|| self.failed.lock().unwrap().remove(&id));
            let Some(reports) = reports else { continue };
            if fails {
                self.failed.lock().unwrap().insert(id.clone(), Arc::clone(&reports));
            }
            reports(report(&id, InjectionState::Reverting, 0.1));
            tokio::spawn(async move {
                if !takes.is_zero() {
                    tokio::time::sleep(takes).await;
                }
                let end = if fails { InjectionState::RevertFailed } else { InjectionState::Reverted };
                reports(report(&id, end, 3.0));
            });
        }
        async {}.boxed()
    }

    fn attach<'a>(
        &'a self,
        _: &'a RunId,
        injections: Vec<Placed>,
        reports: ReportSink,
    ) -> BoxFuture<'a, Vec<InjectionId>> {
        injections.iter().for_each(|one| reports(report(&one.injection, InjectionState::Reverted, 1.0)));
        async { Vec::new() }.boxed()
    }

    fn act<'a>(&'a self, _: &'a NodeAction) -> BoxFuture<'a, Result<Vec<Evidence>, NodeError>> {
        async { Ok(Vec::new()) }.boxed()
    }
}

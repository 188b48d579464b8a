//! The journal's disk: what is on it survives every service; a service that dies in a write may or may not have made it.
//!
//! Owns the runs and the promises about their journals: no gaps, no record twice, replayable at any time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chaos_core::journal::{Record, RunHeader, RunSummary};
use chaos_core::port::{Store, StoreError};
use chaos_core::run::{Effect, InjectionId, Phase, RunId, RunState};
use futures_util::future::{BoxFuture, pending};
use tokio::time::sleep;

use super::universe::{Actor, Universe};

/// A run as it is on disk.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) header: RunHeader,
    pub(super) summary: RunSummary,
    pub(super) records: Vec<Record>,
}

/// The disk. Copies are the same.
#[derive(Clone, Default)]
pub(super) struct Disk {
    runs: Arc<Mutex<BTreeMap<RunId, Stored>>>,
    full: Arc<std::sync::atomic::AtomicBool>,
}

impl Disk {
    fn runs(&self) -> MutexGuard<'_, BTreeMap<RunId, Stored>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn all(&self) -> Vec<Stored> {
        self.runs().values().cloned().collect()
    }

    pub(super) fn set_full(&self, full: bool) {
        self.full.store(full, std::sync::atomic::Ordering::SeqCst);
    }

    /// Runs without an end.
    pub(super) fn unfinished(&self) -> Vec<Stored> {
        self.all().into_iter().filter(|run| run.summary.phase != Phase::Finished).collect()
    }

    /// The intent to inject these is on disk, and nothing that forbids it.
    pub(super) fn allows(&self, run: &RunId, ids: &[InjectionId]) -> Result<(), String> {
        let stored = self.runs().get(run).cloned().ok_or_else(|| format!("run {run} is not on the disk"))?;
        let meant = |id: &InjectionId| {
            stored
                .records
                .iter()
                .flat_map(|record| &record.effects)
                .any(|effect| matches!(effect, Effect::Inject(meant) if meant.contains(id)))
        };
        if let Some(id) = ids.iter().find(|id| !meant(id)) {
            return Err(format!("the intent to inject {id} is not on the disk"));
        }
        let state = RunState::replay(&stored.header, &stored.records).map_err(|error| error.to_string())?;
        if state.phase > Phase::Active {
            return Err(format!("run {run} is {} already", state.phase));
        }
        Ok(())
    }

    fn append(&self, universe: &Universe, run: &RunId, records: &[Record], summary: &RunSummary) {
        let mut runs = self.runs();
        let Some(stored) = runs.get_mut(run) else {
            return universe.breach(format!("9: records of a run {run} that was not created"));
        };
        for record in records {
            if record.seq != stored.records.len() as u64 + 1 {
                universe.breach(format!(
                    "1: record {} of {run} follows {}",
                    record.seq,
                    stored.records.len()
                ));
            }
            stored.records.push(record.clone());
        }
        stored.summary = summary.clone();
    }
}

/// The disk as one service writes to it.
pub(super) struct SimStore {
    pub(super) universe: Universe,
    pub(super) actor: Arc<Actor>,
    pub(super) disk: Disk,
}

impl SimStore {
    async fn alive(&self, what: String) {
        if !self.universe.step("", &self.actor, what) {
            pending::<()>().await;
        }
    }

    /// Time that a write takes; now and then a long one.
    fn latency(&self) -> Duration {
        if self.universe.once_in(300) {
            // It may cost the lease, which is then no defect.
            self.universe.disturb();
            return self.universe.milliseconds(200, 2500);
        }
        Duration::from_micros(200 + self.universe.below(1500))
    }
}

impl Store for SimStore {
    fn create_run<'a>(
        &'a self,
        header: &'a RunHeader,
        summary: &'a RunSummary,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.alive(format!("create {}", header.run)).await;
            sleep(self.latency()).await;
            self.alive(format!("write {}", header.run)).await;
            let stored = Stored { header: header.clone(), summary: summary.clone(), records: Vec::new() };
            self.disk.runs().insert(header.run.clone(), stored);
            self.alive(format!("written {}", header.run)).await;
            Ok(())
        })
    }

    fn append<'a>(
        &'a self,
        run: &'a RunId,
        records: &'a [Record],
        summary: &'a RunSummary,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let names: Vec<String> = records.iter().map(|record| record.event.name()).collect();
            self.alive(format!("append to {run}: {}", names.join(", "))).await;
            if self.disk.full.load(std::sync::atomic::Ordering::SeqCst) {
                let (action, reason) = ("append".to_owned(), "the disk is full".to_owned());
                return Err(StoreError { action, reason, conflict: false });
            }
            if self.universe.broken.journals_late {
                let (universe, disk, actor) =
                    (self.universe.clone(), self.disk.clone(), Arc::clone(&self.actor));
                let (run, records, summary) = (run.clone(), records.to_vec(), summary.clone());
                tokio::spawn(async move {
                    sleep(Duration::from_millis(30)).await;
                    if !actor.is_dead() {
                        disk.append(&universe, &run, &records, &summary);
                    }
                });
                return Ok(());
            }
            sleep(self.latency()).await;
            self.alive(format!("write {run}")).await;
            self.disk.append(&self.universe, run, records, summary);
            // It is on the disk, and the service may not live to hear it.
            self.alive(format!("written {run}")).await;
            Ok(())
        })
    }
}

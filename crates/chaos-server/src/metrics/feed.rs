//! From records to metrics.
//!
//! Owns the folded state of every run that is being counted, because a record alone does not say of which fault it is.
//! It never slows a run down: what it missed on the bus is read from the journal.

use std::collections::BTreeMap;
use std::sync::Arc;

use chaos_core::journal::{Record, RunHeader, RunSummary};
use chaos_core::port::InjectionReport;
use chaos_core::run::{Event, Failure, InjectionState, Phase, RunId, RunState, StopCause};
use chaos_core::spec::FaultKind;
use chaos_engine::{Engine, Published};
use chaos_store::{PAGE_MAX, SqlStore};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::{BASELINE, Metrics, RUNNING_GUARD, RUNNING_HEALTH};
use crate::app::App;

/// A run that is being counted.
struct Fold {
    header: Arc<RunHeader>,
    state: RunState,
    seq: u64,
}

/// Counts until the bus closes, or everything is over.
pub(crate) async fn run(app: Arc<App>, bus: broadcast::Receiver<Published>) {
    let ended = app.ended.clone();
    tokio::select! {
        biased;
        () = count(&app.metrics, &app.engine, &app.store, bus) => {}
        () = ended.cancelled() => {}
    }
}

async fn count(
    metrics: &Metrics,
    engine: &Engine,
    store: &SqlStore,
    mut bus: broadcast::Receiver<Published>,
) {
    let mut folds: BTreeMap<RunId, Fold> = BTreeMap::new();
    loop {
        match bus.recv().await {
            Ok(published) => {
                let run = published.header.run.clone();
                let fold =
                    folds.entry(run.clone()).or_insert_with(|| Fold::new(Arc::clone(&published.header)));
                if published.records.first().is_some_and(|first| first.seq > fold.seq + 1) {
                    fold.catch_up(metrics, store).await;
                }
                for record in published.records.iter() {
                    fold.take(metrics, record);
                }
                if fold.is_finished() {
                    folds.remove(&run);
                }
            }
            Err(RecvError::Closed) => return,
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "metrics read what they missed from the journals");
                for snapshot in engine.active() {
                    folds.entry(snapshot.header.run.clone()).or_insert_with(|| Fold::new(snapshot.header));
                }
                for fold in folds.values_mut() {
                    fold.catch_up(metrics, store).await;
                }
                folds.retain(|_, fold| !fold.is_finished());
            }
        }
    }
}

impl Fold {
    fn new(header: Arc<RunHeader>) -> Self {
        Self { state: RunState::new(&header), header, seq: 0 }
    }

    fn is_finished(&self) -> bool {
        self.state.phase == Phase::Finished
    }

    async fn catch_up(&mut self, metrics: &Metrics, store: &SqlStore) {
        loop {
            match store.records(&self.header.run, self.seq, PAGE_MAX).await {
                Ok(page) if page.is_empty() => return,
                Ok(page) => page.iter().for_each(|record| self.take(metrics, record)),
                Err(error) => {
                    tracing::error!("metrics miss records of run {}: {error}", self.header.run);
                    return;
                }
            }
        }
    }

    fn take(&mut self, metrics: &Metrics, record: &Record) {
        if record.seq <= self.seq {
            return; // read from the journal before it came by the bus
        }
        self.seq = record.seq;
        let stopped_before = self.state.stop.is_some();
        if self.state.step(&self.header, record.elapsed_ms, record.event.clone()).is_err() {
            return;
        }
        match &record.event {
            Event::Injection(report) => {
                if let Some(kind) = self.counts(report) {
                    metrics.injection(kind, report.state, report.took_ms);
                }
            }
            Event::Probed(sample) => {
                let success = self.state.tally(&sample.probe, sample.phase).success();
                if let Some(success) = success {
                    metrics.probed(&self.header.key(), &sample.probe, success);
                }
            }
            _ => {}
        }
        match self.state.stop.as_ref().filter(|_| !stopped_before).map(|stop| stop.cause) {
            Some(StopCause::Health) => metrics.violated(RUNNING_HEALTH),
            Some(StopCause::Guardrail) => metrics.violated(RUNNING_GUARD),
            _ => {}
        }
        if self.is_finished() {
            self.finish(metrics, record.elapsed_ms);
        }
    }

    fn finish(&self, metrics: &Metrics, elapsed_ms: u64) {
        metrics.finished(&RunSummary::of(&self.header, &self.state, elapsed_ms));
        match &self.state.failure {
            Some(Failure::Gates(_) | Failure::Lever(_)) => {
                let refused = self.state.decisions.iter().filter(|decision| !decision.passed);
                refused.for_each(|decision| metrics.violated(decision.gate.name()));
            }
            Some(Failure::Baseline(_)) => metrics.violated(BASELINE),
            _ => {}
        }
    }

    /// The fault that a report is of, when it is to be counted: an undo that failed and is tried again is not.
    fn counts(&self, report: &InjectionReport) -> Option<FaultKind> {
        let injection = self.state.injections.iter().find(|one| one.id == report.injection)?;
        if report.state == InjectionState::RevertFailed && injection.state != report.state {
            return None;
        }
        self.header.experiment.spec.faults.get(injection.item).map(|item| item.fault.kind())
    }
}

//! Opens an incident for every run that a guardrail ended or whose undo is not proven, as soon as it has ended, and
//! writes down when such an undo is proven after all.
//!
//! Owns which runs are looked at. What goes into an incident is read from the journal by the analysis, apart from
//! everything that drives a run. The outcome of a run that has ended is never changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use chaos_core::incident::Incident;
use chaos_core::journal::{Record, RunHeader, RunSummary};
use chaos_core::link::run_of;
use chaos_core::port::{InjectionReport, Store as _, StoreError};
use chaos_core::run::{Event, Phase, RunId, RunState};
use chaos_engine::Published;
use jiff::Timestamp;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::app::App;

const NOT_OPENED: &str = "an incident can't be opened";

/// Looks at every run that ends, and at what is proven later, until everything is over. One after the other, so that
/// nothing is proven between the reading of a journal and the incident that comes of it.
pub(crate) async fn run(
    app: Arc<App>,
    mut bus: broadcast::Receiver<Published>,
    mut strays: broadcast::Receiver<InjectionReport>,
) {
    let mut active: BTreeSet<RunId> = BTreeSet::new();
    loop {
        let received = tokio::select! {
            biased;
            received = bus.recv() => received,
            stray = strays.recv() => {
                match stray {
                    Ok(report) => say("a late proof can't be written down", proven_late(&app, report).await),
                    Err(RecvError::Closed) => return,
                    Err(RecvError::Lagged(missed)) => tracing::error!(missed, "late proofs were not written down"),
                }
                continue;
            }
            () = app.ended.cancelled() => return,
        };
        match received {
            Ok(published) if published.summary.phase == Phase::Finished => {
                active.remove(&published.summary.run);
                say(NOT_OPENED, open(&app, &published.summary).await);
            }
            Ok(published) => {
                active.insert(published.summary.run);
            }
            Err(RecvError::Closed) => return,
            Err(RecvError::Lagged(_)) => {
                // What ended meanwhile is on disk.
                active.extend(app.engine.active().into_iter().map(|snapshot| snapshot.header.run.clone()));
                let mut still = BTreeSet::new();
                for run in active {
                    match app.store.run(&run).await {
                        Ok(Some((_, summary))) if summary.phase == Phase::Finished => {
                            say(NOT_OPENED, open(&app, &summary).await);
                        }
                        Ok(None) => {}
                        _ => {
                            still.insert(run);
                        }
                    }
                }
                active = still;
            }
        }
    }
}

fn say(what: &str, done: Result<(), StoreError>) {
    if let Err(error) = done {
        tracing::error!("{what}: {error}");
    }
}

/// Adds the proof of an undo that a finished run gave up on to its journal, and with it to the incident.
async fn proven_late(app: &App, report: InjectionReport) -> Result<(), StoreError> {
    let run = run_of(&report.injection);
    let Some((header, summary)) = app.store.run(&run).await? else { return Ok(()) };
    if summary.phase != Phase::Finished || !summary.revert_incomplete {
        return Ok(());
    }
    let mut records = app.journal(&run).await?;
    let Some(record) = late_record(&header, &records, report, app.clock().now()) else { return Ok(()) };
    // What the summary says is said of the moment at which the run ended.
    app.store.append(&run, std::slice::from_ref(&record), &summary).await?;
    tracing::warn!(%run, "what it gave up on is proven undone: {}", record.event.name());
    records.push(record);
    let made = tokio::task::spawn_blocking(move || chaos_analysis::incident(&header, &records)).await;
    let _one_after_the_other = app.incidents.lock().await;
    let stored = app.store.incident(&Incident::id_of(&run)).await?;
    if let (Ok(Some(made)), Some(stored)) = (made, stored) {
        app.store.put_incident(&Incident { timeline: made.timeline, ..stored }).await?;
    }
    Ok(())
}

/// The next record of a journal, if the report proves what its run gave up on.
fn late_record(
    header: &RunHeader,
    records: &[Record],
    report: InjectionReport,
    at: Timestamp,
) -> Option<Record> {
    let (last, mut state) = (records.last()?, RunState::replay(header, records).ok()?);
    let passed = u64::try_from(at.duration_since(header.created_at).as_millis()).unwrap_or(0);
    let (elapsed_ms, injection) = (passed.max(last.elapsed_ms), report.injection.clone());
    let event = Event::Injection(report);
    let given_up = state.given_up(&injection);
    state.step(header, elapsed_ms, event.clone()).ok()?;
    let proven = given_up && !state.given_up(&injection);
    proven.then(|| Record { seq: last.seq + 1, at, elapsed_ms, event, effects: Vec::new() })
}

/// Opens the incident of a finished run, if it is one and there is none yet.
async fn open(app: &App, summary: &RunSummary) -> Result<(), StoreError> {
    let alarmed = summary.stop_cause.is_some_and(|cause| cause.is_alarm());
    if !alarmed && !summary.revert_incomplete {
        return Ok(());
    }
    if app.store.incident(&Incident::id_of(&summary.run)).await?.is_some() {
        return Ok(());
    }
    let Some((header, _)) = app.store.run(&summary.run).await? else { return Ok(()) };
    let records = app.journal(&header.run).await?;
    // A long journal is some work, which must not hold up a stop.
    let made = tokio::task::spawn_blocking(move || chaos_analysis::incident(&header, &records)).await;
    match made {
        Ok(Some(incident)) => {
            app.store.put_incident(&incident).await?;
            tracing::warn!(incident = %incident.id, experiment = %incident.experiment, "{}", incident.summary);
        }
        Ok(None) => tracing::error!(run = %summary.run, "the journal gives no incident"),
        Err(error) => tracing::error!(run = %summary.run, "the incident broke off: {error}"),
    }
    Ok(())
}

//! Opens an incident for every run that a guardrail ended or whose undo is not proven, as soon as it has ended.
//!
//! Owns which runs are looked at. What goes into an incident is read from the journal by the analysis, apart from
//! everything that drives a run.

use std::collections::BTreeSet;
use std::sync::Arc;

use chaos_core::incident::Incident;
use chaos_core::journal::RunSummary;
use chaos_core::port::StoreError;
use chaos_core::run::{Phase, RunId};
use chaos_engine::Published;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::app::App;

/// Looks at every run that ends, until everything is over.
pub(crate) async fn run(app: Arc<App>, mut bus: broadcast::Receiver<Published>) {
    let mut active: BTreeSet<RunId> = BTreeSet::new();
    loop {
        let received = tokio::select! {
            biased;
            received = bus.recv() => received,
            () = app.ended.cancelled() => return,
        };
        match received {
            Ok(published) if published.summary.phase == Phase::Finished => {
                active.remove(&published.summary.run);
                say(open(&app, &published.summary).await);
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
                            say(open(&app, &summary).await);
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

fn say(opened: Result<(), StoreError>) {
    if let Err(error) = opened {
        tracing::error!("an incident can't be opened: {error}");
    }
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

//! The emergency stop.
//!
//! Owns its answer. The stop itself is the engine's, which undoes everything even if the caller goes away.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::{Extension, Json};
use chaos_api::{NamespaceQuery, StopRequest, StopResponse, StoppedRun};
use chaos_core::run::{Stop, StopCause};
use chaos_core::spec::ExperimentKey;
use chaos_engine::{RunSnapshot, StopReport};

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{self, Names, Params, Text};

/// `POST /api/v1/experiments/{name}/stop`.
pub(super) async fn one(
    State(app): State<Arc<App>>,
    names: Names,
    Params(query): Params<NamespaceQuery>,
    Extension(body): Extension<Text>,
) -> Result<Json<StopResponse>, ApiError> {
    let key = names.key(query.namespace);
    let stop = read(&body)?;
    // What is active is stopped first; whether it is on disk is asked afterwards.
    let response = stop_one(&app, &key, stop).await;
    if response.runs.is_empty() {
        app.row(&key).await?;
    }
    Ok(Json(response))
}

/// `POST /api/v1/stop`.
pub(super) async fn all(
    State(app): State<Arc<App>>,
    Extension(body): Extension<Text>,
) -> Result<Json<StopResponse>, ApiError> {
    let stop = read(&body)?;
    let (begin, active) = (Instant::now(), app.engine.active());
    let reports = app.engine.stop_all(&stop).await;
    Ok(Json(response(&app, begin, &active, &reports)))
}

/// Stops the active run of an experiment, if there is one.
pub(super) async fn stop_one(app: &App, key: &ExperimentKey, stop: Stop) -> StopResponse {
    let begin = Instant::now();
    let Some(active) = app.engine.active_run(key) else { return StopResponse::default() };
    let report = app.engine.stop(&active.header.run, stop).await;
    response(app, begin, &[active], &report.into_iter().collect::<Vec<_>>())
}

pub(super) fn response(
    app: &App,
    begin: Instant,
    active: &[RunSnapshot],
    reports: &[StopReport],
) -> StopResponse {
    let stopped = |report: &StopReport| {
        app.metrics.stopped(report.took);
        let summary =
            active.iter().map(|snapshot| &snapshot.summary).find(|summary| summary.run == report.run);
        StoppedRun {
            run: report.run.clone(),
            name: summary.map(|summary| summary.name.clone()).unwrap_or_default(),
            namespace: summary.map(|summary| summary.namespace.clone()).unwrap_or_default(),
            took_ms: report.took.as_secs_f64() * 1000.0,
            reverted: report.reverted,
            unproven: report.unproven.clone(),
        }
    };
    let runs: Vec<StoppedRun> = reports.iter().map(stopped).collect();
    StopResponse { runs, took_ms: begin.elapsed().as_secs_f64() * 1000.0 }
}

/// The reason; an empty body is fine, because a stop must not fail for want of words.
fn read(body: &Text) -> Result<Stop, ApiError> {
    let given: StopRequest = body.parse()?;
    let cause = if given.interrupted { StopCause::Interrupt } else { StopCause::Request };
    let otherwise = if given.interrupted { "interrupted" } else { "stopped by hand" };
    Ok(Stop { cause, reason: extract::reason(given.reason, otherwise)? })
}

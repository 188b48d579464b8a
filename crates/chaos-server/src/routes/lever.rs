//! The safety lever.
//!
//! Owns the order of an emergency: it counts, it is on disk, everything stops.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::{Extension, Json};
use chaos_api::{LeverRequest, LeverResponse, Problem, ProblemCode, StopResponse};
use chaos_core::access::Permission;
use chaos_core::run::{Stop, StopCause};
use chaos_core::safety::Lever;
use tokio::time::timeout;

use crate::access::Caller;
use crate::app::App;
use crate::error::ApiError;
use crate::extract::{self, Text};
use crate::lever::ReleaseError;
use crate::limits::{LEVER_DISK_TIMEOUT, LEVER_DISK_WAIT};
use crate::routes::stop::response;

/// `GET /api/v1/lever`.
pub(super) async fn show(State(app): State<Arc<App>>) -> Json<Lever> {
    Json(app.lever.now())
}

/// `PUT /api/v1/lever`.
pub(super) async fn set(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Extension(body): Extension<Text>,
) -> Result<Json<LeverResponse>, ApiError> {
    let request: LeverRequest = body.parse_given()?;
    let reason = extract::reason_given(request.reason)?;
    let lever =
        Lever { engaged: request.engaged, reason, actor: caller.actor.name.clone(), at: app.clock().now() };
    if request.engaged {
        return engage(&app, lever).await.map(Json);
    }
    caller.require(Permission::ReleaseLever)?;
    match app.lever.release(lever.clone()).await {
        Ok(()) => Ok(Json(LeverResponse { lever, stopped: StopResponse::default() })),
        Err(ReleaseError::Store(error)) => Err(error.into()),
        Err(error @ ReleaseError::Engaged(_)) => {
            Err(ApiError::new(ProblemCode::LeverEngaged, error.to_string()))
        }
    }
}

/// A run whose gates saw the lever released was in the engine's table before it counted, so the stop finds it; any other
/// is refused by its own gate.
async fn engage(app: &App, lever: Lever) -> Result<LeverResponse, ApiError> {
    let begin = Instant::now();
    app.lever.engage(lever.clone());
    let mut disk = pin!(app.lever.write());
    // On disk before anything stops, if that is quick; a disk that hangs does not hold up a stop.
    let mut written = timeout(LEVER_DISK_WAIT, disk.as_mut()).await;
    let active = app.engine.active();
    let stop = Stop {
        cause: StopCause::Lever,
        reason: format!("{} engaged the safety lever: {}", lever.actor, lever.reason),
    };
    let reports = app.engine.stop_all(&stop).await;
    let stopped = response(app, begin, &active, &reports);
    if written.is_err() {
        written = timeout(LEVER_DISK_TIMEOUT, disk).await;
    }
    let reason = match written {
        Ok(Ok(())) => return Ok(LeverResponse { lever, stopped }),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the disk did not answer within {}s", LEVER_DISK_TIMEOUT.as_secs()),
    };
    let unproven: usize = stopped.runs.iter().map(|run| run.unproven.len()).sum();
    let detail = format!(
        "the lever is engaged and {} runs were stopped ({unproven} faults not proven undone), but it is not on disk and \
         ends with this process: {reason}",
        stopped.runs.len()
    );
    tracing::error!("{detail}");
    Err(Problem::new(ProblemCode::StoreUnavailable, detail).into())
}

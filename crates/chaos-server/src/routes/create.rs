//! Create and start.
//!
//! Owns the order: read, plan, submit, wait for the gates, answer. Once a run is submitted, nothing that the caller
//! does takes it back but a stop.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use chaos_api::{CreateQuery, ExperimentDetail, Problem, ProblemCode, RunDetail};
use chaos_core::journal::RunHeader;
use chaos_core::run::{Failure, Phase, RunId, StopCause};
use chaos_core::safety::{Gate, document_hash};
use chaos_core::spec::{Experiment, ExperimentKey};
use chaos_engine::Published;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use crate::access::Caller;
use crate::app::App;
use crate::audit::Told;
use crate::error::ApiError;
use crate::extract::{self, Names, Params, Text};
use crate::limits::{GATES_WAIT, GATES_WAIT_MAX};
use crate::plan::{document, not_resolved};
use crate::views::without_secrets;

/// `POST /api/v1/experiments`.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Params(query): Params<CreateQuery>,
    headers: HeaderMap,
    Extension(Text(body)): Extension<Text>,
) -> Result<Response, ApiError> {
    extract::media(&headers)?;
    let document = document(&body, query.namespace.as_deref(), &app.config)?;
    launch(&app, &caller, document, &query).await
}

/// `POST /api/v1/experiments/{name}/runs`.
pub(super) async fn start_again(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    names: Names,
    Params(query): Params<CreateQuery>,
) -> Result<Response, ApiError> {
    if query.start == Some(false) {
        return Err(ApiError::bad_request("`start=false` has no meaning here: the experiment is registered"));
    }
    let row = app.row(&names.key(query.namespace.clone())).await?;
    launch(&app, &caller, row.document, &query).await
}

async fn launch(
    app: &App,
    caller: &Caller,
    document: Experiment,
    query: &CreateQuery,
) -> Result<Response, ApiError> {
    let wait = query.wait.map_or(GATES_WAIT, |span| span.0);
    if wait > GATES_WAIT_MAX {
        return Err(ApiError::bad_request(format!("wait is longer than {}s", GATES_WAIT_MAX.as_secs())));
    }
    if query.dry_run == Some(true) {
        let header = app.header(caller, document, query)?;
        let mut dry_run = app.dry_run(header).await?;
        without_secrets(&mut dry_run.plan);
        return Ok(Json(dry_run).into_response());
    }
    let told = Told::default().and("document", document_hash(&document));
    let (response, told) = if query.start == Some(false) {
        (register(app, document).await?, told)
    } else {
        let header = app.header(caller, document, query)?;
        let told = told.and("run", &header.run);
        (start(app, header, wait).await?, told)
    };
    Ok((Extension(told), response).into_response())
}

async fn register(app: &App, document: Experiment) -> Result<Response, ApiError> {
    let key = document.key();
    if app.is_closing() {
        return Err(ApiError::new(ProblemCode::ShuttingDown, "the server is shutting down"));
    }
    if let Some(active) = app.engine.active_run(&key) {
        let detail = format!("experiment {key} has an active run {}", active.header.run);
        let problem = Problem::new(ProblemCode::NameInUse, detail);
        return Err(Problem { run: Some(active.header.run.clone()), ..problem }.into());
    }
    app.store.register(&document, app.clock().now()).await?;
    Ok(created(app.detail(&key).await?))
}

async fn start(app: &App, header: RunHeader, wait: Duration) -> Result<Response, ApiError> {
    let (key, run) = (header.key(), header.run.clone());
    let bus = app.engine.subscribe();
    app.remember_start(run.clone(), *app.store.positions().borrow());
    app.engine.submit(header).await?;
    if !wait.is_zero() {
        // What has not left the gates by then goes on; its events tell how.
        let _ = timeout(wait, left_the_gates(app, &run, bus)).await;
    }
    answer(app, &key, &run).await
}

/// Resolves when a run has left preflight, or has ended.
async fn left_the_gates(app: &App, run: &RunId, mut bus: broadcast::Receiver<Published>) {
    loop {
        match bus.recv().await {
            Ok(published) if published.header.run == *run && published.summary.phase != Phase::Preflight => {
                return;
            }
            Ok(_) => {}
            Err(RecvError::Closed) => return,
            Err(RecvError::Lagged(_)) => match app.active(run) {
                Some(snapshot) if snapshot.state.phase == Phase::Preflight => {}
                _ => return,
            },
        }
    }
}

async fn answer(app: &App, key: &ExperimentKey, run: &RunId) -> Result<Response, ApiError> {
    let detail = app.detail(key).await?;
    let Some(latest) = detail.latest.as_ref().filter(|latest| latest.header.run == *run) else {
        return Ok(created(detail)); // a later run took its place already
    };
    if let Some(reason) = stopped_by_lever(latest) {
        return Err(Problem {
            run: Some(run.clone()),
            decisions: latest.decisions.clone(),
            ..Problem::new(ProblemCode::LeverEngaged, reason)
        }
        .into());
    }
    match (&latest.failure, latest.active_ms) {
        (Some(Failure::Gates(refusals)), _) => Err(blocked(latest, refusals).into()),
        (Some(failure @ Failure::Target(_)), None) => {
            let ApiError(problem) = not_resolved(failure.clone());
            Err(Problem { run: Some(run.clone()), ..*problem }.into())
        }
        _ => Ok(created(detail)),
    }
}

/// The lever kept it from its start, or ended it before it touched anything.
fn stopped_by_lever(run: &RunDetail) -> Option<String> {
    match (&run.failure, &run.stop) {
        (Some(Failure::Lever(reason)), _) => Some(reason.clone()),
        (_, Some(stop)) if stop.cause == StopCause::Lever && run.injections.is_empty() => {
            Some(stop.reason.clone())
        }
        _ => None,
    }
}

/// Nothing was touched: the score, the threshold and the signal to blame, and what each gate said.
fn blocked(run: &RunDetail, refusals: &[String]) -> Problem {
    let health = run.health_before.as_ref();
    let refused_by_health = run.decisions.iter().any(|one| !one.passed && one.gate == Gate::Health);
    let signal = health.and_then(|health| health.to_blame()).filter(|_| refused_by_health);
    Problem {
        run: Some(run.header.run.clone()),
        score: health.and_then(|health| health.score.value()),
        threshold: Some(run.header.threshold),
        signal: signal.cloned(),
        decisions: run.decisions.clone(),
        ..Problem::new(ProblemCode::Blocked, refusals.join("; "))
    }
}

fn created(detail: ExperimentDetail) -> Response {
    let record = &detail.record;
    let location = format!("/api/v1/experiments/{}?namespace={}", record.name, record.namespace);
    (StatusCode::CREATED, [(header::LOCATION, location)], Json(detail)).into_response()
}

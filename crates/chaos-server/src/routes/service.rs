//! What keeps a service running: liveness, readiness, metrics, its own description.
//!
//! Owns the meaning of ready: runs can be started and journals be written.

use std::sync::{Arc, OnceLock};

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chaos_api::{Live, ProblemCode};
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::app::App;
use crate::error::ApiError;
use crate::limits::FREE_BYTES_MIN;

/// `GET /health`.
pub(super) async fn live(State(app): State<Arc<App>>) -> Json<Live> {
    Json(Live { status: "ok".to_owned(), server: app.info.clone() })
}

/// `GET /ready`.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Result<Json<Live>, ApiError> {
    if app.is_closing() {
        return Err(ApiError::new(ProblemCode::ShuttingDown, "the server is shutting down"));
    }
    app.store.latest_position().await?;
    let unavailable = |detail: String| ApiError::new(ProblemCode::StoreUnavailable, detail);
    let disk = statvfs(&app.state_dir)
        .map_err(|error| unavailable(format!("the state folder can't be looked at: {error}")))?;
    if disk.flags().contains(FsFlags::ST_RDONLY) {
        return Err(unavailable("the state folder is mounted read-only".to_owned()));
    }
    let free = disk.blocks_available().saturating_mul(disk.fragment_size());
    if free < FREE_BYTES_MIN {
        return Err(unavailable(format!(
            "{free} bytes are free below the state folder, at least {FREE_BYTES_MIN} needed"
        )));
    }
    Ok(Json(Live { status: "ready".to_owned(), server: app.info.clone() }))
}

/// `GET /metrics`.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let score = app.system_health().await.ok().and_then(|health| health.score);
    let (lever, agents) = (app.lever.now().engaged, app.agents.hub.connected());
    let text = app.metrics.encode(&app.engine.active(), score, lever, agents);
    let text = text.map_err(|error| ApiError::internal("no metrics", &error))?;
    Ok(([(header::CONTENT_TYPE, crate::metrics::MEDIA_TYPE)], text).into_response())
}

/// `GET /openapi.json`.
pub(super) async fn openapi() -> Response {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    let document = DOCUMENT.get_or_init(|| chaos_api::openapi().to_string());
    ([(header::CONTENT_TYPE, "application/json")], document.as_str()).into_response()
}

//! Incidents: list, show, close.
//!
//! Owns nothing but the answers. They are opened by [`crate::incidents`].

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use chaos_analysis::post_mortem;
use chaos_api::{CloseRequest, IncidentFormat, IncidentQuery, IncidentsQuery, ProblemCode};
use chaos_core::incident::{Incident, IncidentStatus};

use crate::access::Caller;
use crate::app::App;
use crate::audit::Told;
use crate::error::ApiError;
use crate::extract::{Names, Params, Text};
use crate::limits::NOTE_CHARS_MAX;
use crate::routes::experiments::page_rows;

/// `GET /api/v1/incidents`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Params(query): Params<IncidentsQuery>,
) -> Result<Json<Vec<Incident>>, ApiError> {
    let limit = page_rows(query.limit)?;
    Ok(Json(app.store.incidents(query.status, limit as usize).await?))
}

/// `GET /api/v1/incidents/{id}`.
pub(super) async fn one(
    State(app): State<Arc<App>>,
    names: Names,
    Params(query): Params<IncidentQuery>,
) -> Result<Response, ApiError> {
    let incident = find(&app, names.id()?).await?;
    Ok(match query.format.unwrap_or_default() {
        IncidentFormat::Json => Json(incident).into_response(),
        IncidentFormat::Md => {
            ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], post_mortem(&incident)).into_response()
        }
    })
}

/// `POST /api/v1/incidents/{id}/close`.
pub(super) async fn close(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    names: Names,
    Extension(body): Extension<Text>,
) -> Result<Response, ApiError> {
    let request: CloseRequest = body.parse_given()?;
    let length = request.note.chars().count();
    if request.note.trim().is_empty() || length > NOTE_CHARS_MAX {
        let detail =
            format!("the note has {length} characters; expected 1 to {NOTE_CHARS_MAX} that say something");
        return Err(ApiError::bad_request(detail));
    }
    let _one_after_the_other = app.incidents.lock().await;
    let incident = find(&app, names.id()?).await?;
    if incident.status == IncidentStatus::Closed {
        let by = incident.closed_by.as_deref().unwrap_or("somebody");
        let detail = format!("{by} closed the incident {} already", incident.id);
        return Err(ApiError::new(ProblemCode::Conflict, detail));
    }
    let closed = Incident {
        status: IncidentStatus::Closed,
        closed_at: Some(app.clock().now()),
        closed_by: Some(caller.actor.name),
        note: Some(request.note),
        ..incident
    };
    app.store.put_incident(&closed).await?;
    let told = Told::default().and("run", &closed.run);
    Ok((Extension(told), Json(closed)).into_response())
}

async fn find(app: &App, id: &str) -> Result<Incident, ApiError> {
    let incident = app.store.incident(id).await?;
    incident.ok_or_else(|| ApiError::not_found(format!("no incident {id}")))
}

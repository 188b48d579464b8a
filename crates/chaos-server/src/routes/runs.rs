//! Runs of an experiment: history, journal, report.
//!
//! Owns nothing but the answers.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use chaos_analysis::report;
use chaos_api::{EventsQuery, JournalQuery, NamespaceQuery, ReportFormat, ReportQuery, RunDetail, RunsQuery};
use chaos_core::journal::RunSummary;
use chaos_store::RunCursor;

use crate::access::Caller;
use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Names, Params};
use crate::limits::PAGE_ROWS_MAX;
use crate::routes::events;
use crate::routes::experiments::{cursor, next_page, page_rows};

/// `GET /api/v1/experiments/{name}/runs`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    names: Names,
    Params(query): Params<RunsQuery>,
    uri: Uri,
) -> Result<(HeaderMap, Json<Vec<RunSummary>>), ApiError> {
    let key = names.key(query.namespace);
    let limit = page_rows(query.limit)?;
    let cursor = query.cursor.as_deref().map(cursor::<RunCursor>).transpose()?;
    app.row(&key).await?;
    let page = app.store.runs(&key, limit, cursor).await?;
    let active = app.engine.active();
    let latest = |run: RunSummary| {
        let snapshot = active.iter().find(|snapshot| snapshot.summary.run == run.run);
        app.until_now(snapshot.map_or(run, |snapshot| snapshot.summary.clone()))
    };
    let runs = page.items.into_iter().map(latest).collect();
    Ok((next_page(&uri, page.next.map(|next| next.to_string())), Json(runs)))
}

/// `GET /api/v1/experiments/{name}/runs/{id}`.
pub(super) async fn one(
    State(app): State<Arc<App>>,
    names: Names,
    Params(query): Params<NamespaceQuery>,
) -> Result<Json<RunDetail>, ApiError> {
    app.run_detail(&names.key(query.namespace), &names.run()?).await.map(Json)
}

/// `GET /api/v1/experiments/{name}/runs/{id}/events`.
pub(super) async fn journal(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    names: Names,
    Params(query): Params<JournalQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (key, run) = (names.key(query.namespace), names.run()?);
    app.stored_run(&key, &run).await?;
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepted.split(',').any(|one| one.trim().starts_with("text/event-stream")) {
        if query.after.is_some() || query.limit.is_some() {
            return Err(ApiError::bad_request("a stream goes on by Last-Event-ID, not by after or limit"));
        }
        let query = EventsQuery { run: Some(run), ..EventsQuery::default() };
        return events::stream(app, caller, query, &headers).await;
    }
    let limit = query.limit.map_or(Ok(PAGE_ROWS_MAX), |limit| page_rows(Some(limit)))?;
    let records = app.store.records(&run, query.after.unwrap_or(0), limit).await?;
    Ok(Json(records).into_response())
}

/// `GET /api/v1/experiments/{name}/runs/{id}/report`.
pub(super) async fn report(
    State(app): State<Arc<App>>,
    names: Names,
    Params(query): Params<ReportQuery>,
) -> Result<Response, ApiError> {
    let (header, _) = app.stored_run(&names.key(query.namespace), &names.run()?).await?;
    let records = app.journal(&header.run).await?;
    let format = match query.format.unwrap_or_default() {
        ReportFormat::Json => report::Format::Json,
        ReportFormat::Text => report::Format::Text,
        ReportFormat::Md => report::Format::Markdown,
        ReportFormat::Junit => report::Format::Junit,
    };
    // Half a million records are some work, which must not hold up a stop.
    let text = tokio::task::spawn_blocking(move || report::render(format, &header, &records))
        .await
        .map_err(|error| ApiError::internal("the report broke off", &error))?
        .map_err(|error| ApiError::internal("no report", &error))?;
    Ok(([(header::CONTENT_TYPE, format.media_type())], text).into_response())
}

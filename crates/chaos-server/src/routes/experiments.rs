//! List, show, delete.
//!
//! Owns pages and the order of a delete: stop, revert, then forget.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use chaos_api::{
    DeleteQuery, ExperimentDetail, ExperimentRecord, ListQuery, NamespaceQuery, ProblemCode, StopResponse,
};
use chaos_core::run::{Status, Stop, StopCause};
use chaos_core::spec::ExperimentKey;
use chaos_store::{ExperimentCursor, ExperimentFilter};
use tokio::time::sleep;

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{self, Names, Params};
use crate::limits::{LIST_FRESH, LIST_FRESH_RUNNING, OUTCOME_TIMEOUT, PAGE_ROWS, PAGE_ROWS_MAX};
use crate::pages::Page;
use crate::routes::stop::stop_one;

/// Time between two looks whether a run that was stopped has its outcome on disk.
const OUTCOME_PAUSE: Duration = Duration::from_millis(10);

/// `GET /api/v1/experiments`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Params(query): Params<ListQuery>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let version = app.store.lists_version();
    let asked = uri.query().unwrap_or_default();
    if let Some(page) = app.pages.find(asked, version, Instant::now()) {
        return Ok(sent(page));
    }
    let made = Instant::now();
    let (headers, rows) = read(&app, &query, &uri).await?;
    let running = rows.iter().any(|row| row.run.is_some() && row.finished_at.is_none());
    let body = serde_json::to_vec(&rows).map_err(|error| ApiError::internal("no list", &error))?;
    let fresh = if running { LIST_FRESH_RUNNING } else { LIST_FRESH };
    let page = Page { version, made, fresh, headers, body: body.into() };
    app.pages.keep(asked, page.clone());
    Ok(sent(page))
}

fn sent(page: Page) -> Response {
    (page.headers, [(header::CONTENT_TYPE, "application/json")], page.body).into_response()
}

/// A page of the list, read from the store.
async fn read(
    app: &App,
    query: &ListQuery,
    uri: &Uri,
) -> Result<(HeaderMap, Vec<ExperimentRecord>), ApiError> {
    let limit = page_rows(query.limit)?;
    let mut cursor = query.cursor.as_deref().map(cursor::<ExperimentCursor>).transpose()?;
    // An experiment that never ran is pending, but has no run that could say so on disk.
    let stored_status = query.status.filter(|status| *status != Status::Pending);
    let filter = ExperimentFilter {
        namespace: query.namespace.clone(),
        status: stored_status,
        kind: query.kind.clone(),
        name_prefix: None,
    };
    loop {
        let page = app.store.lines(&filter, limit, cursor.as_ref()).await?;
        let active = app.engine.active();
        let rows: Vec<ExperimentRecord> = page
            .items
            .iter()
            .map(|line| app.record_of_line(line, &active))
            .filter(|row| query.status.is_none_or(|status| row.status == status))
            .filter(|row| query.verdict.is_none_or(|verdict| row.verdict == Some(verdict)))
            .collect();
        // A page may be shorter than asked for, but it is empty only at the end.
        if rows.is_empty() && page.next.is_some() {
            cursor.clone_from(&page.next);
            continue;
        }
        return Ok((next_page(uri, page.next.as_ref().map(ToString::to_string)), rows));
    }
}

/// `GET /api/v1/experiments/{name}`.
pub(super) async fn one(
    State(app): State<Arc<App>>,
    names: Names,
    Params(query): Params<NamespaceQuery>,
) -> Result<Json<ExperimentDetail>, ApiError> {
    app.detail(&names.key(query.namespace)).await.map(Json)
}

/// `DELETE /api/v1/experiments/{name}`.
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    names: Names,
    Params(query): Params<DeleteQuery>,
) -> Result<Json<StopResponse>, ApiError> {
    let key = names.key(query.namespace);
    let reason = extract::reason(query.reason, "deleted")?;
    app.row(&key).await?;
    let stopped = stop_one(&app, &key, Stop { cause: StopCause::Request, reason }).await;
    forget(&app, &key).await?;
    if !stopped.is_complete() {
        tracing::error!(experiment = %key, "deleted with faults whose undo is not proven");
    }
    Ok(Json(stopped))
}

/// The journal of a run that has no outcome yet is never deleted, and the outcome is written a moment after the stop.
async fn forget(app: &App, key: &ExperimentKey) -> Result<(), ApiError> {
    let deadline = Instant::now() + OUTCOME_TIMEOUT;
    loop {
        let free = app.engine.active_run(key).is_none();
        match if free { app.store.delete_experiment(key).await } else { Ok(false) } {
            Ok(_) if free => {
                app.metrics.forget(key);
                return Ok(());
            }
            Err(error) if !error.conflict => return Err(error.into()),
            _ if Instant::now() >= deadline => {
                let detail = format!("the run of {key} has no outcome on disk yet");
                return Err(ApiError::new(ProblemCode::NameInUse, detail));
            }
            _ => sleep(OUTCOME_PAUSE).await,
        }
    }
}

/// Rows that a page may have.
pub(super) fn page_rows(limit: Option<u32>) -> Result<u32, ApiError> {
    match limit.unwrap_or(PAGE_ROWS) {
        rows @ 1..=PAGE_ROWS_MAX => Ok(rows),
        other => Err(ApiError::bad_request(format!("limit is {other}; expected 1 to {PAGE_ROWS_MAX}"))),
    }
}

/// A cursor of a list.
pub(super) fn cursor<C: std::str::FromStr>(text: &str) -> Result<C, ApiError>
where
    C::Err: std::fmt::Display,
{
    text.parse().map_err(|error| ApiError::bad_request(format!("cursor: {error}")))
}

/// The `Link` header to the next page: the same query with another cursor.
pub(super) fn next_page(uri: &Uri, next: Option<String>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(next) = next else { return headers };
    let pairs = uri.query().unwrap_or_default().split('&');
    let mut query: Vec<String> =
        pairs.filter(|pair| !pair.is_empty() && !pair.starts_with("cursor=")).map(str::to_owned).collect();
    query.push(format!("cursor={next}"));
    let link = format!("<{}?{}>; rel=\"next\"", uri.path(), query.join("&"));
    if let Ok(value) = HeaderValue::from_str(&link) {
        headers.insert(header::LINK, value);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_keeps_the_filters_and_replaces_the_cursor() {
        let uri: Uri = "/api/v1/experiments?limit=2&cursor=00&type=a%2Bb".parse().expect("a path");
        let headers = next_page(&uri, Some("ff".into()));
        assert_eq!(headers[header::LINK], "</api/v1/experiments?limit=2&type=a%2Bb&cursor=ff>; rel=\"next\"");
        assert!(next_page(&uri, None).is_empty());
    }
}

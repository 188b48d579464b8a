//! Tokens: list, make, rotate, revoke.
//!
//! Owns what is checked before one is made. A secret is in one answer and nowhere else.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use chaos_api::{NewToken, ProblemCode, TokenInfo, TokenRequest};
use chaos_core::access::TokenRecord;
use chaos_core::spec::DocumentError;
use jiff::{SignedDuration, Timestamp};

use crate::access::Caller;
use crate::app::App;
use crate::audit::Told;
use crate::error::ApiError;
use crate::extract::{Names, Text};
use crate::limits::{TOKEN_LIFETIME_MAX, TOKENS_MAX};
use crate::tokens::{Issued, name_defect};

/// `GET /api/v1/tokens`.
pub(super) async fn list(State(app): State<Arc<App>>) -> Json<Vec<TokenInfo>> {
    let now = app.clock().now();
    let mut tokens: Vec<TokenInfo> =
        app.tokens.all().values().map(|record| TokenInfo::of(record, now)).collect();
    tokens.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
    Json(tokens)
}

/// `POST /api/v1/tokens`.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Extension(body): Extension<Text>,
) -> Result<Response, ApiError> {
    let request: TokenRequest = body.parse_given()?;
    if let Some(problem) = name_defect(&request.name) {
        let expected = "1 to 63 of a-z, 0-9, - _ . @, a letter or digit first";
        return Err(defect("name", &request.name, problem, expected));
    }
    let now = app.clock().now();
    if let Some(end) = request.expires_at
        && (end <= now || end.duration_since(now).unsigned_abs() > TOKEN_LIFETIME_MAX)
    {
        let days = TOKEN_LIFETIME_MAX.as_secs() / 86_400;
        let expected = format!("a time that is to come, at most {days} days from now");
        return Err(defect("expires_at", &end.to_string(), "out of range", &expected));
    }
    let _changing = app.tokens.changing.lock().await;
    let tokens = app.tokens.all();
    if let Some(other) = tokens.values().find(|one| one.revoked_at.is_none() && one.name == request.name) {
        let detail = format!(
            "the token {} has the name {:?}; rotate it, revoke it, or choose another name",
            other.id, other.name
        );
        return Err(ApiError::new(ProblemCode::Conflict, detail));
    }
    if tokens.values().filter(|one| one.is_valid(now)).count() >= TOKENS_MAX {
        return Err(ApiError::new(
            ProblemCode::Conflict,
            format!("there are {TOKENS_MAX} tokens, the limit"),
        ));
    }
    let issued = Issued::new(&request.name, request.role, &caller.actor.name, now, request.expires_at);
    add(&app, issued.map_err(|error| ApiError::internal("no randomness", &error))?, None, now).await
}

/// `POST /api/v1/tokens/{id}/rotate`.
pub(super) async fn rotate(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    names: Names,
) -> Result<Response, ApiError> {
    let _changing = app.tokens.changing.lock().await;
    let (old, now) = (find(&app, names.id()?)?, app.clock().now());
    if old.revoked_at.is_some() {
        let detail = format!("the token {} was revoked; create another one", old.id);
        return Err(ApiError::new(ProblemCode::Conflict, detail));
    }
    // It lasts as long again as it was made for.
    let lifetime = old.expires_at.map(|end| end.duration_since(old.created_at));
    let later = |lifetime: SignedDuration| now.checked_add(lifetime);
    let expires_at = lifetime.map(later).transpose();
    let expires_at = expires_at.map_err(|error| ApiError::bad_request(error.to_string()))?;
    let issued = Issued::new(&old.name, old.role, &caller.actor.name, now, expires_at);
    add(&app, issued.map_err(|error| ApiError::internal("no randomness", &error))?, Some(&old.id), now).await
}

/// `DELETE /api/v1/tokens/{id}`.
pub(super) async fn revoke(State(app): State<Arc<App>>, names: Names) -> Result<Json<TokenInfo>, ApiError> {
    let _changing = app.tokens.changing.lock().await;
    let (record, now) = (find(&app, names.id()?)?, app.clock().now());
    if record.revoked_at.is_none() {
        app.store.revoke_token(&record.id, now).await?;
        app.tokens.reload(&app.store).await?;
    }
    Ok(Json(TokenInfo::of(&find(&app, &record.id)?, now)))
}

async fn add(
    app: &App,
    issued: Issued,
    replaces: Option<&str>,
    now: Timestamp,
) -> Result<Response, ApiError> {
    app.store.add_token(&issued.record, replaces).await?;
    app.tokens.reload(&app.store).await?;
    let told = Told::default().and("token", &issued.record.id).and("name", &issued.record.name);
    let made = NewToken { info: TokenInfo::of(&issued.record, now), token: issued.text };
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, headers, Extension(told), Json(made)).into_response())
}

fn find(app: &App, id: &str) -> Result<TokenRecord, ApiError> {
    app.tokens.all().get(id).cloned().ok_or_else(|| ApiError::not_found(format!("no token {id}")))
}

fn defect(path: &str, value: &str, problem: &str, expected: &str) -> ApiError {
    DocumentError {
        document: 0,
        path: path.to_owned(),
        value: Some(value.into()),
        problem: problem.to_owned(),
        expected: Some(expected.into()),
        nearest: None,
    }
    .into()
}

//! What comes in: query, body, headers; bounded in size and time.
//!
//! Owns the reading. It never interprets a document.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use chaos_api::ProblemCode;
use chaos_core::run::RunId;
use chaos_core::spec::{DocumentError, ExperimentKey, parse_value, plain_values};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::error::ApiError;
use crate::limits::{BODY_BYTES_MAX, BODY_TIMEOUT, REASON_CHARS_MAX};

/// Query parameters; an unknown or a defective one is a problem that names it.
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Query::<T>::try_from_uri(&parts.uri)
            .map(|query| Self(query.0))
            .map_err(|error| ApiError::bad_request(format!("the query can't be read: {}", error.body_text())))
    }
}

/// `{name}` and `{id}` of the path.
pub(crate) struct Names {
    name: String,
    id: Option<String>,
}

impl Names {
    /// The experiment; in `default` unless the query says otherwise.
    pub(crate) fn key(&self, namespace: Option<String>) -> ExperimentKey {
        ExperimentKey {
            namespace: namespace.unwrap_or_else(|| "default".to_owned()),
            name: self.name.clone(),
        }
    }

    /// The run, where the path has one.
    pub(crate) fn run(&self) -> Result<RunId, ApiError> {
        self.id().map(|id| RunId(id.to_owned()))
    }

    /// The run, token or incident, where the path has one.
    pub(crate) fn id(&self) -> Result<&str, ApiError> {
        self.id.as_deref().ok_or_else(|| ApiError::not_found("the path has no id"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Names {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, state).await;
        let Path(mut names) = path.map_err(|error| {
            ApiError::bad_request(format!("the path can't be read: {}", error.body_text()))
        })?;
        Ok(Self { name: names.remove("name").unwrap_or_default(), id: names.remove("id") })
    }
}

/// The body of a call that changes something: read whole before the call is written down and carried out.
#[derive(Clone)]
pub(crate) struct Text(pub(crate) Arc<str>);

impl Text {
    /// What it holds; nothing at all is the default.
    ///
    /// # Errors
    /// The first defect, with its path.
    pub(crate) fn parse<T: DeserializeOwned + Default>(&self) -> Result<T, ApiError> {
        if self.0.trim().is_empty() { Ok(T::default()) } else { self.parse_given() }
    }

    /// What it holds.
    ///
    /// # Errors
    /// The first defect, with its path; nothing at all is one.
    pub(crate) fn parse_given<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let mut values = plain_values(&self.0)?;
        if values.len() > 1 {
            return Err(ApiError::bad_request(format!(
                "the body has {} documents, expected one",
                values.len()
            )));
        }
        Ok(parse_value(values.swap_remove(0))?)
    }
}

/// The whole body as text.
pub(crate) async fn text(headers: &HeaderMap, body: Body) -> Result<String, ApiError> {
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    let bytes = timeout(BODY_TIMEOUT, collect(body)).await.map_err(|_| {
        ApiError::new(
            ProblemCode::Timeout,
            format!("the body did not arrive within {}s", BODY_TIMEOUT.as_secs()),
        )
    })??;
    String::from_utf8(bytes).map_err(|_| ApiError::bad_request("the body is not UTF-8"))
}

async fn collect(body: Body) -> Result<Vec<u8>, ApiError> {
    let (mut stream, mut bytes) = (body.into_data_stream(), Vec::new());
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| ApiError::bad_request(format!("the body broke off: {error}")))?;
        if bytes.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn too_large() -> ApiError {
    ApiError::new(ProblemCode::PayloadTooLarge, format!("the body is larger than {BODY_BYTES_MAX} bytes"))
}

/// What kind of text a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    /// JSON or YAML: the same reader takes both.
    Document,
    /// No `Content-Type` was given.
    Absent,
}

/// Refuses bodies that are neither JSON nor YAML.
pub(crate) fn media(headers: &HeaderMap) -> Result<Media, ApiError> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Media::Absent) };
    let full = value.to_str().unwrap_or_default().to_ascii_lowercase();
    let essence = full.split(';').next().unwrap_or_default().trim();
    let known = matches!(
        essence,
        "application/json"
            | "text/json"
            | "application/yaml"
            | "application/x-yaml"
            | "text/yaml"
            | "text/x-yaml"
    );
    if known || essence.ends_with("+json") || essence.ends_with("+yaml") {
        return Ok(Media::Document);
    }
    let detail = format!("{essence:?} is not read here; send application/json or application/yaml");
    Err(ApiError::new(ProblemCode::UnsupportedMediaType, detail))
}

/// A reason in words, bounded.
pub(crate) fn reason(given: Option<String>, otherwise: &str) -> Result<String, ApiError> {
    match given.filter(|text| !text.trim().is_empty()) {
        None => Ok(otherwise.to_owned()),
        Some(text) if text.chars().count() <= REASON_CHARS_MAX => Ok(text),
        Some(_) => {
            Err(ApiError::bad_request(format!("the reason is longer than {REASON_CHARS_MAX} characters")))
        }
    }
}

/// A reason that has to be given.
pub(crate) fn reason_given(given: String) -> Result<String, ApiError> {
    match reason(Some(given), "")? {
        none if none.is_empty() => Err(DocumentError {
            document: 0,
            path: "reason".to_owned(),
            value: None,
            problem: "empty".to_owned(),
            expected: Some("why, in words".into()),
            nearest: None,
        }
        .into()),
        reason => Ok(reason),
    }
}

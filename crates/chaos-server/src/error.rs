//! Problems as answers, and which error becomes which problem: the one place where that is decided.
//!
//! Owns the mapping of every error of the crates below. Statuses are [`ProblemCode`]'s.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chaos_api::{PROBLEM_MEDIA_TYPE, Problem, ProblemCode};
use chaos_core::port::{NodeError, StoreError};
use chaos_core::spec::DocumentError;
use chaos_engine::SubmitError;

/// A refusal.
#[derive(Debug)]
pub struct ApiError(pub(crate) Box<Problem>);

impl ApiError {
    /// One occurrence of a kind of problem.
    pub(crate) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self::from(Problem::new(code, detail))
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(ProblemCode::BadRequest, detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(ProblemCode::NotFound, detail)
    }

    pub(crate) fn internal(what: &str, error: &dyn std::fmt::Display) -> Self {
        tracing::error!("{what}: {error}");
        Self::new(ProblemCode::Internal, format!("{what}: {error}"))
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<DocumentError> for ApiError {
    fn from(error: DocumentError) -> Self {
        Problem::from(error).into()
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if error.conflict {
            return Self::new(ProblemCode::Conflict, error.to_string());
        }
        tracing::error!("{error}");
        Self::new(ProblemCode::StoreUnavailable, error.to_string())
    }
}

impl From<NodeError> for ApiError {
    fn from(error: NodeError) -> Self {
        let code = match error {
            NodeError::UnknownHost { .. } => ProblemCode::TargetNotFound,
            _ => ProblemCode::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        let detail = error.to_string();
        match error {
            SubmitError::NameInUse { run, .. } => {
                Problem { run: Some(run), ..Problem::new(ProblemCode::NameInUse, detail) }.into()
            }
            SubmitError::QueueFull { .. } => Self::new(ProblemCode::QueueFull, detail),
            SubmitError::ShuttingDown => Self::new(ProblemCode::ShuttingDown, detail),
            SubmitError::Store(error) => error.into(),
        }
    }
}

impl IntoResponse for ApiError {
    /// The problem travels beside the answer until [`with_instance`] knows the path.
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        let headers = response.headers_mut();
        match self.0.code {
            ProblemCode::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            ProblemCode::RateLimited => {
                let seconds = self.0.retry_after_seconds.unwrap_or(1);
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            ProblemCode::QueueFull
            | ProblemCode::ShuttingDown
            | ProblemCode::StoreUnavailable
            | ProblemCode::TooManyAgents => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            // What is left of the request is not read any more.
            ProblemCode::PayloadTooLarge | ProblemCode::Timeout => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response.extensions_mut().insert(std::sync::Arc::new(*self.0));
        response
    }
}

/// Writes the problem of an answer that has one, with the path of the request.
pub(crate) fn with_instance(mut response: Response, path: &str) -> Response {
    let Some(problem) = response.extensions_mut().remove::<std::sync::Arc<Problem>>() else {
        return response;
    };
    let problem = Problem { instance: Some(path.to_owned()), ..(*problem).clone() };
    let bytes = serde_json::to_vec(&problem).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_MEDIA_TYPE));
    headers.remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(bytes);
    response
}

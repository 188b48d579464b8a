//! RFC 9457 problem documents with stable codes.
//!
//! Owns the list of codes and the only mapping from a code to an HTTP status and to an exit code. It never decides when
//! a problem occurs.

use std::fmt;

use chaos_core::run::RunId;
use chaos_core::safety::{Decision, Signal};
use chaos_core::spec::DocumentError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Media type of a [`Problem`].
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong, in one word that clients may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// The request can't be understood: a parameter, a path, a header.
    BadRequest,
    /// No token, or not the right one.
    Unauthorized,
    /// A foreign `Host` or `Origin`: a web page is not answered.
    Forbidden,
    /// The caller is known, but its role does not allow it.
    RoleMissing,
    /// No such route, experiment or run.
    NotFound,
    /// The route exists, the method does not.
    MethodNotAllowed,
    /// The request did not arrive in time.
    Timeout,
    /// The answer could not be made in time.
    GatewayTimeout,
    /// An active run has this name.
    NameInUse,
    /// What is asked for contradicts what is there: a name that is taken, an incident that is closed.
    Conflict,
    /// A gate refused the start; nothing was touched.
    Blocked,
    /// The body is larger than is looked at.
    PayloadTooLarge,
    /// The `Content-Type` is none that is read here.
    UnsupportedMediaType,
    /// The document has defects.
    InvalidDocument,
    /// The target matches nothing, or less than was asked for.
    TargetNotFound,
    /// The safety lever is engaged.
    LeverEngaged,
    /// Too many runs are active or waiting.
    QueueFull,
    /// Too many requests of this caller, or too many wrong tokens from this address.
    RateLimited,
    /// A defect of the server.
    Internal,
    /// The server is going down.
    ShuttingDown,
    /// The journal can't be read or written.
    StoreUnavailable,
    /// As many agents are connected, or are about to be, as is possible at a time.
    TooManyAgents,
}

impl ProblemCode {
    /// Every code.
    pub const ALL: [ProblemCode; 22] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::RoleMissing,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Timeout,
        Self::GatewayTimeout,
        Self::NameInUse,
        Self::Conflict,
        Self::Blocked,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::InvalidDocument,
        Self::TargetNotFound,
        Self::LeverEngaged,
        Self::QueueFull,
        Self::RateLimited,
        Self::Internal,
        Self::ShuttingDown,
        Self::StoreUnavailable,
        Self::TooManyAgents,
    ];

    /// Its HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden | Self::RoleMissing => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Timeout => 408,
            Self::NameInUse | Self::Conflict => 409,
            Self::Blocked => 412,
            Self::PayloadTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::InvalidDocument | Self::TargetNotFound => 422,
            Self::LeverEngaged => 423,
            Self::QueueFull | Self::RateLimited => 429,
            Self::Internal => 500,
            Self::ShuttingDown | Self::StoreUnavailable | Self::TooManyAgents => 503,
            Self::GatewayTimeout => 504,
        }
    }

    /// Exit code of a command that met it (contract §3).
    pub fn exit_code(self) -> u8 {
        match self {
            Self::BadRequest
            | Self::InvalidDocument
            | Self::TargetNotFound
            | Self::NameInUse
            | Self::Conflict => 2,
            Self::Blocked | Self::LeverEngaged => 5,
            _ => 1,
        }
    }

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::RoleMissing => "role_missing",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Timeout => "timeout",
            Self::GatewayTimeout => "gateway_timeout",
            Self::NameInUse => "name_in_use",
            Self::Conflict => "conflict",
            Self::Blocked => "blocked",
            Self::PayloadTooLarge => "payload_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::InvalidDocument => "invalid_document",
            Self::TargetNotFound => "target_not_found",
            Self::LeverEngaged => "lever_engaged",
            Self::QueueFull => "queue_full",
            Self::RateLimited => "rate_limited",
            Self::Internal => "internal",
            Self::ShuttingDown => "shutting_down",
            Self::StoreUnavailable => "store_unavailable",
            Self::TooManyAgents => "too_many_agents",
        }
    }

    /// What it means, the same for every occurrence.
    pub fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "The request can't be understood",
            Self::Unauthorized => "A token is needed",
            Self::Forbidden => "This host or origin is not answered",
            Self::RoleMissing => "The caller's role does not allow it",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "The method is not allowed here",
            Self::Timeout => "The request did not arrive in time",
            Self::GatewayTimeout => "The answer could not be made in time",
            Self::NameInUse => "An active run has this name",
            Self::Conflict => "It contradicts what is there",
            Self::Blocked => "A gate refused the start",
            Self::PayloadTooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The content type is not read here",
            Self::InvalidDocument => "The document has defects",
            Self::TargetNotFound => "The target matches too little",
            Self::LeverEngaged => "The safety lever is engaged",
            Self::QueueFull => "Too many runs",
            Self::RateLimited => "Too many requests",
            Self::Internal => "A defect of the server",
            Self::ShuttingDown => "The server is going down",
            Self::StoreUnavailable => "The journal can't be read or written",
            Self::TooManyAgents => "Too many agents",
        }
    }
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An error as RFC 9457 has it, `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// A URI for the kind of problem: `urn:chaos:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// What this kind of problem means.
    pub title: String,
    /// The HTTP status again.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// The stable code.
    pub code: ProblemCode,
    /// Path of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Each defect of the document.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<DocumentError>,
    /// The run that it is about: the one that was blocked, or that has the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Health score, when the start was blocked and it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Score below which nothing starts, when the start was blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The signal to blame, when the start was blocked by health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// What each gate said, when the start was blocked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<Decision>,
    /// Apps that were seen, when the target matched nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apps: Vec<String>,
    /// Seconds after which trying again makes sense, when there were too many requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
}

impl Problem {
    /// One occurrence of a kind of problem.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:chaos:problem:{code}"),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            code,
            instance: None,
            errors: Vec::new(),
            run: None,
            score: None,
            threshold: None,
            signal: None,
            decisions: Vec::new(),
            apps: Vec::new(),
            retry_after_seconds: None,
        }
    }

    /// The document has these defects.
    pub fn invalid(errors: Vec<DocumentError>) -> Self {
        let detail = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        Self { errors, ..Self::new(ProblemCode::InvalidDocument, detail) }
    }

    /// Exit code of a command that met it.
    pub fn exit_code(&self) -> u8 {
        self.code.exit_code()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

impl From<DocumentError> for Problem {
    fn from(error: DocumentError) -> Self {
        Self::invalid(vec![error])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_from_its_name_and_has_an_error_status() {
        for code in ProblemCode::ALL {
            let read: ProblemCode = serde_json::from_value(code.name().into()).expect("a code");
            assert_eq!(read, code);
            assert!((400..600).contains(&code.status()), "{code}");
            assert!([1, 2, 5].contains(&code.exit_code()), "{code}");
        }
    }

    #[test]
    fn a_problem_reads_back_the_same_and_leaves_out_what_is_not_there() {
        let problem = Problem::new(ProblemCode::NotFound, "no experiment default/a");
        let json = serde_json::to_value(&problem).expect("serializes");
        assert_eq!(json.as_object().map(serde_json::Map::len), Some(5), "{json}");
        assert_eq!(json["type"], "urn:chaos:problem:not_found");
        assert_eq!(serde_json::from_value::<Problem>(json).expect("reads"), problem);
    }
}

//! The client: one typed method for every route.
//!
//! Owns connections, the token and the meaning of answers. It never decides what an answer means for a command.

mod endpoint;
mod governance;
mod requests;
pub(crate) mod sse;

use std::path::PathBuf;
use std::time::Duration;

use chaos_core::run::RunId;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde::de::DeserializeOwned;

pub use endpoint::{Endpoint, EndpointError};

use crate::{Operation, Problem};

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an answer may take: longer than any stop, whose undo has a deadline of its own.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);
/// How long an idle connection is used again: less than the server keeps it, so that no request meets its end.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// Silence after which a stream counts as broken: several times the server's keep-alive.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// The largest answer that is read, but for streams.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Talks to one server. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    endpoint: Endpoint,
    http: reqwest::Client,
    token: Option<String>,
}

/// Why a request gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there, or the connection broke.
    #[error("cannot reach the server at {endpoint}: {reason}")]
    Unreachable {
        /// Where.
        endpoint: Endpoint,
        /// The cause.
        reason: String,
    },
    /// The server refuses, and says why.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// The answer is none that this client knows.
    #[error("cannot read the answer of {endpoint} to {request}: {reason}")]
    Decode {
        /// Where.
        endpoint: Endpoint,
        /// Method and path.
        request: String,
        /// The cause.
        reason: String,
    },
}

impl ClientError {
    /// The problem document, when the server sent one.
    pub fn problem(&self) -> Option<&Problem> {
        if let Self::Problem(problem) = self { Some(problem) } else { None }
    }

    /// Nobody answers there.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Exit code of a command that met it (contract §3).
    pub fn exit_code(&self) -> u8 {
        self.problem().map_or(1, Problem::exit_code)
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Cursor of the next page; `None` at the end.
    pub next: Option<String>,
}

impl Client {
    /// A client without a token.
    ///
    /// # Errors
    /// When this machine can't set up connections, e.g. for lack of trusted certificates.
    pub fn new(endpoint: Endpoint) -> Result<Self, ClientError> {
        Self::build(endpoint, None)
    }

    /// The same client, that trusts servers with a certificate of this authority (PEM) and no other.
    ///
    /// # Errors
    /// When the text holds no certificate.
    pub fn with_ca(self, pem: &[u8]) -> Result<Self, ClientError> {
        let trusted = reqwest::Certificate::from_pem_bundle(pem)
            .map_err(|error| unreachable(&self.endpoint, &error))?;
        Ok(Self { token: self.token, ..Self::build(self.endpoint, Some(trusted))? })
    }

    fn build(endpoint: Endpoint, trusted: Option<Vec<reqwest::Certificate>>) -> Result<Self, ClientError> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("chaos/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(ANSWER_TIMEOUT)
            .pool_idle_timeout(IDLE_MAX)
            .redirect(reqwest::redirect::Policy::none());
        if endpoint.is_local() {
            builder = builder.no_proxy();
        }
        match trusted {
            Some(certificates) => builder = builder.tls_certs_only(certificates),
            // Without TLS no certificate is looked at, and reading those of the system takes longer than a request.
            None if !endpoint.is_encrypted() => builder = builder.tls_certs_only([]),
            None => {}
        }
        if let Endpoint::Unix(path) = &endpoint {
            builder = builder.unix_socket(PathBuf::from(path));
        }
        let http = builder.build().map_err(|error| unreachable(&endpoint, &error))?;
        Ok(Self { endpoint, http, token: None })
    }

    /// The same client with a bearer token.
    #[must_use]
    pub fn with_token(self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self }
    }

    /// Whom it talks to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A request of `operation` for an experiment and a run, where its path has them.
    fn request(&self, operation: Operation, name: &str, run: Option<&RunId>) -> RequestBuilder {
        self.request_of(operation, name, run.map_or("", |run| &run.0))
    }

    /// A request of `operation` with what its path has for `{name}` and `{id}`.
    fn request_of(&self, operation: Operation, name: &str, id: &str) -> RequestBuilder {
        let method = match operation.method() {
            "post" => Method::POST,
            "put" => Method::PUT,
            "delete" => Method::DELETE,
            _ => Method::GET,
        };
        let path = operation.path().replace("{name}", &escape(name)).replace("{id}", &escape(id));
        let request = self.http.request(method, format!("{}{path}", self.endpoint.base()));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|error| unreachable(&self.endpoint, &error))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refused(response).await) }
    }

    /// The problem document of an answer that is no success.
    async fn refused(&self, response: Response) -> ClientError {
        let (status, request) = (response.status(), response.url().path().to_owned());
        match self.bytes(response).await {
            Ok(bytes) => match serde_json::from_slice::<Problem>(&bytes) {
                Ok(problem) => ClientError::Problem(Box::new(problem)),
                Err(_) => self.undecodable(request, no_problem(status, &bytes)),
            },
            Err(error) => error,
        }
    }

    async fn bytes(&self, mut response: Response) -> Result<Vec<u8>, ClientError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&self.endpoint, &error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER_BYTES_MAX {
                let reason = format!("it is larger than {ANSWER_BYTES_MAX} bytes");
                return Err(self.undecodable(response.url().path().to_owned(), reason));
            }
        }
        Ok(bytes)
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.send(request).await?;
        self.decode(response).await
    }

    async fn decode<T: DeserializeOwned>(&self, response: Response) -> Result<T, ClientError> {
        let path = response.url().path().to_owned();
        let bytes = self.bytes(response).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.undecodable(path, error.to_string()))
    }

    async fn text(&self, request: RequestBuilder) -> Result<String, ClientError> {
        let response = self.send(request).await?;
        let path = response.url().path().to_owned();
        let bytes = self.bytes(response).await?;
        String::from_utf8(bytes).map_err(|error| self.undecodable(path, error.to_string()))
    }

    async fn page<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<Page<T>, ClientError> {
        let response = self.send(request).await?;
        let link = response.headers().get(header::LINK).and_then(|value| value.to_str().ok());
        let next = link.and_then(next_cursor);
        Ok(Page { items: self.decode(response).await?, next })
    }

    fn undecodable(&self, request: String, reason: String) -> ClientError {
        ClientError::Decode { endpoint: self.endpoint.clone(), request, reason }
    }
}

/// Says what came instead of a problem document.
fn no_problem(status: StatusCode, bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes).chars().take(120).collect();
    format!("status {status} without a problem document: {text}")
}

/// The innermost cause, which is the one that helps.
fn unreachable(endpoint: &Endpoint, error: &reqwest::Error) -> ClientError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let timed_out = if error.is_timeout() { "timed out: " } else { "" };
    ClientError::Unreachable { endpoint: endpoint.clone(), reason: format!("{timed_out}{cause}") }
}

/// `cursor` of the `rel="next"` part of a `Link` header.
fn next_cursor(link: &str) -> Option<String> {
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let target = next.split_once('<')?.1.split_once('>')?.0;
    let query = target.split_once('?')?.1;
    query.split('&').find_map(|pair| pair.strip_prefix("cursor=")).map(str::to_owned)
}

/// One segment of a path.
fn escape(segment: &str) -> String {
    let mut escaped = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => escaped.push(char::from(byte)),
            // Segments of one or two dots would be read as a way up.
            b'.' if segment.len() > 2 => escaped.push('.'),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

impl std::fmt::Debug for Client {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_in_a_link_header() {
        let link = "</api/v1/experiments?limit=1&cursor=6100>; rel=\"next\"";
        assert_eq!(next_cursor(link).as_deref(), Some("6100"));
        assert_eq!(next_cursor("</a?cursor=1>; rel=\"prev\""), None);
    }

    #[test]
    fn a_name_stays_one_segment_of_the_path() {
        assert_eq!(escape("a/../b?c"), "a%2F..%2Fb%3Fc");
        assert_eq!(escape(".."), "%2E%2E");
        assert_eq!(escape("my-app.v2"), "my-app.v2");
    }
}

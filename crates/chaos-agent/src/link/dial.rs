//! Dialling out: from the address of a server to a WebSocket, over TLS where the address says so.
//!
//! Owns the address, the trust and the handshake. The token goes into one header and nowhere else.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Uri, header};
use tokio_tungstenite::tungstenite::{Error, http};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::secret::SecretError;
use super::websocket::{End, Over, Queues, limits, pump};
use super::{Agent, Ended, Transport};

/// Where a server takes agents.
pub const CONNECT_PATH: &str = "/api/v1/agents/connect";
/// How long a connection may take to be open, the handshake counted.
const OPEN_WITHIN: Duration = Duration::from_secs(5);
/// How much of a refusal is shown.
const REFUSAL_CHARS: usize = 300;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    host: String,
    port: u16,
    encrypted: bool,
}

/// A text that names no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the address of a server: {text:?}: {reason}; expected http://HOST:PORT or https://HOST")]
pub struct ServerError {
    text: String,
    reason: String,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody answers there.
    #[error("cannot reach {server}: {reason}")]
    Unreachable {
        /// Where.
        server: Server,
        /// The cause.
        reason: String,
    },
    /// The server answers, but takes no agent.
    #[error("{server} takes no agent: {reason}")]
    Refused {
        /// Where.
        server: Server,
        /// Why.
        reason: String,
    },
    /// What the server has to prove can't be checked.
    #[error("cannot read the certificates to trust in {path}: {reason}")]
    Trust {
        /// The file.
        path: String,
        /// The cause.
        reason: String,
    },
    /// There is no token to show.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl FromStr for Server {
    type Err = ServerError;

    /// Reads `http://HOST:PORT`, `https://HOST`, the same with `ws` and `wss`, or `HOST:PORT`.
    fn from_str(text: &str) -> Result<Self, ServerError> {
        let wrong = |reason: &str| ServerError { text: text.to_owned(), reason: reason.to_owned() };
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = full.parse().map_err(|error: http::uri::InvalidUri| wrong(&error.to_string()))?;
        let encrypted = match uri.scheme_str() {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            _ => return Err(wrong("its scheme is not spoken")),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("it has a path"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("a token does not belong into the address"));
        }
        if authority.host().is_empty() {
            return Err(wrong("it has no host"));
        }
        let port = authority.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        Ok(Self { host: authority.host().to_owned(), port, encrypted })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.encrypted { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl Server {
    /// The name without the brackets of an IPv6 address.
    fn name(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }
}

/// Dials one server, again and again.
#[derive(Clone)]
pub struct Dialler {
    server: Server,
    trust: Option<Trust>,
}

impl fmt::Debug for Dialler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dialler").field(&self.server).finish()
    }
}

impl Dialler {
    /// A dialler that trusts the authorities of a file, else those of the system.
    ///
    /// # Errors
    /// The file can't be read, or holds no certificate.
    pub fn new(server: Server, authorities: Option<&Path>) -> Result<Self, DialError> {
        let trust = Trust::load(&server, authorities)?;
        Ok(Self { server, trust })
    }

    /// Connects an agent and serves it until the connection ends: how it did for the agent, and for the socket.
    ///
    /// # Errors
    /// [`DialError`]: there was no connection.
    pub async fn serve(&self, agent: &Agent, token: Option<&str>) -> Result<(Ended, Over), DialError> {
        let socket = self.open(token).await?;
        let (near, far) = Transport::in_memory();
        let welcomed = agent.welcomed();
        let lease = move || welcomed.borrow().lease;
        let queues = Queues { heard: far.orders, told: far.frames, cut: far.cut };
        let nothing = |_: &_| None;
        let pumping = async {
            match socket {
                Socket::Plain(socket) => pump(*socket, queues, End::Agent, lease, nothing).await,
                Socket::Encrypted(socket) => pump(*socket, queues, End::Agent, lease, nothing).await,
            }
        };
        Ok(tokio::join!(agent.serve(near), pumping))
    }

    /// Opens a connection and shows the token.
    pub(super) async fn open(&self, token: Option<&str>) -> Result<Socket, DialError> {
        let opened = timeout(OPEN_WITHIN, open(&self.server, self.trust.as_ref(), token)).await;
        opened.unwrap_or_else(|_| {
            let reason = format!("no connection within {} s", OPEN_WITHIN.as_secs());
            Err(DialError::Unreachable { server: self.server.clone(), reason })
        })
    }
}

/// A connection, encrypted or not.
pub(super) enum Socket {
    Plain(Box<WebSocketStream<TcpStream>>),
    Encrypted(Box<WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>>>),
}

/// Whom an encrypted connection trusts.
#[derive(Clone)]
struct Trust(Arc<ClientConfig>);

impl Trust {
    /// The authorities of a file, else those of the system; `None` when the connection is not encrypted.
    fn load(server: &Server, authorities: Option<&Path>) -> Result<Option<Self>, DialError> {
        if !server.encrypted {
            return Ok(None);
        }
        let mut roots = RootCertStore::empty();
        match authorities {
            Some(path) => add_from(path, &mut roots)?,
            // Some of the system's may be of no use; with none at all every server is refused.
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| DialError::Trust { path: "TLS".to_owned(), reason: error.to_string() })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Some(Self(Arc::new(config))))
    }
}

fn add_from(path: &Path, roots: &mut RootCertStore) -> Result<(), DialError> {
    let failed = |reason: String| DialError::Trust { path: path.display().to_string(), reason };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() { Err(failed("it holds no certificate".to_owned())) } else { Ok(()) }
}

async fn open(server: &Server, trust: Option<&Trust>, token: Option<&str>) -> Result<Socket, DialError> {
    let unreachable = |error: io::Error| unreachable(server, &error);
    let request = request(server, token)?;
    let stream = TcpStream::connect((server.name(), server.port)).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    let failed = |error: Error| refused(server, error);
    match trust {
        None => {
            let (socket, _) =
                client_async_with_config(request, stream, Some(limits())).await.map_err(failed)?;
            Ok(Socket::Plain(Box::new(socket)))
        }
        Some(Trust(config)) => {
            let name = ServerName::try_from(server.name().to_owned())
                .map_err(|error| unreachable(io::Error::other(error)))?;
            let connector = TlsConnector::from(Arc::clone(config));
            let stream = connector.connect(name, stream).await.map_err(unreachable)?;
            let (socket, _) =
                client_async_with_config(request, stream, Some(limits())).await.map_err(failed)?;
            Ok(Socket::Encrypted(Box::new(socket)))
        }
    }
}

fn request(server: &Server, token: Option<&str>) -> Result<Request, DialError> {
    let scheme = if server.encrypted { "wss" } else { "ws" };
    let uri = format!("{scheme}://{}:{}{CONNECT_PATH}", server.host, server.port);
    let mut request = uri.into_client_request().map_err(|error| refused(server, error))?;
    if let Some(token) = token {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|error| refused(server, Error::HttpFormat(error.into())))?;
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    Ok(request)
}

/// The innermost cause, which is the one that helps.
fn unreachable(server: &Server, error: &io::Error) -> DialError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    DialError::Unreachable { server: server.clone(), reason: cause.to_string() }
}

fn refused(server: &Server, error: Error) -> DialError {
    let reason = match error {
        Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            let problem: Option<serde_json::Value> = serde_json::from_slice(body).ok();
            let detail = problem.as_ref().and_then(|problem| problem.get("detail")?.as_str());
            let shown: String = detail.unwrap_or_default().chars().take(REFUSAL_CHARS).collect();
            format!("{} {shown}", response.status()).trim_end().to_owned()
        }
        Error::Io(error) => return unreachable(server, &error),
        error => error.to_string(),
    };
    DialError::Refused { server: server.clone(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_shown() {
        for (text, shown) in [
            ("http://127.0.0.1:8081/", "http://127.0.0.1:8081"),
            ("localhost:8081", "http://localhost:8081"),
            ("https://chaos.example", "https://chaos.example:443"),
            ("wss://chaos.example:8443", "https://chaos.example:8443"),
            ("http://[::1]:8081", "http://[::1]:8081"),
        ] {
            let server: Server = text.parse().expect(text);
            assert_eq!(server.to_string(), shown);
            assert_eq!(shown.parse(), Ok(server));
        }
        for text in ["", "ftp://a", "http://a/b", "unix:/run/chaos", "http://user:secret@a", "http://a?b"] {
            let error = text.parse::<Server>().expect_err(text);
            assert!(error.to_string().contains("expected http://"), "{error}");
        }
    }

    #[test]
    fn the_token_is_in_one_header_and_is_not_shown() {
        let server: Server = "http://127.0.0.1:1".parse().expect("an address");
        let request = request(&server, Some("secret-token")).expect("a request");
        assert_eq!(request.headers()[header::AUTHORIZATION], "Bearer secret-token");
        assert!(!format!("{request:?}").contains("secret-token"));
    }

    #[test]
    fn a_file_without_certificates_is_refused_with_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, "nothing").expect("written");
        let server: Server = "https://127.0.0.1:1".parse().expect("an address");
        let error = Dialler::new(server, Some(&path)).expect_err("no certificate");
        assert!(error.to_string().contains("ca.pem: it holds no certificate"), "{error}");
        let plain: Server = "http://127.0.0.1:1".parse().expect("an address");
        assert!(Dialler::new(plain, Some(&path)).is_ok(), "without TLS nobody is trusted");
    }
}

//! A service for one test, and requests byte by byte.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chaos_api::{
    Client, CreateQuery, Endpoint, ExperimentBody, ExperimentDetail, NewToken, Problem, TokenRequest,
};
use chaos_core::access::Role;
use chaos_core::audit::AuditEvent;
use chaos_core::port::Node;
use chaos_core::run::Phase;
use chaos_core::spec::{Experiment, ExperimentKey, HostTarget, parse_documents};
use chaos_server::tls::ca_path;
use chaos_server::{FileConfig, Listen, RunningServer, ServerConfig, StartError, start};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::node::ScriptedNode;

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Service {
    pub(crate) node: Arc<ScriptedNode>,
    pub(crate) server: RunningServer,
    pub(crate) client: Client,
    pub(crate) folder: TempDir,
}

pub(crate) fn config(state_dir: PathBuf, node: Arc<dyn Node>) -> ServerConfig {
    ServerConfig::new(state_dir, Listen::Tcp("127.0.0.1:0".parse().unwrap()), node)
}

impl Service {
    pub(crate) async fn start() -> Self {
        Self::with(FileConfig::default()).await
    }

    pub(crate) async fn with(config: FileConfig) -> Self {
        Self::below(TempDir::new().unwrap(), config).await.unwrap()
    }

    pub(crate) async fn below(folder: TempDir, file: FileConfig) -> Result<Self, StartError> {
        Self::made(folder, |config| ServerConfig { config: file, ..config }).await
    }

    /// With whatever configuration.
    pub(crate) async fn made(
        folder: TempDir,
        change: impl FnOnce(ServerConfig) -> ServerConfig,
    ) -> Result<Self, StartError> {
        let node = Arc::new(ScriptedNode::default());
        let server = start(change(config(state(&folder), Arc::clone(&node) as _))).await?;
        let endpoint: Endpoint = server.address.parse().unwrap();
        let mut client = Client::new(endpoint).unwrap().with_token(server.token().secret());
        if server.address.starts_with("https://") {
            client = client.with_ca(&std::fs::read(ca_path(&state(&folder))).unwrap()).unwrap();
        }
        Ok(Self { node, server, client, folder })
    }

    /// A token with a role, and its id.
    pub(crate) async fn token(&self, name: &str, role: Role) -> NewToken {
        let request = TokenRequest { name: name.to_owned(), role, expires_at: None };
        self.client.create_token(&request).await.unwrap()
    }

    /// A client with a role.
    pub(crate) async fn caller(&self, name: &str, role: Role) -> Client {
        self.client.clone().with_token(self.token(name, role).await.token)
    }

    /// The audit log.
    pub(crate) async fn audit(&self) -> Vec<AuditEvent> {
        let entries = self.client.audit(0, Some(1000)).await.unwrap();
        entries.iter().map(|entry| entry.event().unwrap()).collect()
    }

    /// `host:port`.
    pub(crate) fn authority(&self) -> &str {
        self.server.address.strip_prefix("http://").unwrap()
    }

    /// Starts an experiment and returns it as it was answered.
    pub(crate) async fn run(&self, name: &str, duration: &str) -> ExperimentDetail {
        self.run_on("orchestrator", name, duration).await
    }

    /// The same on another app.
    pub(crate) async fn run_on(&self, app: &str, name: &str, duration: &str) -> ExperimentDetail {
        let mut document = document(name, duration);
        document.spec.target.host = Some(HostTarget::App(app.to_owned()));
        self.client.create(&ExperimentBody::from(document), &CreateQuery::default()).await.unwrap()
    }

    /// Waits for a phase of the latest run.
    pub(crate) async fn until(&self, name: &str, phase: Phase) -> ExperimentDetail {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let detail = self.client.get(&key(name)).await.unwrap();
            if detail.record.phase == Some(phase) {
                return detail;
            }
            assert!(Instant::now() < deadline, "{name} is in {:?}", detail.record);
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// A request without a body.
    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send_body(method, path, headers, "").await
    }

    /// A request with the right `Host` and token, unless `headers` say otherwise.
    pub(crate) async fn send_body(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let has = |name: &str| headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        let mut request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !has("host") {
            request += &format!("host: {}\r\n", self.authority());
        }
        if !has("authorization") {
            request += &format!("authorization: Bearer {}\r\n", self.server.token().secret());
        }
        if !body.is_empty() && !has("content-length") && !has("transfer-encoding") {
            request += &format!("content-length: {}\r\n", body.len());
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request += &format!("{name}: {value}\r\n");
        }
        request += "\r\n";
        exchange(self.authority(), &[request.as_bytes(), body.as_bytes()].concat()).await
    }

    /// Ends the service and looks at what the next one finds.
    pub(crate) async fn shutdown_and_reopen<F: Future<Output = Self>>(self, look: impl FnOnce(Self) -> F) {
        let folder = self.shutdown().await;
        look(Self::below(folder, FileConfig::default()).await.unwrap()).await.shutdown().await;
    }

    pub(crate) async fn shutdown(self) -> TempDir {
        self.server.shutdown().await;
        self.folder
    }
}

pub(crate) fn state(folder: &TempDir) -> PathBuf {
    folder.path().join("state")
}

/// Sends bytes and reads to the end.
pub(crate) async fn exchange(authority: &str, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(authority).await.unwrap();
    // A server that refuses early closes while we still write: what it said counts.
    let _ = stream.write_all(request).await;
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("an answer in time");
    if bytes.is_empty() {
        read.unwrap();
    }
    Answer::parse(&bytes)
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let head = head.to_ascii_lowercase();
        let body = if head.contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_owned() };
        Self { status, head, body }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The problem, after the checks that hold for every one.
    pub(crate) fn problem(&self) -> Problem {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem: Problem = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem.status, self.status);
        assert_eq!(problem.code.status(), self.status);
        assert!(problem.instance.as_deref().is_some_and(|path| path.starts_with('/')), "{problem:?}");
        assert!(!problem.detail.is_empty() && !problem.title.is_empty());
        problem
    }
}

fn unchunk(body: &str) -> String {
    let (mut rest, mut whole) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 || after.len() < size {
            break;
        }
        whole += &after[..size];
        rest = after[size..].trim_start_matches("\r\n");
    }
    whole
}

pub(crate) fn yaml(name: &str, duration: &str) -> String {
    format!(
        "apiVersion: chaos.engineering/v1
kind: Experiment
metadata: {{ name: {name}, labels: {{ team: platform }} }}
spec:
  target: {{ host: {{ app: orchestrator }} }}
  faults: [ {{ process_pause: {{}} }} ]
  duration: {duration}
  recovery: {{ timeout: 5s }}
"
    )
}

pub(crate) fn document(name: &str, duration: &str) -> Experiment {
    parse_documents(&yaml(name, duration)).unwrap().remove(0)
}

pub(crate) fn key(name: &str) -> ExperimentKey {
    ExperimentKey { namespace: "default".into(), name: name.into() }
}

pub(crate) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().unwrap().permissions().mode() & 0o777
}

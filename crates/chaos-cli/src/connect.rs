//! Where a verb goes: a configured server, whoever owns the state folder, or a service in this process.
//!
//! Owns that choice and the token that goes with it. It never starts a fault: an own service only does what it is
//! then asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chaos_agent::local::{LocalConfig, LocalNode};
use chaos_api::{Client, Endpoint};
use chaos_core::port::{InjectionReport, Owner};
use chaos_server::{Listen, RunningServer, ServerConfig, StartError};

use crate::config::Settings;
use crate::exit::Failure;
use crate::commands::serve;
use crate::output::{Output, complain};

/// The longest path that a Unix socket may have, with room for the byte at its end.
const SOCKET_PATH_MAX: usize = 100;
/// An owner may end between our look at its lock and our request: how often that is tried again.
const ATTEMPTS_MAX: u32 = 3;

/// A client and whom it talks to.
pub(crate) struct Connection {
    /// The client.
    pub(crate) client: Client,
    /// The service in this process, when there is one.
    own: Option<RunningServer>,
}

impl Connection {
    /// Goes to the configured server, else to the owner of the state folder, else to a service in this process.
    /// `standalone` leaves out the configured server.
    ///
    /// # Errors
    /// When the one that is meant can't be reached: a configured server is never passed over.
    pub(crate) async fn open(settings: &Settings, standalone: bool, out: &Output) -> Result<Self, Failure> {
        if let Some(client) = configured(settings).await?.filter(|_| !standalone) {
            return Ok(Self { client, own: None });
        }
        for _ in 0..ATTEMPTS_MAX {
            if let Some(client) = owner(&settings.state.value).await? {
                return Ok(Self { client, own: None });
            }
            match Box::pin(own(settings, out)).await {
                Ok(connection) => return Ok(connection),
                // Somebody was faster: go there.
                Err(StartError::Locked { .. }) => {}
                Err(error) => return Err(Failure::Other(error.into())),
            }
        }
        Err(Failure::Other(anyhow::anyhow!(
            "{} is owned by a process that does not answer; it may be starting or ending: try again",
            settings.state.value.display()
        )))
    }

    /// Goes to the configured server or to the owner of the state folder when that is a server.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn to_server(settings: &Settings) -> Result<Self, Failure> {
        if let Some(client) = configured(settings).await? {
            return Ok(Self { client, own: None });
        }
        let owner = chaos_server::lock::owner(&settings.state.value).filter(|owner| owner.as_server);
        match (owner, self::owner(&settings.state.value).await?) {
            (Some(_), Some(client)) => Ok(Self { client, own: None }),
            _ => Err(Failure::usage(
                "no server is running, and `create` does not wait, so it needs one\n  \
                 start one:  chaos serve\n  \
                 or name it: --server http://HOST:PORT (CHAOS_SERVER)\n  \
                 or run the experiment in this process and watch it: chaos run -f FILE",
            )),
        }
    }

    /// The service is in this process.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Runs that are still active in this process's service.
    pub(crate) fn active_runs(&self) -> usize {
        self.own.as_ref().map_or(0, |server| server.engine().active().len())
    }

    /// Resolves when every run of this process's service has ended; at once without one.
    pub(crate) async fn finished_all_runs(&self) {
        if let Some(server) = &self.own {
            server.finished_all_runs().await;
        }
    }

    /// Ends this process's service, if there is one: what still runs is stopped and reverted.
    pub(crate) async fn close(self) {
        if let Some(server) = self.own {
            server.shutdown().await;
        }
    }
}

async fn configured(settings: &Settings) -> Result<Option<Client>, Failure> {
    let Some(server) = &settings.server else { return Ok(None) };
    let endpoint: Endpoint = server.value.parse().map_err(|error| Failure::usage(format!("{}: {error}", server.origin)))?;
    let token = settings.token.as_ref().map(|token| token.value.clone());
    let client = client(endpoint, token, &settings.state.value)?;
    match client.live().await {
        Err(error) if error.is_unreachable() => Err(Failure::Other(anyhow::anyhow!(
            "{error}\n  it comes from {}; its safety rules might say no, so nothing is started without it\n  \
             --standalone runs in this process all the same",
            server.origin
        ))),
        _ => Ok(Some(client)),
    }
}

/// The client of whoever holds the lock of the state folder; `None` when nobody does or answers.
async fn owner(state: &Path) -> Result<Option<Client>, Failure> {
    let Some(owner) = chaos_server::lock::owner(state) else { return Ok(None) };
    let endpoint: Endpoint = owner.address.parse().map_err(|error| anyhow::Error::new(error).context("the lock of the state folder"))?;
    let client = client(endpoint, None, state)?;
    match client.live().await {
        Err(error) if error.is_unreachable() => Ok(None),
        _ => Ok(Some(client)),
    }
}

/// The token of the state folder goes to this machine only.
fn client(endpoint: Endpoint, token: Option<String>, state: &Path) -> Result<Client, Failure> {
    let is_local = match &endpoint {
        Endpoint::Unix(_) => true,
        Endpoint::Http(url) => ["http://127.", "http://localhost", "http://[::1]"].iter().any(|start| url.starts_with(start)),
    };
    let found = || std::fs::read_to_string(token_path(state)).ok().filter(|_| is_local);
    let client = Client::new(endpoint)?;
    Ok(match token.or_else(found).map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()) {
        Some(token) => client.with_token(token),
        None => client,
    })
}

/// Where a workstation's token is.
pub(crate) fn token_path(state: &Path) -> PathBuf {
    state.join("token")
}

async fn own(settings: &Settings, out: &Output) -> Result<Connection, StartError> {
    let socket = socket_path(&settings.state.value);
    let server = start(settings, Listen::Unix(socket.clone()), Owner::Command, out).await?;
    let client = Client::new(Endpoint::Unix(socket)).map_err(|error| StartError::Client(error.to_string()))?;
    Ok(Connection { client, own: Some(server) })
}

/// Below the state folder; a deep one leaves no room for a socket's name, then beside the system's other sockets.
fn socket_path(state: &Path) -> PathBuf {
    let path = state.join("socket");
    if path.as_os_str().len() <= SOCKET_PATH_MAX {
        return path;
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    runtime.join(format!("chaos-{}-{}.socket", nix::unistd::geteuid(), std::process::id()))
}

/// Undoes what a dead process left, then starts the service in this process.
///
/// # Errors
/// [`StartError`]; a state folder that belongs to another process among them.
pub(crate) async fn start(
    settings: &Settings,
    listen: Listen,
    owner: Owner,
    out: &Output,
) -> Result<RunningServer, StartError> {
    let state_dir = settings.state.value.clone();
    let swept = sweep(&state_dir);
    serve::say_swept(&swept, out);
    let node = LocalNode::new(LocalConfig::new(&state_dir));
    let config = ServerConfig {
        state_dir,
        listen,
        owner,
        as_server: owner == Owner::Server,
        config: settings.service(),
        token: None,
        node: Arc::new(node),
        swept,
    };
    chaos_server::start(config).await
}

/// Why the service of this process does not start, in words for whoever asked for a server.
pub(crate) fn start_failure(error: StartError) -> Failure {
    match error {
        StartError::Locked { .. } => Failure::usage(format!("{error}; one server at a time: stop that, or use another --state")),
        error => Failure::Other(error.into()),
    }
}

/// Records that can't be listed are told by whoever starts next to them: here it is only a start.
fn sweep(state: &Path) -> Vec<InjectionReport> {
    match chaos_agent::sweep::recover(state, false) {
        Ok(reports) => reports,
        Err(error) => {
            complain(&format!("cannot look for what a dead process left: {error}"));
            Vec::new()
        }
    }
}

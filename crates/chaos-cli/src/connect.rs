//! Where a verb goes: a configured server, whoever owns the state folder, or a service in this process.
//!
//! Owns that choice and the token that goes with it. It never starts a fault: an own service only does what it is
//! then asked for.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chaos_agent::link::program::AGENT_ADDRESS;
use chaos_agent::local::{LocalConfig, LocalNode};
use chaos_api::{Client, ClientError, Endpoint, ProblemCode};
use chaos_core::port::Owner;
use chaos_server::{Listen, RunningServer, ServerConfig, StartError};

use crate::commands::serve;
use crate::config::Settings;
use crate::exit::Failure;
use crate::output::Output;

/// The longest path that a Unix socket may have, with room for the byte at its end.
const SOCKET_PATH_MAX: usize = 100;
/// An owner may end between our look at its lock and our request: how often that is tried again.
pub(crate) const ATTEMPTS_MAX: u32 = 10;
/// Time between two of them.
pub(crate) const ATTEMPT_PAUSE: Duration = Duration::from_millis(100);

/// A client and whom it talks to.
pub(crate) struct Connection {
    /// The client.
    pub(crate) client: Client,
    /// The service in this process, when there is one.
    own: Option<RunningServer>,
    /// It is the server that the configuration names.
    is_configured: bool,
}

impl Connection {
    /// Goes to the configured server, else to the owner of the state folder, else to a service in this process.
    /// `standalone` leaves out the configured server.
    ///
    /// # Errors
    /// When the one that is meant can't be reached: a configured server is never passed over.
    pub(crate) async fn open(settings: &Settings, standalone: bool, out: &Output) -> Result<Self, Failure> {
        if !standalone && let Some(client) = Box::pin(configured(settings)).await? {
            return Ok(Self { client, own: None, is_configured: true });
        }
        for _ in 0..ATTEMPTS_MAX {
            if let Some(client) = Box::pin(owner(&settings.state.value)).await? {
                return Ok(Self { client, own: None, is_configured: false });
            }
            let socket = socket_path(&settings.state.value);
            let service = service(settings, Listen::Unix(socket.clone()), Owner::Command);
            match Box::pin(start(service, out)).await {
                Ok(server) => {
                    let client = Client::new(Endpoint::Unix(socket))?;
                    return Ok(Self { client, own: Some(server), is_configured: false });
                }
                // Somebody was faster: go there, once it says where that is.
                Err(StartError::Locked { .. }) => tokio::time::sleep(ATTEMPT_PAUSE).await,
                Err(error) => return Err(start_failure(error)),
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
        if let Some(client) = Box::pin(configured(settings)).await? {
            return Ok(Self { client, own: None, is_configured: true });
        }
        let owner = chaos_server::lock::owner(&settings.state.value).filter(|owner| owner.as_server);
        match (owner, self::owner(&settings.state.value).await?) {
            (Some(_), Some(client)) => Ok(Self { client, own: None, is_configured: false }),
            _ => Err(Failure::usage(
                "no server is running, and `create` does not wait, so it needs one\n  \
                 start one:  chaos serve\n  \
                 or name it: --server http://HOST:PORT (CHAOS_SERVER)\n  \
                 or run the experiment in this process and watch it: chaos run -f FILE",
            )),
        }
    }

    /// The configured server, or the owner of the state folder when that is a server; `None` when there is none.
    ///
    /// # Errors
    /// When the configured server can't be reached.
    pub(crate) async fn to_server_if_any(settings: &Settings) -> Result<Option<Client>, Failure> {
        if let Some(client) = Box::pin(configured(settings)).await? {
            return Ok(Some(client));
        }
        let state = &settings.state.value;
        match chaos_server::lock::owner(state).filter(|owner| owner.as_server) {
            Some(owner) if !owner.address.starts_with(AGENT_ADDRESS) => self::owner(state).await,
            _ => Ok(None),
        }
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

    /// Did the owner of the state folder end between our look at its lock and our request? Then somebody else has to
    /// be found.
    pub(crate) fn has_lost_owner(&self, error: &ClientError) -> bool {
        let going = error.problem().is_some_and(|problem| problem.code == ProblemCode::ShuttingDown);
        self.own.is_none() && !self.is_configured && (going || error.is_unreachable())
    }

    /// Ends this process's service, if there is one. A run that joined meanwhile goes on to its end first.
    pub(crate) async fn finish(self, out: &Output) {
        if self.active_runs() > 0 {
            out.note("a run of another terminal joined this process: it goes on to its end first");
            self.finished_all_runs().await;
        }
        self.close().await;
    }

    /// Ends this process's service, if there is one: what still runs is stopped and reverted.
    pub(crate) async fn close(self) {
        if let Some(server) = self.own {
            Box::pin(server.shutdown()).await;
        }
    }
}

/// Asks whoever is in charge. When that one ends meanwhile, the next one is asked, which may be this process.
///
/// # Errors
/// The failure of the request, or that nobody can be asked.
pub(crate) async fn ask<T>(
    settings: &Settings,
    out: &Output,
    request: impl AsyncFn(&Client) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut attempt = 1;
    loop {
        let connection = Connection::open(settings, false, out).await?;
        let answer = Box::pin(request(&connection.client)).await;
        let lost = matches!(&answer, Err(Failure::Client(error)) if connection.has_lost_owner(error));
        connection.finish(out).await;
        if !lost || attempt >= ATTEMPTS_MAX {
            return answer;
        }
        attempt += 1;
        tokio::time::sleep(ATTEMPT_PAUSE).await;
    }
}

async fn configured(settings: &Settings) -> Result<Option<Client>, Failure> {
    let Some(server) = &settings.server else { return Ok(None) };
    let endpoint: Endpoint =
        server.value.parse().map_err(|error| Failure::usage(format!("{}: {error}", server.origin)))?;
    let token = settings.token.as_ref().map(|token| token.value.clone());
    let client = client(endpoint, token, &settings.state.value)?;
    let client = match &settings.ca {
        Some(ca) => {
            let pem = std::fs::read(&ca.value).map_err(|source| Failure::file("read", &ca.value, source))?;
            client.with_ca(&pem)?
        }
        None => client,
    };
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
    if owner.address.starts_with(AGENT_ADDRESS) {
        return Err(Failure::usage(format!(
            "{} belongs to the {} (process {})\n  ask that server (--server URL), or use another --state",
            state.display(),
            owner.address,
            owner.pid
        )));
    }
    let endpoint: Endpoint = owner
        .address
        .parse()
        .map_err(|error| anyhow::Error::new(error).context("the lock of the state folder"))?;
    let client = client(endpoint, None, state)?;
    match client.live().await {
        Err(error) if error.is_unreachable() => Ok(None),
        _ => Ok(Some(client)),
    }
}

/// The token of the state folder goes to this machine only.
fn client(endpoint: Endpoint, token: Option<String>, state: &Path) -> Result<Client, Failure> {
    let found = || {
        let token = chaos_server::token::read(state).ok().flatten();
        token.filter(|_| is_local(&endpoint)).map(|token| token.secret().to_owned())
    };
    let token = token.or_else(found);
    let client = Client::new(endpoint)?;
    Ok(match token {
        Some(token) => client.with_token(token),
        None => client,
    })
}

pub(crate) fn is_local(endpoint: &Endpoint) -> bool {
    let Endpoint::Http(url) = endpoint else { return true };
    let authority = url.split_once("://").map_or("", |(_, rest)| rest);
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => authority.split([':', '/']).next(),
    };
    let host = host.unwrap_or_default();
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Where a workstation's token is.
pub(crate) fn token_path(state: &Path) -> PathBuf {
    state.join(chaos_server::token::FILE_NAME)
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

/// A service in this process, with everything that is configured.
pub(crate) fn service(settings: &Settings, listen: Listen, owner: Owner) -> ServerConfig {
    let state_dir = settings.state.value.clone();
    let node = LocalNode::new(LocalConfig::new(&state_dir));
    let is_server = owner == Owner::Server;
    ServerConfig {
        owner,
        as_server: is_server,
        config: settings.service(),
        database: settings.database.as_ref().filter(|_| is_server).map(|url| url.value.clone()),
        ..ServerConfig::new(state_dir, listen, Arc::new(node))
    }
}

/// Undoes what a dead process left, then starts the service in this process.
///
/// # Errors
/// [`StartError`]; a state folder that belongs to another process among them.
pub(crate) async fn start(config: ServerConfig, out: &Output) -> Result<RunningServer, StartError> {
    let server = chaos_server::start(config).await?;
    serve::say_swept(&server.swept, out);
    Ok(server)
}

/// Why the service of this process does not start, in words for whoever asked for a server.
pub(crate) fn start_failure(error: StartError) -> Failure {
    match error {
        StartError::Locked { .. } => {
            Failure::usage(format!("{error}; one owner at a time: stop that, or use another --state"))
        }
        StartError::NotLoopback { .. } | StartError::Config(_) | StartError::Signals(_) => {
            Failure::usage(error.to_string())
        }
        error => Failure::Other(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_of_the_state_folder_never_leaves_this_machine() {
        let local = |text: &str| is_local(&text.parse().expect("an address"));
        for text in ["http://127.0.0.1:8081", "http://localhost:1", "http://[::1]:8081", "unix:/run/chaos"] {
            assert!(local(text), "{text}");
        }
        for text in [
            "http://10.0.0.1:8081",
            "http://127.0.0.1.example.org",
            "https://localhost.example.org",
            "http://[2001:db8::1]",
        ] {
            assert!(!local(text), "{text}");
        }
    }
}

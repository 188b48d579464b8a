//! Composition: what starts in which order, and how it ends.
//!
//! ```text
//! lock ▶ token ▶ what the dead left is undone ▶ journal ▶ their runs are closed ▶ engine ▶ listener ▶ address is told
//! runs end and are undone ▶ streams and connections end ▶ journal is closed ▶ lock is given back
//! ```
//!
//! Owns that order.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chaos_api::ServerInfo;
use chaos_core::port::{InjectionReport, Node, Owner, SignalSource, StoreError};
use chaos_core::run::{InjectionId, RunId};
use chaos_core::safety::Signal;
use chaos_core::spec::DocumentError;
use chaos_engine::{Engine, Limits, Ports, SystemClock, close_abandoned};
use chaos_probes::{Probes, ProbesConfig, PrometheusSignals, SignalsError};
use chaos_store::SqlStore;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{App, Parts};
use crate::config::FileConfig;
use crate::limits::DRAIN_TIMEOUT;
use crate::listen::Listener;
use crate::lock::{LockError, OwnerInfo, StateLock};
use crate::token::{self, Token, TokenError};
use crate::{metrics, routes};

/// Name of the journal below the state folder.
const JOURNAL_FILE: &str = "journal.db";
/// Time between two looks whether the last run has left the engine.
const IDLE_PAUSE: Duration = Duration::from_millis(10);
/// The version that is told.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where the service is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address of this machine; port 0 is any free one.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// Everything that a service is made of.
pub struct ServerConfig {
    /// Folder of journal, token, lock and undo records.
    pub state_dir: PathBuf,
    /// Where it is reached.
    pub listen: Listen,
    /// What happens to faults when this process dies.
    pub owner: Owner,
    /// It stays, it is not here for one command.
    pub as_server: bool,
    /// Target app, threshold, Prometheus, signals.
    pub config: FileConfig,
    /// The token of callers over TCP; the state folder's, made when there is none, when absent.
    pub token: Option<Token>,
    /// Where faults are done.
    pub node: Arc<dyn Node>,
}

/// Why a service did not start. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process owns the state folder.
    #[error("the state folder {folder} belongs to {}", owner.as_ref().map_or_else(|| "a process that is starting".to_owned(), |owner| format!("process {} at {}", owner.pid, owner.address)))]
    Locked {
        /// The folder.
        folder: String,
        /// Who; absent while it is starting.
        owner: Option<OwnerInfo>,
    },
    /// The state folder can't be used.
    #[error(transparent)]
    Lock(LockError),
    /// The token can't be read or made.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The journal can't be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration makes no sense.
    #[error("the configuration has a defect: {0}")]
    Config(DocumentError),
    /// The signals make no sense.
    #[error(transparent)]
    Signals(#[from] SignalsError),
    /// Undo records of dead processes can't be read.
    #[error("cannot undo what dead processes left: {reason}")]
    Sweep {
        /// The cause.
        reason: String,
    },
    /// An address that others can reach.
    #[error(
        "cannot listen on {address}: without authentication only this machine may call; expected 127.0.0.1 or [::1]"
    )]
    NotLoopback {
        /// What was asked for.
        address: SocketAddr,
    },
    /// The address can't be used.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// What was asked for.
        address: String,
        /// The cause.
        source: io::Error,
    },
}

impl From<LockError> for StartError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Held { folder, owner } => Self::Locked { folder, owner },
            error @ LockError::File { .. } => Self::Lock(error),
        }
    }
}

/// How a run ended when the service did.
#[derive(Debug, Clone, PartialEq)]
pub struct StoppedAtEnd {
    /// The run.
    pub run: RunId,
    /// From the request to the last proof.
    pub took: Duration,
    /// Injections proven undone.
    pub reverted: usize,
    /// Injections whose undo is not proven: act now.
    pub unproven: Vec<InjectionId>,
}

/// A service that answers.
pub struct RunningServer {
    /// Where it is reached: `http://…` or `unix:/…`.
    pub address: String,
    /// What dead processes had left, and what became of it.
    pub swept: Vec<InjectionReport>,
    app: Arc<App>,
    lock: StateLock,
    closing: CancellationToken,
    connections: TaskTracker,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts a service. Must be called on a tokio runtime with time and I/O.
///
/// # Errors
/// [`StartError`]; nothing is left behind.
pub async fn start(config: ServerConfig) -> Result<RunningServer, StartError> {
    if let Listen::Tcp(address) = config.listen
        && !address.ip().is_loopback()
    {
        return Err(StartError::NotLoopback { address });
    }
    config.config.check().map_err(StartError::Config)?;
    raise_open_files();
    let prometheus = signals(&config.config)?;
    let mut lock = blocking({
        let state_dir = config.state_dir.clone();
        move || StateLock::acquire(&state_dir)
    })
    .await?;
    let token = match config.token.clone() {
        Some(token) => token,
        None => token::load_or_create(&config.state_dir)?,
    };
    let swept = sweep(&config).await?;
    let store = Arc::new(SqlStore::open(&config.state_dir.join(JOURNAL_FILE)).await?);
    close_runs_of_the_dead(&store, &swept).await?;
    let listener = bind(&config.listen).await?;
    let ports = Ports {
        node: Arc::clone(&config.node),
        prober: Arc::new(Probes::new(ProbesConfig { prometheus: config.config.safety.prometheus.clone() })),
        signals: match &prometheus {
            Some(signals) => Arc::clone(signals) as _,
            None => Arc::new(NoSignals),
        },
        store: Arc::clone(&store) as _,
        clock: Arc::new(SystemClock::default()),
    };
    let info = ServerInfo {
        version: VERSION.to_owned(),
        pid: std::process::id(),
        started_as_server: config.as_server,
    };
    let parts = Parts {
        engine: Engine::new(ports, Limits::default()),
        store,
        config: config.config,
        prometheus,
        owner: config.owner,
        info,
        token,
        state_dir: config.state_dir,
    };
    let app = Arc::new(App::new(parts));
    let address = listener.address();
    let owner = OwnerInfo {
        pid: app.info.pid,
        address: address.clone(),
        as_server: config.as_server,
        version: VERSION.into(),
    };
    lock.announce(&owner).map_err(|source| StartError::Listen { address: address.clone(), source })?;
    Ok(serve(app, listener, lock, address, swept))
}

/// Lets this process open as many files as it may: a target that hangs holds a connection for each request of a load
/// until it times out, and the usual soft limit would be what fails first. Without the right nothing changes.
fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

fn serve(
    app: Arc<App>,
    listener: Listener,
    lock: StateLock,
    address: String,
    swept: Vec<InjectionReport>,
) -> RunningServer {
    let (closing, connections) = (CancellationToken::new(), TaskTracker::new());
    let bus = app.engine.subscribe();
    let counting = tokio::spawn(metrics::feed::run(Arc::clone(&app), bus));
    let serving = tokio::spawn(listener.serve(routes::router(&app), closing.clone(), connections.clone()));
    tracing::info!(%address, "listening");
    RunningServer { address, swept, app, lock, closing, connections, tasks: vec![counting, serving] }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The lock is ours, so whatever fault process still lives has lost its owner.
async fn sweep(config: &ServerConfig) -> Result<Vec<InjectionReport>, StartError> {
    let state_dir = config.state_dir.clone();
    let found = blocking(move || chaos_agent::sweep::recover(&state_dir, true)).await;
    let swept = found.map_err(|error| StartError::Sweep { reason: error.to_string() })?;
    for report in &swept {
        tracing::warn!(injection = %report.injection, state = %report.state, error = ?report.error, "left by a dead process");
    }
    Ok(swept)
}

async fn bind(listen: &Listen) -> Result<Listener, StartError> {
    match listen {
        Listen::Tcp(address) => Listener::tcp(*address)
            .await
            .map_err(|source| StartError::Listen { address: address.to_string(), source }),
        Listen::Unix(path) => Listener::unix(path)
            .map_err(|source| StartError::Listen { address: format!("unix:{}", path.display()), source }),
    }
}

async fn close_runs_of_the_dead(store: &SqlStore, swept: &[InjectionReport]) -> Result<(), StartError> {
    let clock = SystemClock::default();
    for (header, records) in store.unfinished().await? {
        // A journal that can't be read is no reason not to start: the faults are undone by their own records.
        match close_abandoned(store, &clock, &header, &records, swept).await {
            Ok(summary) => tracing::warn!(run = %summary.run, "a run of a process that died was closed"),
            Err(error) => tracing::error!(run = %header.run, "{error}"),
        }
    }
    Ok(())
}

/// The configured signals; `None` without any.
fn signals(config: &FileConfig) -> Result<Option<Arc<PrometheusSignals>>, StartError> {
    match &config.safety.prometheus {
        Some(url) if !config.safety.signals.is_empty() => {
            Ok(Some(Arc::new(PrometheusSignals::new(url, config.safety.signals.clone())?)))
        }
        _ => Ok(None),
    }
}

/// No signal is declared: readiness alone is the health.
struct NoSignals;

impl SignalSource for NoSignals {
    fn signals(&self) -> BoxFuture<'_, Vec<Signal>> {
        async { Vec::new() }.boxed()
    }
}

impl RunningServer {
    /// The engine, for whoever is in the same process.
    pub fn engine(&self) -> &Engine {
        &self.app.engine
    }

    /// The token that callers over TCP need.
    pub fn token(&self) -> &Token {
        &self.app.token
    }

    /// Resolves when no run is active or waits: the end of an owner that is no server.
    pub async fn finished_all_runs(&self) {
        loop {
            let active = self.app.engine.active();
            if active.is_empty() {
                return;
            }
            for snapshot in active {
                self.app.engine.finished(&snapshot.header.run).await;
            }
            sleep(IDLE_PAUSE).await; // a driver that has ended takes its run out a moment later
        }
    }

    /// Takes no more runs, undoes everything, closes the journals, then every connection, then the store. Returns how
    /// each active run ended.
    pub async fn shutdown(self) -> Vec<StoppedAtEnd> {
        self.app.close();
        let reports = self.app.engine.shutdown().await;
        // Everything is undone; what is only inert, an empty table of ours, goes with us.
        let state_dir = self.app.state_dir.clone();
        if let Err(error) = blocking(move || chaos_agent::sweep::recover(&state_dir, false)).await {
            tracing::warn!(%error, "what is left of dead fault processes can't be looked for");
        }
        self.app.ended.cancel();
        self.closing.cancel();
        self.connections.close();
        if timeout(DRAIN_TIMEOUT, self.connections.wait()).await.is_err() {
            tracing::warn!("connections that did not end in time are dropped");
        }
        for task in self.tasks {
            let _ = task.await;
        }
        self.app.store.close().await;
        drop(self.lock);
        let end = |report: chaos_engine::StopReport| StoppedAtEnd {
            run: report.run,
            took: report.took,
            reverted: report.reverted,
            unproven: report.unproven,
        };
        reports.into_iter().map(end).collect()
    }
}

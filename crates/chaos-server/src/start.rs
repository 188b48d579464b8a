//! Composition: what starts in which order, and how it ends.
//!
//! ```text
//! lock ▶ token ▶ what the dead left is undone ▶ journal ▶ lever, tokens ▶ listener ▶ hub, agent of this process
//!   ▶ engine ▶ their runs are taken up ▶ address is told
//! runs end and are undone ▶ links to agents end ▶ calls and streams end ▶ connections end ▶ journal is closed ▶ lock is given back
//! ```
//!
//! Owns that order.

mod ports;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chaos_api::ServerInfo;
use chaos_core::port::{InjectionReport, Node, Owner, StoreError};
use chaos_core::run::{InjectionId, RunId, Stop, StopCause};
use chaos_core::spec::DocumentError;
use chaos_engine::{Engine, Limits};
use chaos_probes::SignalsError;
use chaos_store::SqlStore;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agents::Agents;
use crate::app::{App, Parts};
use crate::config::FileConfig;
use crate::lever::LeverState;
use crate::limits::DRAIN_TIMEOUT;
use crate::listen::Listener;
use crate::lock::{LockError, OwnerInfo, StateLock};
use crate::rate::Rates;
use crate::tls::{Certificates, RENEW_EVERY, TlsConfig, TlsError};
use crate::token::{self, Token, TokenError};
use crate::tokens::Tokens;
use crate::{incidents, metrics, retention, routes, tls};

/// Name of the journal below the state folder.
pub(crate) const JOURNAL_FILE: &str = "journal.db";
/// How long a start waits for the ends of runs that only this host had a part in.
const CLOSED_WITHIN: Duration = Duration::from_millis(500);
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
    /// Folder of journal, token, lock, undo records and our own certificate authority.
    pub state_dir: PathBuf,
    /// Where it is reached.
    pub listen: Listen,
    /// TLS; without it only addresses that nobody else reaches are listened on.
    pub tls: Option<TlsConfig>,
    /// Listens without TLS where others can read on the way: something in front of it speaks TLS, or nobody is there.
    pub insecure_http: bool,
    /// Names that others call it by: our own certificate is for them, and requests may have them as their host.
    pub names: Vec<String>,
    /// What happens to faults when this process dies.
    pub owner: Owner,
    /// It stays, it is not here for one command.
    pub as_server: bool,
    /// Target app, threshold, Prometheus, signals, rules, retention.
    pub config: FileConfig,
    /// URL of a PostgreSQL; a file below the state folder when absent.
    pub database: Option<String>,
    /// The token of this machine; the state folder's, made when there is none, when absent.
    pub token: Option<Token>,
    /// How often somebody may call.
    pub rates: Rates,
    /// Where faults are done on this host; without it only on those of connected agents.
    pub node: Option<Arc<dyn Node>>,
}

impl ServerConfig {
    /// A server with everything as it is without configuration.
    pub fn new(state_dir: PathBuf, listen: Listen, node: Arc<dyn Node>) -> Self {
        Self {
            state_dir,
            listen,
            tls: None,
            insecure_http: false,
            names: Vec::new(),
            owner: Owner::Server,
            as_server: true,
            config: FileConfig::default(),
            database: None,
            token: None,
            rates: Rates::default(),
            node: Some(node),
        }
    }

    /// Others can reach it, and could read what is said.
    fn is_exposed(&self) -> Option<SocketAddr> {
        match self.listen {
            Listen::Tcp(address)
                if !address.ip().is_loopback() && self.tls.is_none() && !self.insecure_http =>
            {
                Some(address)
            }
            _ => None,
        }
    }
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
    /// An address that others can reach, without TLS.
    #[error(
        "cannot listen on {address}: others can reach it, and without TLS could read tokens on the way; expected \
         127.0.0.1 or [::1], or a certificate, or our own authority, or an explicit insecure HTTP"
    )]
    NotLoopback {
        /// What was asked for.
        address: SocketAddr,
    },
    /// There is no certificate to show.
    #[error(transparent)]
    Tls(#[from] TlsError),
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
    if let Some(address) = config.is_exposed() {
        return Err(StartError::NotLoopback { address });
    }
    config.config.check().map_err(StartError::Config)?;
    let open_files_max = raise_open_files();
    let prometheus = ports::prometheus(&config.config)?;
    let lock = blocking({
        let state_dir = config.state_dir.clone();
        move || StateLock::acquire(&state_dir)
    })
    .await?;
    let token = match config.token.clone() {
        Some(token) => token,
        None => token::load_or_create(&config.state_dir)?,
    };
    let certificates = certificates(&config)?;
    let acceptor = certificates.clone().map(Certificates::acceptor).transpose()?;
    let swept = sweep(&config).await?;
    let store = Arc::new(match &config.database {
        Some(url) => SqlStore::open_url(url).await?,
        None => SqlStore::open(&config.state_dir.join(JOURNAL_FILE)).await?,
    });
    let (lever, tokens) =
        (Arc::new(LeverState::load(Arc::clone(&store)).await?), Tokens::load(&store).await?);
    let listener = bind(&config.listen, acceptor).await?;
    let limits = Limits::default();
    let agents =
        Agents::start(config.node.clone(), swept.clone(), VERSION, limits.lease, open_files_max).await;
    let ports = ports::ports(&config, Arc::new(agents.hub.clone()), &store, &lever, prometheus.clone());
    let parts = Parts {
        engine: Engine::new(ports, limits),
        agents,
        store,
        info: ServerInfo {
            version: VERSION.to_owned(),
            pid: std::process::id(),
            started_as_server: config.as_server,
        },
        prometheus,
        owner: config.owner,
        token,
        tokens,
        names: config.names,
        rates: config.rates,
        lever,
        config: config.config,
        state_dir: config.state_dir,
    };
    let app = Arc::new(App::new(parts));
    serve(app, listener, lock, swept, certificates).await
}

/// Lets this process open as many files as it may: a target that hangs holds a connection for each request of a load
/// until it times out, and the usual soft limit would be what fails first. Without the right nothing changes. Returns
/// how many that are.
fn raise_open_files() -> u64 {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}

/// Takes up the runs of the dead, says where it is reached, and answers.
async fn serve(
    app: Arc<App>,
    listener: Listener,
    mut lock: StateLock,
    swept: Vec<InjectionReport>,
    certificates: Option<Arc<Certificates>>,
) -> Result<RunningServer, StartError> {
    let (closing, connections) = (CancellationToken::new(), TaskTracker::new());
    // Whoever listens to the bus does so before the first run is on it.
    let mut tasks = vec![
        tokio::spawn(metrics::feed::run(Arc::clone(&app), app.engine.subscribe())),
        tokio::spawn(incidents::run(Arc::clone(&app), app.engine.subscribe(), app.agents.hub.strays())),
    ];
    take_up_runs_of_the_dead(&app).await?;
    let address = listener.address();
    let owner = OwnerInfo {
        pid: app.info.pid,
        address: address.clone(),
        as_server: app.info.started_as_server,
        version: VERSION.into(),
    };
    lock.announce(&owner).map_err(|source| StartError::Listen { address: address.clone(), source })?;
    app.store.announce(&address).await?;
    tasks.push(tokio::spawn(retention::run(Arc::clone(&app))));
    if let Some(certificates) = certificates {
        tasks.push(tokio::spawn(renew(certificates, closing.clone())));
    }
    tasks.push(tokio::spawn(listener.serve(routes::router(&app), closing.clone(), connections.clone())));
    tracing::info!(%address, "listening");
    Ok(RunningServer { address, swept, app, lock, closing, connections, tasks })
}

async fn renew(certificates: Arc<Certificates>, closing: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = closing.cancelled() => return,
            () = sleep(RENEW_EVERY) => {}
        }
        let certificates = Arc::clone(&certificates);
        blocking(move || certificates.renew()).await;
    }
}

/// The certificate, when there is TLS.
fn certificates(config: &ServerConfig) -> Result<Option<Arc<Certificates>>, StartError> {
    let (Some(tls), Listen::Tcp(address)) = (&config.tls, &config.listen) else { return Ok(None) };
    let names = tls::names(address.ip(), &config.names);
    Ok(Some(Certificates::load(tls, &config.state_dir, names)?))
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

async fn bind(listen: &Listen, tls: Option<TlsAcceptor>) -> Result<Listener, StartError> {
    match listen {
        Listen::Tcp(address) => Listener::tcp(*address, tls)
            .map_err(|source| StartError::Listen { address: address.to_string(), source }),
        Listen::Unix(path) => Listener::unix(path)
            .map_err(|source| StartError::Listen { address: format!("unix:{}", path.display()), source }),
    }
}

/// They go on where their hosts still hold every fault, and are undone and closed else.
async fn take_up_runs_of_the_dead(app: &App) -> Result<(), StoreError> {
    let unfinished = app.store.unfinished().await?;
    app.agents.settle(unfinished.iter().map(|(header, _)| header.run.clone()).collect());
    let mut taken_up = Vec::new();
    for (header, records) in unfinished {
        let run = header.run.clone();
        // A journal that can't be read is no reason not to start: the faults are undone by their own records.
        match app.engine.adopt(header, &records).await {
            Ok(snapshot) => {
                tracing::warn!(%run, "a run of a process that died was taken up");
                let is_here = snapshot.state.injections.iter().all(|one| one.instance.host.is_empty());
                taken_up.extend(is_here.then_some(run));
            }
            Err(error) => {
                tracing::error!(%run, "{error}");
                // Nobody drives it: what agents hold of it is undone.
                app.agents.hub.release(&run).await;
            }
        }
    }
    // What was held by this host alone was undone by the sweep: whoever asks first shall hear of its end.
    let ends = taken_up.iter().map(|run| app.engine.finished(run));
    let _ = timeout(CLOSED_WITHIN, futures_util::future::join_all(ends)).await;
    let lever = app.lever.now();
    if lever.engaged {
        let reason = format!("{} engaged the safety lever: {}", lever.actor, lever.reason);
        let engine = app.engine.clone();
        // Nobody waits for it: whoever starts the service wants to talk to it.
        app.calls.spawn(async move { engine.stop_all(&Stop { cause: StopCause::Lever, reason }).await });
    }
    Ok(())
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
        self.app.agents.end().await;
        self.app.ended.cancel();
        self.closing.cancel();
        self.connections.close();
        self.app.calls.close();
        let done = async { tokio::join!(self.connections.wait(), self.app.calls.wait()) };
        if timeout(DRAIN_TIMEOUT, done).await.is_err() {
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

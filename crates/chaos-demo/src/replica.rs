//! Owns one replica: its two ports, its worker pool, its metrics. It never knows of other replicas.

mod pool;

use std::{io::Write as _, net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use nix::{
    sys::{prctl::set_pdeathsig, signal::Signal},
    unistd::{Pid, getppid},
};
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch};

use self::pool::{Done, Pool};
use crate::{
    args::{UsageError, pairs},
    cgroup, complain,
    wire::{ReplicaHealth, ReplicaReady},
};

/// What the supervisor tells a replica in its arguments.
#[derive(Debug)]
pub(crate) struct Settings {
    index: u16,
    port: u16,
    admin_port: u16,
    supervisor: i32,
    cgroups: Vec<PathBuf>,
}

impl Settings {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, UsageError> {
        let mut settings = Self { index: 0, port: 0, admin_port: 0, supervisor: 0, cgroups: Vec::new() };
        for pair in pairs(arguments)? {
            match pair.key {
                "--index" => settings.index = pair.parse("expected a number")?,
                "--port" => settings.port = pair.parse("expected a port")?,
                "--admin-port" => settings.admin_port = pair.parse("expected a port")?,
                "--supervisor" => settings.supervisor = pair.parse("expected a pid")?,
                "--cgroup" => settings.cgroups.push(PathBuf::from(pair.value)),
                // Only there to be found by.
                "--family" => {}
                _ => return Err(pair.unknown()),
            }
        }
        if settings.supervisor == 0 {
            return Err(UsageError::NoValue("--supervisor".to_owned()));
        }
        Ok(settings)
    }
}

/// Runs until killed; it keeps nothing that would need an orderly end.
pub(crate) fn run(settings: &Settings) -> anyhow::Result<()> {
    set_pdeathsig(Signal::SIGKILL).context("tying the replica's life to its supervisor")?;
    // The supervisor may have died before the line above.
    if getppid() != Pid::from_raw(settings.supervisor) {
        anyhow::bail!("supervisor {} is gone", settings.supervisor);
    }
    if let Err(error) = cgroup::join(&settings.cgroups) {
        complain(&format!("replica {} stays outside its cgroups: {error}", settings.index));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the replica's runtime")?;
    runtime.block_on(serve(settings))
}

struct Replica {
    index: u16,
    pool: Pool,
    /// While true, the traffic port takes requests and answers none.
    hung: watch::Sender<bool>,
    metrics: Metrics,
}

struct Metrics {
    registry: Registry,
    jobs: Counter,
    rejected: Counter,
    wait: Histogram,
    depth: Gauge,
}

impl Metrics {
    fn new() -> Self {
        let buckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
        let mut metrics = Self {
            registry: Registry::default(),
            jobs: Counter::default(),
            rejected: Counter::default(),
            wait: Histogram::new(buckets),
            depth: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("worker_jobs", "Jobs done", metrics.jobs.clone());
        registry.register("worker_jobs_rejected", "Jobs refused: queue full", metrics.rejected.clone());
        registry.register("worker_queue_wait_seconds", "Time in the queue", metrics.wait.clone());
        registry.register("worker_queue_depth", "Jobs in the queue", metrics.depth.clone());
        metrics
    }
}

async fn serve(settings: &Settings) -> anyhow::Result<()> {
    let traffic = listen(settings.port).await.context("opening the traffic port")?;
    let admin = listen(settings.admin_port).await.context("opening the admin port")?;
    let replica = Arc::new(Replica {
        index: settings.index,
        pool: Pool::start().context("starting the worker pool")?,
        hung: watch::Sender::new(false),
        metrics: Metrics::new(),
    });
    let ready = ReplicaReady { port: traffic.local_addr()?.port(), admin_port: admin.local_addr()?.port() };
    // The sockets listen already: whoever connects from here on is served.
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&ready)?).context("reporting ready")?;
    let work = Router::new().route("/work", get(work)).with_state(Arc::clone(&replica));
    let manage = Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/hang", post(|State(replica): State<Arc<Replica>>| hang(replica, true)))
        .route("/release", post(|State(replica): State<Arc<Replica>>| hang(replica, false)))
        .with_state(replica);
    tokio::try_join!(axum::serve(traffic, work).into_future(), axum::serve(admin, manage).into_future())
        .context("serving")?;
    Ok(())
}

/// The wanted port, or any other when somebody took it while this replica was dead.
async fn listen(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
        Err(error) if port != 0 && error.kind() == std::io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
        }
        outcome => outcome,
    }
}

async fn work(State(replica): State<Arc<Replica>>) -> Response {
    let mut hung = replica.hung.subscribe();
    // The sender lives in `replica`, so this ends only by a release.
    let _ = hung.wait_for(|hung| !hung).await;
    drop(hung);
    let Some(done) = replica.pool.submit() else {
        replica.metrics.rejected.inc();
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": "queue full" }))).into_response();
    };
    match done.await {
        Ok(Done { waited, worked, checksum }) => {
            replica.metrics.jobs.inc();
            replica.metrics.wait.observe(waited.as_secs_f64());
            Json(json!({
                "replica": replica.index,
                "pid": std::process::id(),
                "queue_wait_ms": millis(waited),
                "work_ms": millis(worked),
                "checksum": checksum,
            }))
            .into_response()
        }
        Err(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": "worker died" }))).into_response()
        }
    }
}

async fn health(State(replica): State<Arc<Replica>>) -> Json<ReplicaHealth> {
    Json(ReplicaHealth {
        status: "ok".to_owned(),
        queue_depth: replica.pool.depth(),
        queue_wait_seconds: replica.pool.latest_wait().as_secs_f64(),
    })
}

async fn metrics(State(replica): State<Arc<Replica>>) -> Response {
    replica.metrics.depth.set(i64::try_from(replica.pool.depth()).unwrap_or(i64::MAX));
    crate::balancer::exposition(&replica.metrics.registry)
}

/// A gray failure by hand, for who may not filter packets: work hangs while health passes.
async fn hang(replica: Arc<Replica>, hung: bool) -> StatusCode {
    replica.hung.send_replace(hung);
    StatusCode::NO_CONTENT
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

//! Owns the root process: starts the replicas and the balancer, starts dead replicas again, and takes
//! everything along when it ends. It never serves a request itself.
//!
//! It has one thread: the kernel ties a replica's life to the thread that spawned it.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    process::Stdio,
    sync::Arc,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    NAME, balancer,
    balancer::fleet::{Fleet, Slot},
    cgroup::{self, Cgroups},
    complain,
    config::Config,
    processes,
    wire::{Announcement, ReplicaReady},
};

/// A replica that has not reported ready by then is killed and started again.
const READY_DEADLINE: Duration = Duration::from_secs(5);
/// All replicas have to be ready by then, or the start has failed.
const START_DEADLINE: Duration = Duration::from_secs(8);
/// The restart pause never grows beyond this.
const BACKOFF_CAP: Duration = Duration::from_secs(2);
/// A replica that does not end by SIGTERM (a stopped one can't) is killed after this.
const GRACE: Duration = Duration::from_millis(300);
/// Requests under way at the end may finish for so long.
const DRAIN: Duration = Duration::from_millis(500);

/// Runs the whole system until it is told to end.
pub(crate) fn run(config: &Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the supervisor's runtime")?;
    let cgroups = if config.cgroups {
        Cgroups::create(std::process::id(), config.replicas)
    } else {
        Cgroups::default()
    };
    let outcome = runtime.block_on(supervise(config, &cgroups));
    // Dropping the runtime kills what a failed start left, and only then can the cgroups go.
    runtime.shutdown_timeout(GRACE);
    for left in cgroup::remove(cgroups.bases()) {
        complain(&format!("could not remove {}", left.display()));
    }
    if let Err(failure) = &outcome {
        announce(&Announcement::Failed { reason: format!("{failure:#}") });
    }
    outcome
}

async fn supervise(config: &Config, cgroups: &Cgroups) -> anyhow::Result<()> {
    let end = CancellationToken::new();
    // The replicas go after the requests that they are working on.
    let retire = CancellationToken::new();
    watch_for_the_end(config, &end)?;
    let address = SocketAddr::new(config.address, config.port);
    let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
    let base_url = format!("http://{}", listener.local_addr()?);
    let fleet = Arc::new(Fleet::new(config, |index| cgroups.of(index)));
    let family = config.family.clone().unwrap_or_else(new_family);

    let mut replicas = JoinSet::new();
    for slot in fleet.slots() {
        let keeper = Keeper {
            slot: Arc::clone(slot),
            family: family.clone(),
            backoff: config.tuning.restart_backoff,
            retire: retire.clone(),
        };
        replicas.spawn(keeper.keep());
    }
    let served = async {
        let ready = timeout(START_DEADLINE, fleet.all_live());
        tokio::select! {
            ready = ready => ready.context("waiting for all replicas to be ready")?,
            () = end.cancelled() => return Ok(()),
        }
        let server = balancer::serve(listener, Arc::clone(&fleet), &config.tuning, end.clone())?;
        announce(&Announcement::Ready {
            base_url,
            replicas: fleet.infos(),
            cgroups: cgroups.bases().to_vec(),
        });
        let mut server = tokio::spawn(server);
        end.cancelled().await;
        // Connections that idle clients keep open don't hold us.
        if timeout(DRAIN, &mut server).await.is_err() {
            server.abort();
        }
        Ok(())
    }
    .await;
    retire.cancel();
    while replicas.join_next().await.is_some() {}
    served
}

/// SIGTERM, SIGINT and, when asked, the end of standard input (which is the end of who started us).
fn watch_for_the_end(config: &Config, end: &CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("watching for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watching for SIGINT")?;
    let told = end.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
    });
    if !config.outlive_caller {
        let orphaned = end.clone();
        thread::spawn(move || {
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            orphaned.cancel();
        });
    }
    Ok(())
}

/// Standard output carries exactly one line; when nobody reads it, nobody needs it.
fn announce(announcement: &Announcement) {
    if let Ok(line) = serde_json::to_string(announcement) {
        let _ = writeln!(io::stdout(), "{line}");
    }
}

/// A mark that no other system on this host has.
pub(crate) fn new_family() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}", std::process::id(), now.as_nanos())
}

/// Keeps one replica alive.
struct Keeper {
    slot: Arc<Slot>,
    family: String,
    backoff: Duration,
    retire: CancellationToken,
}

impl Keeper {
    async fn keep(self) {
        let mut pause = self.backoff;
        while !self.retire.is_cancelled() {
            match self.live_once().await {
                Ok(()) => pause = self.backoff,
                // It never got ready: don't burn the machine with a loop of failing starts.
                Err(error) => {
                    complain(&format!("replica {}: {error:#}", self.slot.index));
                    pause = (pause * 2).min(BACKOFF_CAP);
                }
            }
            tokio::select! {
                () = sleep(pause) => self.slot.restarted(),
                () = self.retire.cancelled() => {}
            }
        }
    }

    /// One life of the replica, from its start to its end; an error when it never became ready.
    async fn live_once(&self) -> anyhow::Result<()> {
        let mut child = self.spawn()?;
        let became_ready = tokio::select! {
            ready = timeout(READY_DEADLINE, read_ready(&mut child)) => {
                ready.context("not ready in time").flatten()
            }
            () = self.retire.cancelled() => Ok(None),
        };
        match became_ready {
            Ok(Some(ready)) => {
                self.slot.up(child.id(), &ready);
                tokio::select! {
                    _ = child.wait() => {}
                    () = self.retire.cancelled() => {}
                }
                self.slot.down();
                terminate(&mut child).await;
                Ok(())
            }
            Ok(None) => {
                terminate(&mut child).await;
                Ok(())
            }
            Err(error) => {
                terminate(&mut child).await;
                Err(error)
            }
        }
    }

    fn spawn(&self) -> anyhow::Result<Child> {
        let (port, admin_port) = self.slot.ports();
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0(NAME)
            .args(["replica", "--index", &self.slot.index.to_string()])
            .args(["--port", &port.to_string(), "--admin-port", &admin_port.to_string()])
            .args(["--supervisor", &std::process::id().to_string()])
            .args([processes::FAMILY, &self.family]);
        for cgroup in &self.slot.cgroups {
            command.arg("--cgroup").arg(cgroup);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        command.spawn().context("starting the process")
    }
}

async fn read_ready(child: &mut Child) -> anyhow::Result<Option<ReplicaReady>> {
    let output = child.stdout.take().context("no standard output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).await.context("reading its report")?;
    Ok(Some(serde_json::from_str(&line).context("it ended before it was ready")?))
}

/// Ends and reaps the child, if it has not ended by itself.
async fn terminate(child: &mut Child) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // Not reaped yet, so the number is still this child's.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        if timeout(GRACE, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }
}

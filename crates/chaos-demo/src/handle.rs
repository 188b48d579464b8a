//! Owns the life of the system as seen from who started it: start, ready, stop, proof that nothing is left.
//! It never looks into the system beyond what that needs.

use std::{
    fs::OpenOptions,
    io::{self, BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    NAME, cgroup,
    config::Config,
    processes, supervisor,
    wire::{Announcement, ReplicaInfo},
};

/// The supervisor may take this long to end by SIGTERM; then it is killed.
const STOP_GRACE: Duration = Duration::from_secs(4);
/// Its processes have to be gone this long after.
const GONE_DEADLINE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(5);

/// Why the system could not be started; nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file for its standard error can't be opened.
    #[error("opening the log {}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The process could not be made.
    #[error("starting {} as {NAME}", program.display())]
    Spawn {
        /// The executable.
        program: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It said why it gave up, a port in use for example.
    #[error("{NAME} did not start: {reason}")]
    Failed {
        /// Its own words.
        reason: String,
    },
    /// It ended or wrote something else than its report: not an executable that calls [`crate::main`].
    #[error("{} ended without reporting as {NAME}", program.display())]
    NoReport {
        /// The executable.
        program: PathBuf,
    },
    /// Not ready in time.
    #[error("{NAME} was not ready within {} ms", waited.as_millis())]
    Late {
        /// The time it had.
        waited: Duration,
    },
}

/// What could not be cleared away.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// Processes that survive SIGKILL.
    #[error("processes of {NAME} are still alive: {pids:?}")]
    Alive {
        /// Their numbers.
        pids: Vec<u32>,
    },
    /// Cgroups that can't be removed, because something else lives in them for example.
    #[error("cgroups of {NAME} are still there: {paths:?}")]
    Cgroups {
        /// Their folders.
        paths: Vec<PathBuf>,
    },
}

/// Starts the system.
#[derive(Debug)]
pub struct Orchestrator;

impl Orchestrator {
    /// Starts a system as `config` says and waits until all its replicas are ready. Blocks for that time
    /// (some hundred milliseconds, at most `config.start_timeout`).
    pub fn start(config: &Config) -> Result<Handle, StartError> {
        let family = supervisor::new_family();
        let config = Config { family: Some(family.clone()), ..config.clone() };
        let mut child = spawn(&config)?;
        let lifeline = child.stdin.take();
        let output = child.stdout.take();
        let mut handle = Handle {
            pid: child.id(),
            base_url: String::new(),
            replicas: Vec::new(),
            running: Some(Running { child, lifeline, family, cgroups: Vec::new() }),
        };
        let (sender, report) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let read = output.map(|output| BufReader::new(output).read_line(&mut line));
            // Nobody waits any more after a timeout.
            let _ = sender.send(read.and_then(Result::ok).map(|_| line));
        });
        // From here on, an early return drops the handle, which ends what was started.
        let line = match report.recv_timeout(config.start_timeout) {
            Ok(line) => line.unwrap_or_default(),
            Err(_) => return Err(StartError::Late { waited: config.start_timeout }),
        };
        match serde_json::from_str(&line) {
            Ok(Announcement::Ready { base_url, replicas, cgroups }) => {
                handle.base_url = base_url;
                handle.replicas = replicas;
                if let Some(running) = &mut handle.running {
                    running.cgroups = cgroups;
                }
                Ok(handle)
            }
            Ok(Announcement::Failed { reason }) => Err(StartError::Failed { reason }),
            Err(_) => Err(StartError::NoReport { program: config.program }),
        }
    }
}

fn spawn(config: &Config) -> Result<Child, StartError> {
    let log = match &config.log {
        None => Stdio::null(),
        Some(path) => OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(|source| StartError::Log { path: path.clone(), source })?
            .into(),
    };
    let input = if config.outlive_caller { Stdio::null() } else { Stdio::piped() };
    Command::new(&config.program)
        .arg0(NAME)
        .args(config.to_args())
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(log)
        // A Ctrl-C meant for the caller must not reach it: the caller ends it, in its own order.
        .process_group(0)
        .spawn()
        .map_err(|source| StartError::Spawn { program: config.program.clone(), source })
}

/// A running system. Dropping it stops it, unless it was left alone by [`Handle::detach`].
#[derive(Debug)]
pub struct Handle {
    /// The supervisor.
    pub pid: u32,
    /// `http://ADDRESS:PORT` of the balancer.
    pub base_url: String,
    /// The replicas as they were at the start; `GET /replicas` has them as they are.
    pub replicas: Vec<ReplicaInfo>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// The other end of its standard input: when we end, however, it sees that and ends too.
    lifeline: Option<ChildStdin>,
    family: String,
    cgroups: Vec<PathBuf>,
}

impl Handle {
    /// The mark in the arguments of every process of this system, which tells it from another one of the same name.
    #[must_use]
    pub fn family(&self) -> Option<&str> {
        self.running.as_ref().map(|running| running.family.as_str())
    }

    /// All living processes of the system, the supervisor and replicas of today.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        self.running.as_ref().map(|running| processes::of_family(&running.family)).unwrap_or_default()
    }

    /// Whether the supervisor is still there.
    pub fn is_running(&mut self) -> bool {
        self.running.as_mut().is_some_and(|running| matches!(running.child.try_wait(), Ok(None)))
    }

    /// Ends the system: SIGTERM, after a grace period SIGKILL. Returns when all its processes and cgroups
    /// are seen to be gone. A second call finds nothing to do.
    pub fn stop(&mut self) -> Result<(), StopError> {
        self.running.take().map_or(Ok(()), Running::stop)
    }

    /// Leaves the system alone: it goes on if it was started with [`Config::outlive_caller`], and ends
    /// with this process otherwise.
    pub fn detach(mut self) {
        if let Some(Running { lifeline: Some(lifeline), .. }) = self.running.take() {
            // Closed by the kernel at our end.
            std::mem::forget(lifeline);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Who wants to know calls `stop`.
        let _ = self.stop();
    }
}

impl Running {
    fn stop(mut self) -> Result<(), StopError> {
        signal(self.child.id(), Signal::SIGTERM, &mut self.child);
        if !until(STOP_GRACE, || !matches!(self.child.try_wait(), Ok(None))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        drop(self.lifeline.take());
        let gone = until(GONE_DEADLINE, || {
            let left = processes::of_family(&self.family);
            for pid in &left {
                // The kernel has told them already, since their supervisor is gone; this is for a fork
                // that was caught before it had asked for that.
                let _ = i32::try_from(*pid).map(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL));
            }
            left.is_empty()
        });
        if !gone {
            return Err(StopError::Alive { pids: processes::of_family(&self.family) });
        }
        let paths = cgroup::remove(&self.cgroups);
        if paths.is_empty() { Ok(()) } else { Err(StopError::Cgroups { paths }) }
    }
}

/// Signals the child unless it has ended: while it is not reaped its number can't be another's.
fn signal(pid: u32, signal: Signal, child: &mut Child) {
    if let (Ok(None), Ok(pid)) = (child.try_wait(), i32::try_from(pid)) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Polls `done` until it is true; false when it was not in time.
fn until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !done() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(POLL);
    }
    true
}

//! The long-lived processes inside a cluster or a node: started with their logs, reaped, and started again when they end.
//!
//! Runs in a first process only. A process that a fault has killed comes back as a service manager would bring it
//! back; one that ends while things come up is an error of its maker.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::host;
use super::namespaces::{PROGRAMS, TEMPORARY, inside};

/// How long a process that has ended stays away.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// How long a condition is waited for while things come up.
pub(super) const COME_UP_LIMIT: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(50);

/// One long-lived process.
pub(super) struct Service {
    /// What it calls itself, and where its log is: `logs/NAME.log`.
    name: &'static str,
    log: PathBuf,
    program: PathBuf,
    arguments: Vec<String>,
}

impl Service {
    /// A service whose log is named for the node, when it is one of a node.
    pub(super) fn new(
        name: &'static str,
        node: Option<&str>,
        program: Option<&Path>,
        arguments: Vec<String>,
    ) -> Self {
        let log = node.map_or_else(|| format!("{name}.log"), |node| format!("{node}-{name}.log"));
        let program = program.map_or_else(|| inside(PROGRAMS).join(name), Path::to_owned);
        Self { name, log: inside("logs").join(log), program, arguments }
    }

    fn spawn(&self) -> Result<i32> {
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("opening {}", self.log.display()))?;
        let errors = log.try_clone().context("a second handle of a log")?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(inside(""));
        command.env_clear().env("PATH", host::SEARCH_PATH).env("HOME", TEMPORARY).env("TMPDIR", TEMPORARY);
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = command.spawn().with_context(|| format!("starting {}", self.name))?;
        Ok(child.id().cast_signed())
    }
}

/// The services of one first process.
#[derive(Default)]
pub(super) struct Supervisor {
    running: BTreeMap<i32, Service>,
}

impl Supervisor {
    /// Starts a service.
    pub(super) fn start(&mut self, service: Service) -> Result<()> {
        self.running.insert(service.spawn()?, service);
        Ok(())
    }

    /// Waits for a condition while things come up. A service that ends meanwhile is an error.
    pub(super) fn wait_until(&self, what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + COME_UP_LIMIT;
        while !is_so() {
            for (pid, service) in &self.running {
                let ended = waitpid(Pid::from_raw(*pid), Some(WaitPidFlag::WNOHANG));
                let ended = ended.with_context(|| format!("waiting for {}", service.name))?;
                if ended.pid().is_some() {
                    bail!("{} ended ({ended:?}); the end of its log:\n{}", service.name, tail(&service.log));
                }
            }
            ensure!(Instant::now() < deadline, "{what} took longer than {} s", COME_UP_LIMIT.as_secs());
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Reaps whatever ends, and starts services again. Goes on until the kernel ends it.
    pub(super) fn keep(mut self) -> Result<()> {
        loop {
            match waitpid(None::<Pid>, None) {
                Ok(ended) => {
                    let ended_service = ended.pid().and_then(|pid| self.running.remove(&pid.as_raw()));
                    if let Some(service) = ended_service {
                        eprintln!("{} ended ({ended:?}) and is started again", service.name);
                        std::thread::sleep(RESTART_PAUSE);
                        self.start(service)?;
                    }
                }
                Err(Errno::EINTR) => {}
                Err(error) => bail!("waiting for the end of processes: {error}"),
            }
        }
    }
}

/// The last lines of a log.
pub(super) fn tail(log: &Path) -> String {
    /// How many.
    const LINES: usize = 10;
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().rev().take(LINES).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

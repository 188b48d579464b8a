//! The three kinds of owner that a run on this host can have in a soak: a bare node, a command line, a server.
//!
//! Owns their start and the wait for their end. It never kills before their time is over.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use chaos_core::port;
use chaos_core::spec::Fault;

use super::LEASE;
use crate::node::{self, Request};
use crate::world::House;

const POLL: Duration = Duration::from_millis(5);
/// How long a server may take to accept.
const SERVER_READY_WITHIN: Duration = Duration::from_secs(10);
/// Where a server of the soak listens: the room has this port to itself.
pub(super) const LISTEN: &str = "127.0.0.1:8081";

/// Kinds of owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Node,
    Run,
    Serve,
}

/// What is to be run.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) name: String,
    pub(super) chaos: &'a Path,
    pub(super) state: PathBuf,
    pub(super) house: &'a House,
    /// The host that has it; this one when absent.
    pub(super) host: Option<&'a str>,
    pub(super) pick: usize,
    pub(super) faults: Vec<Fault>,
    pub(super) duration: Duration,
}

/// The processes that were started for a run.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) children: Vec<Child>,
}

impl Plan<'_> {
    pub(super) fn start(&self, kind: Kind) -> Result<Started> {
        match kind {
            Kind::Node => self.node(),
            Kind::Run => {
                let file = self.document()?;
                let mut run = chaos(self.chaos, &self.state);
                run.args(["run", "--standalone", "--quiet", "-f"]).arg(file);
                Ok(Started { children: vec![run.spawn().context("starting chaos run")?] })
            }
            Kind::Serve => {
                let server = serve(self.chaos, &self.state, &[])?;
                Ok(Started { children: vec![server, self.watch()?] })
            }
        }
    }

    /// A command line that starts the run on a server and watches it.
    pub(super) fn watch(&self) -> Result<Child> {
        let mut run = chaos(self.chaos, &self.state);
        run.args(["run", "--quiet", "-f"]).arg(self.document()?);
        run.spawn().context("starting chaos run")
    }

    fn node(&self) -> Result<Started> {
        let mut child = node::spawn(Stdio::null())?;
        let request = Request {
            state: self.state.clone(),
            run: self.name.clone(),
            target: self.house.target(),
            pick: self.pick,
            faults: self.faults.clone(),
            duration_ms: u64::try_from(self.duration.as_millis())?,
            owner: if self.pick.is_multiple_of(2) { port::Owner::Command } else { port::Owner::Server },
            lease_ms: u64::try_from(LEASE.as_millis())?,
        };
        node::send(&mut child, &request)?;
        Ok(Started { children: vec![child] })
    }

    /// Writes the experiment beside the state folder.
    fn document(&self) -> Result<PathBuf> {
        let mut faults = String::new();
        for fault in &self.faults {
            faults.push_str(&format!("    - {}\n", serde_json::to_string(fault)?));
        }
        let document = format!(
            "apiVersion: chaos.engineering/v1\nkind: Experiment\nmetadata: {{ name: {} }}\nspec:\n  \
             target:\n    {}\n    hosts: [{}]\n    select: one\n    seed: {}\n  faults:\n{faults}  duration: {}ms\n  \
             safety: {{ threshold: 0.1 }}\n  recovery: {{ timeout: 5s, hold: 0s }}\n",
            self.name,
            self.house.target_yaml(),
            self.host.unwrap_or_default(),
            self.pick,
            self.duration.as_millis(),
        );
        let file = self.state.with_file_name("experiment.yaml");
        std::fs::write(&file, document).context("writing an experiment")?;
        Ok(file)
    }
}

impl Started {
    /// Waits until all but a server have ended; false when they have not in time.
    pub(super) fn wait(&mut self, kind: Kind, within: Duration) -> Result<bool> {
        let skip = usize::from(kind == Kind::Serve);
        ended(self.children.iter_mut().skip(skip), within)
    }

    /// Asks whatever still runs to end, and waits for it; false when it has to be killed.
    pub(super) fn close(mut self, within: Duration) -> Result<bool> {
        for child in &mut self.children {
            terminate(child)?;
        }
        let all = ended(self.children.iter_mut(), within)?;
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        Ok(all)
    }
}

/// Starts a server, and waits until it accepts or has ended.
pub(super) fn serve(program: &Path, state: &Path, options: &[&str]) -> Result<Child> {
    let mut command = chaos(program, state);
    command.args(["serve", "--quiet", "--listen", LISTEN]).args(options);
    let mut server = command.spawn().context("starting chaos serve")?;
    let begun = Instant::now();
    while std::net::TcpStream::connect(LISTEN).is_err() {
        if server.try_wait()?.is_some() || begun.elapsed() > SERVER_READY_WITHIN {
            let _ = server.kill();
            let status = server.wait()?;
            bail!("chaos serve does not accept on {LISTEN} ({status})");
        }
        std::thread::sleep(POLL);
    }
    Ok(server)
}

/// The folder of the configuration, beside the state folder.
const CONFIG_HOME: &str = "config";

/// Writes the configuration of every owner: what is killed in the middle fails, and that must not keep the next from
/// its target.
pub(super) fn configure(state: &Path) -> Result<()> {
    let folder = state.with_file_name(CONFIG_HOME).join("chaos");
    std::fs::create_dir_all(&folder).context("making a folder")?;
    let text = "safety: { breaker: { failures: 0 } }\n";
    std::fs::write(folder.join("config.yaml"), text).context("writing a configuration")
}

/// The program with its state folder, deaf and mute.
pub(super) fn chaos(program: &Path, state: &Path) -> Command {
    let mut command = Command::new(program);
    for name in ["CHAOS_SERVER", "CHAOS_TOKEN", "CHAOS_CA", "CHAOS_CONFIG_FILE", "DATABASE_URL"] {
        command.env_remove(name);
    }
    command.env("CHAOS_STATE", state).env("XDG_CONFIG_HOME", state.with_file_name(CONFIG_HOME));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

pub(super) fn terminate(child: &mut Child) -> Result<()> {
    if child.try_wait()?.is_none() {
        // Not reaped yet, so the number is still this child's.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id())?);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
    }
    Ok(())
}

pub(super) fn ended<'a>(children: impl Iterator<Item = &'a mut Child>, within: Duration) -> Result<bool> {
    let deadline = Instant::now() + within;
    for child in children {
        while child.try_wait()?.is_none() {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            std::thread::sleep(POLL);
        }
    }
    Ok(true)
}

//! Residues on purpose, so that a soak which finds nothing is known to look.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What to leave behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// A rule in our table with an element that does not go away.
    Rule,
    /// A process of the sample system that is stopped.
    Stopped,
    /// An empty cgroup.
    Cgroup,
    /// A process that looks like a worker.
    Worker,
    /// An undo record that nobody can read.
    Record,
}

impl Plant {
    /// Leaves it behind, in the room of the caller.
    ///
    /// # Errors
    /// It can't be made.
    pub fn leave(self, state: &Path, victim: u32) -> Result<()> {
        match self {
            Self::Rule => rules(),
            Self::Stopped => {
                kill(Pid::from_raw(i32::try_from(victim)?), Signal::SIGSTOP).context("stopping a victim")
            }
            Self::Cgroup => cgroup(),
            Self::Worker => worker(),
            Self::Record => {
                let undo = state.join("undo");
                fs::create_dir_all(&undo).context("making the undo folder")?;
                fs::write(undo.join("planted-0.json"), "{}").context("writing a record")
            }
        }
    }
}

fn rules() -> Result<()> {
    let rules = "table inet chaos { set planted { type ipv4_addr; elements = { 192.0.2.1 }; }; \
                 chain planted { type filter hook output priority 0; ip daddr @planted drop; }; }";
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let status = Command::new("nft").arg(rules).env("PATH", path).status().context("starting nft")?;
    if status.success() { Ok(()) } else { bail!("nft: {status}") }
}

/// Below the first hierarchy that lets us.
fn cgroup() -> Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("reading the mounts")?;
    let mounts = table.lines().filter(|line| line.contains(" - cgroup"));
    let made = mounts
        .filter_map(|line| line.split(' ').nth(4))
        .any(|mount| fs::create_dir(Path::new(mount).join("chaos-planted")).is_ok());
    if made { Ok(()) } else { bail!("no hierarchy takes a cgroup") }
}

fn worker() -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new("sleep");
    command
        .arg0("chaos-cpu planted-0")
        .arg("600")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().map(drop).context("starting a process")
}

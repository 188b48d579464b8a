//! The processes of ours that a soak may kill: found by what they are, held by descriptor, never a victim's.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use anyhow::Result;
use chaos_agent::sys::pidfd::PidFd;
use chaos_agent::sys::proc;
use chaos_agent::{holder, sys};

use crate::node;

/// What a process of ours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// A bare node.
    Node,
    /// A command line.
    Command,
    /// A server.
    Server,
    /// An agent that dials a server.
    Agent,
    /// A fault process.
    Holder,
    /// A worker of a fault process.
    Worker,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "node",
            Self::Command => "command line",
            Self::Server => "server",
            Self::Agent => "agent",
            Self::Holder => "fault process",
            Self::Worker => "worker",
        })
    }
}

/// A living process of ours.
#[derive(Debug)]
pub(super) struct Prey {
    pub(super) role: Role,
    pub(super) process: PidFd,
}

impl Prey {
    /// Its number.
    pub(super) fn pid(&self) -> u32 {
        self.process.identity().pid.cast_unsigned()
    }
}

/// All of them, in this room.
pub(super) fn all() -> Result<Vec<Prey>> {
    let spared = spared();
    let mut found = Vec::new();
    for pid in proc::pids()? {
        if spared.contains(&pid) {
            continue;
        }
        // Held first, then read: what was read is of the process that is held.
        let Ok(process) = PidFd::open_pid(pid) else { continue };
        let line = proc::command_line(pid).unwrap_or_default();
        let name = line.first().map(String::as_str).unwrap_or_default();
        let base = Path::new(name).file_name().and_then(|base| base.to_str()).unwrap_or_default();
        let role = match base {
            // A victim, or nobody's: a process without arguments has just ended.
            chaos_demo::NAME | "" => continue,
            holder::NAME => Role::Holder,
            _ if name.starts_with("chaos-cpu ") || name.starts_with("chaos-memory ") => Role::Worker,
            node::NAME => Role::Node,
            _ => match line.get(1).map(String::as_str) {
                Some("serve") => Role::Server,
                Some("agent") => Role::Agent,
                _ => Role::Command,
            },
        };
        found.push(Prey { role, process });
    }
    Ok(found)
}

/// The room's first process, this one and whatever is between.
fn spared() -> BTreeSet<i32> {
    let mut spared = BTreeSet::from([1]);
    let mut pid = sys::own_pid();
    while pid > 0 && spared.insert(pid) {
        pid = proc::stat(pid).map_or(0, |stat| stat.parent);
    }
    spared
}

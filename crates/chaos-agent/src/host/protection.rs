//! What may never be hit, whatever is asked, and why. It knows the rules of the contract and nothing else:
//! lifting one is not possible here.

use std::collections::BTreeMap;

use super::Asker;
use crate::sys;
use crate::sys::proc::table::{Process, ProcessTable};

/// Programs that keep the host or its containers reachable and running. Container shims are named by their
/// beginning, because each runtime has its own.
const KEEPERS: [(&str, &str); 14] = [
    ("sshd", "the way into this host"),
    ("sshd-session", "the way into this host"),
    ("sshd-auth", "the way into this host"),
    ("dropbear", "the way into this host"),
    ("kubelet", "the kubelet"),
    ("containerd", "the container runtime"),
    ("dockerd", "the container runtime"),
    ("docker-proxy", "the container runtime"),
    ("crio", "the container runtime"),
    ("conmon", "the container runtime"),
    ("conmonrs", "the container runtime"),
    ("k3s", "the kubelet"),
    ("k3s-server", "the kubelet"),
    ("runc", "the container runtime"),
];
const SHIM_PREFIX: &str = "containerd-shim";

/// The protected processes of one snapshot, with the reasons.
#[derive(Debug, Clone, Default)]
pub struct Protection {
    reasons: BTreeMap<i32, &'static str>,
}

impl Protection {
    /// Works out who is protected from a snapshot and from who asks.
    #[must_use]
    pub fn new(table: &ProcessTable, asker: &Asker) -> Self {
        let mut reasons = BTreeMap::new();
        for process in table.iter() {
            if let Some(reason) = by_nature(process) {
                reasons.insert(process.identity.pid, reason);
            }
        }
        for own in &asker.registered {
            if table.get(own.pid).is_some_and(|process| process.identity == *own) {
                reasons.entry(own.pid).or_insert("a process of this product");
            }
        }
        for caller in asker.callers.iter().copied().chain([sys::own_pid()]) {
            reasons.entry(caller).or_insert("the caller");
            for ancestor in table.ancestors(caller) {
                reasons.entry(ancestor).or_insert("an ancestor of the caller");
            }
        }
        Self { reasons }
    }

    /// Why a process may not be hit.
    #[must_use]
    pub fn reason(&self, pid: i32) -> Option<&'static str> {
        self.reasons.get(&pid).copied()
    }

    /// Why a group may not be hit: a fault hits all of it, so one protected member protects the whole.
    #[must_use]
    pub fn reason_of_group(&self, table: &ProcessTable, members: &[i32]) -> Option<String> {
        let (pid, reason) = members.iter().find_map(|pid| Some((*pid, self.reason(*pid)?)))?;
        if members.first() == Some(&pid) {
            return Some(reason.to_owned());
        }
        let name = table.get(pid).map(super::identify::name).unwrap_or_default();
        Some(format!("holds process {pid} ({name}): {reason}"))
    }
}

fn by_nature(process: &Process) -> Option<&'static str> {
    if process.identity.pid == 1 {
        return Some("init");
    }
    if process.kernel_thread {
        return Some("a kernel thread");
    }
    // An executable that can't be read is judged by its task name, which is cut at 15 bytes.
    let name = process.executable().unwrap_or(&process.comm);
    if name.starts_with(SHIM_PREFIX) {
        return Some("the container runtime");
    }
    KEEPERS.iter().find(|(keeper, _)| *keeper == name).map(|(_, reason)| *reason)
}

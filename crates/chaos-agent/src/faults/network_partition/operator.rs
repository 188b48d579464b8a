//! Whether a partition would cut this host off from whoever operates it, and whether it meets anybody else at all.
//!
//! Owns these refusals. Peers and ports only narrow a partition, so they are left out of the judgement: what is safe
//! without them is safe with them.

use chaos_core::target::{Instance, ProcessRef};

use crate::faults::FaultError;
use crate::faults::members::members_in;
use crate::host::{Asker, Protection};
use crate::sys::proc::sockets::{Listener, SocketTable, Sockets};
use crate::sys::proc::table::ProcessTable;
use crate::sys::{SysError, proc};

/// The reason for which a process is protected that lets people in.
const WAY_IN: &str = "the way into this host";
/// Init holds sockets for services that it starts on demand; they are the services' own.
const INIT: &str = "init";
/// The kernel's own sockets are not in any process' table.
const KERNEL: &str = "a kernel thread";
/// What a process holds that carries the traffic of others.
const TUNNEL: &str = "/dev/net/tun";

/// The instance's processes when it shares its network namespace with others, so that its own sockets must be told
/// apart; none when it is alone there.
pub(super) fn members_among_others(
    table: &ProcessTable,
    instance: &Instance,
    namespace: u64,
) -> Option<Vec<ProcessRef>> {
    let members = members_in(table, instance);
    let is_other = |pid: i32| !members.iter().any(|member| member.pid == pid) && is_inside(pid, namespace);
    let mut living = table.iter().filter(|process| !process.is_dead()).map(|process| process.identity.pid);
    living.any(is_other).then_some(members)
}

/// That no protected process would be cut off together with the instance, by the sockets of their namespace.
///
/// # Errors
/// Refused, when one could be cut off; or something of a process can't be read.
pub(super) fn examine(
    instance: &Instance,
    members: &[ProcessRef],
    registered: &[ProcessRef],
    table: &ProcessTable,
    sockets: &SocketTable,
) -> Result<(), FaultError> {
    let own: Vec<i32> = members.iter().map(|member| member.pid).collect();
    let protection = Protection::new(table, &Asker { registered: registered.to_vec(), callers: Vec::new() });
    refuse_tunnels(instance, &own)?;
    let victim = sockets.held_by(&own)?;
    for process in table.iter().filter(|process| !process.is_dead()) {
        let pid = process.identity.pid;
        let is_other = |_: &&str| !own.contains(&pid) && is_inside(pid, sockets.namespace());
        let reason = protection.reason(pid).filter(|reason| ![INIT, KERNEL].contains(reason));
        let Some(reason) = reason.filter(is_other) else { continue };
        let Some(shared) = overlap(&victim, &sockets.held_by(&[pid])?, reason == WAY_IN) else { continue };
        let (id, name) = (&instance.id, &process.comm);
        return Err(FaultError::refused(format!(
            "{id} uses {shared}, and so does process {pid} ({name}: {reason}), which would be cut off as well; \
             choose a target that shares no socket with it"
        )));
    }
    Ok(())
}

fn is_inside(pid: i32, namespace: u64) -> bool {
    proc::namespace_inode(pid, "net").is_ok_and(|inode| inode == namespace)
}

/// A socket of the instance that is also a protected process' own, in words.
fn overlap(victim: &Sockets, protected: &Sockets, way_in: bool) -> Option<String> {
    let same_port = |one: &&Listener| protected.listening.iter().any(|other| overlaps(one, other));
    if let Some(listener) = victim.listening.iter().find(same_port) {
        return Some(format!("{:?} port {}", listener.protocol, listener.address.port()));
    }
    if let Some(connection) = victim.established.iter().find(|one| protected.established.contains(one)) {
        return Some(format!("the connection {} to {}", connection.local, connection.remote));
    }
    // A proxy in front of the way in is a part of it.
    let carried = victim.established.iter().find(|connection| {
        let served = |listener: &Listener| {
            listener.protocol == connection.protocol
                && listener.address.port() == connection.remote.port()
                && (listener.address.ip().is_unspecified() || listener.address.ip() == connection.remote.ip())
                && connection.remote.ip().is_loopback()
        };
        way_in && protected.listening.iter().any(served)
    });
    carried.map(|connection| format!("the connection to {}", connection.remote))
}

fn overlaps(one: &Listener, other: &Listener) -> bool {
    let (a, b) = (one.address.ip().to_canonical(), other.address.ip().to_canonical());
    one.protocol == other.protocol
        && one.address.port() == other.address.port()
        && (a.is_unspecified() || b.is_unspecified() || a == b)
}

/// Whoever holds a tunnel may carry the connection by which this host is operated.
fn refuse_tunnels(instance: &Instance, pids: &[i32]) -> Result<(), FaultError> {
    for pid in pids {
        let failed = |source| SysError::io(format!("listing the descriptors of process {pid}"), source);
        let entries = match std::fs::read_dir(format!("/proc/{pid}/fd")) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.map_err(failed)?,
        };
        let links = entries.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
        if links.into_iter().any(|link| link.as_os_str() == TUNNEL) {
            return Err(FaultError::refused(format!(
                "process {pid} of {} holds a tunnel ({TUNNEL}) through which this host may be operated",
                instance.id
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::proc::sockets::{Connection, Protocol};
    use crate::sys::proc::table::Process;

    fn listens(address: &str) -> Listener {
        Listener { protocol: Protocol::Tcp, address: address.parse().unwrap() }
    }

    fn sockets(listening: &[&str], established: &[(&str, &str)]) -> Sockets {
        let connection = |(local, remote): &(&str, &str)| Connection {
            protocol: Protocol::Tcp,
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
        };
        Sockets {
            listening: listening.iter().map(|address| listens(address)).collect(),
            established: established.iter().map(connection).collect(),
        }
    }

    #[test]
    fn a_socket_that_is_also_a_protected_process_own_is_found() {
        let check = |victim: &Sockets, protected: &Sockets, way_in, expected: Option<&str>| {
            assert_eq!(overlap(victim, protected, way_in).as_deref(), expected);
        };
        let sshd = sockets(&["0.0.0.0:22"], &[("192.0.2.1:22", "192.0.2.9:5000")]);
        check(&sockets(&["[::]:22"], &[]), &sshd, true, Some("Tcp port 22"));
        check(&sockets(&["127.0.0.1:22"], &[]), &sshd, false, Some("Tcp port 22"));
        check(&sockets(&["0.0.0.0:8080"], &[]), &sshd, true, None);
        let shared = [("192.0.2.1:22", "192.0.2.9:5000")];
        let said = "the connection 192.0.2.1:22 to 192.0.2.9:5000";
        check(&sockets(&[], &shared), &sshd, false, Some(said));
        let proxy = sockets(&["0.0.0.0:443"], &[("127.0.0.1:40000", "127.0.0.1:22")]);
        check(&proxy, &sshd, true, Some("the connection to 127.0.0.1:22"));
        check(&proxy, &sshd, false, None);
        check(&sockets(&[], &[("192.0.2.1:40000", "192.0.2.7:22")]), &sshd, true, None);
    }

    #[test]
    fn the_reasons_are_those_that_protection_gives() {
        let process = |pid, name: &str, kernel_thread| Process::imagined(pid, 0, name, kernel_thread, "/");
        let table = ProcessTable::from_processes([
            process(1, "init", false),
            process(2_000_000, "sshd", false),
            process(2_000_001, "kworker", true),
        ]);
        let protection = Protection::new(&table, &Asker::default());
        assert_eq!(protection.reason(2_000_000), Some(WAY_IN));
        assert_eq!(protection.reason(1), Some(INIT));
        assert_eq!(protection.reason(2_000_001), Some(KERNEL));
    }
}

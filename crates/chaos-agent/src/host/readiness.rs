//! Is an instance ready: it runs, nothing stops it, and it accepts on the ports that it has. All connections are begun
//! before the first is waited for, so that a slow one does not add up; they carry no data.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use chaos_core::target::{Instance, ListeningPort, ProcessRef, Protocol};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, sockopt};
use nix::sys::time::TimeSpec;

use crate::sys::namespace::{Kind, Namespace};
use crate::sys::proc::{self, sockets};
use crate::sys::{SysError, own_pid};

/// How long a connection may take; with many, those of one round together.
pub const READY_TIMEOUT: Duration = Duration::from_millis(200);
/// Most ports of an instance that are connected to.
const PORTS_CHECKED_MAX: usize = 32;
/// Most connections that are open at a time: a process may have 1024 descriptors by default.
const CONNECTIONS_MAX: usize = 256;

/// Fills in the readiness of each instance.
pub(super) fn check_all(instances: &mut [&mut Instance]) {
    let mut by_network: BTreeMap<u64, Vec<&mut Instance>> = BTreeMap::new();
    for instance in instances {
        instance.ready = is_running(instance);
        if instance.ready && tcp(instance).next().is_some() {
            by_network.entry(instance.network_namespace).or_default().push(instance);
        }
    }
    let own = proc::namespace_inode(own_pid(), "net").ok();
    for (network, mut instances) in by_network {
        let Some(guide) = instances.first().map(|instance| instance.process) else { continue };
        let wanted: Vec<(usize, SocketAddr)> = instances
            .iter()
            .enumerate()
            .flat_map(|(index, instance)| tcp(instance).map(move |address| (index, address)))
            .collect();
        let refused =
            if own == Some(network) { Ok(refused(&wanted)) } else { refused_inside(guide, &wanted) };
        for (index, instance) in instances.iter_mut().enumerate() {
            // Elsewhere than in the victim's own network its addresses mean something else. Without the right to go
            // there nothing is known, and that is not ready.
            instance.ready = refused.as_ref().is_ok_and(|refused| !refused.contains(&index));
        }
    }
}

/// True when the very instance still runs and accepts on every TCP port that it is listed with (the ports of
/// the baseline, when that instance is handed in). Takes at most [`READY_TIMEOUT`].
#[must_use]
pub fn is_ready(instance: &Instance) -> bool {
    let mut copy = instance.clone();
    // Without a port to try it must at least be seen that there is none.
    if copy.ports.is_empty()
        && sockets::listeners_of_groups(&[&[copy.process.pid]]).iter().any(Result::is_err)
    {
        return false;
    }
    check_all(&mut [&mut copy]);
    copy.ready
}

/// It exists, and nothing stops it: a stopped process still has its connections accepted by the kernel.
fn is_running(instance: &Instance) -> bool {
    proc::stat(instance.process.pid).is_ok_and(|stat| {
        let same = stat.start_time == instance.process.start_time;
        same && !stat.is_dead() && !matches!(stat.state, 'T' | 't')
    })
}

fn tcp(instance: &Instance) -> impl Iterator<Item = SocketAddr> {
    let tcp = instance.ports.iter().filter(|port| port.protocol == Protocol::Tcp);
    tcp.take(PORTS_CHECKED_MAX).map(reachable_address)
}

fn reachable_address(port: &ListeningPort) -> SocketAddr {
    let address = match port.address {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        bound => bound,
    };
    SocketAddr::new(address, port.port)
}

fn refused_inside(guide: ProcessRef, wanted: &[(usize, SocketAddr)]) -> Result<Vec<usize>, SysError> {
    Namespace::of(guide, Kind::Network)?.on_a_thread_inside(|| refused(wanted))
}

/// Whose addresses do not all accept.
fn refused(wanted: &[(usize, SocketAddr)]) -> Vec<usize> {
    let mut refused = Vec::new();
    for round in wanted.chunks(CONNECTIONS_MAX) {
        let deadline = Instant::now() + READY_TIMEOUT;
        let mut open: Vec<(usize, OwnedFd)> = Vec::with_capacity(round.len());
        for (index, address) in round {
            match begin(*address) {
                Some(connection) => open.push((*index, connection)),
                None => refused.push(*index),
            }
        }
        while !open.is_empty() {
            let answered = answered(&open, deadline.saturating_duration_since(Instant::now()));
            if answered.iter().all(|answered| !answered) {
                refused.extend(open.drain(..).map(|(index, _)| index));
            }
            let mut answered = answered.into_iter();
            open.retain(|(index, connection)| {
                let is_over = answered.next().unwrap_or(false);
                if is_over && !matches!(socket::getsockopt(connection, sockopt::SocketError), Ok(0)) {
                    refused.push(*index);
                }
                !is_over
            });
        }
    }
    refused
}

/// Begins a connection; none when it was refused at once.
fn begin(to: SocketAddr) -> Option<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let connection = socket::socket(family, SockType::Stream, flags, None).ok()?;
    // Closed by a reset, as health checks of proxies are: a look every second must not fill the host with TIME_WAIT.
    let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
    let _ = socket::setsockopt(&connection, sockopt::Linger, &at_once);
    match socket::connect(connection.as_raw_fd(), &SockaddrStorage::from(to)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Some(connection),
        Err(_) => None,
    }
}

/// Waits until at least one connection has come to something, and says which have; none when the time is over.
fn answered(open: &[(usize, OwnedFd)], within: Duration) -> Vec<bool> {
    let mut polled: Vec<PollFd<'_>> =
        open.iter().map(|(_, connection)| PollFd::new(connection.as_fd(), PollFlags::POLLOUT)).collect();
    // A signal begins the wait anew.
    while let Err(Errno::EINTR) = ppoll(&mut polled, Some(TimeSpec::from(within)), None) {}
    polled.iter().map(|one| one.any().unwrap_or(false)).collect()
}

//! Is an instance ready: it runs, nothing stops it, and it accepts on the ports that it has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use chaos_core::target::{Instance, ListeningPort, Protocol};

use crate::sys::namespace::{Kind, Namespace};
use crate::sys::{own_pid, proc};

/// How long a connection to one port may take.
pub const READY_TIMEOUT: Duration = Duration::from_millis(200);
/// Most ports of an instance that are connected to.
const PORTS_CHECKED_MAX: usize = 32;
/// Most instances that are looked at at the same time.
const THREADS_MAX: usize = 16;

/// Fills in the readiness of each instance, several at a time so that a slow one does not add up.
pub(super) fn check_all(instances: &mut [Instance]) {
    let share = instances.len().div_ceil(THREADS_MAX).max(1);
    std::thread::scope(|scope| {
        for chunk in instances.chunks_mut(share) {
            scope.spawn(|| {
                for instance in chunk {
                    instance.ready = is_ready(instance);
                }
            });
        }
    });
}

/// True when the very instance still runs and accepts on every TCP port that it is listed with (the ports of
/// the baseline, when that instance is handed in). Takes at most [`READY_TIMEOUT`] for each port.
#[must_use]
pub fn is_ready(instance: &Instance) -> bool {
    let Ok(stat) = proc::stat(instance.process.pid) else { return false };
    // A stopped process still has its connections accepted by the kernel, so its state decides.
    if stat.start_time != instance.process.start_time || stat.is_dead() || matches!(stat.state, 'T' | 't') {
        return false;
    }
    let tcp: Vec<SocketAddr> = instance
        .ports
        .iter()
        .filter(|port| port.protocol == Protocol::Tcp)
        .take(PORTS_CHECKED_MAX)
        .map(reachable_address)
        .collect();
    if tcp.is_empty() {
        return true;
    }
    if proc::namespace_inode(own_pid(), "net").is_ok_and(|own| own == instance.network_namespace) {
        return accepts_all(&tcp);
    }
    // Elsewhere than in the victim's own network its addresses mean something else. Without the right to go
    // there nothing is known, and that is not ready.
    accepts_inside(instance, &tcp)
}

/// In a thread of its own: if coming back ever failed, no other work would be left in the wrong network.
fn accepts_inside(instance: &Instance, addresses: &[SocketAddr]) -> bool {
    let Ok(network) = Namespace::of(instance.process, Kind::Network) else { return false };
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| network.enter().is_ok() && accepts_all(addresses));
        inside.join().unwrap_or(false)
    })
}

fn accepts_all(addresses: &[SocketAddr]) -> bool {
    addresses.iter().all(|address| TcpStream::connect_timeout(address, READY_TIMEOUT).is_ok())
}

fn reachable_address(port: &ListeningPort) -> SocketAddr {
    let address = match port.address {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        bound => bound,
    };
    SocketAddr::new(address, port.port)
}

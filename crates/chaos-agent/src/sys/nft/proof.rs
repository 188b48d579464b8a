//! Proof that a partition drops packets: one small packet that must not come through, and the
//! counters of the partition's elements before and after.
//!
//! Owns the choice of a harmless packet. It never sends more than a few, never carries data in them,
//! and falls back to reading the kernel back where no packet can be made (packets that only others
//! could send, connections of others).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage};

use super::error::NftError;
use super::partition::Partition;
use super::socket::{NftSocket, in_namespace};
use super::spec::{Direction, Listener, PartitionSpec, Protocol, Scope};

/// Most packets of one proof.
const PROBES_MAX: usize = 4;
/// How long the counter is watched after each packet.
const COUNTED_WITHIN: Duration = Duration::from_millis(2);
/// The discard service: a port nobody minds.
const DISCARD: u16 = 9;
/// Addresses set aside for documentation, which nobody has.
const NOBODY_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const NOBODY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// By what a partition was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofKind {
    /// A packet was dropped by it and counted.
    DroppedPacket,
    /// The kernel shows its rules and live elements.
    KernelReadBack,
}

/// That a partition is in effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// By what it was proven.
    pub kind: ProofKind,
    /// Packets it has dropped so far.
    pub packets: u64,
}

/// One packet that a partition must drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Probe {
    protocol: Protocol,
    to: SocketAddr,
}

impl NftSocket {
    /// Proves an installed partition within a few milliseconds. `namespace` is the network namespace
    /// that this socket was opened in, or none when the calling thread is in it.
    ///
    /// # Errors
    /// [`NftError::NotInEffect`] when the kernel shows no rules or no live elements.
    pub fn prove(
        &mut self,
        partition: &Partition,
        namespace: Option<BorrowedFd<'_>>,
    ) -> Result<Proof, NftError> {
        if !self.list_rules()?.serve(partition) {
            return Err(partition.not_in_effect(0));
        }
        let packets = self.dropped(partition)?;
        // Traffic that met the partition already proves it best.
        if packets > 0 {
            return Ok(Proof { kind: ProofKind::DroppedPacket, packets });
        }
        let packets = match namespace {
            None => self.probe(partition)?,
            Some(namespace) => in_namespace(namespace, || self.probe(partition))??,
        };
        let kind = if packets > 0 { ProofKind::DroppedPacket } else { ProofKind::KernelReadBack };
        Ok(Proof { kind, packets })
    }

    fn probe(&mut self, partition: &Partition) -> Result<u64, NftError> {
        for probe in probes(partition.spec()).into_iter().take(PROBES_MAX) {
            if !probe.send() {
                continue;
            }
            let sent = Instant::now();
            loop {
                let packets = self.dropped(partition)?;
                if packets > 0 || sent.elapsed() > COUNTED_WITHIN {
                    if packets > 0 {
                        return Ok(packets);
                    }
                    break;
                }
                std::thread::yield_now();
            }
        }
        Ok(0)
    }
}

impl Probe {
    /// Sends it without waiting for anything. Says whether it got as far as the filter.
    fn send(self) -> bool {
        match self.protocol {
            Protocol::Tcp => self.connect(),
            // Refused is what the sender of a dropped datagram is told.
            Protocol::Udp => {
                let any = if self.to.is_ipv4() {
                    IpAddr::V4(Ipv4Addr::UNSPECIFIED)
                } else {
                    IpAddr::V6(Ipv6Addr::UNSPECIFIED)
                };
                let socket = UdpSocket::bind(SocketAddr::new(any, 0));
                socket.is_ok_and(|socket| match socket.send_to(&[], self.to) {
                    Ok(_) => true,
                    Err(error) => error.raw_os_error() == Some(libc::EPERM),
                })
            }
            Protocol::Sctp => false,
        }
    }

    fn connect(self) -> bool {
        let family = if self.to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let Ok(fd) = socket::socket(family, SockType::Stream, flags, None) else { return false };
        let to = SockaddrStorage::from(self.to);
        // In progress when the first packet was dropped; closing ends the attempt.
        matches!(socket::connect(fd.as_raw_fd(), &to), Ok(()) | Err(nix::errno::Errno::EINPROGRESS))
    }
}

/// Packets worth trying, the most telling first.
fn probes(spec: &PartitionSpec) -> Vec<Probe> {
    match &spec.scope {
        Scope::Process(sockets) => {
            let listeners = sockets.listeners.iter().flat_map(listener_probes);
            // A datagram would reach the victim if only its answers were dropped.
            let telling = |probe: &Probe| probe.protocol == Protocol::Tcp || spec.direction != Direction::Out;
            listeners.filter(telling).filter(|probe| is_matched(spec, probe)).collect()
        }
        Scope::Namespace => {
            let loopback = spec.peers.iter().filter(|peer| peer.names_loopback()).map(|peer| peer.first());
            let away = if spec.direction == Direction::In { Vec::new() } else { addresses_away(spec) };
            let port = spec.ports.first().map_or(DISCARD, |range| range.first());
            let probe = |address| Probe { protocol: Protocol::Udp, to: SocketAddr::new(address, port) };
            loopback.chain(away).map(probe).collect()
        }
    }
}

/// How to reach a listener from its own namespace.
fn listener_probes(listener: &Listener) -> Vec<Probe> {
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let addresses = match listener.address.map(|address| address.to_canonical()) {
        Some(address) if !address.is_unspecified() => vec![address],
        _ => loopback.to_vec(),
    };
    let probe = |address| Probe { protocol: listener.protocol, to: SocketAddr::new(address, listener.port) };
    addresses.into_iter().map(probe).collect()
}

/// Whether peers and ports of the partition let it match this packet. The sender gets the same
/// address as the listener, as both are local; its port is not known before.
fn is_matched(spec: &PartitionSpec, probe: &Probe) -> bool {
    let port = probe.to.port();
    let peers = spec.peers.is_empty() || spec.peers.iter().any(|peer| peer.contains(probe.to.ip()));
    let ports = spec.ports.is_empty()
        || spec.ports.iter().any(|range| (range.first()..=range.last()).contains(&port));
    peers && ports
}

/// Addresses outside of this namespace that the partition covers.
fn addresses_away(spec: &PartitionSpec) -> Vec<IpAddr> {
    if spec.peers.is_empty() {
        return [NOBODY_V4, NOBODY_V6].into_iter().chain(neighbours()).collect();
    }
    let inside = |nobody: IpAddr| spec.peers.iter().any(|peer| peer.contains(nobody)).then_some(nobody);
    let nobody = [NOBODY_V4, NOBODY_V6].into_iter().filter_map(inside);
    let near =
        neighbours().into_iter().filter(|address| spec.peers.iter().any(|peer| peer.contains(*address)));
    let peers =
        spec.peers.iter().filter(|peer| !peer.names_loopback()).map(|peer| after(peer.first(), peer.last()));
    nobody.chain(near).chain(peers).collect()
}

/// The second address of a block, since the first may name the network itself.
fn after(first: IpAddr, last: IpAddr) -> IpAddr {
    let next = match first {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits().saturating_add(1))),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits().saturating_add(1))),
    };
    next.min(last)
}

/// One other address in the subnet of each interface, for a namespace without a default route.
fn neighbours() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    let up = interfaces.filter(|one| {
        one.flags.contains(InterfaceFlags::IFF_UP) && !one.flags.contains(InterfaceFlags::IFF_LOOPBACK)
    });
    let other = |own: SockaddrStorage| {
        if let Some(v4) = own.as_sockaddr_in() {
            // The other address of a pair; in a larger subnet it is one of them as well.
            return Some(IpAddr::V4(Ipv4Addr::from_bits(v4.ip().to_bits() ^ 1)));
        }
        let v6 = own.as_sockaddr_in6()?.ip();
        // Link-local addresses would need the interface to be named.
        (!v6.is_unicast_link_local()).then(|| IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() ^ 1)))
    };
    up.filter_map(|one| one.address.and_then(other)).take(PROBES_MAX).collect()
}

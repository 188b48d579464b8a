//! Two network namespaces joined by a cable, for tests against the real kernel. They end with their
//! last descriptor.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage};

use super::socket::in_namespace;
use super::{Cidr, Direction, InjectionName, Lease, NftSocket, Partition, PartitionSpec, PortRange, Scope};

/// How long a handshake over the cable may take before it counts as cut off.
const HANDSHAKE: Duration = Duration::from_millis(25);

/// Whether this test can run here; says why not.
pub(super) fn is_root() -> bool {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: network namespaces and nf_tables need root");
        return false;
    }
    has_program("ip", "-V") && has_program("nft", "--version")
}

/// Whether a program that only this test needs is installed; says so if not.
pub(super) fn has_program(program: &str, version: &str) -> bool {
    let found = Command::new(program).arg(version).output().is_ok();
    if !found {
        eprintln!("skipped: the program {program} is not installed");
    }
    found
}

pub(super) fn lease(milliseconds: u64) -> Lease {
    Lease::new(Duration::from_millis(milliseconds)).unwrap()
}

pub(super) fn name(text: &str) -> InjectionName {
    InjectionName::new(text).unwrap()
}

/// A partition of a whole namespace.
pub(super) fn cut(id: &str, direction: Direction, peers: &[&str], ports: &[u16]) -> PartitionSpec {
    PartitionSpec {
        name: name(id),
        direction,
        scope: Scope::Namespace,
        peers: peers.iter().map(|peer| peer.parse::<Cidr>().unwrap()).collect(),
        ports: ports.iter().map(|port| PortRange::from(*port)).collect(),
    }
}

/// Installs a partition for so many milliseconds.
pub(super) fn install(socket: &mut NftSocket, spec: &PartitionSpec, lease_ms: u64) -> Partition {
    let mut partition = Partition::new(spec.clone()).unwrap();
    socket.install(&mut partition, lease(lease_ms)).unwrap();
    partition
}

/// A network namespace of the test's own.
pub(super) struct Namespace(OwnedFd);

impl Namespace {
    pub(super) fn new() -> Self {
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            OwnedFd::from(std::fs::File::open("/proc/thread-self/ns/net").unwrap())
        };
        let namespace = Self(std::thread::spawn(make).join().unwrap());
        namespace.ip("link set lo up");
        namespace
    }

    pub(super) fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(super) fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        in_namespace(self.fd(), body).unwrap()
    }

    pub(super) fn command(&self, program: &str, arguments: &str) -> String {
        let run = || Command::new(program).args(arguments.split(' ')).output().unwrap();
        let output = self.run(run);
        assert!(
            output.status.success(),
            "{program} {arguments}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn ip(&self, arguments: &str) {
        self.command("ip", arguments);
    }

    pub(super) fn socket(&self) -> NftSocket {
        NftSocket::open_in(self.fd()).unwrap()
    }

    pub(super) fn listen(&self, address: &str) -> TcpListener {
        self.run(|| TcpListener::bind(address).unwrap())
    }

    pub(super) fn connect(&self, to: SocketAddr) -> Option<TcpStream> {
        self.run(|| TcpStream::connect_timeout(&to, HANDSHAKE).ok())
    }

    pub(super) fn reaches(&self, to: SocketAddr) -> bool {
        self.connect(to).is_some()
    }

    /// Tries to connect every 10 ms; true when no attempt succeeded.
    pub(super) fn is_cut_off_from(&self, to: SocketAddr) -> bool {
        self.run(|| {
            (0..12).all(|_| {
                let started = Instant::now();
                let failed = TcpStream::connect_timeout(&to, Duration::from_millis(10)).is_err();
                // Pacing, not waiting for something to happen.
                std::thread::sleep(Duration::from_millis(10).saturating_sub(started.elapsed()));
                failed
            })
        })
    }

    /// Tries until a connection succeeds; the time that took.
    pub(super) fn time_until_reached(&self, to: SocketAddr, at_most: Duration) -> Option<Duration> {
        self.run(|| {
            let started = Instant::now();
            while started.elapsed() < at_most {
                if TcpStream::connect_timeout(&to, Duration::from_millis(10)).is_ok() {
                    return Some(started.elapsed());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            None
        })
    }

    /// Whether a datagram to an address arrives at a socket.
    pub(super) fn datagram_arrives(&self, at: &UdpSocket, to: SocketAddr) -> bool {
        let _ = self.run(|| {
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            UdpSocket::bind(any).unwrap().send_to(b"x", to)
        });
        at.set_read_timeout(Some(HANDSHAKE)).unwrap();
        received(|| at.recv(&mut [0])).is_some()
    }

    /// Whether an echo request is answered.
    pub(super) fn ping(&self, to: IpAddr) -> bool {
        self.run(|| {
            let (family, protocol, request) = match to {
                IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp, [8, 0, 0xf7, 0xff, 0, 0, 0, 0]),
                // The kernel fills in the checksum of ICMPv6.
                IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6, [128, 0, 0, 0, 0, 0, 0, 0]),
            };
            let raw = socket::socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).unwrap();
            socket::connect(raw.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(to, 0))).unwrap();
            let _ = socket::send(raw.as_raw_fd(), &request, MsgFlags::empty());
            let raw = UdpSocket::from(raw);
            raw.set_read_timeout(Some(HANDSHAKE)).unwrap();
            let mut answer = [0; 64];
            // IPv4 answers come with their header of 20 bytes.
            let (at, kind) = if to.is_ipv4() { (20, 0) } else { (0, 129) };
            while let Some(length) = received(|| raw.recv(&mut answer)) {
                if length > at && answer[at] == kind {
                    return true;
                }
            }
            false
        })
    }
}

/// The victim's namespace, its peer's, and a cable between them.
pub(super) struct Pair {
    pub(super) victim: Namespace,
    pub(super) peer: Namespace,
}

pub(super) const VICTIM_V4: &str = "198.18.0.1";
pub(super) const PEER_V4: &str = "198.18.0.2";
pub(super) const VICTIM_V6: &str = "fd00:18::1";
pub(super) const PEER_V6: &str = "fd00:18::2";

impl Pair {
    pub(super) fn new() -> Self {
        let pair = Self { victim: Namespace::new(), peer: Namespace::new() };
        let other = format!("/proc/{}/fd/{}", std::process::id(), pair.peer.0.as_raw_fd());
        pair.victim.ip(&format!("link add cable type veth peer name cable netns {other}"));
        for (namespace, v4, v6) in [(&pair.victim, VICTIM_V4, VICTIM_V6), (&pair.peer, PEER_V4, PEER_V6)] {
            namespace.ip(&format!("addr add {v4}/24 dev cable"));
            namespace.ip(&format!("addr add {v6}/64 dev cable nodad"));
            namespace.ip("link set cable up");
        }
        // A new link takes a moment, and what is asked before is asked again only after a second.
        let deadline = Instant::now() + Duration::from_secs(5);
        while !(pair.peer.ping(VICTIM_V6.parse().unwrap()) && pair.victim.ping(PEER_V4.parse().unwrap())) {
            assert!(Instant::now() < deadline, "the cable carries nothing");
        }
        pair
    }
}

/// What was read before the socket's timeout. A wait with a timeout may be interrupted at any time.
pub(super) fn received(mut read: impl FnMut() -> std::io::Result<usize>) -> Option<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            outcome => return outcome.ok(),
        }
    }
}

pub(super) fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

/// A pair of connected streams that answers whether bytes still pass.
pub(super) struct Conversation {
    pub(super) near: TcpStream,
    pub(super) far: TcpStream,
}

impl Conversation {
    pub(super) fn between(from: &Namespace, listener: &TcpListener, to: SocketAddr) -> Self {
        let near = from.connect(to).expect("connects before the partition");
        let far = loop {
            let (far, who) = listener.accept().unwrap();
            if who == near.local_addr().unwrap() {
                break far;
            }
        };
        Self { near, far }
    }

    /// Sends a byte one way and waits for it.
    pub(super) fn passes(&mut self, at_most: Duration) -> bool {
        self.near.write_all(b"x").unwrap();
        self.arrives(at_most)
    }

    /// Waits for a byte sent before.
    pub(super) fn arrives(&mut self, at_most: Duration) -> bool {
        self.far.set_read_timeout(Some(at_most)).unwrap();
        received(|| self.far.read(&mut [0])) == Some(1)
    }
}

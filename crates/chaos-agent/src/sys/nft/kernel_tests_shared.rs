//! Partitions of single processes in a shared network namespace, against the real kernel.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::kernel_tests::SLACK;
use super::test_net::{
    Conversation, Namespace, PEER_V4, Pair, VICTIM_V4, at, has_program, install, is_root, lease, name,
    received,
};
use super::{
    Cgroup, Connection, Direction, Listener, PartitionSpec, PortRange, ProcessSockets, ProofKind, Protocol,
    Scope,
};

const LONG: u64 = 20_000;

fn tcp(port: u16) -> Listener {
    Listener { protocol: Protocol::Tcp, address: None, port }
}

fn spec(direction: Direction, sockets: ProcessSockets) -> PartitionSpec {
    let (peers, ports) = (Vec::new(), Vec::new());
    PartitionSpec { name: name("process"), direction, scope: Scope::Process(sockets), peers, ports }
}

fn listening(listeners: &[Listener]) -> ProcessSockets {
    ProcessSockets { listeners: listeners.to_vec(), ..ProcessSockets::default() }
}

fn connection(talk: &Conversation) -> Connection {
    let (local, remote) = (talk.far.local_addr().unwrap(), talk.far.peer_addr().unwrap());
    Connection { protocol: Protocol::Tcp, local, remote }
}

#[test]
fn only_the_ports_a_process_listens_on_are_cut_off() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let _sockets = [
        pair.victim.listen("0.0.0.0:7001"),
        pair.victim.listen("[::1]:7001"),
        pair.victim.listen("0.0.0.0:7002"),
    ];
    let mut socket = pair.victim.socket();
    for direction in [Direction::In, Direction::Out, Direction::Both] {
        let spec = spec(direction, listening(&[tcp(7001)]));
        install(&mut socket, &spec, LONG);
        assert!(pair.peer.is_cut_off_from(at(VICTIM_V4, 7001)), "{direction:?}");
        assert!(pair.victim.is_cut_off_from(at("127.0.0.1", 7001)), "loopback as well");
        assert!(pair.victim.is_cut_off_from(at("::1", 7001)));
        assert!(pair.peer.reaches(at(VICTIM_V4, 7002)), "the neighbour is untouched");
        assert!(socket.remove(&spec.name).unwrap());
        assert!(pair.peer.reaches(at(VICTIM_V4, 7001)));
    }
}

#[test]
fn a_listener_of_one_address_leaves_the_same_port_of_others_alone() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let (_own, _other) = (pair.victim.listen("198.18.0.1:7001"), pair.victim.listen("127.0.0.1:7001"));
    let mut socket = pair.victim.socket();
    let own = Listener { address: Some(VICTIM_V4.parse().unwrap()), ..tcp(7001) };
    install(&mut socket, &spec(Direction::Both, listening(&[own])), LONG);
    assert!(pair.peer.is_cut_off_from(at(VICTIM_V4, 7001)));
    assert!(pair.victim.reaches(at("127.0.0.1", 7001)));
}

#[test]
fn an_established_connection_is_cut_and_its_neighbour_is_not() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let listener = pair.victim.listen("0.0.0.0:7001");
    let listener6 = pair.victim.listen("[fd00:18::1]:7001");
    let short = Duration::from_millis(60);
    for (listener, to) in [(&listener, "198.18.0.1:7001"), (&listener6, "[fd00:18::1]:7001")] {
        let to: SocketAddr = to.parse().unwrap();
        for direction in [Direction::In, Direction::Both] {
            let mut cut = Conversation::between(&pair.peer, listener, to);
            let mut free = Conversation::between(&pair.peer, listener, to);
            let connections = vec![connection(&cut)];
            let spec = spec(direction, ProcessSockets { connections, ..ProcessSockets::default() });
            let mut socket = pair.victim.socket();
            install(&mut socket, &spec, LONG);
            assert!(!cut.passes(short), "{to} {direction:?}");
            assert!(free.passes(Duration::from_secs(1)));
            assert!(pair.peer.reaches(to), "new connections are not meant here");
            assert!(socket.remove(&spec.name).unwrap());
            assert!(cut.arrives(Duration::from_secs(3)));
        }
        let talk = Conversation::between(&pair.peer, listener, to);
        let connections = vec![connection(&talk)];
        let mut answer = Conversation { near: talk.far, far: talk.near };
        let spec = spec(Direction::Out, ProcessSockets { connections, ..ProcessSockets::default() });
        let mut socket = pair.victim.socket();
        install(&mut socket, &spec, LONG);
        assert!(!answer.passes(short), "{to} out");
        assert!(socket.remove(&spec.name).unwrap());
        assert!(answer.arrives(Duration::from_secs(3)));
    }
}

#[test]
fn sockets_that_appear_later_are_added_while_it_is_held() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let (_one, listener) = (pair.victim.listen("0.0.0.0:7001"), pair.victim.listen("0.0.0.0:7002"));
    let mut talk = Conversation::between(&pair.peer, &listener, at(VICTIM_V4, 7002));
    let mut socket = pair.victim.socket();
    let spec = spec(Direction::Both, listening(&[tcp(7001)]));
    let mut made = install(&mut socket, &spec, LONG);
    assert!(talk.passes(Duration::from_secs(1)));
    let mut more = listening(&[tcp(7001), tcp(7002)]);
    more.connections.push(connection(&talk));
    for _ in 0..2 {
        socket.follow(&mut made, more.clone(), lease(LONG)).unwrap();
        assert!(pair.peer.is_cut_off_from(at(VICTIM_V4, 7002)));
        assert_eq!(socket.read(&spec.name).unwrap().elements.len(), 3, "following twice is following once");
    }
    assert!(!talk.passes(Duration::from_millis(60)));
    socket.refresh(&mut made, lease(LONG)).unwrap();
    socket.follow(&mut made, listening(&[tcp(7001)]), lease(LONG)).unwrap();
    assert!(pair.peer.reaches(at(VICTIM_V4, 7002)), "what the victim has no more is left alone");
    assert_eq!(socket.read(&spec.name).unwrap().elements.len(), 1);
    let cgroup = ProcessSockets { cgroup: Some(Cgroup { id: 1, level: 1 }), ..listening(&[tcp(7001)]) };
    assert!(socket.follow(&mut made, cgroup, lease(LONG)).is_err(), "that would take another rule");
    assert!(socket.release(&mut made).unwrap());
    assert!(!socket.release(&mut made).unwrap());
}

#[test]
fn the_kernel_alone_ends_a_partition_of_a_process_when_its_lease_is_over() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let listener = pair.victim.listen("0.0.0.0:7001");
    let talk = Conversation::between(&pair.peer, &listener, at(VICTIM_V4, 7001));
    let sockets = ProcessSockets {
        listeners: vec![tcp(7001)],
        connections: vec![connection(&talk)],
        cgroup: Some(Cgroup { id: 1, level: 0 }),
    };
    let mut socket = pair.victim.socket();
    let started = Instant::now();
    install(&mut socket, &spec(Direction::Both, sockets), 300);
    let installed = Instant::now();
    drop(socket);
    let reached = pair.peer.reaches(at(VICTIM_V4, 7001));
    // On a machine so busy that the lease lapsed meanwhile, nothing was promised.
    assert!(!reached || started.elapsed() > Duration::from_millis(290));
    let again = pair.peer.time_until_reached(at(VICTIM_V4, 7001), Duration::from_secs(3));
    assert!(again.is_some(), "traffic flows again");
    assert!(started.elapsed() >= Duration::from_millis(290), "{:?} of 300 ms", started.elapsed());
    assert!(installed.elapsed() <= SLACK + Duration::from_millis(300), "{:?}", installed.elapsed());
}

#[test]
fn peers_and_ports_narrow_what_is_cut_of_a_process() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let _sockets = (pair.victim.listen("0.0.0.0:7001"), pair.victim.listen("0.0.0.0:7002"));
    let mut socket = pair.victim.socket();
    let mut spec = spec(Direction::Both, listening(&[tcp(7001), tcp(7002)]));
    spec.peers = vec![PEER_V4.parse().unwrap()];
    spec.ports = vec![PortRange::from(7001)];
    install(&mut socket, &spec, LONG);
    assert!(pair.peer.is_cut_off_from(at(VICTIM_V4, 7001)));
    assert!(pair.peer.reaches(at(VICTIM_V4, 7002)));
    assert!(pair.victim.reaches(at("127.0.0.1", 7001)), "not a named peer");
}

/// A cgroup of the v2 tree that is removed with the value.
struct OwnCgroup {
    path: PathBuf,
    level: u8,
}

impl OwnCgroup {
    fn new() -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let root = mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let path = words.next()?;
            (words.next()? == "cgroup2").then(|| PathBuf::from(path))
        })?;
        let path = root.join(format!("chaos-nft-test-{}", std::process::id()));
        std::fs::create_dir(&path).ok()?;
        Some(Self { path, level: 1 })
    }

    fn cgroup(&self) -> Cgroup {
        Cgroup { id: std::fs::metadata(&self.path).unwrap().ino(), level: self.level }
    }

    /// A program that was started inside.
    fn start(&self, namespace: &Namespace, program: &str, arguments: &[&str]) -> Started {
        let enter = self.path.join("cgroup.procs");
        // A shell moves itself in before it becomes the program, so no socket is made outside.
        let script = format!("echo $$ > {} && exec \"$@\"", enter.display());
        let child = namespace.run(|| {
            let mut command = std::process::Command::new("sh");
            command.args(["-c", &script, "sh", program]).args(arguments);
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            command.spawn().unwrap()
        });
        Started(child)
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        for _ in 0..500 {
            if std::fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// A process that ends with its value.
struct Started(std::process::Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_sockets_of_a_cgroup_are_cut_off_and_those_of_others_are_not() {
    if !is_root() || !has_program("python3", "-V") {
        return;
    }
    let Some(own) = OwnCgroup::new() else {
        eprintln!("skipped: no cgroup v2 tree to make a cgroup in");
        return;
    };
    let pair = Pair::new();
    let _other = pair.victim.listen("0.0.0.0:7002");
    let serve = "import socket,time\ns=socket.socket()\ns.setsockopt(1,2,1)\ns.bind(('0.0.0.0',7001))\ns.listen(64)\n\
                 u=socket.socket(2,2)\nu.setblocking(False)\n\
                 while True:\n  time.sleep(0.005)\n  try: u.sendto(b'x',('198.18.0.2',7005))\n  except OSError: pass";
    let _server = own.start(&pair.victim, "python3", &["-c", serve]);
    let outside: UdpSocket = pair.peer.run(|| UdpSocket::bind("198.18.0.2:7005").unwrap());
    outside.set_read_timeout(Some(Duration::from_millis(60))).unwrap();
    let up = pair.peer.time_until_reached(at(VICTIM_V4, 7001), Duration::from_secs(10));
    assert!(up.is_some(), "the server starts");
    assert!(received(|| outside.recv(&mut [0])).is_some());
    let mut socket = pair.victim.socket();
    let sends = |expected: bool, shown: &str| {
        // What was on its way before is read first.
        outside.set_nonblocking(true).unwrap();
        while received(|| outside.recv(&mut [0])).is_some() {}
        outside.set_nonblocking(false).unwrap();
        assert_eq!(received(|| outside.recv(&mut [0])).is_some(), expected, "{shown}");
    };
    for (direction, sending) in [(Direction::In, true), (Direction::Out, false), (Direction::Both, false)] {
        let spec =
            spec(direction, ProcessSockets { cgroup: Some(own.cgroup()), ..ProcessSockets::default() });
        let mut made = install(&mut socket, &spec, LONG);
        if direction != Direction::Out {
            assert!(pair.peer.is_cut_off_from(at(VICTIM_V4, 7001)), "{direction:?}");
        }
        sends(sending, &format!("{direction:?}"));
        assert!(pair.peer.reaches(at(VICTIM_V4, 7002)), "another process");
        assert!(socket.refresh(&mut made, lease(LONG)).unwrap().is_some());
        assert!(socket.remove(&spec.name).unwrap());
        assert!(pair.peer.reaches(at(VICTIM_V4, 7001)));
    }
    sends(true, "after");
}

#[test]
fn a_partition_of_a_process_is_proven_through_its_listener() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let _tcp: TcpListener = pair.victim.listen("0.0.0.0:7001");
    let _own: TcpListener = pair.victim.listen("198.18.0.1:7003");
    let _six: TcpListener = pair.victim.listen("[::1]:7004");
    let _udp = pair.victim.run(|| UdpSocket::bind("127.0.0.1:7002").unwrap());
    let mut socket = pair.victim.socket();
    let mut check = |direction, listener: Listener, kind| {
        let spec = spec(direction, listening(&[listener]));
        let mut made = install(&mut socket, &spec, LONG);
        let proof = socket.prove(&made, Some(pair.victim.fd())).unwrap();
        assert_eq!(proof.kind, kind, "{direction:?} {listener:?}");
        assert!(socket.release(&mut made).unwrap());
    };
    let udp = Listener { protocol: Protocol::Udp, ..tcp(7002) };
    for direction in [Direction::In, Direction::Out, Direction::Both] {
        check(direction, tcp(7001), ProofKind::DroppedPacket);
        check(
            direction,
            Listener { address: Some(VICTIM_V4.parse().unwrap()), ..tcp(7003) },
            ProofKind::DroppedPacket,
        );
        check(
            direction,
            Listener { address: Some("::1".parse().unwrap()), ..tcp(7004) },
            ProofKind::DroppedPacket,
        );
    }
    check(Direction::In, udp, ProofKind::DroppedPacket);
    check(Direction::Out, udp, ProofKind::KernelReadBack);
    // What is not reachable from here cannot be probed.
    let mut narrowed = spec(Direction::Both, listening(&[tcp(7001)]));
    narrowed.peers = vec![PEER_V4.parse().unwrap()];
    let made = install(&mut socket, &narrowed, LONG);
    assert_eq!(socket.prove(&made, Some(pair.victim.fd())).unwrap().kind, ProofKind::KernelReadBack);
}

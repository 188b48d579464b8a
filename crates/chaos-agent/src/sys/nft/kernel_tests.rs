//! Partitions of whole network namespaces, against the real kernel.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::test_net::{
    Conversation, PEER_V4, PEER_V6, Pair, VICTIM_V4, VICTIM_V6, at, cut, install, is_root, lease, name,
    received,
};
use super::{
    Cgroup, Connection, Direction, Lease, Listener, NftError, NftSocket, Partition, PartitionSpec, PortRange,
    ProcessSockets, ProofKind, Protocol, SOCKETS_MAX, Scope, TABLE,
};

const LONG: u64 = 20_000;
/// How late a loaded machine may notice that a lease is over.
pub(super) const SLACK: Duration = Duration::from_secs(2);

#[test]
fn nothing_connects_during_a_partition_and_everything_does_after() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let _four = pair.victim.listen("198.18.0.1:7001");
    let _six = pair.victim.listen("[fd00:18::1]:7001");
    let _away = pair.peer.listen("198.18.0.2:7001");
    let local = pair.victim.listen("127.0.0.1:7002");
    let (four, six, away) = (at(VICTIM_V4, 7001), at(VICTIM_V6, 7001), at(PEER_V4, 7001));
    assert!(pair.peer.reaches(four) && pair.peer.reaches(six) && pair.victim.reaches(away));
    let mut socket = pair.victim.socket();
    let spec = cut("all", Direction::Both, &[], &[]);
    install(&mut socket, &spec, LONG);
    assert!(pair.peer.is_cut_off_from(four));
    assert!(pair.peer.is_cut_off_from(six));
    assert!(pair.victim.is_cut_off_from(away));
    assert!(!pair.peer.ping(four.ip()) && !pair.peer.ping(six.ip()));
    assert!(pair.victim.reaches(local.local_addr().unwrap()), "loopback is not part of it");
    assert!(socket.read(&spec.name).unwrap().packets > 20);
    assert!(socket.remove(&spec.name).unwrap());
    assert!(pair.peer.reaches(four) && pair.peer.reaches(six) && pair.victim.reaches(away));
}

#[test]
fn an_established_connection_stalls_and_resumes() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let listener = pair.victim.listen("198.18.0.1:7001");
    let mut talk = Conversation::between(&pair.peer, &listener, at(VICTIM_V4, 7001));
    assert!(talk.passes(Duration::from_secs(1)));
    let mut socket = pair.victim.socket();
    install(&mut socket, &cut("stall", Direction::Both, &[PEER_V4], &[]), LONG);
    assert!(!talk.passes(Duration::from_millis(100)));
    assert!(socket.remove(&name("stall")).unwrap());
    assert!(talk.arrives(Duration::from_secs(3)), "retransmission brings it");
}

#[test]
fn a_direction_drops_packets_one_way_only() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let bind = |address: &'static str| move || UdpSocket::bind(address).unwrap();
    let mut socket = pair.victim.socket();
    for (victim, peer) in [("198.18.0.1:7005", "198.18.0.2:7005"), ("[fd00:18::1]:7005", "[fd00:18::2]:7005")]
    {
        let (inside, outside) = (pair.victim.run(bind(victim)), pair.peer.run(bind(peer)));
        for (direction, arrives_in, arrives_out) in
            [(Direction::In, false, true), (Direction::Out, true, false), (Direction::Both, false, false)]
        {
            for peers in [&[][..], &["198.18.0.0/16", "fd00::/8"]] {
                for ports in [&[][..], &[7005]] {
                    let spec = cut("way", direction, peers, ports);
                    install(&mut socket, &spec, LONG);
                    let shown = format!("{direction:?} {peers:?} {ports:?} {victim}");
                    let got_in = pair.peer.datagram_arrives(&inside, victim.parse().unwrap());
                    let got_out = pair.victim.datagram_arrives(&outside, peer.parse().unwrap());
                    assert_eq!((got_in, got_out), (arrives_in, arrives_out), "{shown}");
                    assert!(socket.remove(&spec.name).unwrap());
                }
            }
        }
        assert!(pair.peer.datagram_arrives(&inside, victim.parse().unwrap()));
    }
}

#[test]
fn only_the_peers_that_are_named_are_cut_off() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let _four = pair.victim.listen("198.18.0.1:7001");
    let _six = pair.victim.listen("[fd00:18::1]:7001");
    let (four, six) = (at(VICTIM_V4, 7001), at(VICTIM_V6, 7001));
    let mut socket = pair.victim.socket();
    let mut check = |peers: &[&str], reaches_four: bool, reaches_six: bool| {
        install(&mut socket, &cut("who", Direction::Both, peers, &[]), LONG);
        assert_eq!(
            (pair.peer.reaches(four), pair.peer.reaches(six)),
            (reaches_four, reaches_six),
            "{peers:?}"
        );
        assert!(socket.remove(&name("who")).unwrap());
    };
    check(&[PEER_V4], false, true);
    check(&[PEER_V6], true, false);
    check(&["198.18.0.3", "198.18.0.0/31", "fd00:18::8/125", "255.255.255.255"], true, true);
    check(&["198.18.0.2/31", "198.18.0.0/24", "10.0.0.0/8"], false, true);
    check(&["0.0.0.0/0", "::/0"], false, false);
    check(&["ffff::/16", "fd00:18::/126"], true, false);
    check(&["::ffff:198.18.0.2"], false, true);
}

#[test]
fn only_the_ports_that_are_named_are_cut_off() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let _one = pair.victim.listen("198.18.0.1:7001");
    let _other = pair.victim.listen("198.18.0.1:7009");
    let _away = pair.peer.listen("198.18.0.2:7003");
    let mut socket = pair.victim.socket();
    let mut spec = cut("ports", Direction::Both, &[], &[7001]);
    spec.ports.push(PortRange::new(7002, 7004).unwrap());
    for peers in [&[][..], &[PEER_V4]] {
        spec.peers = peers.iter().map(|peer| peer.parse().unwrap()).collect();
        install(&mut socket, &spec, LONG);
        assert!(pair.peer.is_cut_off_from(at(VICTIM_V4, 7001)));
        assert!(pair.victim.is_cut_off_from(at(PEER_V4, 7003)));
        assert!(pair.peer.reaches(at(VICTIM_V4, 7009)));
        assert!(pair.peer.ping(VICTIM_V4.parse().unwrap()), "what has no ports passes");
        assert!(socket.remove(&spec.name).unwrap());
    }
}

#[test]
fn a_loopback_peer_includes_the_loopback_interface() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let local = pair.victim.listen("127.0.0.1:7002");
    let mut socket = pair.victim.socket();
    install(&mut socket, &cut("lo", Direction::In, &["127.0.0.0/8"], &[]), LONG);
    assert!(pair.victim.is_cut_off_from(local.local_addr().unwrap()));
    assert!(socket.remove(&name("lo")).unwrap());
    assert!(pair.victim.reaches(local.local_addr().unwrap()));
}

#[test]
fn ipv6_neighbours_are_still_found_during_a_partition() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let mut socket = pair.victim.socket();
    install(&mut socket, &cut("nd", Direction::In, &[PEER_V6], &[]), LONG);
    let outside = pair.peer.run(|| UdpSocket::bind("[fd00:18::2]:7005").unwrap());
    pair.victim.command("ip", "-6 neigh flush dev cable");
    // An unanswered solicitation is repeated after a second.
    let arrives = (0..120).any(|_| pair.victim.datagram_arrives(&outside, at(PEER_V6, 7005)));
    assert!(arrives, "sending does not need what is cut");
    assert!(!pair.peer.ping(VICTIM_V6.parse().unwrap()));
}

#[test]
fn two_partitions_of_one_namespace_do_not_disturb_each_other() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let _one = pair.victim.listen("198.18.0.1:7001");
    let _other = pair.victim.listen("198.18.0.1:7002");
    let (one, other) = (at(VICTIM_V4, 7001), at(VICTIM_V4, 7002));
    let mut socket = pair.victim.socket();
    let first = cut("first", Direction::In, &[], &[7001]);
    let mut made = install(&mut socket, &first, LONG);
    install(&mut pair.victim.socket(), &cut("second", Direction::Both, &[], &[7002]), LONG);
    assert_eq!(socket.list().unwrap().into_iter().collect::<Vec<_>>(), vec![name("first"), name("second")]);
    assert!(socket.remove(&name("second")).unwrap());
    assert!(pair.peer.is_cut_off_from(one));
    assert!(pair.peer.reaches(other));
    assert!(socket.read(&name("second")).unwrap().is_absent());
    socket.refresh(&mut made, lease(LONG)).unwrap();
    assert!(socket.release(&mut made).unwrap());
    assert!(pair.peer.reaches(one));
}

#[test]
fn the_kernel_alone_ends_a_partition_when_its_lease_is_over() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let _listener = pair.victim.listen("198.18.0.1:7001");
    for (peers, ports) in [(&[][..], &[][..]), (&[PEER_V4], &[]), (&[], &[7001]), (&[PEER_V4], &[7001])] {
        let mut socket = pair.victim.socket();
        let spec = cut("lease", Direction::Both, peers, ports);
        let started = Instant::now();
        let mut made = install(&mut socket, &spec, 300);
        let installed = Instant::now();
        drop(socket);
        let reached = pair.peer.reaches(at(VICTIM_V4, 7001));
        // On a machine so busy that the lease lapsed meanwhile, nothing was promised.
        assert!(!reached || started.elapsed() > Duration::from_millis(290));
        pair.peer
            .time_until_reached(at(VICTIM_V4, 7001), Duration::from_secs(3))
            .expect("traffic flows again");
        assert!(started.elapsed() >= Duration::from_millis(290), "{:?} of 300 ms", started.elapsed());
        assert!(installed.elapsed() <= SLACK + Duration::from_millis(300), "{:?}", installed.elapsed());
        let mut socket = pair.victim.socket();
        assert!(socket.read(&spec.name).unwrap().is_absent());
        let lapsed = socket.refresh(&mut made, lease(LONG)).unwrap_err();
        assert!(matches!(lapsed, NftError::NotInEffect { .. }), "{lapsed}");
        socket.install(&mut made, lease(LONG)).unwrap();
        assert!(!pair.peer.reaches(at(VICTIM_V4, 7001)), "it is taken up again");
        assert!(socket.release(&mut made).unwrap());
    }
}

#[test]
fn refreshing_keeps_a_partition_beyond_its_lease_without_a_gap() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let _listener = pair.victim.listen("198.18.0.1:7001");
    let mut socket = pair.victim.socket();
    for (peers, ports) in
        [(&[][..], &[][..]), (&[PEER_V4, "10.0.0.0/8"], &[]), (&[PEER_V4, PEER_V6], &[7001, 80])]
    {
        let spec = cut("keep", Direction::Both, peers, ports);
        let mut made = install(&mut socket, &spec, 200);
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(700) {
            let refreshed = Instant::now();
            let left = socket.refresh(&mut made, lease(200));
            let reached = pair.peer.reaches(at(VICTIM_V4, 7001));
            // On a machine so busy that the lease lapsed meanwhile, nothing was promised.
            if refreshed.elapsed() < Duration::from_millis(200) {
                let left = left.unwrap().expect("it has elements");
                assert!(left <= Duration::from_millis(200), "{left:?}");
                assert!(!reached, "{peers:?} {ports:?}");
            }
        }
        socket.install(&mut made, lease(LONG)).unwrap();
        assert!(socket.remove(&spec.name).unwrap());
        let gone = socket.refresh(&mut made, lease(200)).unwrap_err();
        assert!(matches!(gone, NftError::NotInEffect { .. }), "{gone}");
    }
}

#[test]
fn not_one_packet_of_a_flood_passes_while_a_lease_is_refreshed() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let inside = pair.victim.run(|| UdpSocket::bind("198.18.0.1:7005").unwrap());
    inside.set_nonblocking(true).unwrap();
    let outside = pair.peer.run(|| UdpSocket::bind("198.18.0.2:0").unwrap());
    let listeners = vec![Listener { protocol: Protocol::Udp, address: None, port: 7005 }];
    let process = Scope::Process(ProcessSockets { listeners, ..ProcessSockets::default() });
    let mut specs = vec![
        cut("flood", Direction::In, &[], &[]),
        cut("flood", Direction::In, &[PEER_V4, "10.0.0.0/8"], &[]),
        cut("flood", Direction::In, &[], &[80, 7005]),
    ];
    specs.push(PartitionSpec { scope: process, ..specs[0].clone() });
    let mut socket = pair.victim.socket();
    for spec in specs {
        let mut made = install(&mut socket, &spec, LONG);
        let done = AtomicBool::new(false);
        let sent = std::thread::scope(|scope| {
            let flood = scope.spawn(|| {
                let mut sent = 0_u64;
                while !done.load(Ordering::Relaxed) {
                    sent += u64::from(outside.send_to(b"x", at(VICTIM_V4, 7005)).is_ok());
                }
                sent
            });
            for _ in 0..1_000 {
                socket.refresh(&mut made, lease(LONG)).unwrap();
            }
            // The last renewal began the count anew.
            let deadline = Instant::now() + SLACK;
            while socket.dropped(&made).unwrap() == 0 {
                assert!(Instant::now() < deadline, "the flood meets the partition");
            }
            done.store(true, Ordering::Relaxed);
            flood.join().unwrap()
        });
        let mut passed = 0;
        while received(|| inside.recv(&mut [0])).is_some() {
            passed += 1;
        }
        assert_eq!(passed, 0, "of {sent} packets through {:?} {:?}", spec.peers, spec.ports);
        assert!(sent > 100, "{sent} sent");
        assert!(socket.release(&mut made).unwrap());
    }
}

#[test]
fn removing_twice_is_removing_once_and_installing_twice_is_installing_once() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let mut socket = pair.victim.socket();
    assert!(!socket.remove(&name("twice")).unwrap(), "without a table as well");
    let spec = cut("twice", Direction::Both, &[PEER_V4], &[7001]);
    for _ in 0..2 {
        install(&mut socket, &spec, LONG);
        let reading = socket.read(&spec.name).unwrap();
        assert_eq!((reading.rules, reading.elements.len()), (4, 2));
    }
    assert!(socket.remove(&spec.name).unwrap());
    assert!(!socket.remove(&spec.name).unwrap());
    assert!(socket.list().unwrap().is_empty());
}

#[test]
fn the_largest_partition_is_installed_refreshed_and_removed() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let mut socket = pair.victim.socket();
    let mut spec: PartitionSpec = cut("large", Direction::Both, &[], &[]);
    let block = |number: u32| format!("10.{}.{}.0/25", number / 256, number % 256).parse().unwrap();
    spec.peers = (0..4_096).map(block).collect();
    spec.ports = (0..1_024).map(|number| PortRange::from(number * 3)).collect();
    let mut made = install(&mut socket, &spec, LONG);
    let block = |number: u32| SocketAddr::from(([10, 1, (number / 256) as u8, (number % 256) as u8], 80));
    let talk =
        |number| Connection { protocol: Protocol::Tcp, local: at(VICTIM_V4, 7001), remote: block(number) };
    let connections = (0..SOCKETS_MAX as u32).map(talk).collect();
    let sockets = Scope::Process(ProcessSockets { connections, ..ProcessSockets::default() });
    let many =
        PartitionSpec { name: name("many"), scope: sockets, ..cut("large", Direction::Both, &[], &[]) };
    let mut many = install(&mut socket, &many, LONG);
    assert_eq!(socket.live_marks(&many).unwrap(), SOCKETS_MAX);
    socket.refresh(&mut made, lease(LONG)).unwrap();
    socket.refresh(&mut many, lease(LONG)).unwrap();
    assert!(socket.release(&mut many).unwrap());
    assert_eq!(socket.live_marks(&many).unwrap(), 0);
    assert!(socket.remove(&spec.name).unwrap());
    assert!(socket.read(&spec.name).unwrap().is_absent());
}

#[test]
fn a_partition_is_proven_by_a_dropped_packet_where_one_can_be_made() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let mut socket = pair.victim.socket();
    let mut check = |direction, peers: &[&str], ports: &[u16], kind| {
        let spec = cut("proof", direction, peers, ports);
        let mut made = install(&mut socket, &spec, LONG);
        let started = Instant::now();
        let proof = socket.prove(&made, Some(pair.victim.fd())).unwrap();
        let took = started.elapsed();
        assert_eq!(proof.kind, kind, "{direction:?} {peers:?} {ports:?}");
        assert_eq!(proof.packets > 0, kind == ProofKind::DroppedPacket);
        assert!(took < Duration::from_millis(100), "{took:?}");
        assert!(socket.release(&mut made).unwrap());
        let gone = socket.prove(&made, Some(pair.victim.fd()));
        assert!(gone.is_err(), "nothing is proven about a partition that is not there");
        took
    };
    let mut slowest = Duration::ZERO;
    for peers in [&[][..], &[PEER_V4], &[PEER_V6], &["198.18.0.0/24"], &["0.0.0.0/0"]] {
        for ports in [&[][..], &[7001]] {
            slowest = slowest.max(check(Direction::Out, peers, ports, ProofKind::DroppedPacket));
            slowest = slowest.max(check(Direction::Both, peers, ports, ProofKind::DroppedPacket));
        }
    }
    check(Direction::In, &["127.0.0.1"], &[], ProofKind::DroppedPacket);
    check(Direction::In, &[PEER_V4], &[], ProofKind::KernelReadBack);
    check(Direction::Out, &["10.99.0.0/16"], &[], ProofKind::KernelReadBack);
    eprintln!("slowest proof {slowest:?}");
}

#[test]
fn a_refused_message_is_named_with_the_reason() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    pair.victim.command("nft", "add table inet chaos");
    pair.victim.command("nft", "add chain inet chaos input { type filter hook input priority 5 ; }");
    let mut socket = pair.victim.socket();
    let mut bad = Partition::new(cut("bad", Direction::In, &[], &[])).unwrap();
    let error = socket.install(&mut bad, lease(LONG)).unwrap_err();
    assert!(error.to_string().contains("make the chain input"), "{error}");
    assert!(socket.read(&name("bad")).unwrap().is_absent(), "all or nothing");
}

#[test]
fn a_lease_is_between_a_millisecond_and_a_day() {
    assert!(Lease::new(Duration::ZERO).is_err());
    assert!(Lease::new(Duration::from_secs(86_401)).is_err());
    assert_eq!(Lease::new(Duration::from_secs(15)).unwrap().length(), Duration::from_secs(15));
}

#[test]
fn installing_and_removing_do_not_take_long() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let opened = Instant::now();
    let mut socket: NftSocket = pair.victim.socket();
    let mut times: [Vec<Duration>; 7] = Default::default();
    let open = opened.elapsed();
    let spec = cut("speed", Direction::Both, &[PEER_V4, PEER_V6], &[7001]);
    let mut timed = |index: usize, work: &mut dyn FnMut()| {
        let started = Instant::now();
        work();
        times[index].push(started.elapsed());
    };
    let listeners = (1..=10).map(|port| Listener { protocol: Protocol::Tcp, address: None, port });
    let talk =
        |port| Connection { protocol: Protocol::Tcp, local: at(VICTIM_V4, 80), remote: at(PEER_V4, port) };
    let sockets = ProcessSockets {
        listeners: listeners.collect(),
        connections: (1..=200).map(talk).collect(),
        cgroup: Some(Cgroup { id: 1, level: 1 }),
    };
    let process = PartitionSpec { scope: Scope::Process(sockets), ..spec.clone() };
    for _ in 0..50 {
        let mut made = Partition::new(process.clone()).unwrap();
        timed(4, &mut || socket.install(&mut made, lease(LONG)).unwrap());
        timed(5, &mut || assert!(socket.refresh(&mut made, lease(LONG)).unwrap().is_some()));
        timed(6, &mut || assert!(socket.release(&mut made).unwrap()));
        let mut made = Partition::new(spec.clone()).unwrap();
        timed(0, &mut || socket.install(&mut made, lease(LONG)).unwrap());
        timed(1, &mut || assert!(socket.refresh(&mut made, lease(LONG)).unwrap().is_some()));
        timed(2, &mut || drop(socket.read(&spec.name).unwrap()));
        timed(3, &mut || assert!(socket.release(&mut made).unwrap()));
    }
    const NAMES: [&str; 7] = [
        "install",
        "refresh",
        "read",
        "remove",
        "install (process, 211 elements)",
        "refresh (process)",
        "remove (process)",
    ];
    for (what, mut taken) in NAMES.into_iter().zip(times) {
        taken.sort_unstable();
        eprintln!("{what}: median {:?}, slowest {:?}", taken[25], taken[49]);
        assert!(taken[25] < Duration::from_millis(100), "{what} takes {:?}", taken[25]);
    }
    eprintln!("open {open:?}, table {TABLE}");
}

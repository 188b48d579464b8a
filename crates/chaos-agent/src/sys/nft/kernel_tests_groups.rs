//! Partitions that share rules, against the real kernel: whatever comes and goes in whatever order, each is its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::test_net::{Pair, VICTIM_V4, at, cut, install, is_root, lease, name};
use super::{
    Cgroup, Direction, Listener, NftError, Partition, PartitionSpec, ProcessSockets, Protocol, Scope,
    TableRemoval,
};

const LONG: u64 = 20_000;

fn listens(id: &str, ports: &[u16]) -> PartitionSpec {
    let listener = |port: &u16| Listener { protocol: Protocol::Tcp, address: None, port: *port };
    let sockets =
        ProcessSockets { listeners: ports.iter().map(listener).collect(), ..ProcessSockets::default() };
    PartitionSpec { scope: Scope::Process(sockets), ..cut(id, Direction::Both, &[], &[]) }
}

/// Every order of three things.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

#[test]
fn partitions_of_one_victim_end_one_by_one_in_every_order() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let _listener = pair.victim.listen("0.0.0.0:7001");
    let to = at(VICTIM_V4, 7001);
    let names = ["one", "two", "three"];
    for of in [|id: &str| listens(id, &[7001]), |id: &str| cut(id, Direction::Both, &[], &[])] {
        for (round, order) in ORDERS.into_iter().enumerate() {
            // Each by a socket of its own, as different fault processes have.
            let mut made = names.map(|id| {
                let mut socket = pair.victim.socket();
                let partition = install(&mut socket, &of(id), LONG);
                (socket, partition)
            });
            assert!(made.iter().all(|(_, one)| one.shape() == made[0].1.shape()), "they share their rules");
            for (gone, index) in order.into_iter().enumerate() {
                assert!(!pair.peer.reaches(to), "{gone} of {order:?} are gone");
                let (socket, partition) = &mut made[index];
                // By its maker, and by a stranger.
                let removed = if round % 2 == 0 {
                    socket.release(partition)
                } else {
                    socket.remove(&name(names[index]))
                };
                assert!(removed.unwrap());
                for (other, (socket, partition)) in made.iter_mut().enumerate() {
                    let is_left = order.into_iter().skip(gone + 1).any(|left| left == other);
                    assert_eq!(socket.live_marks(partition).unwrap() > 0, is_left, "{other} in {order:?}");
                    match socket.refresh(partition, lease(LONG)) {
                        Ok(_) => assert!(is_left),
                        Err(NftError::NotInEffect { .. }) => assert!(!is_left),
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            assert!(pair.peer.reaches(to));
        }
    }
    let mut socket = pair.victim.socket();
    socket.remove_inert(None).unwrap();
    assert_eq!(socket.remove_table_if_empty().unwrap(), TableRemoval::Removed);
}

#[test]
fn a_hundred_partitions_are_a_hundred_elements_behind_the_rules_of_one() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let mut socket = pair.victim.socket();
    let rules = || pair.victim.command("nft", "list table inet chaos").matches(" drop").count();
    let mut first = install(&mut socket, &listens("victim-0", &[8_000]), LONG);
    let alone = rules();
    let mut made: Vec<Partition> = (1..100)
        .map(|number| install(&mut socket, &listens(&format!("victim-{number}"), &[8_000 + number]), LONG))
        .collect();
    assert_eq!(rules(), alone);
    assert_eq!(socket.list().unwrap().len(), 100);
    assert!(socket.release(&mut first).unwrap());
    assert_eq!(socket.remove_inert(None).unwrap(), 0, "others need the rules");
    for one in &mut made {
        assert!(socket.release(one).unwrap());
    }
    assert_eq!(socket.remove_inert(Some(first.shape())).unwrap(), 1);
    assert_eq!(socket.remove_table_if_empty().unwrap(), TableRemoval::Removed);
}

#[test]
fn each_partition_counts_what_it_drops_itself() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let _sockets = (pair.victim.listen("0.0.0.0:7001"), pair.victim.listen("0.0.0.0:7002"));
    let mut socket = pair.victim.socket();
    let met = install(&mut socket, &listens("met", &[7001]), LONG);
    let spared = install(&mut socket, &listens("spared", &[7002]), LONG);
    assert!(!pair.peer.reaches(at(VICTIM_V4, 7001)));
    assert!(socket.dropped(&met).unwrap() > 0);
    assert_eq!(socket.dropped(&spared).unwrap(), 0);
}

#[test]
fn a_partition_that_lapsed_never_takes_what_another_has_put_in_its_place() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let _listener = pair.victim.listen("0.0.0.0:7001");
    let to = at(VICTIM_V4, 7001);
    let mut socket = pair.victim.socket();
    let mut lapsed = install(&mut socket, &listens("lapsed", &[7001]), 30);
    let started = Instant::now();
    while socket.live_marks(&lapsed).unwrap() > 0 {
        assert!(started.elapsed() < Duration::from_secs(5), "the kernel lets it go");
    }
    assert!(pair.peer.reaches(to));
    let mut other = install(&mut socket, &listens("other", &[7001]), LONG);
    assert!(!socket.release(&mut lapsed).unwrap(), "there was nothing of it");
    assert!(!socket.remove(&name("lapsed")).unwrap());
    assert!(!pair.peer.reaches(to), "the other is untouched");
    socket.install(&mut lapsed, lease(LONG)).unwrap();
    assert!(socket.release(&mut other).unwrap());
    assert!(!pair.peer.reaches(to), "it found another place");
    assert!(socket.release(&mut lapsed).unwrap());
    assert!(pair.peer.reaches(to));
}

#[test]
fn rules_that_were_flushed_are_made_again_by_the_next_that_needs_them() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let _listener = pair.victim.listen("0.0.0.0:7001");
    let mut socket = pair.victim.socket();
    let made = install(&mut socket, &listens("flushed", &[7002]), LONG);
    pair.victim.command("nft", "flush chain inet chaos input");
    assert!(!socket.list_rules().unwrap().serve(&made), "its maker sees it");
    let next = install(&mut socket, &listens("next", &[7001]), LONG);
    let rules = socket.list_rules().unwrap();
    assert!(rules.serve(&next) && rules.serve(&made));
    assert!(!pair.peer.reaches(at(VICTIM_V4, 7001)));
}

/// What each contender does again and again with partitions that share rules, sockets and names with nobody's.
fn come_and_go(pair: &Pair, contender: usize, rounds: usize) -> usize {
    let mut socket = pair.victim.socket();
    for round in 0..rounds {
        let spec =
            listens(&format!("c{contender}-{round}"), &[7001, 7002 + u16::try_from(contender).unwrap()]);
        let mut made = install(&mut socket, &spec, LONG);
        assert_eq!(socket.live_marks(&made).unwrap(), 2, "{contender} in round {round}");
        assert!(socket.refresh(&mut made, lease(LONG)).unwrap().is_some());
        let removed = if round % 2 == 0 { socket.release(&mut made) } else { socket.remove(&spec.name) };
        assert!(removed.unwrap(), "{contender} in round {round}");
        assert_eq!(socket.live_marks(&made).unwrap(), 0);
        socket.remove_inert(Some(made.shape())).unwrap();
    }
    rounds
}

#[test]
fn those_that_come_and_go_at_the_same_time_lose_nothing_and_leave_nothing() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let _listener = pair.victim.listen("0.0.0.0:7001");
    let started = Instant::now();
    let stays = install(&mut pair.victim.socket(), &listens("stays", &[7001]), LONG);
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for contender in 0..3 {
            let (pair, done) = (&pair, &done);
            scope.spawn(move || done.fetch_add(come_and_go(pair, contender, 60), Ordering::Relaxed));
        }
        let mut socket = pair.victim.socket();
        while done.load(Ordering::Relaxed) < 180 {
            let (marks, rules) = (socket.live_marks(&stays).unwrap(), socket.list_rules().unwrap());
            assert!(
                marks == 1 && rules.serve(&stays),
                "{marks} marks, {rules:?} after {:?}",
                started.elapsed()
            );
            std::thread::yield_now();
        }
    });
    let mut socket = pair.victim.socket();
    assert_eq!(socket.list().unwrap().into_iter().collect::<Vec<_>>(), [name("stays")]);
    assert!(!pair.peer.reaches(at(VICTIM_V4, 7001)));
    assert!(socket.remove(&name("stays")).unwrap(), "the rules go with the last");
    assert_eq!(socket.remove_inert(None).unwrap(), 0);
    assert_eq!(socket.remove_table_if_empty().unwrap(), TableRemoval::Removed);
}

#[test]
fn one_partition_that_is_removed_by_many_at_once_is_removed_once() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let mut socket = pair.victim.socket();
    for round in 0..40 {
        let cgroup = Some(Cgroup { id: 7, level: 1 });
        let Scope::Process(sockets) = listens("both", &[7001, 7002]).scope else { unreachable!() };
        let scope = Scope::Process(ProcessSockets { cgroup, ..sockets });
        let spec = PartitionSpec { scope, ..listens("both", &[]) };
        install(&mut socket, &spec, LONG);
        let remove = || pair.victim.socket().remove(&spec.name).unwrap();
        let removed: Vec<bool> = std::thread::scope(|scope| {
            let removers: Vec<_> = (0..2).map(|_| scope.spawn(remove)).collect();
            removers.into_iter().map(|remover| remover.join().unwrap()).collect()
        });
        assert_eq!(removed.iter().filter(|removed| **removed).count(), 1, "round {round}");
        assert!(socket.read(&spec.name).unwrap().is_absent());
    }
}

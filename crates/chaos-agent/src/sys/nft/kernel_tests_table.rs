//! Our table against the real kernel: when it goes, and what changes at the same time is worth.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::test_net::{Pair, cut, install, is_root, lease, name};
use super::{Direction, TableRemoval};

const LONG: u64 = 20_000;

#[test]
fn an_empty_table_is_removed_and_a_used_or_foreign_one_is_not() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let mut socket = pair.victim.socket();
    assert_eq!(socket.remove_table_if_empty().unwrap(), TableRemoval::Absent);
    install(&mut socket, &cut("used", Direction::In, &[], &[]), LONG);
    pair.victim.command("nft", "add table ip other");
    assert_eq!(socket.remove_table_if_empty().unwrap(), TableRemoval::InUse);
    assert!(socket.remove(&name("used")).unwrap());
    pair.victim.command("nft", "add rule inet chaos input udp dport 4000 accept");
    assert_eq!(socket.remove_table_if_empty().unwrap(), TableRemoval::InUse);
    pair.victim.command("nft", "flush chain inet chaos input");
    assert_eq!(socket.remove_table_if_empty().unwrap(), TableRemoval::Removed);
    assert_eq!(pair.victim.command("nft", "list tables").trim(), "table ip other");
}

#[test]
fn an_install_at_the_same_time_is_never_lost_with_the_table() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let done = AtomicBool::new(false);
    let (mut removed, mut installs) = (0, 0);
    std::thread::scope(|scope| {
        let installer = scope.spawn(|| {
            let mut socket = pair.victim.socket();
            let spec = cut("race", Direction::In, &[], &[]);
            for round in 0..60 {
                install(&mut socket, &spec, LONG);
                let reading = socket.read(&spec.name).unwrap();
                assert!(reading.is_in_effect(), "lost in round {round}: {reading:?}");
                assert!(socket.remove(&spec.name).unwrap());
            }
            done.store(true, Ordering::Relaxed);
            60
        });
        let mut socket = pair.victim.socket();
        while !done.load(Ordering::Relaxed) && !installer.is_finished() {
            match socket.remove_table_if_empty() {
                Ok(TableRemoval::Removed) => removed += 1,
                Ok(_) | Err(super::NftError::Contended { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        installs = installer.join().unwrap();
    });
    eprintln!("{installs} installs against {removed} removals of the table");
}

#[test]
fn a_batch_for_an_older_generation_of_the_rule_set_is_refused() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let mut socket = pair.victim.socket();
    install(&mut socket, &cut("old", Direction::In, &[], &[]), LONG);
    let read = super::encode::read_generation;
    let generation = socket.ask(super::encode::message::GET_GENERATION, "read the generation", read).unwrap();
    pair.victim.command("nft", "add table ip other");
    let mut batch = super::socket::Batch::for_generation(generation);
    batch.add(super::encode::message::DEL_TABLE, 0, "remove the table", super::encode::table);
    assert!(socket.commit(batch).unwrap_err().outdated());
    assert!(socket.read(&name("old")).unwrap().is_in_effect(), "the socket stays usable and nothing changed");
}

#[test]
fn only_rules_that_nobody_needs_are_removed_as_inert() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let mut socket = pair.victim.socket();
    assert_eq!(socket.remove_inert(None).unwrap(), 0, "there is nothing");
    let spec = cut("inert", Direction::Both, &["10.0.0.0/8"], &[80]);
    let mut made = install(&mut socket, &spec, LONG);
    let mut other = install(&mut socket, &cut("other", Direction::In, &[], &[]), LONG);
    assert_eq!(socket.remove_inert(None).unwrap(), 0, "both are live");
    assert!(socket.release(&mut made).unwrap());
    assert_eq!(socket.remove_inert(Some(other.shape())).unwrap(), 0, "that one is live");
    assert_eq!(socket.remove_inert(Some(made.shape())).unwrap(), 1);
    socket.install(&mut made, lease(50)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while socket.remove_inert(None).unwrap() == 0 {
        assert!(Instant::now() < deadline, "its lease ends");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(socket.read(&other.spec().name).unwrap().is_in_effect());
    assert!(socket.release(&mut other).unwrap());
    assert_eq!(socket.remove_table_if_empty().unwrap(), TableRemoval::InUse, "rules are left");
    assert_eq!(socket.remove_inert(None).unwrap(), 1);
    assert_eq!(socket.remove_table_if_empty().unwrap(), TableRemoval::Removed);
}

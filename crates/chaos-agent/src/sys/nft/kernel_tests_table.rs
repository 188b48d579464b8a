//! Our table against the real kernel: when it goes, and what changes at the same time is worth.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::test_net::{Pair, cut, is_root, lease, name};
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
    socket.install(&cut("used", Direction::In, &[], &[]), lease(LONG)).unwrap();
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
                socket.install(&spec, lease(LONG)).unwrap();
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
    socket.install(&cut("old", Direction::In, &[], &[]), lease(LONG)).unwrap();
    let read = super::encode::read_generation;
    let generation = socket.ask(super::encode::message::GET_GENERATION, "read the generation", read).unwrap();
    pair.victim.command("nft", "add table ip other");
    let mut batch = socket.batch(Some(generation));
    batch.add(super::encode::message::DEL_TABLE, 0, "remove the table", super::encode::table);
    assert!(socket.commit(batch).unwrap_err().outdated());
    assert!(socket.read(&name("old")).unwrap().is_in_effect(), "the socket stays usable and nothing changed");
}

#[test]
fn only_what_has_expired_is_removed_as_expired() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    let mut socket = pair.victim.socket();
    let spec = cut("inert", Direction::Both, &["10.0.0.0/8"], &[80]);
    assert!(!socket.remove_expired(&spec.name).unwrap(), "there is nothing");
    socket.install(&spec, lease(LONG)).unwrap();
    assert!(!socket.remove_expired(&spec.name).unwrap(), "it is live");
    socket.refresh(&spec, lease(50)).unwrap_or_default();
    let deadline = Instant::now() + Duration::from_secs(5);
    while !socket.remove_expired(&spec.name).unwrap() {
        assert!(Instant::now() < deadline, "its lease ends");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(socket.read(&spec.name).unwrap().is_absent());
}

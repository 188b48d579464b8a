//! Snapshots see what is left behind: each kind of residue is planted in a room and must be found.

use std::time::{Duration, Instant};

use e2e::snapshot::{Kind, Scope, Snapshot, diff, matters};
use e2e::soak::plant::Plant;
use e2e::world::House;

struct Scene {
    house: House,
    folder: tempfile::TempDir,
    scope: Scope,
}

fn scene() -> Scene {
    let house = House::start(env!("CARGO_BIN_EXE_soak").into(), 0, 2).expect("a sample system");
    let folder = tempfile::tempdir().expect("a folder");
    let scope = Scope { states: vec![folder.path().to_owned()], ..Scope::default() };
    Scene { house, folder, scope }
}

fn check(plant: Plant, expected: Kind) {
    let scene = scene();
    let before = settled(&scene.scope);
    let victim = *scene.house.handle.processes().last().expect("a victim");
    plant.leave(scene.folder.path(), victim).expect("a residue");
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let differences = diff(&before, &Snapshot::take(&scene.scope).expect("a picture"));
        if differences.iter().any(|difference| difference.kind == expected) {
            break;
        }
        assert!(Instant::now() < deadline, "{plant:?} is not seen: {differences:?}");
        std::thread::yield_now();
    }
}

fn settled(scope: &Scope) -> Snapshot {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut last = Snapshot::take(scope).expect("a picture");
    loop {
        let next = Snapshot::take(scope).expect("a picture");
        if next == last {
            return next;
        }
        assert!(Instant::now() < deadline, "{:?}", diff(&last, &next));
        last = next;
    }
}

#[test]
fn a_rule_with_a_live_element_is_a_residue() {
    e2e::in_a_room!();
    check(Plant::Rule, Kind::Rule);
}

#[test]
fn a_stopped_victim_is_a_residue() {
    e2e::in_a_room!();
    check(Plant::Stopped, Kind::Process);
}

#[test]
fn a_cgroup_is_a_residue() {
    e2e::in_a_room!();
    check(Plant::Cgroup, Kind::Cgroup);
}

#[test]
fn a_worker_is_a_residue() {
    e2e::in_a_room!();
    check(Plant::Worker, Kind::Process);
}

#[test]
fn an_undo_record_is_a_residue() {
    e2e::in_a_room!();
    check(Plant::Record, Kind::UndoRecord);
}

#[test]
fn an_empty_table_of_ours_is_no_residue() {
    e2e::in_a_room!();
    let scope = Scope::default();
    let before = settled(&scope);
    let table = std::process::Command::new("/usr/sbin/nft").args(["add", "table", "inet", "chaos"]).status();
    assert!(table.expect("nft").success());
    assert_eq!(diff(&before, &settled(&scope)), []);
}

#[test]
fn a_rule_that_looks_into_an_empty_set_is_told_but_does_not_matter() {
    e2e::in_a_room!();
    let scope = Scope::default();
    let before = settled(&scope);
    let rules = "table inet chaos { set s { type ipv4_addr; flags timeout; }; chain c { type filter hook output priority 0; \
                 ip daddr @s drop; }; }";
    assert!(std::process::Command::new("/usr/sbin/nft").arg(rules).status().expect("nft").success());
    let differences = diff(&before, &settled(&scope));
    assert!(matches!(differences.as_slice(), [one] if one.kind == Kind::InertRule), "{differences:?}");
    assert_eq!(matters(&differences), []);
}

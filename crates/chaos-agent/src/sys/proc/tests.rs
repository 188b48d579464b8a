//! What `/proc` says, as text and of real processes.

use super::super::testing::{Child, eventually};
use super::table::ProcessTable;
use super::*;
use std::time::Instant;

#[test]
fn a_name_with_brackets_and_blanks_does_not_confuse_the_reader() {
    let text =
        "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 7 9 0 0 20 0 3 0 12345 100 25 18446744073709551615";
    let stat = Stat::parse(text).expect("a stat line");
    assert_eq!((stat.comm.as_str(), stat.state, stat.parent), ("a) b (c", 'S', 1));
    assert_eq!((stat.user_ticks, stat.system_ticks, stat.threads), (7, 9, 3));
    assert_eq!((stat.start_time, stat.resident_pages), (12345, 25));
    assert!(Stat::parse("42 (x").is_none());
}

#[test]
fn a_number_that_no_memory_has_is_bounded() {
    assert_eq!(Status::parse("VmRSS:\t18446744073709551615 kB\n").resident_bytes, u64::MAX);
}

#[test]
fn a_living_process_is_read_as_it_is() {
    let before = boot_clock_ticks();
    let child = Child::sleeping();
    let pid = child.pid();
    assert!(child.identity().start_time + 1 >= before && child.identity().start_time <= boot_clock_ticks());
    eventually("the child has become sleep", || command_line(pid).unwrap() == ["sleep", "300"]);
    assert_eq!(stat(pid).unwrap().comm, "sleep");
    assert!(executable(pid).unwrap().file_name().is_some());
    assert_eq!(threads(pid).unwrap(), [pid]);
    let status = status(pid).unwrap();
    assert_eq!((status.tracer, status.threads), (0, 1));
    assert_eq!(status.uid, nix::unistd::getuid().as_raw());
    assert_eq!(
        namespace_inode(pid, "net").unwrap(),
        namespace_inode(super::super::own_pid(), "net").unwrap()
    );
    // The kernel books the time of a running thread at its next tick or sleep.
    eventually("its time is booked", || process_cpu_time(pid).unwrap() > Duration::ZERO);
    assert!(runs(child.identity()));
}

#[test]
fn a_zombie_and_a_reaped_process_are_gone() {
    let mut child = Child::sleeping();
    let pid = child.pid();
    child.inner().kill().unwrap();
    eventually("the child has ended", || stat(pid).is_ok_and(|stat| stat.is_dead()));
    assert!(matches!(identity(pid), Err(SysError::Gone { .. })));
    assert!(!runs(child.identity()));
    child.end();
    assert!(matches!(stat(pid), Err(SysError::Gone { .. })));
}

#[test]
fn a_file_above_its_limit_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("large");
    std::fs::write(&path, [0; 100]).unwrap();
    assert_eq!(read_bounded(&path, 100).unwrap().len(), 100);
    assert!(matches!(read_bounded(&path, 99), Err(SysError::TooLarge { .. })));
}

#[test]
fn the_table_shows_parents_children_and_ancestors_in_a_few_milliseconds() {
    let child = Child::sleeping();
    eventually("the child has become sleep", || command_line(child.pid()).unwrap() == ["sleep", "300"]);
    let started = Instant::now();
    let table = ProcessTable::read().unwrap();
    eprintln!("{} processes in {:?}", table.len(), started.elapsed());
    let own = super::super::own_pid();
    assert!(table.children(own).contains(&child.pid()));
    assert!(table.ancestors(child.pid()).contains(&own));
    assert!(table.with_descendants(own).contains(&child.pid()));
    let process = table.get(child.pid()).unwrap();
    assert_eq!(process.argument_name(), Some("sleep"));
    assert_eq!(process.command_line(), "sleep 300");
    assert!(
        process.network_namespace().is_some() && process.pid_namespace().is_some() && !process.kernel_thread
    );
    assert!(table.get(2).is_none_or(|process| process.kernel_thread && process.arguments().is_empty()));
}

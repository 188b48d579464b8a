//! Nothing is left behind, whoever is killed, whenever: the soak in small, and the proof that it looks.
#![expect(clippy::print_stderr, reason = "the way a test says that it was skipped")]

use std::process::{Command, Output, Stdio};

fn soak(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_soak"));
    command.args(arguments).stdin(Stdio::null());
    command.output().expect("the program `soak`")
}

/// True when this machine has no rooms, which is said.
fn is_skipped(output: &Output) -> bool {
    let errors = String::from_utf8_lossy(&output.stderr);
    if let Some(line) = errors.lines().find(|line| line.starts_with("skipped: ")) {
        eprintln!("{line}");
    }
    output.status.code() == Some(i32::from(e2e::room::NO_ROOM))
}

fn leaves_nothing(arguments: &[&str]) {
    let output = soak(arguments);
    if is_skipped(&output) {
        return;
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    let last = printed.lines().last().unwrap_or_default();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && last.ends_with(", 0 residues"), "{printed}\n{errors}");
}

fn is_found(plant: &str) {
    let output = soak(&["--bare", "--kills", "1", "--seed", "1", "--plant", plant]);
    if is_skipped(&output) {
        return;
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains("residue: planted: "), "{printed}");
}

#[test]
fn kills_at_random_points_leave_nothing() {
    assert!(e2e::terminal::program("chaos").is_file());
    leaves_nothing(&["--kills", "15", "--seed", "1"]);
}

#[test]
fn kills_of_bare_nodes_at_random_points_leave_nothing() {
    leaves_nothing(&["--bare", "--kills", "25", "--seed", "2"]);
}

#[test]
fn kills_at_every_tenth_step_leave_nothing() {
    leaves_nothing(&["--steps", "--every", "10"]);
}

#[test]
fn a_planted_rule_makes_the_soak_fail() {
    is_found("rule");
}

#[test]
fn a_planted_stop_makes_the_soak_fail() {
    is_found("stopped");
}

#[test]
fn a_planted_cgroup_makes_the_soak_fail() {
    is_found("cgroup");
}

#[test]
fn a_planted_worker_makes_the_soak_fail() {
    is_found("worker");
}

#[test]
fn a_planted_record_makes_the_soak_fail() {
    is_found("record");
}

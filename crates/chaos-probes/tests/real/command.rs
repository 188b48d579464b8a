//! `command` with real programs. A shell is one of them where a test needs children; the product starts none.

use std::fs;
use std::time::Duration;

use chaos_core::port::Prober;
use chaos_core::spec::ProbePhase;
use chaos_probes::{CommandPolicy, Probes, ProbesConfig};
use serde_json::json;

use crate::support::{
    assert_failed, assert_no_data, assert_passed, eventually, once, once_with, probe, probes,
};

fn command(argv: &[&str]) -> serde_json::Value {
    json!({ "command": { "argv": argv }, "timeout": "5s" })
}

/// Processes that have this text in their command line.
fn running(marker: &str) -> usize {
    let entries = fs::read_dir("/proc").expect("proc is mounted");
    entries
        .flatten()
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .filter(|cmdline| String::from_utf8_lossy(cmdline).contains(marker))
        .count()
}

/// Children of this process that have ended and wait to be reaped.
fn unreaped() -> usize {
    let ours = format!(") Z {} ", std::process::id());
    let entries = fs::read_dir("/proc").expect("proc is mounted");
    entries
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok())
        .filter(|stat| stat.contains(&ours))
        .count()
}

/// A number of seconds nobody else sleeps.
fn marker(n: u32) -> String {
    format!("3{:07}.{n}", std::process::id())
}

#[tokio::test]
async fn the_exit_code_and_the_output_are_judged() {
    assert_passed(&once(command(&["true"])).await);
    assert_failed(&once(command(&["false"])).await, "exit code 1, expected 0");
    assert_passed(&once(json!({ "command": { "argv": ["false"], "exitCode": 1 } })).await);
    let says =
        |part: &str| json!({ "command": { "argv": ["echo", "$HOME", ";", "ls"], "stdoutContains": part } });
    assert_passed(&once(says("$HOME ; ls")).await);
    assert_failed(&once(says("root")).await, "does not contain \"root\"");
    assert_failed(&once(command(&["sh", "-c", "kill -9 $$"])).await, "killed by signal 9");
}

#[tokio::test]
async fn a_printed_number_is_judged_by_its_bounds() {
    let prints = |max: u32| json!({ "command": { "argv": ["echo", "12.5"] }, "tolerance": { "value": { "max": max } } });
    assert_passed(&once(prints(13)).await);
    assert_failed(&once(prints(12)).await, "value 12.5 is above 12");
}

#[tokio::test]
async fn a_program_that_can_not_be_started_is_no_data() {
    assert_no_data(&once(command(&["no-such-program"])).await, "cannot start no-such-program: No such file");
    assert_no_data(&once(command(&["/etc/passwd"])).await, "cannot start /etc/passwd: Permission denied");
}

#[tokio::test]
async fn a_program_that_is_not_allowed_is_no_data_and_is_not_started() {
    let allows = |programs: &[&str]| {
        let commands = CommandPolicy::Allow(programs.iter().map(|name| (*name).to_owned()).collect());
        Probes::new(ProbesConfig { commands, ..ProbesConfig::default() })
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("touched");
    let touch = |program: &str| probe(command(&[program, &file.display().to_string()]));
    for (probes, program) in [
        (Probes::new(ProbesConfig::default()), "touch"),
        (allows(&["true", "/usr/bin/touch", "touc", "touch "]), "touch"),
        (allows(&["touch"]), "/usr/bin/touch"),
        (allows(&["touch"]), "../touch"),
    ] {
        let refused = format!("refused: {program:?} is not among the commands");
        assert_no_data(&once_with(&probes, &touch(program)).await, &refused);
        assert!(!file.exists(), "{program}");
    }
    assert_passed(&once_with(&allows(&["true", "touch"]), &touch("touch")).await);
    assert!(file.exists());
}

#[tokio::test]
async fn much_output_neither_blocks_it_nor_is_kept() {
    let script = "head -c 3000000 /dev/zero; echo the end";
    assert_passed(&once(command(&["sh", "-c", script])).await);
    let late = json!({ "command": { "argv": ["sh", "-c", script], "stdoutContains": "the end" } });
    assert_failed(&once(late).await, "does not contain");
}

#[tokio::test]
async fn at_the_timeout_the_whole_group_is_killed_and_reaped() {
    let marker = marker(1);
    let script = format!("sleep {marker} & sleep {marker}; true");
    let sample = once(json!({ "command": { "argv": ["sh", "-c", script] }, "timeout": "300ms" })).await;
    assert_failed(&sample, "not finished within 300.0ms");
    eventually("the group is gone", async || running(&marker) == 0).await;
    // Those of other tests come and go.
    eventually("the program is reaped", async || unreaped() == 0).await;
}

#[tokio::test]
async fn what_a_finished_program_leaves_in_its_group_is_killed() {
    let marker = marker(2);
    let script = format!("sleep {marker} >/dev/null & true");
    assert_passed(&once(command(&["sh", "-c", &script])).await);
    eventually("the child left behind is gone", async || running(&marker) == 0).await;
}

#[tokio::test]
async fn a_watch_that_is_dropped_kills_what_it_started() {
    let marker = marker(3);
    let probe = probe(
        json!({ "command": { "argv": ["sh", "-c", format!("sleep {marker}; true")] }, "timeout": "60s" }),
    );
    let probes = probes();
    let sink = |_| {};
    let mut watch = probes.watch(&probe, ProbePhase::Before, true, Box::pin(std::future::pending()), &sink);
    eventually("it runs", async || {
        let _ = tokio::time::timeout(Duration::from_millis(10), &mut watch).await;
        running(&marker) > 0
    })
    .await;
    drop(watch);
    eventually("it is gone", async || running(&marker) == 0).await;
}

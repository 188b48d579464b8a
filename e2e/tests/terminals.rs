//! Several terminals, several owners, signals and full disks: nobody's run is lost, nobody's fault stays.

use std::process::Command;
use std::time::{Duration, Instant};

use e2e::snapshot::{Difference, Scope, Snapshot, diff};
use e2e::terminal::{Running, Terminal, field, orchestrator, wait_for};
use e2e::world::House;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;

const SOAK: &str = env!("CARGO_BIN_EXE_soak");

struct Scene {
    terminal: Terminal,
    _house: House,
    scope: Scope,
    before: Snapshot,
}

fn scene() -> Scene {
    let (terminal, house) = (Terminal::new(), orchestrator(SOAK));
    let scope = Scope { states: vec![terminal.state.clone()], ..Scope::default() };
    let mut before = Snapshot::take(&scope).expect("a picture");
    wait_for("a quiet system", || {
        let now = Snapshot::take(&scope).expect("a picture");
        now == std::mem::replace(&mut before, now.clone())
    });
    Scene { terminal, _house: house, scope, before }
}

impl Scene {
    fn differences(&self) -> Vec<Difference> {
        diff(&self.before, &Snapshot::take(&self.scope).expect("a picture"))
    }

    /// Everything is as at the start, within the limit of a test.
    fn is_clean(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut left = self.differences();
        while !left.is_empty() && Instant::now() < deadline {
            left = self.differences();
        }
        assert_eq!(left, []);
    }

    /// A run of a minute from flags, in its active phase.
    fn long(&self, name: &str, kind: &str, more: &[&str]) -> Running {
        let arguments = ["run", "--type", kind, "--name", name, "--duration", "60"];
        let run = self.terminal.start(&[&arguments[..], more].concat());
        self.terminal.wait_for_phase(name, "active");
        run
    }
}

/// A server that is asked to end reverts everything and ends.
fn ends_in_order(mut server: Running) {
    server.signal(Signal::SIGTERM);
    let ended = server.end();
    assert!(matches!(ended.code, Some(0 | 143)), "{ended:?}");
}

#[test]
fn a_server_that_is_asked_to_end_reverts_what_runs() {
    e2e::in_a_room!();
    let scene = scene();
    let server = scene.terminal.serve();
    let run = scene.long("served", "network_partition", &[]);
    ends_in_order(server);
    assert_ne!(run.end().code, Some(0));
    scene.is_clean();
}

#[test]
fn another_terminal_finds_and_stops_a_run_that_has_no_server() {
    e2e::in_a_room!();
    let scene = scene();
    let run = scene.long("found", "process_pause", &[]);
    let list = scene.terminal.json(&["list"]);
    assert_eq!(field(&list[0], "status"), "running", "{list}");
    let begun = Instant::now();
    let stopped = scene.terminal.expect(0, &["stop", "found", "--reason", "a test"]);
    assert!(begun.elapsed() < Duration::from_secs(5), "{stopped:?}");
    assert_eq!(run.end().code, Some(4));
    assert_eq!(field(&scene.terminal.json(&["status", "found"]), "verdict"), "stopped");
    scene.is_clean();
}

#[test]
fn a_second_run_joins_the_first_ones_process() {
    e2e::in_a_room!();
    let scene = scene();
    let first = scene.long("first", "process_pause", &[]);
    // The instance that stands still is not ready: three of four are.
    let second =
        ["run", "--type", "cpu_stress", "--name", "second", "--duration", "1", "--safety-threshold", "0.5"];
    scene.terminal.expect(0, &[&second[..], &["--set", "cores=1"]].concat());
    scene.terminal.expect(0, &["stop", "--all", "--reason", "a test"]);
    assert_eq!(first.end().code, Some(4));
    let rows = scene.terminal.json(&["list"]);
    assert_eq!(rows.as_array().map(Vec::len), Some(2), "{rows}");
    scene.is_clean();
}

#[test]
fn create_without_a_server_says_how_to_start_one() {
    e2e::in_a_room!();
    let terminal = Terminal::new();
    let file = terminal.file("starter.yaml", &terminal.expect(0, &["init", "-"]).output);
    let ended = terminal.run(&["create", "--yaml", &file]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.errors.contains("chaos serve"), "{ended:?}");
}

#[test]
fn a_killed_server_leaves_its_journals_and_the_next_start_closes_the_runs() {
    e2e::in_a_room!();
    let scene = scene();
    let mut server = scene.terminal.serve();
    let run = scene.long("survivor", "network_partition", &[]);
    server.signal(Signal::SIGKILL);
    assert_eq!(server.end().code, None);
    assert_ne!(run.end().code, Some(0), "its server is gone");
    // Nothing runs now: the journal is data.
    let report = scene.terminal.run(&["report", "survivor", "--format", "json"]);
    assert_eq!(report.code, Some(0), "{report:?}");
    let server = scene.terminal.serve();
    wait_for("the end of the run", || {
        let status = scene.terminal.json(&["status", "survivor"]);
        field(&status, "phase") == "finished"
    });
    drop(server);
    // A fault process of a server waits for it until the lease ends.
    scene.terminal.expect(0, &["recover", "--force"]);
    scene.is_clean();
}

fn interrupted(signal: Signal, code: i32, kind: &str) {
    let scene = scene();
    let mut run = scene.long("interrupted", kind, &[]);
    run.signal(signal);
    let begun = Instant::now();
    let ended = run.end();
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    scene.is_clean();
}

#[test]
fn ctrl_c_reverts_everything_and_exits_130() {
    e2e::in_a_room!();
    interrupted(Signal::SIGINT, 130, "process_pause");
}

#[test]
fn sigterm_reverts_everything_and_exits_143() {
    e2e::in_a_room!();
    interrupted(Signal::SIGTERM, 143, "network_partition");
}

#[test]
fn a_killed_command_line_takes_its_faults_with_it() {
    e2e::in_a_room!();
    let scene = scene();
    let mut run = scene.long("killed", "process_pause", &[]);
    run.signal(Signal::SIGKILL);
    assert_eq!(run.end().code, None);
    wait_for("the end of the fault", || e2e::snapshot::matters(&scene.differences()).is_empty());
    scene.terminal.expect(0, &["recover"]);
    scene.is_clean();
}

#[test]
fn a_second_server_on_one_state_folder_is_refused_with_the_owner() {
    e2e::in_a_room!();
    let terminal = Terminal::new();
    let server = terminal.serve();
    let second = terminal.run(&["serve", "--listen", "127.0.0.1:9081"]);
    assert_eq!(second.code, Some(2), "{second:?}");
    assert!(second.errors.contains(&server.pid().to_string()), "{second:?}");
}

#[test]
fn a_name_in_use_is_refused_and_the_first_run_goes_on() {
    e2e::in_a_room!();
    let scene = scene();
    let server = scene.terminal.serve();
    let run = scene.long("twice", "process_pause", &[]);
    let second = scene.terminal.run(&["run", "--type", "pod_kill", "--name", "twice", "--duration", "1"]);
    assert_eq!(second.code, Some(2), "{second:?}");
    assert_eq!(field(&scene.terminal.json(&["status", "twice"]), "phase"), "active");
    scene.terminal.expect(0, &["stop", "twice"]);
    assert_eq!(run.end().code, Some(4));
    scene.terminal.expect(0, &["delete", "twice"]);
    assert_eq!(scene.terminal.json(&["list"]), serde_json::json!([]));
    ends_in_order(server);
    scene.is_clean();
}

#[test]
fn a_name_is_free_as_soon_as_its_run_has_ended() {
    e2e::in_a_room!();
    let scene = scene();
    let server = scene.terminal.serve();
    for round in 0..15 {
        let arguments = ["run", "--type", "process_pause", "--name", "again", "--duration", "100ms"];
        let ended = scene.terminal.run(&arguments);
        assert_eq!(ended.code, Some(0), "round {round}: {ended:?}");
    }
    ends_in_order(server);
    scene.is_clean();
}

#[test]
fn a_delete_of_an_active_run_stops_and_reverts_it_first() {
    e2e::in_a_room!();
    let scene = scene();
    let server = scene.terminal.serve();
    let run = scene.long("deleted", "process_pause", &[]);
    scene.terminal.expect(0, &["delete", "deleted"]);
    // What it watched is gone, perhaps before it could read the verdict: it was stopped all the same.
    assert_eq!(run.end().code, Some(4));
    assert_eq!(scene.terminal.json(&["list"]), serde_json::json!([]));
    ends_in_order(server);
    scene.is_clean();
}

#[test]
fn a_stop_while_injecting_does_not_wait_for_the_injection() {
    e2e::in_a_room!();
    let scene = scene();
    // Fifty seconds until all of it is touched; active comes with the first page, and growing goes on.
    let arguments = ["run", "--type", "memory_pressure", "--name", "slow", "--duration", "60"];
    let run = scene.terminal.start(&[&arguments[..], &["--set", "size=50Mi", "--set", "rate=1Mi"]].concat());
    wait_for("the run", || scene.terminal.run(&["status", "slow"]).code == Some(0));
    let begun = Instant::now();
    scene.terminal.expect(0, &["stop", "slow", "--reason", "a test"]);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(run.end().code, Some(4));
    scene.is_clean();
}

#[test]
fn a_full_disk_under_the_state_folder_stops_before_it_breaks() {
    e2e::in_a_room!();
    let scene = scene();
    let state = &scene.terminal.state;
    std::fs::create_dir_all(state).unwrap();
    if mount(Some("tmpfs"), state, Some("tmpfs"), MsFlags::empty(), Some("size=1M")).is_err() {
        eprintln!("skipped: no tmpfs can be mounted here");
        return;
    }
    scene.terminal.expect(0, &["run", "--type", "pod_kill", "--name", "before", "--duration", "1"]);
    fill(&state.join("filler"));
    let ended = scene.terminal.run(&["run", "--type", "process_pause", "--name", "full", "--duration", "1"]);
    assert!(!matches!(ended.code, Some(0 | 7) | None), "{ended:?}");
    std::fs::remove_file(state.join("filler")).unwrap();
    // What was there is still there, and there is room for the next.
    assert_eq!(field(&scene.terminal.json(&["status", "before"]), "verdict"), "held");
    scene.terminal.expect(0, &["run", "--type", "process_pause", "--name", "after", "--duration", "1"]);
    let left = e2e::snapshot::matters(&scene.differences());
    let left: Vec<_> = left.iter().filter(|one| one.kind != e2e::snapshot::Kind::Mount).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Writes until nothing more fits.
fn fill(path: &std::path::Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).expect("a file");
    while file.write_all(&[0; 4096]).is_ok() {}
    while file.write_all(&[0]).is_ok() {}
}

#[test]
fn shells_complete_and_the_host_is_examined() {
    e2e::in_a_room!();
    let terminal = Terminal::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(terminal.expect(0, &["completions", shell]).output.contains("chaos"));
    }
    assert!(terminal.expect(0, &["doctor"]).output.contains("network_partition"));
    let both = Command::new(e2e::terminal::program("chaos-cli")).arg("--version").output().unwrap();
    assert!(both.status.success());
}

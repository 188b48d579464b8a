//! Who may do what, and what an installation allows: lever, tokens, approvals, windows, the audit log.

use std::path::Path;
use std::process::Command;

use e2e::terminal::{Ended, SERVER, Terminal, call, field, get, orchestrator};
use e2e::world::House;
use nix::sys::signal::Signal;

const SOAK: &str = env!("CARGO_BIN_EXE_soak");

fn scene() -> (Terminal, House) {
    (Terminal::new(), orchestrator(SOAK))
}

/// The same with this configuration.
fn scene_with(configuration: &str) -> (Terminal, House) {
    let (mut terminal, house) = scene();
    let file = terminal.file("config.yaml", configuration);
    terminal.environment.push(("CHAOS_CONFIG_FILE".to_owned(), file));
    (terminal, house)
}

fn example(name: &str) -> String {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("examples");
    examples.join(name).display().to_string()
}

/// One instance stands still for a moment.
fn document(name: &str, seconds: u32) -> String {
    format!(
        "apiVersion: chaos.engineering/v1\nkind: Experiment\nmetadata: {{ name: {name} }}\nspec:\n  \
         target: {{ host: {{ app: orchestrator }} }}\n  faults: [ {{ process_pause: {{}} }} ]\n  \
         duration: {seconds}s\n  recovery: {{ timeout: 10s, hold: 0s }}\n"
    )
}

/// Everything that a command said.
fn said(ended: &Ended) -> String {
    format!("{}{}", ended.output, ended.errors)
}

fn engages_and_releases(terminal: &Terminal, house: &House) {
    let before = house.handle.processes();
    let run = ["run", "-f", &example("pod-kill-experiment.yaml"), "--duration", "2"];
    terminal.expect(0, &["lever", "engage", "--reason", "drill"]);
    let refused = terminal.expect(5, &run);
    assert!(said(&refused).contains("drill"), "{refused:?}");
    assert_eq!(field(&terminal.json(&["status", "orchestrator-pod-kill"]), "status"), "cancelled");
    assert_eq!(house.handle.processes(), before, "somebody was killed");
    let lever = terminal.json(&["lever", "show"]);
    assert_eq!((field(&lever, "engaged"), field(&lever, "reason")), ("true".into(), "drill".into()));
    terminal.expect(0, &["lever", "release", "--reason", "the drill is over"]);
    terminal.expect(0, &run);
}

#[test]
fn an_engaged_lever_cancels_what_starts_without_a_server() {
    e2e::in_a_room!();
    let (terminal, house) = scene();
    engages_and_releases(&terminal, &house);
}

#[test]
fn an_engaged_lever_cancels_what_starts_on_a_server() {
    e2e::in_a_room!();
    let (terminal, house) = scene();
    let _server = terminal.serve();
    engages_and_releases(&terminal, &house);
}

#[test]
fn a_lever_that_is_engaged_stops_what_runs_and_survives_a_kill_of_the_server() {
    e2e::in_a_room!();
    let (terminal, _house) = scene();
    let mut server = terminal.serve();
    let file = terminal.file("long.yaml", &document("long", 60));
    let run = terminal.start(&["run", "-f", &file]);
    terminal.wait_for_phase("long", "active");
    let engaged = terminal.json(&["lever", "engage", "--reason", "drill"]);
    assert_eq!(engaged["runs"][0]["unproven"], serde_json::json!([]), "{engaged}");
    assert_eq!(run.end().code, Some(4));
    assert!(get(SERVER, "/metrics").unwrap().contains("chaos_safety_lever_engaged 1"));
    server.signal(Signal::SIGKILL);
    let _ = server.end();
    let _server = terminal.serve();
    assert_eq!(field(&terminal.json(&["lever", "show"]), "engaged"), "true");
    terminal.expect(5, &["run", "-f", &file]);
}

#[test]
fn everybody_with_a_token_engages_the_lever_and_an_operator_releases_it() {
    e2e::in_a_room!();
    let (terminal, _house) = scene();
    let _server = terminal.serve();
    let caller = |name, role| Terminal::of_caller(&terminal.token(name, role));
    let (viewer, operator) = (caller("vera", "viewer"), caller("otto", "operator"));
    viewer.expect(0, &["lever", "engage", "--reason", "something smells"]);
    let refused = viewer.expect(1, &["lever", "release", "--reason", "never mind"]);
    assert!(said(&refused).contains("viewer"), "{refused:?}");
    assert_eq!(field(&terminal.json(&["lever", "show"]), "actor"), "vera");
    operator.expect(0, &["lever", "release", "--reason", "it was lunch"]);
}

#[test]
fn a_write_without_a_token_with_a_wrong_one_or_a_viewers_starts_nothing() {
    e2e::in_a_room!();
    let (terminal, house) = scene();
    let _server = terminal.serve();
    let before = house.handle.processes();
    let viewer = terminal.token("vera", "viewer");
    let agent = terminal.token("node-1", "agent");
    let body = r#"{"name":"api","type":"pod_kill","target_app":"orchestrator","duration":2}"#;
    for (token, expected) in [
        (None, 401),
        (Some("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"), 401),
        (Some(""), 401),
        (Some(viewer.as_str()), 403),
        (Some(agent.as_str()), 403),
    ] {
        let (status, answer) = call("POST", "/api/v1/experiments", token, body);
        assert_eq!(status, expected, "{token:?}: {answer}");
    }
    // An agent's token opens one door, and that is not this one.
    assert_eq!(call("GET", "/api/v1/experiments", Some(&agent), "").0, 403);
    assert_eq!(call("GET", "/api/v1/experiments", Some(&viewer), "").0, 200);
    let file = terminal.file("pause.yaml", &document("pause", 1));
    let refused = Terminal::of_caller(&viewer).expect(1, &["run", "-f", &file]);
    assert!(said(&refused).contains("operator"), "it names who may: {refused:?}");
    assert_eq!(terminal.json(&["list"]), serde_json::json!([]));
    assert_eq!(house.handle.processes(), before);
    let tokens = terminal.json(&["token", "list"]);
    let id = tokens.as_array().unwrap().iter().find(|one| one["name"] == "vera").unwrap()["id"].clone();
    terminal.expect(0, &["token", "revoke", id.as_str().unwrap()]);
    assert_eq!(call("GET", "/api/v1/experiments", Some(&viewer), "").0, 401);
}

#[test]
fn a_configured_server_that_is_down_is_an_error_and_standalone_has_to_be_said() {
    e2e::in_a_room!();
    let (terminal, house) = scene();
    let before = house.handle.processes();
    let file = terminal.file("pause.yaml", &document("pause", 1));
    let run = ["run", "-f", &file, "--server", "http://127.0.0.1:8081"];
    let ended = terminal.expect(1, &run);
    assert!(ended.errors.contains("--standalone"), "{ended:?}");
    assert_eq!(terminal.json(&["list"]), serde_json::json!([]));
    assert_eq!(house.handle.processes(), before);
    terminal.expect(0, &[&run[..], &["--standalone"]].concat());
}

#[test]
fn a_document_that_needs_two_people_starts_when_two_others_have_approved_it() {
    e2e::in_a_room!();
    let (terminal, _house) = scene_with("safety: { approvals: [ { approvers: 2 } ] }\n");
    let _server = terminal.serve();
    let caller = |name, role| Terminal::of_caller(&terminal.token(name, role));
    let (operator, anna, bert) =
        (caller("otto", "operator"), caller("anna", "approver"), caller("bert", "approver"));
    let file = operator.file("pause.yaml", &document("pause", 1));
    let run = ["run", "-f", &file];
    let approve = ["approve", "pause", "--reason", "agreed"];
    let refused = operator.expect(5, &run);
    assert!(said(&refused).contains("chaos approve pause"), "{refused:?}");
    operator.expect(1, &approve);
    anna.expect(0, &approve);
    // One who says it twice is still one.
    anna.expect(0, &approve);
    let refused = operator.expect(5, &run);
    assert!(said(&refused).contains("1 of 2"), "{refused:?}");
    bert.expect(0, &approve);
    operator.expect(0, &run);
    // Another document is another matter.
    let other = operator.file("other.yaml", &document("pause", 2));
    operator.expect(5, &["run", "-f", &other]);
}

#[test]
fn a_blackout_blocks_and_only_an_admin_lifts_it_with_a_reason() {
    e2e::in_a_room!();
    let (terminal, _house) = scene_with("safety: { windows: { deny: [ { name: freeze } ] } }\n");
    let _server = terminal.serve();
    let operator = Terminal::of_caller(&terminal.token("otto", "operator"));
    let file = terminal.file("pause.yaml", &document("pause", 1));
    let run = ["run", "-f", &file];
    let refused = operator.expect(5, &run);
    assert!(said(&refused).contains("freeze"), "{refused:?}");
    let lifted = [&run[..], &["--override", "window", "--reason", "agreed with operations"]].concat();
    let refused = operator.expect(1, &lifted);
    assert!(said(&refused).contains("admin"), "it names who may: {refused:?}");
    assert_eq!(field(&terminal.json(&["status", "pause"]), "status"), "blocked");
    terminal.expect(0, &lifted);
    let log = terminal.expect(0, &["audit", "list"]).output;
    assert!(log.contains("agreed with operations"), "{log}");
}

#[test]
fn an_audit_log_that_was_changed_is_told_with_the_entry() {
    e2e::in_a_room!();
    if Command::new("sqlite3").arg("--version").output().is_err() {
        eprintln!("skipped: sqlite3 is not installed");
        return;
    }
    let terminal = Terminal::new();
    for (verb, reason) in [("engage", "drill"), ("release", "it is over"), ("engage", "again")] {
        terminal.expect(0, &["lever", verb, "--reason", reason]);
    }
    let whole = terminal.expect(0, &["audit", "verify"]);
    assert!(whole.output.contains("as it was written"), "{whole:?}");
    let exported = terminal.file("audit.jsonl", &terminal.expect(0, &["audit", "export"]).output);
    terminal.expect(0, &["audit", "verify", "--file", &exported]);
    let changed = std::fs::read_to_string(&exported).unwrap().replacen("drill", "grill", 1);
    terminal.expect(1, &["audit", "verify", "--file", &terminal.file("changed.jsonl", &changed)]);
    let entry = sql(&terminal, "SELECT seq FROM audit WHERE event LIKE '%drill%'");
    sql(&terminal, "UPDATE audit SET event = replace(event, 'drill', 'grill')");
    let told = terminal.expect(1, &["audit", "verify"]);
    assert!(said(&told).contains(&format!("entry {entry}")), "{told:?}");
    terminal.expect(1, &["store", "check"]);
    sql(&terminal, "UPDATE audit SET event = replace(event, 'grill', 'drill')");
    terminal.expect(0, &["audit", "verify"]);
    // A tail that was cut off leaves a whole chain, only a shorter one.
    sql(&terminal, "DELETE FROM audit WHERE seq = (SELECT MAX(seq) FROM audit)");
    terminal.expect(1, &["audit", "verify"]);
}

/// What a statement on the database of a state folder prints.
fn sql(terminal: &Terminal, statement: &str) -> String {
    let printed = Command::new("sqlite3").arg(terminal.state.join("journal.db")).arg(statement).output();
    let printed = printed.expect("sqlite3");
    assert!(printed.status.success(), "{printed:?}");
    String::from_utf8_lossy(&printed.stdout).trim().to_owned()
}

//! What a user is promised, command by command, each against the real programs in a room of its own: the usual ports,
//! the usual names, nothing else on the host.
#![expect(clippy::print_stderr, reason = "the way a test says that it was skipped")]

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use e2e::terminal::{Running, SERVER, Terminal, call, exchange, field, get, orchestrator, wait_for};
use e2e::world::House;

const SOAK: &str = env!("CARGO_BIN_EXE_soak");

/// A terminal, and the orchestrator on its usual port.
fn scene() -> (Terminal, House) {
    (Terminal::new(), orchestrator(SOAK))
}

#[test]
fn a_server_tells_its_health() {
    e2e::in_a_room!();
    let (terminal, _house) = scene();
    let _server = terminal.serve();
    let health: serde_json::Value = serde_json::from_str(&get(SERVER, "/health").unwrap()).unwrap();
    assert!(health.get("status").is_some(), "{health}");
    let system: serde_json::Value =
        serde_json::from_str(&get(SERVER, "/api/v1/system/health").unwrap()).unwrap();
    for name in ["score", "threshold", "safe", "signals", "breaker", "at"] {
        assert!(system.get(name).is_some(), "no {name}: {system}");
    }
    let metrics = get(SERVER, "/metrics").unwrap();
    assert!(metrics.contains("system_health_score"), "{metrics}");
    assert!(get(SERVER, "/openapi.json").unwrap().contains("\"openapi\""));
}

fn holds(kind: &str, name: &str) {
    let (terminal, _house) = scene();
    let arguments =
        ["run", "--type", kind, "--name", name, "--target-app", "orchestrator", "--duration", "3"];
    terminal.expect(0, &[&arguments[..], &["--safety-threshold", "0.8"]].concat());
    let status = terminal.json(&["status", name]);
    assert_eq!(
        (field(&status, "verdict"), field(&status, "status")),
        ("held".into(), "completed".into()),
        "{status}"
    );
    let list = terminal.expect(0, &["list", "--output", "json"]).output;
    let rows: Vec<serde_json::Value> = serde_json::from_str(&list).expect("one array");
    assert_eq!(rows[0]["name"], name);
    assert!(rows[0].get("status").is_some() && rows[0].get("phase").is_some(), "{list}");
    for (format, part) in [("text", name), ("md", "# "), ("json", "{"), ("junit", "<testsuite")] {
        let report = terminal.expect(0, &["report", name, "--format", format]).output;
        assert!(report.contains(part), "{format}: {report}");
    }
}

#[test]
fn pod_kill_from_flags_holds() {
    e2e::in_a_room!();
    holds("pod_kill", "orchestrator-test");
}

#[test]
fn cpu_stress_from_flags_holds() {
    e2e::in_a_room!();
    holds("cpu_stress", "demo-2");
}

#[test]
fn network_partition_from_flags_holds() {
    e2e::in_a_room!();
    holds("network_partition", "demo-3");
}

#[test]
fn memory_pressure_from_flags_holds() {
    e2e::in_a_room!();
    holds("memory_pressure", "demo-4");
}

#[test]
fn process_pause_from_flags_holds() {
    e2e::in_a_room!();
    holds("process_pause", "demo-5");
}

#[test]
fn the_list_goes_through_jq() {
    e2e::in_a_room!();
    let (terminal, _house) = scene();
    terminal.expect(0, &["run", "--type", "pod_kill", "--name", "one", "--duration", "1"]);
    let list = terminal.expect(0, &["list", "--output", "json"]).output;
    let mut jq = Command::new("jq");
    jq.args(["-c", ".[] | {name, status, phase}"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut jq) = jq.spawn() else {
        eprintln!("skipped: jq is not installed");
        return;
    };
    jq.stdin.take().unwrap().write_all(list.as_bytes()).unwrap();
    let printed = jq.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&printed.stdout).trim(),
        r#"{"name":"one","status":"completed","phase":"finished"}"#
    );
}

/// A Prometheus that scrapes nothing and computes the given constant as an error ratio.
fn prometheus(terminal: &Terminal) -> Option<Running> {
    let config = terminal.file("prometheus.yml", "global: { scrape_interval: 1s }\n");
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={config}"));
    command.arg(format!("--storage.tsdb.path={}", terminal.folder.path().join("tsdb").display()));
    command.arg("--web.listen-address=127.0.0.1:9090");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if Command::new("prometheus")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_err()
    {
        eprintln!("skipped: prometheus is not installed");
        return None;
    }
    let server = Running::of(command);
    wait_for("Prometheus", || {
        exchange("127.0.0.1:9090", "GET /-/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .is_some_and(|(status, _)| status == 200)
    });
    Some(server)
}

const HALF_HEALTHY: &str = "safety:\n  prometheus: http://127.0.0.1:9090\n  signals:\n    \
    - { name: error-ratio, query: 'vector(0.5)', good: 0, bad: 1, weight: 1000 }\n";

#[test]
fn a_health_of_one_half_blocks_the_start_and_nothing_is_touched() {
    e2e::in_a_room!();
    let (terminal, house) = scene();
    let Some(_prometheus) = prometheus(&terminal) else { return };
    let config = terminal.file("config.yaml", HALF_HEALTHY);
    let mut terminal = terminal;
    terminal.environment.push(("CHAOS_CONFIG_FILE".to_owned(), config));
    let before = house.handle.processes();
    let _server = terminal.serve();
    let run = [
        "run",
        "--type",
        "pod_kill",
        "--name",
        "safety-demo",
        "--safety-threshold",
        "0.9",
        "--duration",
        "5",
    ];
    let ended = terminal.expect(5, &run);
    assert!(format!("{}{}", ended.output, ended.errors).contains("error-ratio"), "{ended:?}");
    assert_eq!(house.handle.processes().len(), before.len());
    assert!(before.iter().all(|pid| house.handle.processes().contains(pid)), "somebody was killed");
    let metrics = get(SERVER, "/metrics").unwrap();
    let counted = "safety_threshold_violations_total{reason=\"health\"} 1";
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    // What is expected is a success.
    terminal.expect(0, &[&run[..], &["--expect", "blocked"]].concat());
    terminal.expect(3, &[&run[..], &["--expect", "held"]].concat());
}

#[test]
fn a_signal_without_a_number_is_no_health() {
    e2e::in_a_room!();
    let (mut terminal, _house) = scene();
    let Some(_prometheus) = prometheus(&terminal) else { return };
    for (name, query) in [("not-a-number", "vector(0/0)"), ("nothing", "no_such_metric")] {
        let config = terminal.file("config.yaml", &HALF_HEALTHY.replace("vector(0.5)", query));
        terminal.environment = vec![("CHAOS_CONFIG_FILE".to_owned(), config)];
        terminal.expect(5, &["run", "--type", "pod_kill", "--name", name, "--duration", "1"]);
    }
}

#[test]
fn a_prometheus_that_does_not_answer_is_no_health() {
    e2e::in_a_room!();
    let (mut terminal, _house) = scene();
    let config = terminal.file("config.yaml", HALF_HEALTHY);
    terminal.environment.push(("CHAOS_CONFIG_FILE".to_owned(), config));
    // Nobody listens on 9090: no data, which blocks.
    terminal.expect(5, &["run", "--type", "pod_kill", "--name", "blind", "--duration", "1"]);
    // Somebody listens, and never says anything.
    let mute = TcpListener::bind("127.0.0.1:9090").unwrap();
    terminal.expect(5, &["run", "--type", "pod_kill", "--name", "mute", "--duration", "1"]);
    drop(mute);
}

#[test]
fn a_probe_whose_endpoint_hangs_is_a_failure_in_time() {
    e2e::in_a_room!();
    let (terminal, _house) = scene();
    let mute = TcpListener::bind("127.0.0.1:9999").unwrap();
    let document = "apiVersion: chaos.engineering/v1\nkind: Experiment\nmetadata: { name: hanging }\nspec:\n  \
        target: { host: { app: orchestrator } }\n  faults: [ { process_pause: {} } ]\n  duration: 2s\n  probes:\n    \
        - { name: mute, http: { url: \"http://127.0.0.1:9999/\" }, every: 500ms, timeout: 300ms, during: [chaos] }\n  \
        recovery: { timeout: 5s, hold: 0s }\n";
    let file = terminal.file("hanging.yaml", document);
    terminal.expect(3, &["run", "-f", &file]);
    let mut taken = Vec::new();
    mute.set_nonblocking(true).unwrap();
    while let Ok((connection, _)) = mute.accept() {
        taken.push(connection);
    }
    assert!(!taken.is_empty(), "nobody asked");
}

#[test]
fn an_invalid_document_is_exit_2_with_its_path() {
    e2e::in_a_room!();
    let terminal = Terminal::new();
    let check = |document: &str, part: &str| {
        let file = terminal.file("wrong.yaml", document);
        let ended = terminal.expect(2, &["validate", &file]);
        let said = format!("{}{}", ended.output, ended.errors);
        assert!(said.contains(part), "{part}: {said}");
        terminal.expect(2, &["run", "-f", &file]);
    };
    let with = |spec: &str| {
        format!("apiVersion: chaos.engineering/v1\nkind: Experiment\nmetadata: {{ name: a }}\nspec:\n{spec}")
    };
    let target = "  target: { host: { app: x } }\n";
    check(&with(&format!("{target}  faults: [ {{ pod_kil: {{}} }} ]\n")), "pod_kill");
    check(&with(&format!("{target}  faults: [ {{ cpu_stress: {{ load: 101% }} }} ]\n")), "load");
    check(
        &with(&format!("{target}  faults: [ {{ pod_kill: {{}} }} ]\n  duration: 10 parsecs\n")),
        "duration",
    );
    check(
        &with("  target: { host: { app: x }, kubernetes: { app: x } }\n  faults: [ { pod_kill: {} } ]\n"),
        "target",
    );
    check(&with(&format!("{target}{target}  faults: [ {{ pod_kill: {{}} }} ]\n")), "target");
    check(&"x".repeat(10 << 20), "");
    let bomb = (1..20).fold("a0: &a0 [x,x]\n".to_owned(), |text, level| {
        format!("{text}a{level}: &a{level} [*a{0},*a{0},*a{0},*a{0},*a{0},*a{0},*a{0},*a{0}]\n", level - 1)
    });
    check(&bomb, "");
}

#[test]
fn a_target_that_matches_nothing_is_exit_2_and_names_the_apps() {
    e2e::in_a_room!();
    let (terminal, _house) = scene();
    let ended =
        terminal.expect(2, &["run", "--type", "pod_kill", "--name", "none", "--target-app", "nobody"]);
    assert!(ended.errors.contains("orchestrator"), "{ended:?}");
}

#[test]
fn the_api_creates_refuses_a_name_in_use_and_stops() {
    e2e::in_a_room!();
    let (terminal, _house) = scene();
    let _server = terminal.serve();
    let token = std::fs::read_to_string(terminal.state.join("token")).unwrap();
    let post = |path: &str, body: &str| call("POST", path, Some(token.trim()), body);
    let short = r#"{"name":"api","type":"process_pause","target_app":"orchestrator","duration":60}"#;
    let (status, body) = post("/api/v1/experiments", short);
    assert_eq!(status, 201, "{body}");
    let (status, body) = post("/api/v1/experiments", short);
    assert_eq!(status, 409, "{body}");
    assert!(body.contains("name_in_use"), "{body}");
    let (status, body) = post("/api/v1/experiments", r#"{"name":"api","colour":"red"}"#);
    assert_eq!(status, 422, "{body}");
    terminal.wait_for_phase("api", "active");
    let (status, body) = post("/api/v1/stop", r#"{"reason":"a test"}"#);
    assert_eq!(status, 200, "{body}");
    let stopped: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(stopped["runs"][0]["unproven"], serde_json::json!([]), "{body}");
    let (status, body) = post("/api/v1/experiments", &"x".repeat(10 << 20));
    assert_eq!(status, 413, "{body}");
}

#[test]
fn a_foreign_origin_and_a_write_without_a_token_are_refused() {
    e2e::in_a_room!();
    let terminal = Terminal::new();
    let _server = terminal.serve();
    let ask = |head: &str| {
        exchange(SERVER, &format!("{head}\r\nContent-Length: 2\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{{}}"))
            .unwrap()
    };
    let (status, body) = ask("POST /api/v1/stop HTTP/1.1\r\nHost: 127.0.0.1:8081");
    assert_eq!(status, 401, "{body}");
    let (status, body) = ask("GET /api/v1/experiments HTTP/1.1\r\nHost: evil.example");
    assert_eq!(status, 403, "{body}");
    let (status, body) =
        ask("GET /api/v1/experiments HTTP/1.1\r\nHost: 127.0.0.1:8081\r\nOrigin: http://evil.example");
    assert_eq!(status, 403, "{body}");
}

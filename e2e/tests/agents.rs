//! What an agent says of itself, and what it refuses whatever its server orders; with the real programs.

use std::process::{Command, Stdio};

use e2e::terminal::{Running, SERVER, Terminal, get, orchestrator, program, wait_for};
use nix::sys::signal::Signal;
use serde_json::Value;

const SOAK: &str = env!("CARGO_BIN_EXE_soak");

fn agent(terminal: &Terminal, token_file: &str, more: &[&str]) -> Running {
    let mut command = Command::new(program("chaos-agent"));
    let url = format!("http://{SERVER}");
    command.args(["run", "--server", &url, "--name", "node-1", "--token-file", token_file]).args(more);
    command.arg("--state").arg(terminal.folder.path().join("agent-state"));
    command.env_remove("CHAOS_TOKEN").env_remove("CHAOS_SERVER");
    Running::of({
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    })
}

fn is_connected() -> bool {
    let hosts = get(SERVER, "/api/v1/agents").and_then(|hosts| serde_json::from_str(&hosts).ok());
    let hosts: Vec<Value> = hosts.unwrap_or_default();
    hosts.iter().any(|host| host["name"] == "node-1" && host["connected"] == true)
}

#[test]
fn what_its_file_does_not_allow_no_server_can_order() {
    e2e::in_a_room!();
    let (terminal, house) = (Terminal::new(), orchestrator(SOAK));
    let _server = terminal.serve();
    let token_file = terminal.file("token-of-agents", &terminal.token("agents", "agent"));
    let file = terminal.file("agent.yaml", "limits: { faults: [cpu_stress], durationMax: 1m }\n");
    let mut first = agent(&terminal, &token_file, &["--config-file", &file]);
    wait_for("the agent", is_connected);

    let document = format!(
        "apiVersion: chaos.engineering/v1\nkind: Experiment\nmetadata: {{ name: refused }}\nspec:\n  \
         target: {{ {}, hosts: [node-1] }}\n  faults: [ {{ process_pause: {{}} }} ]\n  duration: 10s\n",
        house.target_yaml()
    );
    terminal.expect(0, &["create", "--yaml", &terminal.file("refused.yaml", &document)]);
    terminal.wait_for_phase("refused", "finished");
    let status = terminal.json(&["status", "refused"]).to_string();
    assert!(status.contains("process_pause is not allowed here"), "{status}");

    let doctor = terminal.expect(0, &["doctor"]).output;
    assert!(doctor.contains("HOST node-1: connected"), "{doctor}");
    assert!(doctor.contains("allows faults: cpu_stress; apps: any; duration: up to 1m"), "{doctor}");
    let targets = terminal.expect(0, &["targets"]).output;
    assert!(targets.contains("node-1:") && targets.contains("CONNECTED"), "{targets}");

    let second = agent(&terminal, &token_file, &[]).end();
    assert_eq!(second.code, Some(2), "{second:?}");
    assert!(second.errors.contains(&format!("belongs to process {}", first.pid())), "{second:?}");
    first.signal(Signal::SIGTERM);
    let ended = first.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!is_connected());
}

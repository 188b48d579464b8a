//! Faults on an agent of another host, as far as server and agent know: they speak only over a socket, and nobody has
//! to stay alive for a fault to be undone.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use chaos_agent::holder;
use chaos_agent::sys::proc;
use chaos_api::ExperimentDetail;
use chaos_core::port::LEASE_DEFAULT;
use chaos_core::run::{InjectionState, Phase, Verdict};
use chaos_core::target::Instance;
use e2e::snapshot::{Difference, Scope, Snapshot, diff, matters};
use e2e::terminal::{Running, SERVER, Terminal, get, orchestrator, wait_for};
use e2e::wire::Wire;
use e2e::world::House;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const SOAK: &str = env!("CARGO_BIN_EXE_soak");
const HOST: &str = "node-1";
/// Longest that the kernel keeps a partition that nobody refreshes.
const ELEMENTS: Duration = Duration::from_secs(5);
/// What a proof may take beyond the lease.
const SLACK: Duration = Duration::from_millis(100);
/// What "at once" is on a machine that does a lot beside it.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A server that breaks nothing on its own host, an agent with a folder of its own, a wire between them.
struct Scene {
    terminal: Terminal,
    agent_terminal: Terminal,
    token: String,
    wire: Wire,
    server: Running,
    agent: Running,
    _house: House,
    scope: Scope,
    before: Snapshot,
}

fn scene() -> Scene {
    let (terminal, agent_terminal) = (Terminal::new(), Terminal::new());
    let house = orchestrator(SOAK);
    let scope =
        Scope { states: vec![terminal.state.clone(), agent_terminal.state.clone()], ..Scope::default() };
    let mut before = Snapshot::take(&scope).expect("a picture");
    wait_for("a quiet system", || {
        let now = Snapshot::take(&scope).expect("a picture");
        now == std::mem::replace(&mut before, now.clone())
    });
    let server = terminal.serve_with(&["--no-local-agent"]);
    let token = agent_terminal.file("token", &terminal.token(HOST, "agent"));
    let address: SocketAddr = SERVER.parse().expect("an address");
    let wire = Wire::lay(address).expect("a wire");
    let agent = dial(&agent_terminal, &wire, &token);
    connected(1);
    Scene { terminal, agent_terminal, token, wire, server, agent, _house: house, scope, before }
}

fn dial(terminal: &Terminal, wire: &Wire, token: &str) -> Running {
    let server = format!("http://{}", wire.address());
    terminal.start(&["agent", "--server", &server, "--name", HOST, "--token-file", token])
}

fn connected(count: usize) {
    let line = format!("chaos_agents_connected {count}");
    wait_for(&line, || get(SERVER, "/metrics").is_some_and(|text| text.lines().any(|one| one == line)));
}

impl Scene {
    /// Starts an experiment without waiting, and returns what it hit once that is proven active.
    fn hit(&self, fault: &str, seconds: u64) -> Instance {
        let document = format!(
            "apiVersion: chaos.engineering/v1\nkind: Experiment\nmetadata: {{ name: far }}\nspec:\n  \
             target: {{ host: {{ app: orchestrator }}, hosts: [{HOST}] }}\n  faults: [ {fault} ]\n  \
             duration: {seconds}s\n  safety: {{ threshold: 0.1 }}\n  recovery: {{ timeout: 20s, hold: 0s }}\n"
        );
        let file = self.terminal.file("far.yaml", &document);
        self.terminal.expect(0, &["create", "--yaml", &file]);
        wait_for("the fault", || self.states().contains(&InjectionState::Active));
        let run = self.status().latest.expect("a run");
        let instance = run.injections.first().expect("an injection").instance.clone();
        assert_eq!(instance.host, HOST, "{instance:?}");
        instance
    }

    fn status(&self) -> ExperimentDetail {
        let status = self.terminal.json(&["status", "far"]);
        serde_json::from_value(status).expect("an experiment")
    }

    fn states(&self) -> Vec<InjectionState> {
        self.status().latest.iter().flat_map(|run| &run.injections).map(|one| one.state).collect()
    }

    /// How the run ended.
    fn verdict(&self) -> Option<Verdict> {
        wait_for("the end of the run", || self.status().record.phase == Some(Phase::Finished));
        self.status().record.verdict
    }

    /// Kills server, agent and everything that holds a fault, in the same moment.
    fn kill_everything(&mut self) -> Instant {
        let ours = named(holder::NAME).into_iter().chain([self.server.pid(), self.agent.pid()]);
        let pids: Vec<u32> = ours.collect();
        assert!(pids.len() > 2, "there is no fault process");
        for pid in pids {
            kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).expect("it is there");
        }
        // Reaped, so that they are no difference.
        let killed = Instant::now();
        wait_for("their end", || !self.server.is_running() && !self.agent.is_running());
        killed
    }

    fn differences(&self) -> Vec<Difference> {
        let mut scope = self.scope.clone();
        scope.leave_out = BTreeSet::from([self.server.pid(), self.agent.pid()].map(u32::cast_signed));
        diff(&self.before, &Snapshot::take(&scope).expect("a picture"))
    }

    /// Nothing acts on anybody any more; what is inert goes with the next start of the agent.
    fn heals(&mut self) {
        wait_for("everything to be as before", || matters(&self.differences()).is_empty());
        if !self.agent.is_running() {
            self.agent = dial(&self.agent_terminal, &self.wire, &self.token);
        }
        wait_for("nothing to be left", || self.differences().is_empty());
    }
}

/// Processes whose first argument begins so.
fn named(name: &str) -> Vec<u32> {
    let is_so = |pid: &i32| {
        let line = proc::command_line(*pid).unwrap_or_default();
        line.first().is_some_and(|first| first.starts_with(name))
    };
    let pids = proc::pids().expect("the processes").into_iter();
    pids.filter(is_so).map(i32::cast_unsigned).collect()
}

/// A thread of it is stopped by a signal or a tracer.
fn stands_still(instance: &Instance) -> bool {
    let pid = instance.process.pid;
    let threads = proc::threads(pid).unwrap_or_default().into_iter();
    threads
        .into_iter()
        .any(|tid| proc::thread_stat(pid, tid).is_ok_and(|stat| matches!(stat.state, 'T' | 't')))
}

/// One of its ports does not answer.
fn is_cut_off(instance: &Instance) -> bool {
    let answers = |port: u16| {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        TcpStream::connect_timeout(&address, Duration::from_millis(50)).is_ok()
    };
    !instance.ports.iter().all(|listening| answers(listening.port))
}

/// How long it takes until this is so.
fn time_until(what: &str, since: Instant, done: impl FnMut() -> bool) -> Duration {
    wait_for(what, done);
    since.elapsed()
}

const PAUSE: &str = "{ process_pause: {} }";

#[test]
fn traffic_is_back_within_the_lease_when_server_agent_and_fault_process_are_killed_at_once() {
    e2e::in_a_room!();
    let mut scene = scene();
    let victim = scene.hit("{ network_partition: {} }", 120);
    assert!(is_cut_off(&victim));
    let killed = scene.kill_everything();
    let took = time_until("traffic", killed, || !is_cut_off(&victim));
    assert!(took <= ELEMENTS + AT_ONCE, "{took:?}");
    scene.heals();
}

#[test]
fn a_paused_process_runs_at_once_when_server_agent_and_fault_process_are_killed_at_once() {
    e2e::in_a_room!();
    let mut scene = scene();
    let victim = scene.hit(PAUSE, 120);
    assert!(stands_still(&victim));
    let killed = scene.kill_everything();
    let took = time_until("the process", killed, || !stands_still(&victim));
    assert!(took <= AT_ONCE, "{took:?}");
    scene.heals();
}

fn workers_are_gone(fault: &str, name: &str) {
    let mut scene = scene();
    scene.hit(fault, 120);
    assert!(!named(name).is_empty(), "no worker");
    let killed = scene.kill_everything();
    let took = time_until("the end of the workers", killed, || named(name).is_empty());
    assert!(took <= AT_ONCE, "{took:?}");
    scene.heals();
}

#[test]
fn workers_that_load_processors_end_at_once_when_everything_is_killed() {
    e2e::in_a_room!();
    workers_are_gone("{ cpu_stress: { load: 20%, cores: 2 } }", "chaos-cpu ");
}

#[test]
fn workers_that_fill_memory_end_at_once_when_everything_is_killed() {
    e2e::in_a_room!();
    workers_are_gone("{ memory_pressure: { size: 16Mi } }", "chaos-memory ");
}

/// What is undone by the node itself, since it heard of its server for the last time.
fn is_undone_at_the_end_of_the_lease(scene: &mut Scene, victim: &Instance, cut: Instant) {
    let took = time_until("the end of the lease", cut, || !stands_still(victim));
    // The latest renewal was heard up to a third of the lease before.
    assert!((LEASE_DEFAULT / 2..=LEASE_DEFAULT + SLACK).contains(&took), "{took:?}");
    assert!(matters(&scene.differences()).is_empty(), "{:?}", scene.differences());
}

#[test]
fn a_fault_of_a_server_that_is_silent_is_undone_at_the_end_of_the_lease_and_told_later() {
    e2e::in_a_room!();
    let mut scene = scene();
    let victim = scene.hit(PAUSE, 120);
    scene.server.signal(Signal::SIGSTOP);
    is_undone_at_the_end_of_the_lease(&mut scene, &victim, Instant::now());
    scene.server.signal(Signal::SIGCONT);
    // It was not there for as long as the document says.
    assert_eq!(scene.verdict(), Some(Verdict::Inconclusive));
    assert_eq!(scene.states(), [InjectionState::Reverted]);
    scene.heals();
}

#[test]
fn a_fault_whose_link_is_cut_is_undone_at_the_end_of_the_lease_and_told_when_it_is_mended() {
    e2e::in_a_room!();
    let mut scene = scene();
    let victim = scene.hit(PAUSE, 120);
    scene.wire.cut();
    is_undone_at_the_end_of_the_lease(&mut scene, &victim, Instant::now());
    scene.wire.mend();
    // Nobody could say how healthy it was, which stops a run.
    assert_eq!(scene.verdict(), Some(Verdict::Stopped));
    assert_eq!(scene.states(), [InjectionState::Reverted]);
    scene.heals();
}

#[test]
fn a_link_that_is_cut_for_a_moment_changes_nothing() {
    e2e::in_a_room!();
    let mut scene = scene();
    let victim = scene.hit(PAUSE, 6);
    scene.wire.cut();
    connected(0);
    scene.wire.mend();
    connected(1);
    assert!(stands_still(&victim), "it was undone");
    assert_eq!(scene.verdict(), Some(Verdict::Held));
    scene.heals();
}

#[test]
fn a_run_is_taken_up_by_the_next_server_and_goes_on_to_its_end() {
    e2e::in_a_room!();
    let mut scene = scene();
    let victim = scene.hit(PAUSE, 8);
    let holders = named(holder::NAME);
    scene.server.signal(Signal::SIGKILL);
    wait_for("its end", || !scene.server.is_running());
    scene.server = scene.terminal.serve_with(&["--no-local-agent"]);
    connected(1);
    assert!(stands_still(&victim), "it was undone");
    assert_eq!(named(holder::NAME), holders, "the fault process is another one");
    assert_eq!(scene.verdict(), Some(Verdict::Held));
    assert_eq!(scene.states(), [InjectionState::Reverted]);
    scene.heals();
}

#[test]
fn the_next_start_of_an_agent_undoes_what_it_held_and_the_run_says_so() {
    e2e::in_a_room!();
    let mut scene = scene();
    let victim = scene.hit(PAUSE, 120);
    scene.agent.signal(Signal::SIGKILL);
    wait_for("its end", || !scene.agent.is_running());
    assert!(stands_still(&victim), "its fault process holds it until the lease is over");
    scene.agent = dial(&scene.agent_terminal, &scene.wire, &scene.token);
    wait_for("the process", || !stands_still(&victim));
    assert_eq!(scene.verdict(), Some(Verdict::Inconclusive));
    scene.heals();
}

#[test]
fn a_fault_process_that_is_killed_is_undone_by_its_agent_and_the_run_says_so() {
    e2e::in_a_room!();
    let mut scene = scene();
    let victim = scene.hit("{ network_partition: {} }", 120);
    for pid in named(holder::NAME) {
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).expect("it is there");
    }
    let killed = Instant::now();
    let took = time_until("traffic", killed, || !is_cut_off(&victim));
    assert!(took <= AT_ONCE, "{took:?}");
    assert_eq!(scene.verdict(), Some(Verdict::Inconclusive));
    scene.heals();
}

#[test]
fn an_agent_that_is_asked_to_end_undoes_and_tells_everything_first() {
    e2e::in_a_room!();
    let mut scene = scene();
    let victim = scene.hit(PAUSE, 120);
    scene.agent.signal(Signal::SIGTERM);
    wait_for("its end", || !scene.agent.is_running());
    assert!(!stands_still(&victim));
    assert_eq!(scene.verdict(), Some(Verdict::Inconclusive));
    assert_eq!(scene.states(), [InjectionState::Reverted]);
    scene.heals();
}

#[test]
fn a_stop_reaches_the_agent_and_its_undo_is_proven() {
    e2e::in_a_room!();
    let mut scene = scene();
    let victim = scene.hit("{ network_partition: {} }", 120);
    let stopped = scene.terminal.json(&["stop", "--all", "--reason", "a test"]);
    assert_eq!(stopped["runs"][0]["unproven"], serde_json::json!([]), "{stopped}");
    assert!(!is_cut_off(&victim));
    assert_eq!(scene.verdict(), Some(Verdict::Stopped));
    scene.heals();
}

#[test]
fn a_host_that_is_not_known_is_named_beside_those_that_are() {
    e2e::in_a_room!();
    let scene = scene();
    let document = "apiVersion: chaos.engineering/v1\nkind: Experiment\nmetadata: { name: lost }\nspec:\n  \
        target: { host: { app: orchestrator }, hosts: [node-2] }\n  faults: [ { process_pause: {} } ]\n";
    let ended = scene.terminal.run(&["run", "-f", &scene.terminal.file("lost.yaml", document)]);
    assert!(matches!(ended.code, Some(1 | 2)), "{ended:?}");
    assert!(ended.errors.contains("node-2") && ended.errors.contains(HOST), "{ended:?}");
}

#[test]
fn only_a_token_of_the_role_agent_opens_a_link_and_its_end_is_the_links() {
    e2e::in_a_room!();
    let mut scene = scene();
    let other = Terminal::new();
    let token = other.file("token", &scene.terminal.token("vera", "viewer"));
    let mut refused = dial(&other, &scene.wire, &token);
    wait_for("the refusal", || scene.terminal.expect(0, &["audit", "list"]).output.contains("403"));
    refused.signal(Signal::SIGTERM);
    let ended = refused.end();
    assert!(ended.errors.contains("viewer"), "{ended:?}");
    connected(1);
    let tokens = scene.terminal.json(&["token", "list"]);
    let own = tokens.as_array().into_iter().flatten().find(|one| one["name"] == HOST).expect("its token");
    scene.terminal.expect(0, &["token", "revoke", own["id"].as_str().expect("its id")]);
    connected(0);
    scene.heals();
}

#[test]
fn an_agent_speaks_tls_and_trusts_only_the_authority_that_it_was_told() {
    e2e::in_a_room!();
    let (mut terminal, agent, _house) = (Terminal::new(), Terminal::new(), orchestrator(SOAK));
    let listen = "127.0.0.1:8443";
    let _server = terminal.start(&["serve", "--tls", "--listen", listen, "--no-local-agent"]);
    let authority = terminal.state.join("tls").join("ca.pem").display().to_string();
    let url = format!("https://{listen}");
    terminal.environment =
        vec![("CHAOS_SERVER".to_owned(), url.clone()), ("CHAOS_CA".to_owned(), authority.clone())];
    wait_for("the server", || terminal.run(&["health"]).code == Some(0));
    let token = agent.file("token", &terminal.token(HOST, "agent"));
    let options = ["agent", "--server", &url, "--name", HOST, "--token-file", &token];
    // Without the authority it never gets in, however long it tries.
    let mut stranger = agent.start(&options);
    let _agent = {
        let other = Terminal::new();
        let started = other.start(&[&options[..], &["--ca", &authority]].concat());
        wait_for("the agent", || {
            let seen = terminal.run(&["targets", "--target-app", "orchestrator", "--output", "json"]);
            seen.output.contains(HOST)
        });
        (started, other)
    };
    assert!(stranger.is_running(), "it tries again and again");
    stranger.signal(Signal::SIGTERM);
    let ended = stranger.end();
    assert!(!ended.errors.contains("connected"), "{ended:?}");
    let run = ["run", "--type", "process_pause", "--name", "far", "--duration", "1"];
    terminal.expect(0, &run);
}

//! This test program again, as another process: a victim that opens connections, or a parent of fault processes.
//! Run without its variable it does nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chaos_agent::local::LocalNode;
use chaos_core::port::{InjectOrder, Node};
use chaos_core::run::InjectionState;

use super::support::{PATIENCE, Victim, config};

const ROLE: &str = "CHAOS_TEST_ROLE";
const DATA: &str = "CHAOS_TEST_DATA";
/// Time between two connections that a victim opens.
const EVERY: Duration = Duration::from_millis(10);

pub(crate) fn command(role: &str, data: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "conformance::actor::plays_its_role", "--nocapture", "--test-threads=1"]);
    command
        .env(ROLE, role)
        .env(DATA, data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

#[test]
fn plays_its_role() {
    let (Ok(role), Ok(data)) = (std::env::var(ROLE), std::env::var(DATA)) else { return };
    // The harness has begun a line of its own.
    say("");
    match role.as_str() {
        "connector" => connector(data.parse().unwrap()),
        "parent" => parent(&data),
        other => panic!("no such role: {other}"),
    }
}

/// Opens a connection every ten milliseconds and says how each went. Its own port answers as well.
fn connector(to: SocketAddr) {
    let listener = TcpListener::bind(SocketAddr::new([0, 0, 0, 0].into(), 0)).unwrap();
    say(&format!("port {}", listener.local_addr().unwrap().port()));
    std::thread::spawn(move || listener.incoming().for_each(drop));
    loop {
        let started = Instant::now();
        let connected = TcpStream::connect_timeout(&to, EVERY).is_ok();
        say(if connected { "+" } else { "-" });
        std::thread::sleep(EVERY.saturating_sub(started.elapsed()));
    }
}

/// Sends an order, says what is reported, and lives until it is killed.
fn parent(data: &str) {
    let (state, order) = data.split_once('\n').unwrap();
    let order: InjectOrder = serde_json::from_str(order).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let node = LocalNode::new(config(state.as_ref()));
    let sink = Arc::new(|report: chaos_core::port::InjectionReport| say(&format!("state {}", report.state)));
    runtime.block_on(node.inject(order, sink)).unwrap();
    // The end of the test is the end of this process.
    let _ = std::io::stdin().read(&mut [0]);
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// A started actor and what it has said.
pub(crate) struct Actor {
    pub(crate) victim: Victim,
    said: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Actor {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut victim = Victim::from(&mut command);
        let said = Arc::new(Mutex::new(Vec::new()));
        let (out, writer) = (victim.child.stdout.take().unwrap(), Arc::clone(&said));
        std::thread::spawn(move || {
            use std::io::BufRead;
            for line in std::io::BufReader::new(out).lines().map_while(Result::ok) {
                writer.lock().unwrap().push((Instant::now(), line));
            }
        });
        Self { victim, said }
    }

    pub(crate) fn parent(state: &std::path::Path, order: &InjectOrder) -> Self {
        let data = format!("{}\n{}", state.display(), serde_json::to_string(order).unwrap());
        Self::start(command("parent", &data))
    }

    fn since(&self, when: Instant) -> Vec<String> {
        self.said.lock().unwrap().iter().filter(|(at, _)| *at >= when).map(|(_, line)| line.clone()).collect()
    }

    pub(crate) fn port(&self) -> u16 {
        let mut port = None;
        super::support::eventually("the victim says its port", || {
            let said = self.said.lock().unwrap();
            port = said.iter().find_map(|(_, line)| line.strip_prefix("port ")?.parse().ok());
            port.is_some()
        });
        port.unwrap()
    }

    pub(crate) fn wait_for_state(&self, state: InjectionState) {
        let wanted = format!("state {state}");
        let said = || self.said.lock().unwrap().iter().any(|(_, line)| *line == wanted);
        super::support::eventually(&wanted, said);
    }

    /// How the next attempts went that began after now: false when none succeeded.
    pub(crate) fn connects(&self, attempts: usize) -> bool {
        // The attempt that is under way when this is asked was not made after it.
        let begun = Instant::now();
        let outcomes = || -> Vec<String> {
            self.since(begun).into_iter().filter(|line| line == "+" || line == "-").skip(1).collect()
        };
        super::support::within(PATIENCE, "the victim tries to connect", || outcomes().len() >= attempts);
        outcomes().iter().any(|outcome| outcome == "+")
    }

    /// Connections that succeeded between two moments.
    pub(crate) fn successes_between(&self, from: Instant, to: Instant) -> usize {
        let said = self.said.lock().unwrap();
        said.iter().filter(|(at, line)| *at >= from && *at <= to && line == "+").count()
    }
}

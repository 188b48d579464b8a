//! Server and agent of a remote round: where they keep what they know, how they start, stop and end.
//!
//! Owns their processes. It never judges.

use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::soak::owner::{self, Plan, chaos};
use crate::wire::Wire;

/// What the agent's host is called.
pub(super) const HOST: &str = "node-1";
/// How long an agent may take to be connected.
const CONNECTED_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

/// What server and agent keep over all rounds, and the wire between them.
#[derive(Debug)]
pub(in crate::soak) struct Site {
    pub(in crate::soak) chaos: PathBuf,
    pub(super) server_state: PathBuf,
    agent_state: PathBuf,
    token: PathBuf,
    pub(super) wire: Wire,
}

/// The processes of a round.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) server: Part,
    pub(super) agent: Part,
    watcher: Option<Child>,
}

/// One of them, dead or alive.
#[derive(Debug)]
pub(super) struct Part(Child);

impl Site {
    /// Makes a token for the agent, and lays the wire.
    pub(in crate::soak) fn build(
        program: &Path,
        server_state: PathBuf,
        agent_state: PathBuf,
    ) -> Result<Self> {
        let mut create = chaos(program, &server_state);
        create.args(["token", "create", "--name", HOST, "--role", "agent"]);
        let made = create.stdout(std::process::Stdio::piped()).output().context("making a token")?;
        if !made.status.success() {
            bail!("chaos token create: {}", made.status);
        }
        let token = agent_state.with_file_name("node-1.token");
        let mut file = std::fs::OpenOptions::new();
        let mut file = file.write(true).create(true).truncate(true).mode(0o600).open(&token)?;
        std::io::Write::write_all(&mut file, &made.stdout).context("writing a token")?;
        let server: SocketAddr = owner::LISTEN.parse()?;
        Ok(Self { chaos: program.to_owned(), server_state, agent_state, token, wire: Wire::lay(server)? })
    }

    /// Starts both, and waits until they are connected.
    pub(super) fn start(&self) -> Result<Parts> {
        let parts = Parts { server: self.serve()?, agent: self.dial()?, watcher: None };
        connected()?;
        Ok(parts)
    }

    fn serve(&self) -> Result<Part> {
        owner::serve(&self.chaos, &self.server_state, &["--no-local-agent"]).map(Part)
    }

    /// Starts the agent, which need not find its server.
    pub(super) fn dial(&self) -> Result<Part> {
        let mut agent = chaos(&self.chaos, &self.agent_state);
        let server = format!("http://{}", self.wire.address());
        let log = std::fs::File::create(self.log()).context("making a log")?;
        agent.args(["agent", "--name", HOST, "--server", &server]).stderr(log);
        let agent = agent.arg("--token-file").arg(&self.token).spawn();
        agent.context("starting chaos agent").map(Part)
    }

    fn log(&self) -> PathBuf {
        self.agent_state.with_file_name("agent.log")
    }

    /// Whether the latest agent has said anything yet.
    pub(super) fn agent_has_spoken(&self) -> bool {
        std::fs::metadata(self.log()).is_ok_and(|log| log.len() > 0)
    }

    /// Shows what the latest agent has said.
    #[expect(clippy::print_stdout, reason = "the soak talks to whoever runs it")]
    pub(super) fn show_log(&self) {
        println!("{}", std::fs::read_to_string(self.log()).unwrap_or_default());
    }

    /// Asks for the undo of everything, and does not wait for it.
    pub(super) fn stop_all(&self) {
        let token = std::fs::read_to_string(self.server_state.join("token")).unwrap_or_default();
        let request = format!(
            "POST /api/v1/stop HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n",
            owner::LISTEN,
            token.trim()
        );
        std::thread::spawn(move || crate::terminal::exchange(owner::LISTEN, &request));
    }
}

/// Waits until the server says that an agent is there.
fn connected() -> Result<()> {
    let begun = Instant::now();
    let is_so = |metrics: String| metrics.lines().any(|line| line == "chaos_agents_connected 1");
    while !crate::terminal::get(owner::LISTEN, "/metrics").is_some_and(is_so) {
        if begun.elapsed() > CONNECTED_WITHIN {
            bail!("the agent is not connected after {} s", CONNECTED_WITHIN.as_secs());
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

impl Parts {
    /// Starts the run, and a command line that watches it.
    pub(super) fn watch(&mut self, plan: &Plan<'_>) -> Result<()> {
        self.watcher = Some(plan.watch()?);
        Ok(())
    }

    /// Their numbers.
    pub(super) fn pids(&self) -> Vec<u32> {
        let watcher = self.watcher.as_ref().map(Child::id);
        [self.server.pid(), self.agent.pid()].into_iter().chain(watcher).collect()
    }

    /// Starts whoever has died.
    pub(super) fn start_again(&mut self, site: &Site) -> Result<()> {
        if !self.server.lives()? {
            self.server = site.serve()?;
        }
        if !self.agent.lives()? {
            self.agent = site.dial()?;
        }
        Ok(())
    }

    /// Waits for the command line; false when it does not end.
    pub(super) fn watcher_ends(&mut self, within: Duration) -> Result<bool> {
        owner::ended(self.watcher.iter_mut(), within)
    }

    /// Kills whoever is left.
    pub(super) fn kill(&mut self) {
        for child in [&mut self.server.0, &mut self.agent.0].into_iter().chain(&mut self.watcher) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Part {
    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(super) fn lives(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_none())
    }

    /// Sends it a signal, if it is there.
    pub(super) fn signal(&mut self, signal: Signal) {
        // Not reaped yet, so the number is still this child's.
        if let (Ok(true), Ok(pid)) = (self.lives(), i32::try_from(self.pid())) {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Lets it stand still for a moment.
    pub(super) fn blink<'t>(&mut self, time: Duration, told: &'t str) -> &'t str {
        self.signal(Signal::SIGSTOP);
        std::thread::sleep(time);
        self.signal(Signal::SIGCONT);
        told
    }

    /// Asks it to end and waits; its exit code, none when a signal ended it, -1 when it had to be killed.
    pub(super) fn end(&mut self, within: Duration) -> Result<Option<i32>> {
        owner::terminate(&mut self.0)?;
        if !owner::ended(std::iter::once(&mut self.0), within)? {
            let _ = self.0.kill();
            let _ = self.0.wait();
            return Ok(Some(-1));
        }
        Ok(self.0.wait()?.code())
    }
}

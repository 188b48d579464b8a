//! What is measured: a server of this build and the sample application, both started here and ended here.
//!
//! Owns their processes. It never measures.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use chaos_api::{Client, Endpoint};
use chaos_core::spec::Experiment;
use chaos_demo::{Config, Handle, Orchestrator};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything may take to come up.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A running server and a running application.
pub(crate) struct World {
    state: tempfile::TempDir,
    server: Child,
    address: String,
    /// The application.
    pub(crate) app: Handle,
    /// A client of the server.
    pub(crate) client: Client,
}

/// The built program `name` beside this one.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe().context("find this program")?.with_file_name(name);
    if !path.exists() {
        bail!("{} is not built: run `cargo xtask bench`", path.display());
    }
    Ok(path)
}

impl World {
    /// Starts both.
    pub(crate) async fn start() -> Result<Self> {
        let state = tempfile::tempdir().context("make a state folder")?;
        let app = Orchestrator::start(&Config { program: program("chaos")?, port: 0, ..Config::default() })
            .context("start orchestrator")?;
        let (server, address, client) = serve(state.path()).await?;
        Ok(Self { state, server, address, app, client })
    }

    /// An experiment with one fault on one replica of this application, whatever else runs under its name.
    pub(crate) fn experiment(
        &self,
        name: &str,
        fault: &str,
        parameters: &serde_json::Value,
    ) -> Result<Experiment> {
        let document = serde_json::json!({
            "apiVersion": chaos_core::spec::API_VERSION,
            "kind": "Experiment",
            "metadata": { "name": name },
            "spec": {
                "target": { "host": { "process": { "name": chaos_demo::NAME, "cmdline": self.app.family() } } },
                "faults": [ { fault: parameters } ],
                "duration": "60s",
                "safety": { "threshold": 0.5 },
            },
        });
        Ok(chaos_core::spec::parse_value(document)?)
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The server's process.
    pub(crate) fn server_pid(&self) -> u32 {
        self.server.id()
    }

    /// Addresses at which replicas take requests.
    pub(crate) fn traffic_ports(&self) -> Vec<SocketAddr> {
        self.app.replicas.iter().map(|replica| SocketAddr::from(([127, 0, 0, 1], replica.port))).collect()
    }

    /// Holders of this server: its children that are named so.
    pub(crate) fn holders(&self) -> Vec<i32> {
        children_named(self.server.id(), "chaos-holder")
    }

    /// Kills the server and its holders at once.
    pub(crate) fn kill_everything(&mut self) -> Result<()> {
        let holders = self.holders();
        for pid in std::iter::once(self.server.id() as i32).chain(holders) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).with_context(|| format!("kill {pid}"))?;
        }
        self.server.wait().context("reap the server")?;
        Ok(())
    }

    /// Starts a server on the same state folder again.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        (self.server, self.address, self.client) = serve(self.state.path()).await?;
        Ok(())
    }

    /// Ends both.
    pub(crate) async fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.server.id() as i32), Signal::SIGTERM).context("ask the server to end")?;
        self.server.wait().context("reap the server")?;
        self.app.stop().context("stop orchestrator")
    }
}

/// Starts a server and waits until it is ready.
async fn serve(state: &Path) -> Result<(Child, String, Client)> {
    let mut command = Command::new(program("chaos")?);
    command.args(["serve", "--listen", "127.0.0.1:0", "--state"]).arg(state);
    let server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let deadline = Instant::now() + START_LIMIT;
    while Instant::now() < deadline {
        let owner = chaos_server::lock::owner(state).filter(|owner| owner.pid == server.id());
        if let Some(owner) = owner {
            let token = std::fs::read_to_string(state.join("token")).unwrap_or_default();
            let client = Client::new(owner.address.parse::<Endpoint>()?)?.with_token(token.trim());
            if client.ready().await.is_ok() {
                return Ok((server, owner.address, client));
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("the server was not ready within {} s", START_LIMIT.as_secs())
}

/// Descendants of `root` whose argv[0] is `name`.
pub(crate) fn children_named(root: u32, name: &str) -> Vec<i32> {
    let Ok(table) = chaos_agent::sys::proc::table::ProcessTable::read() else { return Vec::new() };
    let named = |pid: &i32| table.get(*pid).is_some_and(|one| one.argument_name() == Some(name));
    table.with_descendants(root as i32).into_iter().filter(named).collect()
}

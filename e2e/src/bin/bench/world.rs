//! What is measured: a server of this build and the sample application, both started here and ended here.
//!
//! Owns their processes. It never measures.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use chaos_api::Client;
use chaos_core::spec::Experiment;
use chaos_demo::{Config, Handle, Orchestrator};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::service::Service;

/// A running server and a running application.
pub(crate) struct World {
    state: tempfile::TempDir,
    server: Service,
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
        let server = Service::start(state.path(), &["--listen", "127.0.0.1:0"]).await?;
        let client = server.client.clone();
        Ok(Self { state, server, app, client })
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
        &self.server.address
    }

    /// The server's process.
    pub(crate) fn server_pid(&self) -> u32 {
        self.server.pid()
    }

    /// Addresses at which replicas take requests.
    pub(crate) fn traffic_ports(&self) -> Vec<SocketAddr> {
        self.app.replicas.iter().map(|replica| SocketAddr::from(([127, 0, 0, 1], replica.port))).collect()
    }

    /// Holders of this server: its children that are named so.
    pub(crate) fn holders(&self) -> Vec<i32> {
        children_named(self.server.pid(), "chaos-holder")
    }

    /// Kills the server and its holders at once.
    pub(crate) fn kill_everything(&mut self) -> Result<()> {
        let holders = self.holders();
        for pid in std::iter::once(self.server.pid().cast_signed()).chain(holders) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).with_context(|| format!("kill {pid}"))?;
        }
        self.server.kill()
    }

    /// Starts a server on the same state folder again.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        self.server.restart(self.state.path()).await?;
        self.client = self.server.client.clone();
        Ok(())
    }

    /// Ends both.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.server.stop()?;
        self.app.stop().context("stop orchestrator")
    }
}

/// Descendants of `root` whose argv[0] is `name`.
pub(crate) fn children_named(root: u32, name: &str) -> Vec<i32> {
    let Ok(table) = chaos_agent::sys::proc::table::ProcessTable::read() else { return Vec::new() };
    let named = |pid: &i32| table.get(*pid).is_some_and(|one| one.argument_name() == Some(name));
    table.with_descendants(root as i32).into_iter().filter(named).collect()
}

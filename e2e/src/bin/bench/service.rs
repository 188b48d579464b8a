//! A server of this build on a state folder: started, killed, started again, ended.
//!
//! Owns its process. It never measures.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use chaos_api::{Client, Endpoint, TokenRequest};
use chaos_core::access::Role;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::program;

/// How long it may take to come up.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A running server.
pub(crate) struct Service {
    process: Child,
    options: Vec<String>,
    /// Where it listens, as a URL.
    pub(crate) address: String,
    /// A client with every right.
    pub(crate) client: Client,
}

impl Service {
    /// Starts one and waits until it is ready.
    pub(crate) async fn start(state: &Path, options: &[&str]) -> Result<Self> {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Self::spawn(state, options).await
    }

    async fn spawn(state: &Path, options: Vec<String>) -> Result<Self> {
        let mut command = Command::new(program("chaos")?);
        command.args(["serve", "--state"]).arg(state).args(&options);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            let owner = chaos_server::lock::owner(state).filter(|owner| owner.pid == process.id());
            if let Some(owner) = owner {
                let token = std::fs::read_to_string(state.join("token")).unwrap_or_default();
                let client = Client::new(owner.address.parse::<Endpoint>()?)?.with_token(token.trim());
                if client.ready().await.is_ok() {
                    return Ok(Self { process, options, address: owner.address, client });
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("the server was not ready within {} s", START_LIMIT.as_secs())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> Result<SocketAddr> {
        self.address.trim_start_matches("http://").parse().context("the address of the server")
    }

    /// A new token for agents.
    pub(crate) async fn agent_token(&self) -> Result<String> {
        let request = TokenRequest { name: "fleet".into(), role: Role::Agent, expires_at: None };
        Ok(self.client.create_token(&request).await.context("make a token")?.token)
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill().context("kill the server")?;
        self.process.wait().context("reap the server")?;
        Ok(())
    }

    /// Starts it again where it listened before.
    pub(crate) async fn restart(&mut self, state: &Path) -> Result<()> {
        let mut options = self.options.clone();
        let listen = options.iter().position(|option| option == "--listen").context("no address")?;
        options[listen + 1] = self.socket()?.to_string();
        *self = Self::spawn(state, options).await?;
        Ok(())
    }

    /// Asks it to end, and waits.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM)
            .context("ask the server to end")?;
        self.process.wait().context("reap the server").map(drop)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // After an error; one that was stopped is reaped already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

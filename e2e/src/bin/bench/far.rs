//! One real agent: what it weighs, and how soon it undoes a fault whose link is cut.
//!
//! Owns its process and these measurements.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use chaos_api::{CreateQuery, StopRequest};
use chaos_core::port::LEASE_DEFAULT;
use chaos_core::run::InjectionState;
use chaos_core::spec::{Experiment, ExperimentKey};
use chaos_demo::{Config, Handle, Orchestrator};
use e2e::wire::Wire;

use crate::service::Service;
use crate::size::resident_mib;
use crate::table::Row;
use crate::world::program;

const HOST: &str = "node-1";
const AGENT_MIB: f64 = 8.0;
/// What the undo may take beyond the lease.
const SLACK: Duration = Duration::from_millis(100);
/// How long an agent is left alone before it is weighed.
const SETTLE: Duration = Duration::from_secs(3);
const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(2);

/// Both, with the program `chaos` as the agent and with `chaos-agent`.
pub(crate) async fn measure() -> Result<Vec<Row>> {
    let folder = tempfile::tempdir().context("make a folder")?;
    let state = folder.path().join("server");
    let server = Service::start(&state, &["--listen", "127.0.0.1:0", "--no-local-agent"]).await?;
    let wire = Wire::lay(server.socket()?)?;
    let token = folder.path().join("token");
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&token)?;
    file.write_all(server.agent_token().await?.as_bytes())?;
    let mut weights = Vec::new();
    let mut undone = None;
    for (name, verb) in [("chaos-agent", "run"), ("chaos", "agent")] {
        let agent = Agent::start(name, verb, &wire, &token, folder.path())?;
        connected(&server, 1).await?;
        tokio::time::sleep(SETTLE).await;
        weights.push(resident_mib(agent.0.id().cast_signed())?);
        if undone.is_none() {
            undone = Some(cut(&server, &wire).await?);
        }
        drop(agent);
        connected(&server, 0).await?;
    }
    server.stop()?;
    let weight = weights.first().copied().context("no agent was weighed")?;
    let row = Row::new(
        "resident memory, idle agent connected to a server",
        format!("{weight:.1} MiB (`chaos agent`: {:.1} MiB)", weights.last().copied().unwrap_or(f64::NAN)),
        format!("≤ {AGENT_MIB} MiB"),
        weight <= AGENT_MIB,
    );
    Ok(std::iter::once(row).chain(undone).collect())
}

async fn connected(server: &Service, count: usize) -> Result<()> {
    let (line, begin) = (format!("chaos_agents_connected {count}"), Instant::now());
    while !server.client.metrics().await.context("read metrics")?.lines().any(|one| one == line) {
        if begin.elapsed() > LIMIT {
            bail!("{line} is not reached");
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// Cuts the wire while a process is paused.
async fn cut(server: &Service, wire: &Wire) -> Result<Row> {
    let mut app: Handle =
        Orchestrator::start(&Config { program: program("chaos")?, port: 0, ..Config::default() })
            .context("start orchestrator")?;
    server.client.create(&experiment(&app)?.into(), &CreateQuery::default()).await.context("create")?;
    let victim = until_active(server).await?;
    eprintln!("the wire to an agent is cut for longer than the lease …");
    wire.cut();
    let begin = Instant::now();
    while stands_still(victim) && begin.elapsed() < 2 * LEASE_DEFAULT {
        tokio::time::sleep(POLL).await;
    }
    let took = begin.elapsed();
    wire.mend();
    connected(server, 1).await?;
    server.client.stop_all(&StopRequest::default()).await.context("stop")?;
    app.stop().context("stop orchestrator")?;
    Ok(Row::new(
        "link to an agent cut during a pause → undone on its host",
        format!("{:.2} s", took.as_secs_f64()),
        format!("≤ lease ({} s) + {} ms", LEASE_DEFAULT.as_secs(), SLACK.as_millis()),
        took <= LEASE_DEFAULT + SLACK,
    ))
}

fn experiment(app: &Handle) -> Result<Experiment> {
    let document = serde_json::json!({
        "apiVersion": chaos_core::spec::API_VERSION,
        "kind": "Experiment",
        "metadata": { "name": "cut" },
        "spec": {
            "target": {
                "host": { "process": { "name": chaos_demo::NAME, "cmdline": app.family() } },
                "hosts": [HOST],
            },
            "faults": [ { "process_pause": {} } ],
            "duration": "5m",
            "safety": { "threshold": 0.5 },
        },
    });
    Ok(chaos_core::spec::parse_value(document)?)
}

/// The process that is paused.
async fn until_active(server: &Service) -> Result<i32> {
    let (key, begin) = (ExperimentKey { namespace: "default".into(), name: "cut".into() }, Instant::now());
    while begin.elapsed() < LIMIT {
        let run = server.client.get(&key).await.context("look at the run")?.latest.context("no run")?;
        match run.injections.first() {
            Some(one) if one.state == InjectionState::Active => return Ok(one.instance.process.pid),
            Some(one) if one.state.is_final() => bail!("it is not active: {one:?}"),
            _ => tokio::time::sleep(POLL).await,
        }
    }
    bail!("it is not active within {} s", LIMIT.as_secs())
}

fn stands_still(pid: i32) -> bool {
    let state = chaos_agent::sys::proc::thread_stat(pid, pid).map(|stat| stat.state);
    matches!(state, Ok('T' | 't'))
}

/// An agent's process; it is asked to end when this is dropped.
struct Agent(Child);

impl Agent {
    fn start(name: &str, verb: &str, wire: &Wire, token: &Path, folder: &Path) -> Result<Self> {
        let mut command = Command::new(program(name)?);
        command.args([verb, "--name", HOST, "--server"]).arg(format!("http://{}", wire.address()));
        command.arg("--token-file").arg(token).arg("--state").arg(folder.join("agent"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn().with_context(|| format!("start {name}"))?))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        use nix::sys::signal::{Signal, kill};
        let _ = kill(nix::unistd::Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

//! `chaos demo`: a small real service, four experiments on it, a table of verdicts, nothing left.
//!
//! Owns the tour. The service is chaos-demo's, the documents stand in `examples/demo`, and the runs go the way of any
//! other run.

mod scenario;

use std::path::{Path, PathBuf};
use std::time::Duration;

use chaos_api::{Client, CreateQuery, ExperimentDetail, ReportFormat};
use chaos_core::duration::Span;
use chaos_core::run::Phase;
use chaos_core::spec::Experiment;
use chaos_demo::{Config, DEFAULT_PORT, Handle, Orchestrator};
use clap::{Args, ValueEnum};

use crate::config::{Origin, Setting, Settings};
use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::output::{self, Output, or_dash};
use crate::show;
use crate::signals::Signals;
use crate::watch;
use scenario::Scenario;

/// What the help says of it.
pub(crate) const LONG: &str = "\
Starts `orchestrator`, a small real service (a balancer with retries and a circuit breaker, four replicas), puts load on \
it and runs four experiments: pod resilience, resource limits, circuit breaker, safety block. Prints what each showed \
and where its report is, then stops everything; about a minute, at most two.

As root it works on this host's network and cgroups; as a plain user in a user and network namespace of its own, \
without cgroups.

With --keep nothing is broken unless --scenario says so: the service stays up on 127.0.0.1:8080 until Ctrl-C, for you \
to try the other commands on from a second terminal.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos demo
  chaos demo --scenario circuit-breaker --breaker off     # the breaker matters: this deviates, exit 3
  chaos demo --keep &
  chaos run --type pod_kill --target-app orchestrator --duration 10";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(long_about = LONG, after_long_help = EXAMPLES)]
pub(crate) struct DemoArgs {
    /// Only this scenario; may be given several times
    #[arg(long, value_enum, value_name = "NAME")]
    scenario: Vec<Scenario>,
    /// Leave the service up on 127.0.0.1:8080 until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// The service's circuit breaker
    #[arg(long, value_enum, value_name = "STATE", default_value_t = Switch::On)]
    breaker: Switch,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    /// It works
    On,
    /// It does nothing
    Off,
}

impl DemoArgs {
    fn scenarios(&self) -> Vec<Scenario> {
        match (self.scenario.as_slice(), self.keep) {
            ([], true) => Vec::new(),
            ([], false) => Scenario::value_variants().to_vec(),
            (some, _) => some.to_vec(),
        }
    }
}

/// Does it. Called before any thread exists: a plain user goes into namespaces of its own first.
pub(crate) fn run(args: &DemoArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    let mut settings = settings.clone();
    settings.state = Setting { value: settings.state.value.join("demo"), origin: Origin::Default };
    settings.server = None;
    if !nix::unistd::geteuid().is_root() {
        if args.keep {
            out.note(
                "not root: network_partition and cgroup limits won't work on this service; the rest will",
            );
        } else if let Err(error) = chaos_agent::sys::private::enter_private_namespaces() {
            out.note(&format!("{error}: the circuit-breaker scenario needs root or a user namespace here"));
        } else {
            out.note(
                "not root: everything happens in a user and network namespace of its own, without cgroups",
            );
        }
    }
    super::block_on(tour(args, &settings, out))
}

async fn tour(args: &DemoArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    let mut signals = Signals::new()?;
    let mut app = start(args).await?;
    out.text(&format!(
        "orchestrator is up at {} with {} replicas{}",
        app.base_url,
        app.replicas.len(),
        if args.breaker == Switch::Off { ", circuit breaker off" } else { "" }
    ))?;
    let scenarios = args.scenarios();
    let outcome = if scenarios.is_empty() {
        Ok(0)
    } else {
        Box::pin(run_all(&scenarios, &app, settings, &mut signals, out)).await
    };
    if args.keep && outcome.is_ok() {
        keep(&app, &mut signals, out).await?;
    }
    let stopped = tokio::task::spawn_blocking(move || app.stop()).await;
    stopped.map_err(anyhow::Error::new)?.map_err(anyhow::Error::new)?;
    out.text("orchestrator is stopped: its processes and cgroups are gone")?;
    outcome
}

async fn start(args: &DemoArgs) -> Result<Handle, Failure> {
    let port = if args.keep { DEFAULT_PORT } else { 0 };
    let config = Config { port, breaker: args.breaker == Switch::On, ..Config::default() };
    let started = tokio::task::spawn_blocking(move || Orchestrator::start(&config))
        .await
        .map_err(anyhow::Error::new)?;
    Ok(started.map_err(anyhow::Error::new)?)
}

async fn keep(app: &Handle, signals: &mut Signals, out: &Output) -> Result<(), Failure> {
    out.text(&format!(
        "it stays up; from a second terminal:
  curl -s {url}/health
  chaos targets --app orchestrator
  chaos run --type pod_kill --name first --target-app orchestrator --duration 10
Ctrl-C ends it",
        url = app.base_url
    ))?;
    signals.next().await;
    Ok(())
}

/// One scenario that came to an end.
struct Shown {
    scenario: Scenario,
    detail: ExperimentDetail,
    report: PathBuf,
}

impl Shown {
    fn as_expected(&self) -> bool {
        self.detail.record.verdict == Some(self.scenario.expected())
    }
}

async fn run_all(
    scenarios: &[Scenario],
    app: &Handle,
    settings: &Settings,
    signals: &mut Signals,
    out: &Output,
) -> Result<u8, Failure> {
    let connection = Connection::open(settings, true, out).await?;
    let mut shown = Vec::new();
    let mut interrupted = None;
    for scenario in scenarios {
        out.text(&format!("\n{}\n  {}", scenario.title(), scenario.look_at()))?;
        match Box::pin(one(*scenario, app, &connection.client, signals, out)).await {
            Ok((detail, None)) => {
                let report = write_report(&connection.client, &detail, &settings.state.value).await?;
                // The demo has a state folder of its own, so its report is found by its path.
                let hint = format!("chaos report {}", detail.record.name);
                out.text(&show::experiment(&detail, out).replace(&hint, &report.display().to_string()))?;
                shown.push(Shown { scenario: *scenario, detail, report });
            }
            Ok((_, Some(code))) => {
                interrupted = Some(code);
                break;
            }
            Err(failure) => {
                connection.close().await;
                return Err(failure);
            }
        }
    }
    connection.close().await;
    if let Some(code) = interrupted {
        return Ok(code);
    }
    out.text(&format!("\n{}", table(&shown, out)))?;
    if let Some(folder) = shown.first().and_then(|one| one.report.parent()) {
        out.text(&format!("reports: {}", folder.display()))?;
    }
    Ok(exit::worst(shown.iter().map(|one| match one.detail.record.exit_code {
        Some(exit::REVERT_INCOMPLETE) => exit::REVERT_INCOMPLETE,
        _ if one.as_expected() => 0,
        _ => exit::DEVIATED,
    })))
}

fn table(shown: &[Shown], out: &Output) -> String {
    let rows = shown.iter().map(|one| {
        let record = &one.detail.record;
        vec![
            one.scenario.name(),
            or_dash(record.verdict),
            if one.as_expected() {
                "as expected".to_owned()
            } else {
                format!("expected {}", one.scenario.expected())
            },
            or_dash(record.duration_seconds.map(output::seconds)),
            if out.is_wide() || !one.as_expected() {
                or_dash(record.reason.as_deref())
            } else {
                String::new()
            },
        ]
    });
    output::table(&["SCENARIO", "VERDICT", "", "DURATION", ""], rows)
}

async fn write_report(client: &Client, detail: &ExperimentDetail, state: &Path) -> Result<PathBuf, Failure> {
    let folder = state.join("reports");
    std::fs::create_dir_all(&folder).map_err(|error| Failure::file("make", &folder, error))?;
    let path = folder.join(format!("{}.md", detail.record.name));
    let Some(run) = &detail.record.run else { return Ok(path) };
    let text = client.report(&detail.record.key(), run, ReportFormat::Md).await?;
    std::fs::write(&path, text).map_err(|error| Failure::file("write", &path, error))?;
    Ok(path)
}

/// Runs a scenario's documents: all but the last set the scene and go on behind it. The exit code when interrupted.
async fn one(
    scenario: Scenario,
    app: &Handle,
    client: &Client,
    signals: &mut Signals,
    out: &Output,
) -> Result<(ExperimentDetail, Option<u8>), Failure> {
    let mut documents = scenario.documents(app)?;
    let last = documents.pop().ok_or_else(|| anyhow::anyhow!("the scenario has no document"))?;
    let mut scene = Vec::new();
    for document in documents {
        let started = create(client, document).await?;
        until_active(client, &started).await?;
        scene.push(started);
    }
    let mut ended = follow(client, create(client, last).await?, signals, out).await?;
    for started in scene {
        let behind = follow(client, started, signals, out).await?;
        ended.1 = ended.1.or(behind.1);
    }
    Ok(ended)
}

async fn create(client: &Client, document: Experiment) -> Result<ExperimentDetail, Failure> {
    // What the gates say comes as events: nobody has to wait for the answer.
    let query = CreateQuery { wait: Some(Span::default()), ..CreateQuery::default() };
    Ok(client.create(&document.into(), &query).await?)
}

async fn follow(
    client: &Client,
    started: ExperimentDetail,
    signals: &mut Signals,
    out: &Output,
) -> Result<(ExperimentDetail, Option<u8>), Failure> {
    let run = started.record.run.clone().ok_or_else(|| anyhow::anyhow!("the run was not started"))?;
    let ended = watch::follow(client, &started, &run, signals, out, true).await?;
    Ok((ended.detail, ended.signal.map(|_| ended.code)))
}

/// How long a scene may take to be set, and how often it is looked at.
const SCENE_LIMIT: Duration = Duration::from_secs(10);
const SCENE_POLL: Duration = Duration::from_millis(50);

async fn until_active(client: &Client, started: &ExperimentDetail) -> Result<(), Failure> {
    let key = started.record.key();
    let active = async {
        loop {
            let record = client.get(&key).await?.record;
            match record.phase {
                Some(Phase::Active) => return Ok(()),
                Some(Phase::Finished) => {
                    let reason = record.reason.unwrap_or_default();
                    return Err(Failure::Other(anyhow::anyhow!(
                        "{key} ended before it was active: {reason}"
                    )));
                }
                _ => tokio::time::sleep(SCENE_POLL).await,
            }
        }
    };
    let late = |_| Failure::Other(anyhow::anyhow!("{key} was not active within {} s", SCENE_LIMIT.as_secs()));
    tokio::time::timeout(SCENE_LIMIT, active).await.map_err(late)?
}

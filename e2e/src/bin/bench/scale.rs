//! A thousand agents on one server: what they cost while nothing happens, how fast the lever ends everything, and how
//! soon a server that was killed has its runs again.
//!
//! Owns these measurements. The agents are imagined ([`crate::fleet`]); sockets, protocol and server are real.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use chaos_api::{Client, CreateQuery, EventsQuery, LeverRequest, ListQuery, StopRequest};
use chaos_core::duration::Span;
use chaos_core::run::{Event, RunId, Status};
use chaos_core::spec::Experiment;
use futures_util::StreamExt as _;

use crate::fleet::{APP, Fleet, name};
use crate::service::Service;
use crate::size::resident_mib;
use crate::table::Row;

const AGENTS: usize = 1000;
const TARGETS_EACH: usize = 6;
/// Resident memory of a server that they are connected to.
const SERVER_MIB: f64 = 120.0;
/// Of one core, what it may use for them while nothing happens.
const IDLE_PERCENT: f64 = 5.0;
/// What the lever may take, from the request to the last proof.
const LEVER: Duration = Duration::from_secs(2);
/// Runs that are started before their server is killed; as many of them as it lets be active at a time are.
const RUNS: usize = 100;
/// How long nothing changes once no more runs become active.
const QUIET: Duration = Duration::from_secs(2);
/// How soon after the start of the next server each of them is taken up or undone.
const TAKEN_UP: Duration = Duration::from_secs(1);
const IDLE_WINDOW: Duration = Duration::from_secs(10);
/// How long anything that is waited for may take.
const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Measures all of it on one server.
pub(crate) async fn measure() -> Result<Vec<Row>> {
    let state = tempfile::tempdir().context("make a state folder")?;
    let mut server = Service::start(state.path(), &["--listen", "127.0.0.1:0", "--no-local-agent"]).await?;
    let fleet = Fleet::start(AGENTS, TARGETS_EACH, server.socket()?, &server.agent_token().await?);
    eprintln!("{AGENTS} agents connect …");
    connected(&server.client).await?;
    let mut rows = idle(&server).await?;
    eprintln!("{AGENTS} agents with {TARGETS_EACH} targets each, lever …");
    rows.push(lever(&server.client).await?);
    eprintln!("server killed with {RUNS} runs …");
    rows.push(killed(&mut server, state.path()).await?);
    server.client.stop_all(&StopRequest::default()).await.context("stop")?;
    drop(fleet);
    server.stop()?;
    Ok(rows)
}

async fn connected(client: &Client) -> Result<()> {
    let line = format!("chaos_agents_connected {AGENTS}");
    until("agents that are connected", async || {
        Ok(client.metrics().await.context("read metrics")?.lines().any(|one| one == line))
    })
    .await
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while !done().await? {
        if Instant::now() > deadline {
            bail!("waited {} s for {what}", LIMIT.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

async fn idle(server: &Service) -> Result<Vec<Row>> {
    let pid = server.pid().cast_signed();
    let cpu = || chaos_agent::sys::proc::process_cpu_time(pid).context("read the server's CPU time");
    let (begin, before) = (Instant::now(), cpu()?);
    tokio::time::sleep(IDLE_WINDOW).await;
    let percent = (cpu()? - before).as_secs_f64() / begin.elapsed().as_secs_f64() * 100.0;
    let resident = resident_mib(pid)?;
    Ok(vec![
        Row::new(
            format!("resident memory, server with {AGENTS} idle agents"),
            format!("{resident:.1} MiB"),
            format!("≤ {SERVER_MIB} MiB"),
            resident <= SERVER_MIB,
        ),
        Row::new(
            format!("CPU, server with {AGENTS} idle agents, over {} s", IDLE_WINDOW.as_secs()),
            format!("{percent:.1} % of a core"),
            format!("≤ {IDLE_PERCENT} %"),
            percent <= IDLE_PERCENT,
        ),
    ])
}

fn experiment(name: &str, hosts: &[String], select: &str) -> Result<Experiment> {
    let document = serde_json::json!({
        "apiVersion": chaos_core::spec::API_VERSION,
        "kind": "Experiment",
        "metadata": { "name": name },
        "spec": {
            "target": { "host": { "app": APP }, "hosts": hosts, "select": select },
            "faults": [ { "process_pause": {} } ],
            "duration": "10m",
            "safety": { "threshold": 0.01 },
        },
    });
    Ok(chaos_core::spec::parse_value(document)?)
}

async fn start(client: &Client, experiment: Experiment) -> Result<()> {
    let query = CreateQuery {
        // What waits for room is not waited for.
        wait: Some(Span::default()),
        overrides: Some("max_affected,last_ready_instance".into()),
        reason: Some("they are imagined".into()),
        ..CreateQuery::default()
    };
    client.create(&experiment.into(), &query).await.context("create").map(drop)
}

/// Injections that are active in all runs.
async fn active(client: &Client) -> Result<usize> {
    let query = ListQuery { status: Some(Status::Running), ..ListQuery::default() };
    Ok(client.list(&query).await.context("list")?.iter().map(|run| run.active).sum())
}

async fn lever(client: &Client) -> Result<Row> {
    let all = AGENTS * TARGETS_EACH;
    let begin = Instant::now();
    start(client, experiment("everywhere", &[], "all")?).await?;
    until("every fault to be active", async || Ok(active(client).await? == all)).await?;
    let (active, begin) = (begin.elapsed(), Instant::now());
    let engage = LeverRequest { engaged: true, reason: "a measurement".into() };
    let engaged = client.set_lever(&engage).await.context("engage the lever")?;
    let took = begin.elapsed();
    let reverted: usize = engaged.stopped.runs.iter().map(|run| run.reverted).sum();
    if !engaged.stopped.is_complete() || reverted != all {
        bail!("{reverted} of {all} are proven reverted");
    }
    let release = LeverRequest { engaged: false, reason: "it is over".into() };
    client.set_lever(&release).await.context("release the lever")?;
    Ok(Row::new(
        format!("{AGENTS} agents, {all} active faults: lever → all proven reverted"),
        format!("{:.2} s (all active after {:.1} s)", took.as_secs_f64(), active.as_secs_f64()),
        format!("≤ {} s", LEVER.as_secs()),
        took <= LEVER,
    ))
}

async fn killed(server: &mut Service, state: &std::path::Path) -> Result<Row> {
    for run in 0..RUNS {
        start(&server.client, experiment(&format!("run-{run}"), &[name(run)], "one")?).await?;
    }
    let client = server.client.clone();
    settled(&client).await?;
    let query = ListQuery { status: Some(Status::Running), ..ListQuery::default() };
    let runs = client.list(&query).await.context("list")?.into_iter();
    let mut waiting: BTreeSet<RunId> = runs.filter(|one| one.active > 0).filter_map(|one| one.run).collect();
    let active = waiting.len();
    let position = latest_position(&client).await?;
    server.kill()?;
    let begin = Instant::now();
    server.restart(state).await?;
    let ready = begin.elapsed();
    let mut events =
        Box::pin(server.client.events(EventsQuery { after: Some(position), ..EventsQuery::default() }));
    let (mut adopted, mut ended) = (0, 0);
    let heard = async {
        while !waiting.is_empty() {
            let (_, event) = events.next().await.context("the events ended")?.context("read events")?;
            match &event.record.event {
                Event::Adopted { held } if waiting.remove(&event.run) => {
                    adopted += usize::from(!held.is_empty());
                    ended += usize::from(held.is_empty());
                }
                _ => {}
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(LIMIT, heard).await.context("a run is not taken up")??;
    let took = begin.elapsed();
    Ok(Row::new(
        format!(
            "server killed with {active} active runs ({RUNS} started), started again → each taken up or undone"
        ),
        format!(
            "{:.2} s after the start (ready after {:.2} s): {adopted} go on, {ended} undone",
            took.as_secs_f64(),
            ready.as_secs_f64()
        ),
        format!("≤ {} s", TAKEN_UP.as_secs()),
        took <= TAKEN_UP && active == RUNS,
    ))
}

/// Waits until as many runs are active as will be.
async fn settled(client: &Client) -> Result<()> {
    let (mut last, mut since) = (0, Instant::now());
    until("runs to be active", async || {
        let now = active(client).await?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
        Ok(last == RUNS || since.elapsed() >= QUIET)
    })
    .await
}

/// The position of the latest event that there is.
async fn latest_position(client: &Client) -> Result<u64> {
    let mut events = Box::pin(client.events(EventsQuery { after: Some(0), ..EventsQuery::default() }));
    let mut latest = 0;
    // A stream that is silent for so long has told everything.
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(500), events.next()).await {
        latest = event.context("read events")?.0;
    }
    Ok(latest)
}

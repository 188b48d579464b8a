//! How fast lists are read, beside an answer that costs nothing: both over the same number of connections, in turns.
//!
//! Owns these measurements and a small client, so that what is measured is the server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use chaos_api::{Client, CreateQuery};
use chaos_core::spec::Experiment;
use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use futures_util::stream;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::service::Service;
use crate::table::Row;

const EXPERIMENTS: usize = 10_000;
const PAGE: usize = 50;
const CONNECTIONS: usize = 64;
/// Of the rate of `/health`.
const SHARE_PERCENT: f64 = 25.0;
/// How long each is asked for in a turn, and how many turns there are.
const TURN: Duration = Duration::from_secs(2);
const TURNS: usize = 3;

/// Pages of a long list beside `/health`.
pub(crate) async fn measure() -> Result<Row> {
    let state = tempfile::tempdir().context("make a state folder")?;
    let server = Service::start(state.path(), &["--listen", "127.0.0.1:0"]).await?;
    eprintln!("{EXPERIMENTS} experiments are registered …");
    register(&server.client).await?;
    let (address, page) = (server.socket()?, format!("/api/v1/experiments?limit={PAGE}"));
    let (mut pages, mut healths) = (0, 0);
    for _ in 0..TURNS {
        healths += answers(address, "/health").await?;
        pages += answers(address, &page).await?;
    }
    server.stop()?;
    let rate = |count: usize| count as f64 / (TURN * TURNS as u32).as_secs_f64();
    let share = 100.0 * rate(pages) / rate(healths);
    Ok(Row {
        peer: format!("/health {:.0}/s", rate(healths)),
        ..Row::new(
            format!("GET a page of {PAGE} out of {EXPERIMENTS} experiments, {CONNECTIONS} connections"),
            format!("{:.0}/s, {share:.0} % of /health", rate(pages)),
            format!("≥ {SHARE_PERCENT} %"),
            share >= SHARE_PERCENT,
        )
    })
}

async fn register(client: &Client) -> Result<()> {
    let query = CreateQuery { start: Some(false), ..CreateQuery::default() };
    let one =
        async |number: usize| client.create(&experiment(number)?.into(), &query).await.context("create");
    let mut all = stream::iter(0..EXPERIMENTS).map(one).buffer_unordered(CONNECTIONS);
    while let Some(made) = all.next().await {
        made?;
    }
    Ok(())
}

fn experiment(number: usize) -> Result<Experiment> {
    let document = serde_json::json!({
        "apiVersion": chaos_core::spec::API_VERSION,
        "kind": "Experiment",
        "metadata": { "name": format!("experiment-{number}"), "labels": { "team": "platform" } },
        "spec": { "target": { "host": { "app": "orchestrator" } }, "faults": [ { "pod_kill": {} } ] },
    });
    Ok(chaos_core::spec::parse_value(document)?)
}

/// How many answers come within a turn, over all connections.
async fn answers(server: SocketAddr, path: &str) -> Result<usize> {
    let end = Instant::now() + TURN;
    let counts = try_join_all((0..CONNECTIONS).map(|_| {
        let path = path.to_owned();
        tokio::spawn(async move { ask(server, &path, end).await })
    }));
    counts.await?.into_iter().sum()
}

/// Asks again and again over one connection.
async fn ask(server: SocketAddr, path: &str, end: Instant) -> Result<usize> {
    let mut connection = BufReader::new(TcpStream::connect(server).await.context("connect")?);
    connection.get_ref().set_nodelay(true)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\n\r\n");
    let (mut count, mut line, mut body) = (0, String::new(), Vec::new());
    while Instant::now() < end {
        connection.get_mut().write_all(request.as_bytes()).await.context("ask")?;
        let mut length = None;
        for number in 0.. {
            line.clear();
            connection.read_line(&mut line).await.context("read an answer")?;
            if number == 0 && !line.starts_with("HTTP/1.1 200 ") {
                bail!("{path}: {line:?}");
            }
            if line.trim().is_empty() {
                break;
            }
            if let Some(("content-length", value)) = line.split_once(':') {
                length = value.trim().parse().ok();
            }
        }
        body.resize(length.context("an answer without a length")?, 0);
        connection.read_exact(&mut body).await.context("read an answer")?;
        count += 1;
    }
    Ok(count)
}

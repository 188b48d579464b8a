//! Start-time jitter of probes: a thousand measurements a second for ten seconds against a local server.
//!
//! `cargo run --release -p chaos-probes --example jitter` prints how late measurements started. It is for the bench.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use chaos_core::port::Prober;
use chaos_core::run::ProbeSample;
use chaos_core::spec::{Probe, ProbePhase, parse_value};
use chaos_probes::{Probes, ProbesConfig};
use futures_util::future::join_all;
use serde_json::json;
use tokio::net::TcpListener;

const PROBES: usize = 20;
const EVERY_MS: u64 = 20;
const LASTS: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("listening on the loopback address")?;
    let address = listener.local_addr()?;
    tokio::spawn(
        async move { axum::serve(listener, Router::new().route("/", get(|| async { "ok" }))).await },
    );

    let mut out = std::io::stdout().lock();
    let many: Vec<Probe> = (0..PROBES)
        .map(|n| parse(json!({ "name": format!("p{n}"), "http": { "url": format!("http://{address}/") }, "every": format!("{EVERY_MS}ms") })))
        .collect::<anyhow::Result<_>>()?;
    writeln!(out, "{}", measure(&format!("{PROBES} http probes every {EVERY_MS} ms"), &many).await)?;
    let load =
        parse(json!({ "name": "load", "load": { "url": format!("http://{address}/"), "rate": 1000 } }))?;
    writeln!(out, "{}", measure("load, 1000 a second", &[load]).await)?;
    Ok(())
}

fn parse(value: serde_json::Value) -> anyhow::Result<Probe> {
    parse_value(value).context("reading the probe")
}

async fn measure(what: &str, probes: &[Probe]) -> String {
    let prober = Probes::new(ProbesConfig::default());
    let counts = std::sync::Mutex::new((0, 0));
    let sink = |sample: ProbeSample| {
        let mut counts = counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        counts.0 += sample.measured;
        counts.1 += sample.passed;
    };
    let watch =
        |probe| prober.watch(probe, ProbePhase::Chaos, false, Box::pin(tokio::time::sleep(LASTS)), &sink);
    join_all(probes.iter().map(watch)).await;
    let (jitter, (measured, passed)) =
        (prober.start_jitter(), *counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    format!(
        "{what}: {} starts, {measured} measured, {passed} passed; late p50 {:?}, p99 {:?}, max {:?}",
        jitter.starts, jitter.p50, jitter.p99, jitter.max
    )
}

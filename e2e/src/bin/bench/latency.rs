//! How fast faults begin and end, and how soon the kernel ends one alone.
//!
//! Owns these measurements, from a client's side: from the request sent to the proof heard of.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use chaos_api::{CreateQuery, EventsQuery, StopRequest};
use chaos_core::run::{Event, InjectionState};
use chaos_core::spec::ExperimentKey;
use futures_util::StreamExt;

use crate::table::{Row, quantile};
use crate::world::World;

/// Every fault of this build.
pub(crate) const FAULTS: [&str; 5] =
    ["pod_kill", "process_pause", "cpu_stress", "memory_pressure", "network_partition"];
/// What a fault may take from the request to the proof: median and 99th percentile.
const INJECT_P50_MS: f64 = 10.0;
const INJECT_P99_MS: f64 = 25.0;
/// What a stop may take to the proof.
const STOP_P99_MS: f64 = 50.0;
/// How long the kernel keeps a partition that nobody refreshes: the holder's own lease for set elements.
const KERNEL_LEASE: Duration = Duration::from_secs(5);
const KERNEL_SLACK: Duration = Duration::from_millis(100);
/// Time between two rounds. For about 20 ms after rules were removed the kernel clears them away behind our back, and
/// lets the next change of its tables wait for that; what is measured is a fault on a host at rest.
const SETTLE: Duration = Duration::from_millis(50);
/// How long anything that is waited for may take.
const LIMIT: Duration = Duration::from_secs(30);

fn parameters(fault: &str) -> serde_json::Value {
    match fault {
        "cpu_stress" => serde_json::json!({ "load": "20%", "cores": 1 }),
        "memory_pressure" => serde_json::json!({ "size": "16Mi" }),
        _ => serde_json::json!({}),
    }
}

/// Starts and stops a fault again and again.
pub(crate) async fn measure(world: &mut World, fault: &str, rounds: usize) -> Result<Vec<Row>> {
    let (mut inject, mut server, mut stop) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        tokio::time::sleep(SETTLE).await;
        all_ready(world).await?;
        let name = format!("{}-{round}", fault.replace('_', "-"));
        let (client_ms, journal_ms) =
            start(world, fault, &name).await.with_context(|| format!("round {round}"))?;
        inject.push(client_ms);
        server.push(journal_ms);
        let key = ExperimentKey { namespace: "default".into(), name };
        let begin = Instant::now();
        let stopped = world.client.stop(&key, &StopRequest::default()).await.context("stop")?;
        stop.push(begin.elapsed().as_secs_f64() * 1000.0);
        if !stopped.is_complete() {
            bail!("{fault}: an undo is not proven: {stopped:?}");
        }
    }
    let (p50, p99) = (quantile(&mut server, 0.50), quantile(&mut server, 0.99));
    let (client50, client99) = (quantile(&mut inject, 0.50), quantile(&mut inject, 0.99));
    let (stop50, stop99) = (quantile(&mut stop, 0.50), quantile(&mut stop, 0.99));
    Ok(vec![
        Row::new(
            format!("{fault}: accepted → proven active, {rounds} times"),
            format!(
                "p50 {p50:.0} ms, p99 {p99:.0} ms (a client: sent → heard p50 {client50:.1}, p99 {client99:.1})"
            ),
            format!("p50 ≤ {INJECT_P50_MS} ms, p99 ≤ {INJECT_P99_MS} ms"),
            p50 <= INJECT_P50_MS && p99 <= INJECT_P99_MS,
        ),
        Row::new(
            format!("{fault}: stop → proven reverted, {rounds} times"),
            format!("p50 {stop50:.1} ms, p99 {stop99:.1} ms"),
            format!("p99 ≤ {STOP_P99_MS} ms"),
            stop99 <= STOP_P99_MS,
        ),
    ])
}

/// Starts a fault and listens until it is proven active. Milliseconds as the client sees them, and as the journal has
/// them.
pub(crate) async fn start(world: &World, fault: &str, name: &str) -> Result<(f64, f64)> {
    let (client, body) = (world.client.clone(), world.experiment(name, fault, &parameters(fault))?.into());
    // Subscribed before the request, so that no event is missed; the answer and the events race.
    let mut events = Box::pin(world.client.events(EventsQuery::default()));
    let heard = async {
        while let Some(event) = events.next().await {
            let (_, event) = event.context("read events")?;
            let Event::Injection(report) = &event.record.event else { continue };
            match report.state {
                InjectionState::Active if event.name == name => return Ok(event.record.elapsed_ms as f64),
                InjectionState::ApplyFailed if event.name == name => bail!("{fault}: {report:?}"),
                _ => {}
            }
        }
        bail!("the events ended")
    };
    let begin = Instant::now();
    let asked = async { client.create(&body, &CreateQuery::default()).await.context("create") };
    let both = async {
        let heard = async { heard.await.map(|journal| (journal, begin.elapsed())) };
        futures_util::future::try_join(heard, asked).await
    };
    let ((journal_ms, took), _) = tokio::time::timeout(LIMIT, both).await.context("no proof in time")??;
    Ok((took.as_secs_f64() * 1000.0, journal_ms))
}

/// Waits until every replica is ready again.
pub(crate) async fn all_ready(world: &World) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        let query = chaos_api::TargetsQuery {
            process_name: Some(chaos_demo::NAME.into()),
            process_cmdline: world.app.family().map(str::to_owned),
            ..Default::default()
        };
        let preview = world.client.targets(&query).await.context("list targets")?;
        let ready = preview.instances.iter().filter(|one| one.ready && one.ports.len() >= 2).count();
        if ready == world.app.replicas.len() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("the replicas did not come back within {} s", LIMIT.as_secs())
}

/// Kills server and holder at once during a partition and waits for traffic, with nothing of ours started again.
pub(crate) async fn kernel_alone(world: &mut World) -> Result<Vec<Row>> {
    all_ready(world).await?;
    start(world, "network_partition", "kernel-alone").await?;
    let holder = crate::size::of_holder(world)?;
    let blocked = |world: &World| -> Vec<std::net::SocketAddr> {
        world.traffic_ports().into_iter().filter(|port| !connects(port)).collect()
    };
    let victims = blocked(world);
    let Some(victim) = victims.first().copied() else {
        bail!("no replica is cut off while the partition is active")
    };
    world.kill_everything()?;
    let begin = Instant::now();
    while begin.elapsed() < LIMIT && !connects(&victim) {}
    let took = begin.elapsed();
    world.restart().await?;
    let reach = KERNEL_LEASE + KERNEL_SLACK;
    let healed = Row::new(
        "network_partition: everything of ours killed → traffic back by the kernel alone",
        format!("{:.2} s", took.as_secs_f64()),
        format!("≤ lease of the elements ({} s) + 100 ms", KERNEL_LEASE.as_secs()),
        took <= reach,
    );
    Ok(vec![healed, holder])
}

/// One attempt of at most 50 ms.
fn connects(address: &std::net::SocketAddr) -> bool {
    TcpStream::connect_timeout(address, Duration::from_millis(50)).is_ok()
}

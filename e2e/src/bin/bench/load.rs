//! How exactly a CPU load is held, beside stress-ng.
//!
//! Owns this measurement: CPU time of the workers as the kernel counts it, over ten seconds.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use chaos_api::{CreateQuery, StopRequest};
use chaos_core::spec::ExperimentKey;

use crate::latency::all_ready;
use crate::table::Row;
use crate::world::World;

const WINDOW: Duration = Duration::from_secs(10);
/// Percentage points that the load may be off.
const POINTS: f64 = 0.5;

/// Holds 20, 50 and 80 percent of a core for ten seconds each.
pub(crate) async fn measure(world: &mut World) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for target in [20u32, 50, 80] {
        all_ready(world).await?;
        let ours = ours(world, target).await?;
        let theirs = stress_ng(target)?;
        let off = (ours - f64::from(target)).abs();
        rows.push(Row {
            peer: theirs.map_or("stress-ng is not installed".into(), |load| format!("stress-ng {load:.2} %")),
            ..Row::new(
                format!("cpu_stress: load over 10 s, target {target} %"),
                format!("{ours:.2} %"),
                format!("within {POINTS} points"),
                off <= POINTS,
            )
        });
    }
    Ok(rows)
}

async fn ours(world: &World, target: u32) -> Result<f64> {
    let name = format!("load-{target}");
    let parameters = serde_json::json!({ "load": format!("{target}%"), "cores": 1 });
    let body = world.experiment(&name, "cpu_stress", &parameters)?.into();
    world.client.create(&body, &CreateQuery::default()).await.context("create")?;
    let worker = worker(world).await?;
    let (begin, before) = (Instant::now(), cpu(worker)?);
    tokio::time::sleep(WINDOW).await;
    let (elapsed, after) = (begin.elapsed(), cpu(worker)?);
    let key = ExperimentKey { namespace: "default".into(), name };
    world.client.stop(&key, &StopRequest::default()).await.context("stop")?;
    Ok((after - before).as_secs_f64() / elapsed.as_secs_f64() * 100.0)
}

/// The one child of the one holder.
async fn worker(world: &World) -> Result<i32> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let table = chaos_agent::sys::proc::table::ProcessTable::read().context("read the process table")?;
        if let Some(worker) = world.holders().iter().find_map(|holder| table.children(*holder).first()) {
            return Ok(*worker);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("no worker appeared")
}

fn cpu(pid: i32) -> Result<Duration> {
    chaos_agent::sys::proc::process_cpu_time(pid).with_context(|| format!("read the CPU time of {pid}"))
}

/// Percent of a core that stress-ng takes when asked for `target`.
fn stress_ng(target: u32) -> Result<Option<f64>> {
    let before = children_cpu()?;
    let begin = Instant::now();
    let status = Command::new("stress-ng")
        .args(["--cpu", "1", "--cpu-load", &target.to_string(), "--timeout", "10s", "--quiet"])
        .stdin(Stdio::null())
        .status();
    match status {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("run stress-ng"),
        Ok(_) => Ok(Some((children_cpu()? - before).as_secs_f64() / begin.elapsed().as_secs_f64() * 100.0)),
    }
}

/// CPU time of the children that this process has waited for, and of theirs.
fn children_cpu() -> Result<Duration> {
    let usage =
        nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).context("getrusage")?;
    let time = |value: nix::sys::time::TimeVal| {
        Duration::from_secs(value.tv_sec() as u64) + Duration::from_micros(value.tv_usec() as u64)
    };
    Ok(time(usage.user_time()) + time(usage.system_time()))
}

//! What the program weighs: memory, bytes, start-up; and how punctual probes are.
//!
//! Owns these measurements.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::table::{Row, quantile};
use crate::world::{World, program};

const SERVER_MIB: f64 = 25.0;
const HOLDER_MIB: f64 = 4.0;
const VERSION_MS: f64 = 10.0;
const BINARY_MIB: f64 = 30.0;
const JITTER_MS: f64 = 5.0;
const APPEND_PERCENT: f64 = 80.0;
const MIB: f64 = 1024.0 * 1024.0;

/// Resident memory of an idle server.
pub(crate) fn of_server(world: &World) -> Result<Vec<Row>> {
    let resident = resident_mib(world.server_pid() as i32)?;
    Ok(vec![Row::new(
        "resident memory, idle server",
        format!("{resident:.1} MiB"),
        format!("≤ {SERVER_MIB} MiB"),
        resident <= SERVER_MIB,
    )])
}

/// Resident memory of the one fault process that is there now.
pub(crate) fn of_holder(world: &World) -> Result<Row> {
    let holder = *world.holders().first().context("there is no fault process")?;
    let resident = resident_mib(holder)?;
    let private =
        chaos_agent::sys::proc::private_bytes(holder).context("read its private pages")? as f64 / MIB;
    Ok(Row::new(
        "resident memory, one fault process",
        format!(
            "{private:.1} MiB of its own ({resident:.1} MiB with the program's pages, shared with the server)"
        ),
        format!("≤ {HOLDER_MIB} MiB of its own"),
        private <= HOLDER_MIB,
    ))
}

/// `VmRSS` in MiB.
pub(crate) fn resident_mib(pid: i32) -> Result<f64> {
    let status =
        std::fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("read {pid}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().context("VmRSS is no number")?;
    Ok(kib / 1024.0)
}

/// Start-up and size of the program.
pub(crate) fn of_program() -> Result<Vec<Row>> {
    let chaos = program("chaos")?;
    let mut times = Vec::new();
    for _ in 0..100 {
        let begin = Instant::now();
        Command::new(&chaos)
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .context("run chaos --version")?;
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    let (p50, p99) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
    let bytes = std::fs::metadata(&chaos).context("look at the program")?.len() as f64 / MIB;
    Ok(vec![
        Row::new(
            "chaos --version, 100 times",
            format!("p50 {p50:.1} ms, p99 {p99:.1} ms"),
            format!("p50 ≤ {VERSION_MS} ms"),
            p50 <= VERSION_MS,
        ),
        Row::new(
            "program chaos",
            format!("{bytes:.1} MiB"),
            format!("≤ {BINARY_MIB} MiB"),
            bytes <= BINARY_MIB,
        ),
    ])
}

/// Start-time jitter of a thousand probes a second, as the example of chaos-probes prints it.
pub(crate) fn probe_jitter() -> Result<Row> {
    let example = program("examples/jitter")?;
    let output = Command::new(&example).stdin(Stdio::null()).output().context("run the jitter example")?;
    let text = String::from_utf8_lossy(&output.stdout);
    // The first line is of http probes: "… late p50 659µs, p99 1.982ms, max …".
    let p99 = text.split("p99 ").nth(1).and_then(|rest| rest.split(',').next()).and_then(milliseconds);
    let what = "probes: 1,000 a second over 10 s, start-time jitter p99";
    Ok(match p99 {
        Some(p99) => Row::new(what, format!("{p99:.2} ms"), format!("≤ {JITTER_MS} ms"), p99 <= JITTER_MS),
        None => Row::new(what, format!("no figure in {:?}", text.trim()), format!("≤ {JITTER_MS} ms"), false),
    })
}

/// The journal's rate beside plain INSERTs that are flushed, as the example of chaos-store prints it.
pub(crate) fn append_rate() -> Result<Row> {
    let output = Command::new(program("examples/append_rate")?)
        .env_remove("DATABASE_URL")
        .stdin(Stdio::null())
        .output()
        .context("run the append_rate example")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line =
        |part: &str| text.lines().find(|line| line.contains(part)).unwrap_or_default().trim().to_owned();
    let share = line("% of the rate of plain INSERTs");
    let percent: Option<f64> = share.split(' ').next().and_then(|number| number.parse().ok());
    Ok(Row {
        peer: rate_of(&line("one row of a plain table")),
        ..Row::new(
            "journal: one record of a run, flushed",
            format!("{} ({share})", rate_of(&line("one record of a run"))),
            format!("≥ {APPEND_PERCENT} % of a plain INSERT, flushed"),
            percent.is_some_and(|percent| percent >= APPEND_PERCENT),
        )
    })
}

/// `… 1234/s for each, …` → `1234/s`.
fn rate_of(line: &str) -> String {
    line.split(' ').find(|word| word.ends_with("/s")).unwrap_or("no figure").to_owned()
}

/// Reads `659µs`, `1.982ms`, `1.2s`.
fn milliseconds(text: &str) -> Option<f64> {
    let text = text.trim();
    [("ms", 1.0), ("µs", 0.001), ("ns", 0.000_001), ("s", 1000.0)]
        .into_iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit)?.parse::<f64>().ok().map(|number| number * factor))
}

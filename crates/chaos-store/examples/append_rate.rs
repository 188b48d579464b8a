//! How fast the journal takes records: one writer, many at once, and a plain append to a file with a flush for each;
//! then how long a page of a long list takes.
//!
//! `cargo run --release -p chaos-store --example append_rate [FOLDER]`; the folder says which disk is measured.
#![expect(clippy::print_stdout, reason = "a measurement is for people to read")]

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use chaos_core::journal::{Record, RunHeader, RunSummary};
use chaos_core::port::{Owner, Store as _};
use chaos_core::run::{Event, RunId, RunState, Stop, StopCause};
use chaos_core::spec::{Experiment, parse_documents};
use chaos_store::{ExperimentFilter, SqlStore};
use futures_util::future::try_join_all;
use jiff::Timestamp;

const APPENDS: u64 = 2000;
const RUNS: u64 = 100;
const EXPERIMENTS: u64 = 10_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(folder)?;
    plain_file(&folder.path().join("plain"))?;
    let store = SqlStore::open(&folder.path().join("journal.db")).await?;
    let one = create(&store, "single").await?;
    report("one run, one record at a time", writer(&store, &one, APPENDS).await?);
    let mut headers = Vec::new();
    for number in 0..RUNS {
        headers.push(create(&store, &format!("run-{number}")).await?);
    }
    let start = Instant::now();
    let each = APPENDS * 10 / RUNS;
    let mut times: Vec<Duration> =
        try_join_all(headers.iter().map(|header| writer(&store, header, each))).await?.concat();
    let elapsed = start.elapsed();
    times.sort();
    report(&format!("{RUNS} runs at once"), times);
    println!("{:>42.0} records/s together", (each * RUNS) as f64 / elapsed.as_secs_f64());
    pages(&store).await?;
    store.close().await;
    Ok(())
}

async fn pages(store: &SqlStore) -> Result<(), Box<dyn Error>> {
    for chunk in 0..EXPERIMENTS / 200 {
        let documents: Vec<_> = (0..200)
            .map(|number| experiment(&format!("e{:05}", chunk * 200 + number)))
            .collect::<Result<_, _>>()?;
        try_join_all(documents.iter().map(|document| store.register(document, Timestamp::UNIX_EPOCH)))
            .await?;
    }
    let (mut times, mut cursor) = (Vec::new(), None);
    loop {
        let start = Instant::now();
        let page = store.list(&ExperimentFilter::default(), 50, cursor.as_ref()).await?;
        times.push(start.elapsed());
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    report("pages of 50 experiments", times);
    Ok(())
}

fn plain_file(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let mut times = Vec::new();
    for seq in 1..=APPENDS {
        let start = Instant::now();
        let mut line = serde_json::to_vec(&record(seq))?;
        line.push(b'\n');
        file.write_all(&line)?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    report("a line to a file, flushed", times);
    Ok(())
}

fn experiment(name: &str) -> Result<Experiment, Box<dyn Error>> {
    let document = format!(
        "{{apiVersion: chaos.engineering/v1, kind: Experiment, metadata: {{name: {name}}}, \
         spec: {{target: {{host: {{app: orchestrator}}}}, faults: [{{pod_kill: {{}}}}]}}}}"
    );
    Ok(parse_documents(&document).map_err(|errors| format!("{errors:?}"))?.remove(0))
}

async fn create(store: &SqlStore, run: &str) -> Result<RunHeader, Box<dyn Error>> {
    let header = RunHeader {
        run: RunId(run.to_owned()),
        experiment: experiment(run)?,
        seed: 7,
        threshold: 0.8,
        overrides: Default::default(),
        reason: None,
        owner: Owner::Server,
        created_at: Timestamp::now(),
    };
    store.create_run(&header, &summary(&header)).await?;
    Ok(header)
}

fn summary(header: &RunHeader) -> RunSummary {
    RunSummary::of(header, &RunState::new(header), 0)
}

fn record(seq: u64) -> Record {
    let event = Event::StopRequested(Stop { cause: StopCause::Request, reason: "x".repeat(200) });
    Record { seq, at: Timestamp::now(), elapsed_ms: seq, event, effects: Vec::new() }
}

async fn writer(store: &SqlStore, header: &RunHeader, count: u64) -> Result<Vec<Duration>, Box<dyn Error>> {
    let (summary, mut times) = (summary(header), Vec::new());
    for seq in 1..=count {
        let start = Instant::now();
        store.append(&header.run, &[record(seq)], &summary).await?;
        times.push(start.elapsed());
    }
    Ok(times)
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let total: Duration = times.iter().sum();
    let at = |share: usize| times[(times.len() - 1) * share / 1000].as_secs_f64() * 1000.0;
    println!(
        "{what:<32} {:>7.0}/s for each, ms: p50 {:.3}, p99 {:.3}, p99.9 {:.3}, max {:.3}",
        times.len() as f64 / total.as_secs_f64(),
        at(500),
        at(990),
        at(999),
        at(1000),
    );
}

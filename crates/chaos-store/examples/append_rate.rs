//! How fast the journal takes records: one writer beside a plain INSERT that is committed, in turns, so that both meet
//! the same disk; then many writers at once, and a line to a file that is flushed.
//!
//! `cargo run --release -p chaos-store --example append_rate [FOLDER]`; the folder says which disk is measured.
//! `DATABASE_URL` measures that database instead.
#![expect(clippy::print_stdout, reason = "a measurement is for people to read")]

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chaos_core::journal::{Record, RunHeader, RunSummary};
use chaos_core::port::{Owner, Store as _};
use chaos_core::run::{Event, RunId, RunState, Stop, StopCause};
use chaos_core::spec::{Experiment, parse_documents};
use chaos_store::SqlStore;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use sqlx::{AnyConnection, Connection as _, Executor as _};

type Failure = Box<dyn Error + Send + Sync>;

const APPENDS: u64 = 2000;
const RUNS: u64 = 100;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(folder)?;
    plain_file(&folder.path().join("plain"))?;
    let file = folder.path().join("journal.db");
    let (store, plain) = match std::env::var("DATABASE_URL") {
        Ok(url) => (SqlStore::open_url(&url).await?, AnyConnection::connect(&url).await?),
        Err(_) => {
            let store = SqlStore::open(&file).await?;
            let url = format!("sqlite://{}?mode=rwc", folder.path().join("plain.db").display());
            let mut plain = AnyConnection::connect(&url).await?;
            plain.execute("PRAGMA journal_mode = WAL").await?;
            plain.execute("PRAGMA synchronous = FULL").await?;
            (store, plain)
        }
    };
    let store = Arc::new(store);
    // In a task, as drivers of runs are.
    tokio::spawn(in_turns(Arc::clone(&store), plain)).await??;
    let mut headers = Vec::new();
    for number in 0..RUNS {
        headers.push(create(&store, &format!("run-{number}")).await?);
    }
    let start = Instant::now();
    let each = APPENDS * 10 / RUNS;
    let times: Vec<Duration> =
        try_join_all(headers.iter().map(|header| writer(&store, header, each))).await?.concat();
    let elapsed = start.elapsed();
    report(&format!("{RUNS} runs at once"), times);
    println!("{:>42.0} records/s together", (each * RUNS) as f64 / elapsed.as_secs_f64());
    store.close().await;
    Ok(())
}

/// One record of a run, then one row of a table: the least that a database can do and keep.
async fn in_turns(store: Arc<SqlStore>, mut plain: AnyConnection) -> Result<(), Failure> {
    plain.execute("CREATE TABLE plain (run TEXT NOT NULL, seq BIGINT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (run, seq))").await?;
    let header = create(&store, "single").await?;
    let (summary, mut appends, mut inserts) = (summary(&header), Vec::new(), Vec::new());
    for seq in 1..=APPENDS {
        let start = Instant::now();
        store.append(&header.run, &[record(seq)], &summary).await?;
        appends.push(start.elapsed());
        let start = Instant::now();
        sqlx::query("INSERT INTO plain (run, seq, record) VALUES ($1, $2, $3)")
            .bind("single")
            .bind(seq as i64)
            .bind(serde_json::to_string(&record(seq))?)
            .execute(&mut plain)
            .await?;
        inserts.push(start.elapsed());
    }
    plain.execute("DROP TABLE plain").await?;
    plain.close().await?;
    let (append, insert) =
        (report("one record of a run", appends), report("one row of a plain table", inserts));
    println!("{:>42.0} % of the rate of plain INSERTs, by medians", 100.0 * insert / append);
    Ok(())
}

fn plain_file(path: &Path) -> Result<(), Failure> {
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

fn experiment(name: &str) -> Result<Experiment, Failure> {
    let document = format!(
        "{{apiVersion: chaos.engineering/v1, kind: Experiment, metadata: {{name: {name}}}, \
         spec: {{target: {{host: {{app: orchestrator}}}}, faults: [{{pod_kill: {{}}}}]}}}}"
    );
    Ok(parse_documents(&document).map_err(|errors| format!("{errors:?}"))?.remove(0))
}

async fn create(store: &SqlStore, run: &str) -> Result<RunHeader, Failure> {
    let header = RunHeader {
        run: RunId(run.to_owned()),
        experiment: experiment(run)?,
        seed: 7,
        threshold: 0.8,
        overrides: Default::default(),
        reason: None,
        actor: Default::default(),
        lenient: false,
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

async fn writer(store: &SqlStore, header: &RunHeader, count: u64) -> Result<Vec<Duration>, Failure> {
    let (summary, mut times) = (summary(header), Vec::new());
    for seq in 1..=count {
        let start = Instant::now();
        store.append(&header.run, &[record(seq)], &summary).await?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// Returns the median in milliseconds.
fn report(what: &str, mut times: Vec<Duration>) -> f64 {
    times.sort();
    let total: Duration = times.iter().sum();
    let at = |share: usize| times[(times.len() - 1) * share / 1000].as_secs_f64() * 1000.0;
    println!(
        "{what:<32} {:>7.0}/s for each, ms: p10 {:.3}, p50 {:.3}, p99 {:.3}, p99.9 {:.3}, max {:.3}",
        times.len() as f64 / total.as_secs_f64(),
        at(100),
        at(500),
        at(990),
        at(999),
        at(1000),
    );
    at(500)
}

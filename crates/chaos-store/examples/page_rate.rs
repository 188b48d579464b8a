//! How many pages of fifty out of ten thousand experiments come in a second when 64 readers ask at once, each experiment
//! with a finished run; first the same page for all, then pages all over the list, then while records are written.
//!
//! `cargo run --release -p chaos-store --example page_rate [FOLDER]`; `DATABASE_URL` measures that database instead.
#![expect(clippy::print_stdout, reason = "a measurement is for people to read")]

use std::error::Error;
use std::time::{Duration, Instant};

use chaos_core::journal::{Record, RunHeader, RunSummary};
use chaos_core::port::{Owner, Store as _};
use chaos_core::run::{Event, Phase, RunId, RunState, Status, Stop, StopCause, Verdict};
use chaos_core::spec::{Experiment, parse_documents};
use chaos_store::{ExperimentCursor, ExperimentFilter, SqlStore};
use futures_util::future::try_join_all;
use jiff::Timestamp;

const EXPERIMENTS: u64 = 10_000;
const READERS: usize = 64;
const PAGE: u32 = 50;
const TIME: Duration = Duration::from_secs(5);

type Failure = Box<dyn Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(folder)?;
    let store = match std::env::var("DATABASE_URL") {
        Ok(url) => SqlStore::open_url(&url).await?,
        Err(_) => SqlStore::open(&folder.path().join("journal.db")).await?,
    };
    fill(&store).await?;
    let mut cursors = vec![None];
    loop {
        let page =
            store.lines(&ExperimentFilter::default(), PAGE, cursors.last().and_then(Option::as_ref)).await?;
        let Some(next) = &page.next else { break };
        cursors.push(Some(next.clone()));
    }
    read("the first page", &store, &cursors[..1], 1).await?;
    read("every page", &store, &cursors, 1).await?;
    // So many different pages are not kept.
    read("pages of 50 to 99 from everywhere", &store, &cursors[..100], 50).await?;
    let header = header("writer")?;
    store.create_run(&header, &summary(&header)).await?;
    let writing = async {
        for seq in 1.. {
            store.append(&header.run, &[record(seq)], &summary(&header)).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    };
    tokio::select! {
        biased;
        done = read("the first page, ten records/s written", &store, &cursors[..1], 1) => done?,
        failed = writing => failed.map_err(|error: chaos_core::port::StoreError| Failure::from(error))?,
    }
    store.close().await;
    Ok(())
}

async fn fill(store: &SqlStore) -> Result<(), Failure> {
    for chunk in 0..EXPERIMENTS / 200 {
        let headers: Vec<RunHeader> = (0..200)
            .map(|number| header(&format!("e{:05}", chunk * 200 + number)))
            .collect::<Result<_, _>>()?;
        try_join_all(headers.iter().map(async |header| {
            store.create_run(header, &summary(header)).await?;
            store.append(&header.run, &[record(1)], &finished(header)).await
        }))
        .await?;
    }
    Ok(())
}

/// Reads pages of as many sizes as asked, the smallest of which is [`PAGE`].
async fn read(
    what: &str,
    store: &SqlStore,
    cursors: &[Option<ExperimentCursor>],
    sizes: u32,
) -> Result<(), Failure> {
    let start = Instant::now();
    let readers = (0..READERS).map(async |reader| {
        let mut pages = 0;
        while start.elapsed() < TIME {
            let cursor = cursors[(reader * 7 + pages * 13) % cursors.len()].as_ref();
            let rows = PAGE + u32::try_from(pages)? % sizes;
            let page = store.lines(&ExperimentFilter::default(), rows, cursor).await?;
            assert_eq!(page.items.len(), rows as usize);
            pages += 1;
            tokio::task::yield_now().await;
        }
        Ok::<_, Failure>(pages)
    });
    let pages: usize = try_join_all(readers).await?.into_iter().sum();
    println!("{what:<42} {:>9.0} pages/s by {READERS} readers", pages as f64 / start.elapsed().as_secs_f64());
    Ok(())
}

fn experiment(name: &str) -> Result<Experiment, Failure> {
    let document = format!(
        "{{apiVersion: chaos.engineering/v1, kind: Experiment, metadata: {{name: {name}, labels: {{team: platform}}}}, \
         spec: {{hypothesis: it keeps serving, target: {{host: {{app: orchestrator}}}}, faults: [{{pod_kill: {{}}}}], \
         probes: [{{name: health, http: {{url: \"http://127.0.0.1:8080/health\"}}, every: 2s, timeout: 1s}}]}}}}"
    );
    Ok(parse_documents(&document).map_err(|errors| format!("{errors:?}"))?.remove(0))
}

fn header(run: &str) -> Result<RunHeader, Failure> {
    Ok(RunHeader {
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
    })
}

fn summary(header: &RunHeader) -> RunSummary {
    RunSummary::of(header, &RunState::new(header), 0)
}

fn finished(header: &RunHeader) -> RunSummary {
    let (status, verdict) = (Status::Completed, Some(Verdict::Held));
    let reason = Some("every probe held".to_owned());
    RunSummary { status, verdict, reason, phase: Phase::Finished, exit_code: Some(0), ..summary(header) }
}

fn record(seq: u64) -> Record {
    let event = Event::StopRequested(Stop { cause: StopCause::Request, reason: "x".repeat(200) });
    Record { seq, at: Timestamp::now(), elapsed_ms: seq, event, effects: Vec::new() }
}

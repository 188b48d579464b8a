//! What is acknowledged survives: a killed writer, a second writer, a full disk.
#![expect(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says why")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use chaos_core::journal::{Record, RunHeader, RunSummary};
use chaos_core::port::{Owner, Store as _};
use chaos_core::run::{Event, RunId, RunState, Stop, StopCause};
use chaos_core::spec::parse_documents;
use chaos_store::SqlStore;
use jiff::Timestamp;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use sqlx::{Connection as _, Executor as _, Row as _};

/// Set for a child: the database it writes to.
const WRITER: &str = "CHAOS_STORE_TEST_WRITER";
/// Set for a child: the run it writes to.
const WRITER_RUN: &str = "CHAOS_STORE_TEST_RUN";

fn header(run: &str) -> RunHeader {
    let document = format!(
        "{{apiVersion: chaos.engineering/v1, kind: Experiment, metadata: {{name: {run}}}, \
         spec: {{target: {{host: {{app: orchestrator}}}}, faults: [{{pod_kill: {{}}}}]}}}}"
    );
    RunHeader {
        run: RunId(run.to_owned()),
        experiment: parse_documents(&document).unwrap().remove(0),
        seed: 7,
        threshold: 0.8,
        overrides: Default::default(),
        reason: None,
        actor: Default::default(),
        lenient: false,
        owner: Owner::Server,
        created_at: Timestamp::UNIX_EPOCH,
    }
}

fn summary(header: &RunHeader) -> RunSummary {
    RunSummary::of(header, &RunState::new(header), 0)
}

fn record(seq: u64, bytes: usize) -> Record {
    let event = Event::StopRequested(Stop { cause: StopCause::Request, reason: "x".repeat(bytes) });
    Record { seq, at: Timestamp::UNIX_EPOCH, elapsed_ms: seq, event, effects: Vec::new() }
}

/// In a child: writes and says what was acknowledged, until it is killed.
async fn write_for_ever(path: PathBuf) {
    let header = header(&std::env::var(WRITER_RUN).unwrap());
    let store = SqlStore::open(&path).await.unwrap();
    store.create_run(&header, &summary(&header)).await.unwrap();
    for seq in 1.. {
        store.append(&header.run, &[record(seq, 500)], &summary(&header)).await.unwrap();
        // Past the capture of the test harness.
        std::io::stdout().write_all(format!("\nacknowledged {seq}\n").as_bytes()).unwrap();
    }
}

/// A child that is killed when its test ends.
struct Writer(Child);

impl Writer {
    fn start(test: &str, path: &Path, run: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(WRITER, path)
            .env(WRITER_RUN, run)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Kills it once it has acknowledged `count` records; returns the last it acknowledged.
    fn kill_after(mut self, count: u64) -> u64 {
        let mut last = 0;
        for line in BufReader::new(self.0.stdout.take().unwrap()).lines() {
            let Some(seq) = line.unwrap().strip_prefix("acknowledged ").map(str::to_owned) else { continue };
            last = seq.parse().unwrap();
            if last == count {
                self.0.kill().unwrap();
            }
        }
        last
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What SQLite's own check of the file says.
async fn check(path: &Path) -> String {
    let mut connection =
        sqlx::AnyConnection::connect(&format!("sqlite://{}?mode=rw", path.display())).await.unwrap();
    let row = connection.fetch_one("PRAGMA integrity_check").await.unwrap();
    let said = row.try_get(0).unwrap();
    connection.close().await.unwrap();
    said
}

async fn seqs(store: &SqlStore, run: &RunId) -> Vec<u64> {
    let mut seqs: Vec<u64> = Vec::new();
    loop {
        let page = store.records(run, seqs.last().copied().unwrap_or(0), 1000).await.unwrap();
        if page.is_empty() {
            return seqs;
        }
        seqs.extend(page.iter().map(|record| record.seq));
    }
}

#[tokio::test]
async fn a_killed_writer_loses_nothing_it_acknowledged() {
    if let Some(path) = std::env::var_os(WRITER) {
        return write_for_ever(path.into()).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chaos.db");
    for (round, count) in [1, 50, 300].into_iter().enumerate() {
        let run = format!("run-{round}");
        let writer = Writer::start("a_killed_writer_loses_nothing_it_acknowledged", &path, &run);
        let acknowledged = writer.kill_after(count);
        assert!(acknowledged >= count);
        let store = SqlStore::open(&path).await.unwrap();
        let header = header(&run);
        let found = seqs(&store, &header.run).await;
        let last = found.len() as u64;
        assert_eq!(found, (1..=last).collect::<Vec<_>>());
        assert!(last >= acknowledged, "{acknowledged} acknowledged, {last} found");
        store.append(&header.run, &[record(last + 1, 10)], &summary(&header)).await.unwrap();
        store.close().await;
        assert_eq!(check(&path).await, "ok");
    }
}

#[tokio::test]
async fn two_processes_write_to_one_file_in_turns() {
    if let Some(path) = std::env::var_os(WRITER) {
        return write_for_ever(path.into()).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chaos.db");
    let writer = Writer::start("two_processes_write_to_one_file_in_turns", &path, "theirs");
    let store = SqlStore::open(&path).await.unwrap();
    let ours = header("ours");
    store.create_run(&ours, &summary(&ours)).await.unwrap();
    for seq in 1..=200 {
        store.append(&ours.run, &[record(seq, 100)], &summary(&ours)).await.unwrap();
    }
    let acknowledged = tokio::task::spawn_blocking(|| writer.kill_after(200)).await.unwrap();
    assert_eq!(seqs(&store, &ours.run).await, (1..=200).collect::<Vec<_>>());
    assert!(seqs(&store, &RunId("theirs".to_owned())).await.len() as u64 >= acknowledged);
    let (mut position, mut events) = (0, 0);
    loop {
        let page = store.events_after(position, 1000).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.is_sorted_by(|a, b| a.position < b.position) && page[0].position > position);
        position = last.position;
        events += page.len() as u64;
    }
    assert!(events >= 200 + acknowledged);
    store.close().await;
}

#[tokio::test]
async fn a_writer_that_another_locks_out_says_so_and_goes_on_after() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chaos.db");
    let store = SqlStore::open(&path).await.unwrap();
    let header = header("run");
    store.create_run(&header, &summary(&header)).await.unwrap();
    let mut other =
        sqlx::AnyConnection::connect(&format!("sqlite://{}?mode=rw", path.display())).await.unwrap();
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let error = store.append(&header.run, &[record(1, 10)], &summary(&header)).await.unwrap_err();
    assert!(!error.conflict && error.reason.contains("database is locked"), "{error}");
    assert!(seqs(&store, &header.run).await.is_empty(), "readers don't wait");
    let (appended, ()) =
        tokio::join!(async { store.append(&header.run, &[record(1, 10)], &summary(&header)).await }, async {
            lock.rollback().await.unwrap()
        },);
    appended.unwrap();
    assert_eq!(seqs(&store, &header.run).await, [1]);
    store.close().await;
}

/// Runs a test on a thread with a small disk of its own, which goes away with the thread.
fn on_a_small_disk(test: fn(PathBuf)) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: mounting a small disk needs root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let thread = std::thread::spawn(move || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNS) {
            eprintln!("skipped: no mount namespace of its own: {error}");
            return;
        }
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), Some("size=2m")).unwrap();
        test(path);
    });
    thread.join().unwrap();
}

#[test]
fn a_full_disk_refuses_new_records_and_keeps_the_old() {
    on_a_small_disk(|folder| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(fill_the_disk(folder));
    });
}

async fn fill_the_disk(folder: PathBuf) {
    let path = folder.join("chaos.db");
    let store = SqlStore::open(&path).await.unwrap();
    let header = header("run");
    store.create_run(&header, &summary(&header)).await.unwrap();
    // Something else takes most of it.
    let ballast = folder.join("ballast");
    std::fs::write(&ballast, vec![0_u8; 1024 * 1024]).unwrap();
    let mut kept = 0;
    let error = loop {
        assert!(kept < 1000, "the disk never fills");
        match store.append(&header.run, &[record(kept + 1, 20_000)], &summary(&header)).await {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(kept > 0 && !error.conflict, "{error}");
    assert!(error.reason.contains("full"), "{error}");
    for _ in 0..3 {
        assert!(store.append(&header.run, &[record(kept + 1, 20_000)], &summary(&header)).await.is_err());
    }
    assert_eq!(seqs(&store, &header.run).await, (1..=kept).collect::<Vec<_>>());
    std::fs::remove_file(&ballast).unwrap();
    store.append(&header.run, &[record(kept + 1, 20_000)], &summary(&header)).await.unwrap();
    store.close().await;
    let store = SqlStore::open(&path).await.unwrap();
    assert_eq!(seqs(&store, &header.run).await, (1..=kept + 1).collect::<Vec<_>>());
    store.close().await;
    assert_eq!(check(&path).await, "ok");
}

#[test]
fn a_write_that_does_not_fit_on_the_disk_takes_no_other_with_it() {
    on_a_small_disk(|folder| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(write_too_much_beside_others(folder));
    });
}

async fn write_too_much_beside_others(folder: PathBuf) {
    let store = SqlStore::open(&folder.join("chaos.db")).await.unwrap();
    let headers = ["one", "two", "three"].map(header);
    for header in &headers {
        store.create_run(header, &summary(header)).await.unwrap();
    }
    // Asked for at the same time, these share a commit.
    let [one, two, three] = &headers;
    let append = async |header: &RunHeader, bytes| {
        store.append(&header.run, &[record(1, bytes)], &summary(header)).await
    };
    let (first, too_much, last) = tokio::join!(append(one, 10), append(two, 3_000_000), append(three, 10));
    let error = too_much.unwrap_err();
    assert!(!error.conflict && error.reason.contains("full"), "{error}");
    first.unwrap();
    last.unwrap();
    for (header, expected) in headers.iter().zip([vec![1], vec![], vec![1]]) {
        assert_eq!(seqs(&store, &header.run).await, expected);
    }
    store.close().await;
}

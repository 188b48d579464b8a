//! What every database has to do, as checks that take a store.
//!
//! Owns the meaning of the port and of every method beside it. It looks at tables only to damage them: whatever passes
//! can stand in for SQLite.

mod audit;
mod journal;
mod lists;
mod people;
mod retention;

use std::time::Duration;

use chaos_core::journal::{Record, RunHeader, RunSummary};
use chaos_core::port::{Owner, Store as _, StoreError};
use chaos_core::run::{Event, Phase, RunId, RunState, Status, Stop, StopCause, Verdict};
use chaos_core::spec::{Experiment, ExperimentKey, parse_documents};
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};

use crate::SqlStore;

/// Runs every check, each with experiments of its own, against an empty store.
pub(crate) async fn all(store: &SqlStore) {
    audit::all(store).await;
    journal::all(store).await;
    lists::all(store).await;
    people::all(store).await;
    retention::all(store).await;
}

/// Runs the checks of a check, against an empty store whose journals are real ones.
pub(crate) async fn damage(store: &SqlStore) {
    retention::what_is_whole_is_found_whole_and_what_is_not_is_named(store).await;
}

/// Changes rows behind the store's back.
pub(crate) async fn raw(store: &SqlStore, statement: &str) {
    let mut connection = store.place.connect().await.unwrap();
    let done = connection.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
    assert!(done.rows_affected() > 0, "{statement}");
    connection.close().await.unwrap();
}

/// Waits until every record of a deleted run is gone.
pub(crate) async fn swept(store: &SqlStore) {
    let gone = async {
        loop {
            let left = "SELECT (SELECT COUNT(*) FROM doomed) + (SELECT COUNT(*) FROM records WHERE run_number NOT IN \
                        (SELECT number FROM runs))";
            let row = sqlx::query(left).fetch_one(&store.readers).await.unwrap();
            if row.try_get::<i64, _>(0).unwrap() == 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
}

pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

/// An experiment that kills one process.
pub(crate) fn experiment(namespace: &str, name: &str) -> Experiment {
    let document = format!(
        "{{apiVersion: chaos.engineering/v1, kind: Experiment, metadata: {{name: {name}, namespace: {namespace}}}, \
         spec: {{target: {{host: {{app: orchestrator}}}}, faults: [{{pod_kill: {{}}}}]}}}}"
    );
    parse_documents(&document).unwrap().remove(0)
}

pub(crate) fn key(namespace: &str, name: &str) -> ExperimentKey {
    ExperimentKey { namespace: namespace.to_owned(), name: name.to_owned() }
}

/// A run of an experiment, before its first event.
pub(crate) fn header(run: &str, experiment: Experiment) -> RunHeader {
    RunHeader {
        run: RunId(run.to_owned()),
        experiment,
        seed: u64::MAX,
        threshold: 0.8,
        overrides: Default::default(),
        reason: None,
        actor: Default::default(),
        lenient: false,
        owner: Owner::Server,
        created_at: Timestamp::from_millisecond(1_700_000_000_000).unwrap(),
    }
}

pub(crate) fn summary(header: &RunHeader) -> RunSummary {
    RunSummary::of(header, &RunState::new(header), 0)
}

/// The summary of a run that went to its end.
pub(crate) fn finished(header: &RunHeader) -> RunSummary {
    RunSummary {
        status: Status::Completed,
        phase: Phase::Finished,
        verdict: Some(Verdict::Held),
        ..summary(header)
    }
}

pub(crate) fn record(seq: u64, reason: &str) -> Record {
    Record {
        seq,
        at: Timestamp::from_millisecond(1_700_000_000_000 + seq as i64).unwrap(),
        elapsed_ms: seq,
        event: Event::StopRequested(Stop { cause: StopCause::Request, reason: reason.to_owned() }),
        effects: Vec::new(),
    }
}

pub(crate) fn records(seqs: impl IntoIterator<Item = u64>) -> Vec<Record> {
    seqs.into_iter().map(|seq| record(seq, "a reason")).collect()
}

/// A created run.
pub(crate) async fn run(store: &SqlStore, id: &str, namespace: &str, name: &str) -> RunHeader {
    let header = header(id, experiment(namespace, name));
    store.create_run(&header, &summary(&header)).await.unwrap();
    header
}

#[track_caller]
pub(crate) fn assert_refused<T: std::fmt::Debug>(result: Result<T, StoreError>, part: &str) {
    let error = result.unwrap_err();
    assert!(error.conflict && error.to_string().contains(part), "{error:?}");
}

//! What every database has to do for the journal, as checks that take a store.
//!
//! Owns the meaning of the port. It never looks at tables: whatever passes can stand in for SQLite.

use chaos_core::journal::{RECORDS_MAX, Record, RunHeader, RunSummary};
use chaos_core::port::{Owner, Store as _, StoreError};
use chaos_core::run::{Event, Phase, RunId, RunState, Status, Stop, StopCause, Verdict};
use chaos_core::spec::{Experiment, ExperimentKey, parse_documents};
use futures_util::future::join_all;
use jiff::Timestamp;

use crate::{ExperimentCursor, ExperimentFilter, RunCursor, SqlStore};

/// Runs every check, each with experiments of its own, against an empty store.
pub(crate) async fn all(store: &SqlStore) {
    records_come_back_in_order(store).await;
    an_append_that_does_not_follow_changes_nothing(store).await;
    a_run_is_created_once(store).await;
    a_registered_document_is_replaced_and_its_runs_stay(store).await;
    positions_grow_over_all_runs(store).await;
    concurrent_appends_are_answered_alone(store).await;
    unfinished_runs_come_back_whole(store).await;
    deleting_takes_runs_and_journals_and_never_a_position_twice(store).await;
    lists_page_in_a_stable_order(store).await;
    runs_page_from_the_latest(store).await;
    a_full_journal_refuses(store).await;
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
fn assert_refused<T: std::fmt::Debug>(result: Result<T, StoreError>, part: &str) {
    let error = result.unwrap_err();
    assert!(error.conflict && error.to_string().contains(part), "{error:?}");
}

async fn records_come_back_in_order(store: &SqlStore) {
    let header = run(store, "order", "order", "one").await;
    store.append(&header.run, &records(1..=3), &summary(&header)).await.unwrap();
    store.append(&header.run, &records(4..=5), &finished(&header)).await.unwrap();
    assert_eq!(store.records(&header.run, 0, 100).await.unwrap(), records(1..=5));
    assert_eq!(store.records(&header.run, 2, 2).await.unwrap(), records(3..=4));
    assert_eq!(store.records(&header.run, 5, 100).await.unwrap(), []);
    assert_eq!(store.records(&header.run, u64::MAX, 100).await.unwrap(), []);
    assert_eq!(store.run(&header.run).await.unwrap(), Some((header.clone(), finished(&header))));
    assert_eq!(store.latest_run(&header.key()).await.unwrap(), Some((header.clone(), finished(&header))));
    assert_eq!(store.run(&RunId("nobody".to_owned())).await.unwrap(), None);
}

async fn an_append_that_does_not_follow_changes_nothing(store: &SqlStore) {
    let header = run(store, "gap", "gap", "one").await;
    let (id, end) = (&header.run, finished(&header));
    store.append(id, &records(1..=2), &summary(&header)).await.unwrap();
    assert_refused(store.append(id, &records([4]), &end).await, "record 4 can't follow record 2");
    assert_refused(store.append(id, &records([2]), &end).await, "record 2 can't follow record 2");
    assert_refused(store.append(id, &records([3, 5]), &end).await, "record 5 is where 4 belongs");
    assert_refused(store.append(id, &records([0]), &end).await, "record 0 is where 1 belongs");
    let nobody = RunId("nobody".to_owned());
    assert_refused(store.append(&nobody, &records([1]), &end).await, "the summary is of run gap");
    let lost = RunSummary { run: nobody.clone(), ..end };
    assert_refused(store.append(&nobody, &records([1]), &lost).await, "there is no such run");
    assert_eq!(store.records(id, 0, 100).await.unwrap(), records(1..=2));
    assert_eq!(store.run(id).await.unwrap().unwrap().1, summary(&header));
    store.append(id, &records([3]), &summary(&header)).await.unwrap();
    store.append(id, &[], &finished(&header)).await.unwrap();
    assert_eq!(store.run(id).await.unwrap().unwrap().1, finished(&header));
}

async fn a_run_is_created_once(store: &SqlStore) {
    let header = run(store, "once", "once", "one").await;
    assert_refused(store.create_run(&header, &summary(&header)).await, "there is a run of that id");
    let other = RunSummary { name: "other".to_owned(), ..summary(&header) };
    assert_refused(store.create_run(&header, &other).await, "different runs");
    store.append(&header.run, &[], &finished(&header)).await.unwrap();
}

async fn a_registered_document_is_replaced_and_its_runs_stay(store: &SqlStore) {
    let at = |ms| Timestamp::from_millisecond(ms).unwrap();
    let mut document = experiment("register", "one");
    store.register(&document, at(1)).await.unwrap();
    let row = store.experiment(&document.key()).await.unwrap().unwrap();
    assert_eq!((row.document, row.registered_at, row.latest), (document.clone(), at(1), None));
    let header = run(store, "register", "register", "one").await;
    store.append(&header.run, &records([1]), &finished(&header)).await.unwrap();
    document.spec.hypothesis = Some("it holds".to_owned());
    store.register(&document, at(2)).await.unwrap();
    let row = store.experiment(&document.key()).await.unwrap().unwrap();
    assert_eq!((row.document, row.registered_at, row.latest), (document, at(2), Some(finished(&header))));
    assert_eq!(store.experiment(&key("register", "two")).await.unwrap(), None);
}

async fn positions_grow_over_all_runs(store: &SqlStore) {
    let (one, two) = (run(store, "pos-1", "pos", "one").await, run(store, "pos-2", "pos", "two").await);
    let start = store.latest_position().await.unwrap();
    store.append(&one.run, &records(1..=2), &finished(&one)).await.unwrap();
    store.append(&two.run, &records([1]), &finished(&two)).await.unwrap();
    store.append(&one.run, &records([3]), &finished(&one)).await.unwrap();
    let events = store.events_after(start, 100).await.unwrap();
    let found: Vec<_> = events.iter().map(|event| (event.run.0.as_str(), event.record.seq)).collect();
    assert_eq!(found, [("pos-1", 1), ("pos-1", 2), ("pos-2", 1), ("pos-1", 3)]);
    assert!(events.is_sorted_by(|a, b| a.position < b.position));
    assert_eq!(events[2].experiment, key("pos", "two"));
    assert_eq!(store.events_after(events[1].position, 1).await.unwrap(), events[2..3]);
    assert_eq!(store.latest_position().await.unwrap(), events[3].position);
    assert_eq!(*store.positions().borrow(), events[3].position);
}

async fn concurrent_appends_are_answered_alone(store: &SqlStore) {
    let mut headers = Vec::new();
    for number in 0..50 {
        headers.push(run(store, &format!("many-{number}"), "many", &format!("n{number}")).await);
    }
    let start = store.latest_position().await.unwrap();
    // Every fifth does not follow.
    let results = join_all(headers.iter().enumerate().map(async |(index, header)| {
        let from = if index % 5 == 0 { 2 } else { 1 };
        store.append(&header.run, &records(from..from + 3), &finished(header)).await
    }))
    .await;
    for (index, (header, result)) in headers.iter().zip(results).enumerate() {
        let expected = if index % 5 == 0 { vec![] } else { records(1..=3) };
        assert_eq!(result.is_err(), expected.is_empty(), "{result:?}");
        assert_eq!(store.records(&header.run, 0, 10).await.unwrap(), expected);
        store.append(&header.run, &[], &finished(header)).await.unwrap();
    }
    assert_eq!(store.events_after(start, 1000).await.unwrap().len(), 40 * 3);
}

async fn unfinished_runs_come_back_whole(store: &SqlStore) {
    let (old, done, new) = (
        run(store, "rest-1", "rest", "one").await,
        run(store, "rest-2", "rest", "two").await,
        run(store, "rest-3", "rest", "three").await,
    );
    store.append(&old.run, &records(1..=2500), &summary(&old)).await.unwrap();
    store.append(&done.run, &records([1]), &finished(&done)).await.unwrap();
    assert_eq!(store.unfinished().await.unwrap(), [(old.clone(), records(1..=2500)), (new.clone(), vec![])]);
    for header in [old, new] {
        store.append(&header.run, &[], &finished(&header)).await.unwrap();
    }
    assert_eq!(store.unfinished().await.unwrap(), []);
}

async fn deleting_takes_runs_and_journals_and_never_a_position_twice(store: &SqlStore) {
    let header = run(store, "gone", "gone", "one").await;
    store.append(&header.run, &records(1..=2500), &summary(&header)).await.unwrap();
    assert_refused(store.delete_experiment(&header.key()).await, "run gone has no outcome yet");
    store.append(&header.run, &[], &finished(&header)).await.unwrap();
    let position = store.latest_position().await.unwrap();
    assert!(store.delete_experiment(&header.key()).await.unwrap());
    assert!(!store.delete_experiment(&header.key()).await.unwrap());
    assert_eq!(store.experiment(&header.key()).await.unwrap(), None);
    assert_eq!(store.run(&header.run).await.unwrap(), None);
    assert_eq!(store.records(&header.run, 0, 10).await.unwrap(), []);
    assert_eq!(store.events_after(position - 1, 10).await.unwrap(), []);
    // The same names again start from nothing.
    run(store, "gone", "gone", "one").await;
    store.append(&header.run, &records([1]), &finished(&header)).await.unwrap();
    assert_eq!(store.records(&header.run, 0, 10).await.unwrap(), records([1]));
    assert_eq!(store.events_after(position, 10).await.unwrap().len(), 1);
    assert!(store.delete_experiment(&header.key()).await.unwrap());
}

async fn list(store: &SqlStore, filter: ExperimentFilter, limit: u32) -> Vec<String> {
    let (mut names, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.list(&filter, limit, cursor.as_ref()).await.unwrap();
        assert!(page.items.len() <= limit as usize);
        names.extend(page.items.iter().map(|row| format!("{}/{}", row.key.namespace, row.key.name)));
        let Some(next) = page.next else { return names };
        cursor = Some(next.to_string().parse::<ExperimentCursor>().unwrap());
    }
}

async fn lists_page_in_a_stable_order(store: &SqlStore) {
    for (index, name) in ["li-a", "li-b", "li-c", "lj-a"].into_iter().enumerate() {
        for namespace in ["l1", "l2"] {
            let header = run(store, &format!("{namespace}-{name}"), namespace, name).await;
            let end = if index == 1 { summary(&header) } else { finished(&header) };
            store.append(&header.run, &[], &end).await.unwrap();
        }
    }
    store.register(&experiment("l1", "li-d"), Timestamp::UNIX_EPOCH).await.unwrap();
    let none = ExperimentFilter::default;
    let prefix = || ExperimentFilter { name_prefix: Some("li-".to_owned()), ..none() };
    for limit in [1, 2, 3, 100] {
        let all = ["l1/li-a", "l2/li-a", "l1/li-b", "l2/li-b", "l1/li-c", "l2/li-c", "l1/li-d"];
        assert_eq!(list(store, prefix(), limit).await, all);
        let namespace = ExperimentFilter { namespace: Some("l1".to_owned()), ..none() };
        assert_eq!(
            list(store, namespace.clone(), limit).await,
            ["l1/li-a", "l1/li-b", "l1/li-c", "l1/li-d", "l1/lj-a"]
        );
        let pending = ExperimentFilter { status: Some(Status::Pending), ..prefix() };
        assert_eq!(list(store, pending, limit).await, ["l1/li-b", "l2/li-b"]);
        let kind = ExperimentFilter { kind: Some("pod_kill".to_owned()), ..namespace.clone() };
        assert_eq!(list(store, kind, limit).await.len(), 5);
        let kind = ExperimentFilter { kind: Some("cpu_stress".to_owned()), ..namespace };
        assert!(list(store, kind, limit).await.is_empty());
    }
    // A cursor of another list starts where the prefix does.
    let early: ExperimentCursor = ExperimentCursor::after(&key("a", "a")).to_string().parse().unwrap();
    assert_eq!(store.list(&prefix(), 100, Some(&early)).await.unwrap().items.len(), 7);
    for id in ["l1-li-b", "l2-li-b"] {
        let (header, _) = store.run(&RunId(id.to_owned())).await.unwrap().unwrap();
        store.append(&header.run, &[], &finished(&header)).await.unwrap();
    }
}

async fn runs_page_from_the_latest(store: &SqlStore) {
    for number in 0..7 {
        let header = run(store, &format!("runs-{number}"), "runs", "one").await;
        store.append(&header.run, &[], &finished(&header)).await.unwrap();
    }
    let (key, mut found, mut cursor) = (key("runs", "one"), Vec::new(), None);
    loop {
        let page = store.runs(&key, 3, cursor).await.unwrap();
        found.extend(page.items.into_iter().map(|summary| summary.run.0));
        let Some(next) = page.next else { break };
        cursor = Some(next.to_string().parse::<RunCursor>().unwrap());
    }
    assert_eq!(found, (0..7).rev().map(|number| format!("runs-{number}")).collect::<Vec<_>>());
    assert_eq!(store.latest_run(&key).await.unwrap().unwrap().0.run.0, "runs-6");
}

async fn a_full_journal_refuses(store: &SqlStore) {
    let header = run(store, "full", "full", "one").await;
    let past = records(RECORDS_MAX..=RECORDS_MAX + 1);
    assert_refused(store.append(&header.run, &past, &summary(&header)).await, "at most 500000 records");
    store.append(&header.run, &[], &finished(&header)).await.unwrap();
}

//! Runs, their records and positions.

use chaos_core::journal::{RECORDS_MAX, RunSummary};
use chaos_core::port::Store as _;
use chaos_core::run::RunId;
use futures_util::future::join_all;

use super::{assert_refused, at, experiment, finished, key, record, records, run, summary, swept};
use crate::SqlStore;

pub(super) async fn all(store: &SqlStore) {
    records_come_back_in_order(store).await;
    an_append_that_does_not_follow_changes_nothing(store).await;
    an_append_whose_answer_was_lost_can_be_made_again(store).await;
    long_appends_come_back_whole(store).await;
    a_run_is_created_once(store).await;
    a_registered_document_is_replaced_and_its_runs_stay(store).await;
    positions_grow_over_all_runs(store).await;
    concurrent_appends_are_answered_alone(store).await;
    unfinished_runs_come_back_whole(store).await;
    deleting_takes_runs_and_journals_and_never_a_position_twice(store).await;
    a_full_journal_refuses(store).await;
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
    assert_refused(
        store.append(id, &[record(2, "another reason")], &end).await,
        "record 2 can't follow record 2",
    );
    let other = [record(2, "another reason"), record(3, "a reason")];
    assert_refused(store.append(id, &other, &end).await, "record 2 can't follow record 2");
    assert_refused(store.append(id, &records([1]), &end).await, "record 1 can't follow record 2");
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
    // Their positions stay taken also when the records are gone.
    swept(store).await;
    assert_eq!(store.latest_position().await.unwrap(), position);
    // The same names again start from nothing.
    run(store, "gone", "gone", "one").await;
    store.append(&header.run, &records([1]), &finished(&header)).await.unwrap();
    assert_eq!(store.records(&header.run, 0, 10).await.unwrap(), records([1]));
    assert_eq!(store.events_after(position, 10).await.unwrap().len(), 1);
    assert!(store.delete_experiment(&header.key()).await.unwrap());
}

async fn a_full_journal_refuses(store: &SqlStore) {
    let header = run(store, "full", "full", "one").await;
    let past = records(RECORDS_MAX..=RECORDS_MAX + 1);
    assert_refused(store.append(&header.run, &past, &summary(&header)).await, "at most 500000 records");
    store.append(&header.run, &[], &finished(&header)).await.unwrap();
}

async fn an_append_whose_answer_was_lost_can_be_made_again(store: &SqlStore) {
    let header = run(store, "again", "again", "one").await;
    let id = &header.run;
    store.append(id, &records(1..=3), &summary(&header)).await.unwrap();
    let start = store.latest_position().await.unwrap();
    store.append(id, &records(2..=3), &summary(&header)).await.unwrap();
    assert_eq!(store.events_after(start, 10).await.unwrap(), []);
    // Meanwhile there was more to write.
    store.append(id, &records(2..=5), &finished(&header)).await.unwrap();
    assert_eq!(store.records(id, 0, 100).await.unwrap(), records(1..=5));
    assert_eq!(store.run(id).await.unwrap().unwrap().1, finished(&header));
    let events = store.events_after(start, 10).await.unwrap();
    assert_eq!(events.iter().map(|event| event.record.seq).collect::<Vec<_>>(), [4, 5]);
    assert!(*store.positions().borrow() >= events[1].position);
    store.append(id, &records(6..=6), &finished(&header)).await.unwrap();
}

async fn long_appends_come_back_whole(store: &SqlStore) {
    let header = run(store, "long", "long", "one").await;
    let (mut next, start) = (1, store.latest_position().await.unwrap());
    for count in [1, 49, 50, 51, 100, 1234] {
        store.append(&header.run, &records(next..next + count), &summary(&header)).await.unwrap();
        next += count;
    }
    let mut found = store.records(&header.run, 0, 1000).await.unwrap();
    found.extend(store.records(&header.run, 1000, 1000).await.unwrap());
    assert_eq!(found, records(1..next));
    assert_eq!(store.latest_position().await.unwrap(), start + next - 1);
    store.append(&header.run, &[], &finished(&header)).await.unwrap();
}

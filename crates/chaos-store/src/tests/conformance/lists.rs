//! Lists and their pages.

use chaos_core::journal::RunSummary;
use chaos_core::port::Store as _;
use chaos_core::run::{Phase, RunId, Status, StopCause, Verdict};
use jiff::Timestamp;

use super::{at, experiment, finished, header, key, records, run, summary};
use crate::{ExperimentCursor, ExperimentFilter, PAGE_MAX, RunCursor, SqlStore};

pub(super) async fn all(store: &SqlStore) {
    lists_page_in_a_stable_order(store).await;
    lines_show_what_documents_and_runs_say(store).await;
    a_page_shows_every_change_at_once(store).await;
    runs_page_from_the_latest(store).await;
    outcomes_of_a_target_come_latest_first(store).await;
    runs_that_say_nothing_of_a_target_take_no_place_among_its_outcomes(store).await;
    names_with_any_character_are_looked_for(store).await;
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

async fn lines_show_what_documents_and_runs_say(store: &SqlStore) {
    let mut document = experiment("lines", "one");
    document.metadata.labels.insert("team".to_owned(), "platform".to_owned());
    store.register(&document, at(5)).await.unwrap();
    let filter = ExperimentFilter { namespace: Some("lines".to_owned()), ..ExperimentFilter::default() };
    let page = store.lines(&filter, 10, None).await.unwrap();
    let line = &page.items[0];
    assert_eq!(
        (&line.key, &line.labels, line.registered_at),
        (&key("lines", "one"), &document.metadata.labels, at(5))
    );
    assert_eq!((&*line.kind, &*line.target, &line.latest), ("pod_kill", "app \"orchestrator\"", &None));
    let header = run(store, "lines", "lines", "one").await;
    store.append(&header.run, &records([1]), &finished(&header)).await.unwrap();
    let page = store.lines(&filter, 10, None).await.unwrap();
    assert_eq!((page.items.len(), &page.next), (1, &None));
    // The document of the run has no labels.
    assert_eq!((&page.items[0].latest, page.items[0].labels.len()), (&Some(finished(&header)), 0));
}

async fn a_page_shows_every_change_at_once(store: &SqlStore) {
    let filter = ExperimentFilter { namespace: Some("fresh".to_owned()), ..ExperimentFilter::default() };
    // The second limit is of pages that are not kept.
    for limit in [10, PAGE_MAX] {
        let lines = async || store.lines(&filter, limit, None).await.unwrap();
        let before = store.lists_version();
        assert!(lines().await.items.is_empty());
        let header = run(store, &format!("fresh-{limit}"), "fresh", "one").await;
        assert_eq!(lines().await.items[0].latest, Some(summary(&header)));
        store.append(&header.run, &records([1]), &finished(&header)).await.unwrap();
        assert_eq!(lines().await.items[0].latest, Some(finished(&header)));
        store.register(&experiment("fresh", "two"), at(1)).await.unwrap();
        assert_eq!(lines().await.items.len(), 2);
        for name in ["one", "two"] {
            store.delete_experiment(&key("fresh", name)).await.unwrap();
        }
        assert!(lines().await.items.is_empty() && store.lists_version() > before);
    }
}

async fn outcomes_of_a_target_come_latest_first(store: &SqlStore) {
    let of = |number: u32| {
        let header = header(&format!("outcome-{number}"), experiment("outcome", &format!("n{}", number % 2)));
        let target = if number == 3 { "another \"target\"" } else { "the \"target\"" };
        let summary = RunSummary { target: target.to_owned(), ..finished(&header) };
        (header, summary)
    };
    for number in 0..6 {
        let (header, end) = of(number);
        let start = RunSummary { target: end.target.clone(), ..summary(&header) };
        store.create_run(&header, &start).await.unwrap();
        if number != 4 {
            store.append(&header.run, &records([1]), &end).await.unwrap();
        }
    }
    let found = store.recent_outcomes("the \"target\"", 3).await.unwrap();
    assert_eq!(found, [of(5).1, of(2).1, of(1).1]);
    assert_eq!(store.recent_outcomes("the \"target\"", 100).await.unwrap().len(), 4);
    assert!(store.recent_outcomes("no target", 3).await.unwrap().is_empty());
    let (header, end) = of(4);
    store.append(&header.run, &[], &end).await.unwrap();
}

async fn runs_that_say_nothing_of_a_target_take_no_place_among_its_outcomes(store: &SqlStore) {
    let end = async |id: &str, verdict: Verdict, stop_cause: Option<StopCause>, exit_code: u8| {
        let header = header(id, experiment("telling", id));
        let target = "the telling \"target\"".to_owned();
        let summary = RunSummary { target, ..summary(&header) };
        store.create_run(&header, &summary).await.unwrap();
        let end = RunSummary {
            verdict: Some(verdict),
            stop_cause,
            exit_code: Some(exit_code),
            status: verdict.status(),
            phase: Phase::Finished,
            ..summary
        };
        // One that ends with a record and one that ends without.
        let records = if exit_code == 5 { records([1]) } else { Vec::new() };
        store.append(&header.run, &records, &end).await.unwrap();
        end
    };
    let failure = end("telling-failure", Verdict::Error, None, 1).await;
    let guarded = end("telling-guarded", Verdict::Stopped, Some(StopCause::Guardrail), 4).await;
    for number in 0..4 {
        end(&format!("telling-refused-{number}"), Verdict::Blocked, None, 5).await;
        end(&format!("telling-cancelled-{number}"), Verdict::Stopped, Some(StopCause::Lever), 4).await;
        end(&format!("telling-by-hand-{number}"), Verdict::Stopped, Some(StopCause::Request), 4).await;
        end(&format!("telling-misspelt-{number}"), Verdict::Error, None, 2).await;
    }
    for limit in [2, 3] {
        let found = store.recent_outcomes("the telling \"target\"", limit).await.unwrap();
        assert_eq!(found, [guarded.clone(), failure.clone()], "at most {limit}");
    }
}

async fn names_with_any_character_are_looked_for(store: &SqlStore) {
    for name in ["", "'; DROP TABLE runs; --", "a\0b", "ü€𝄞", "%_"] {
        assert_eq!(store.experiment(&key(name, name)).await.unwrap(), None);
        assert_eq!(store.run(&RunId(name.to_owned())).await.unwrap(), None);
        assert!(store.records(&RunId(name.to_owned()), 0, 10).await.unwrap().is_empty());
        assert!(!store.delete_experiment(&key(name, name)).await.unwrap());
        assert!(store.recent_outcomes(name, 10).await.unwrap().is_empty());
        assert_eq!(store.token(name).await.unwrap(), None);
        assert_eq!(store.incident(name).await.unwrap(), None);
        assert!(store.approvals(&key(name, name), name).await.unwrap().is_empty());
        let filter = ExperimentFilter {
            namespace: Some(name.to_owned()),
            kind: Some(name.to_owned()),
            name_prefix: Some(name.to_owned()),
            status: None,
        };
        assert!(store.lines(&filter, 10, None).await.unwrap().items.is_empty());
    }
}

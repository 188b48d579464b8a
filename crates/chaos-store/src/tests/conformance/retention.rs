//! What is forgotten, incidents, and what a check finds.

use chaos_core::incident::{Incident, IncidentCause, IncidentStatus};
use chaos_core::journal::{Record, RunHeader, RunSummary};
use chaos_core::port::Store as _;
use chaos_core::run::{Event, Failure, RunId, RunState};
use jiff::Timestamp;

use super::{at, experiment, finished, header, key, raw, records, run, summary};
use crate::{Pruned, Retention, SqlStore};

const DAY: i64 = 24 * 60 * 60 * 1000;

pub(super) async fn all(store: &SqlStore) {
    incidents_are_replaced_by_id_and_come_latest_first(store).await;
    runs_beyond_the_number_go(store).await;
    runs_beyond_the_age_go(store).await;
    what_still_matters_stays(store).await;
    many_runs_go_while_others_write(store).await;
}

fn incident(id: &str, run: &str, opened_at: i64) -> Incident {
    Incident {
        id: id.to_owned(),
        run: RunId(run.to_owned()),
        experiment: key("incident", "one"),
        cause: IncidentCause::Guardrail,
        summary: "health fell".to_owned(),
        targets: vec!["orchestrator".to_owned()],
        runbook: None,
        timeline: Vec::new(),
        decisions: Vec::new(),
        health_before: None,
        health_after: None,
        status: IncidentStatus::Open,
        opened_at: at(opened_at),
        closed_at: None,
        closed_by: None,
        note: None,
    }
}

fn closed(incident: Incident) -> Incident {
    let closed_at = Some(incident.opened_at);
    Incident { status: IncidentStatus::Closed, closed_at, closed_by: Some("ada".to_owned()), ..incident }
}

async fn incidents_are_replaced_by_id_and_come_latest_first(store: &SqlStore) {
    assert!(store.incidents(None, 10).await.unwrap().is_empty());
    let [a, b, c] = [incident("inc-a", "a", 5), incident("inc-b", "b", 9), incident("inc-c", "c", 7)];
    for incident in [&a, &b, &c] {
        store.put_incident(incident).await.unwrap();
    }
    assert_eq!(store.incidents(None, 10).await.unwrap(), [b.clone(), c.clone(), a.clone()]);
    assert_eq!(store.incidents(None, 2).await.unwrap(), [b.clone(), c.clone()]);
    let c = closed(c);
    store.put_incident(&c).await.unwrap();
    assert_eq!(store.incident("inc-c").await.unwrap(), Some(c.clone()));
    assert_eq!(store.incidents(Some(IncidentStatus::Open), 10).await.unwrap(), [b.clone(), a.clone()]);
    assert_eq!(store.incidents(None, 10).await.unwrap(), [b, c.clone(), a]);
    assert_eq!(store.incidents(Some(IncidentStatus::Closed), 10).await.unwrap(), [c]);
    assert_eq!(store.incident("nobody").await.unwrap(), None);
}

/// Finished runs of an experiment, one a day, from day 0 on, each with two records.
async fn daily(store: &SqlStore, namespace: &str, days: i64) -> Vec<RunHeader> {
    let mut headers = Vec::new();
    for day in 0..days {
        let header = RunHeader {
            created_at: at(day * DAY),
            ..header(&format!("{namespace}-{day}"), experiment(namespace, "one"))
        };
        store.create_run(&header, &summary(&header)).await.unwrap();
        store.append(&header.run, &records(1..=2), &finished(&header)).await.unwrap();
        headers.push(header);
    }
    headers
}

async fn there(store: &SqlStore, namespace: &str) -> Vec<String> {
    let page = store.runs(&key(namespace, "one"), 100, None).await.unwrap();
    page.items.into_iter().map(|run| run.run.0).collect()
}

fn keep(runs: Option<u32>, days: Option<u32>) -> Retention {
    Retention { keep_runs_per_experiment: runs, keep_days: days }
}

async fn runs_beyond_the_number_go(store: &SqlStore) {
    let headers = daily(store, "number", 5).await;
    // Other experiments of this store have few runs.
    assert_eq!(store.prune(&Retention::default(), at(100 * DAY)).await.unwrap(), Pruned::default());
    let pruned = store.prune(&keep(Some(7), None), at(100 * DAY)).await.unwrap();
    assert_eq!(pruned, Pruned::default());
    let position = store.latest_position().await.unwrap();
    let pruned = store.prune(&keep(Some(3), None), at(100 * DAY)).await.unwrap();
    assert!(pruned.runs >= 2 && pruned.records >= 4, "{pruned:?}");
    assert_eq!(there(store, "number").await, ["number-4", "number-3", "number-2"]);
    assert!(store.records(&headers[0].run, 0, 10).await.unwrap().is_empty());
    assert!(store.run(&headers[0].run).await.unwrap().is_none());
    assert_eq!(store.records(&headers[4].run, 0, 10).await.unwrap(), records(1..=2));
    assert_eq!(store.latest_position().await.unwrap(), position);
    assert_eq!(
        store.experiment(&key("number", "one")).await.unwrap().unwrap().latest,
        Some(finished(&headers[4]))
    );
    // The latest stays whatever is asked for.
    store.prune(&keep(Some(0), Some(0)), at(100 * DAY)).await.unwrap();
    assert_eq!(there(store, "number").await, ["number-4"]);
}

async fn runs_beyond_the_age_go(store: &SqlStore) {
    daily(store, "age", 5).await;
    store.prune(&keep(None, Some(2)), at(4 * DAY)).await.unwrap();
    assert_eq!(there(store, "age").await, ["age-4", "age-3", "age-2"]);
    store.prune(&keep(Some(100), Some(2)), at(5 * DAY)).await.unwrap();
    assert_eq!(there(store, "age").await, ["age-4", "age-3"]);
    // The largest numbers are as good as none.
    store.prune(&keep(Some(u32::MAX), Some(u32::MAX)), Timestamp::MAX).await.unwrap();
    assert_eq!(there(store, "age").await.len(), 2);
}

async fn what_still_matters_stays(store: &SqlStore) {
    let headers = daily(store, "matters", 6).await;
    store.put_incident(&incident("inc-m1", "matters-1", 1)).await.unwrap();
    store.put_incident(&closed(incident("inc-m2", "matters-2", 1))).await.unwrap();
    let unproven = RunSummary { revert_incomplete: true, ..finished(&headers[3]) };
    store.append(&headers[3].run, &[], &unproven).await.unwrap();
    // It went on.
    store.append(&headers[4].run, &[], &summary(&headers[4])).await.unwrap();
    store.prune(&keep(Some(1), None), at(100 * DAY)).await.unwrap();
    assert_eq!(there(store, "matters").await, ["matters-5", "matters-4", "matters-3", "matters-1"]);
    store.put_incident(&closed(incident("inc-m1", "matters-1", 1))).await.unwrap();
    store.append(&headers[4].run, &[], &finished(&headers[4])).await.unwrap();
    let pruned = store.prune(&keep(Some(1), None), at(100 * DAY)).await.unwrap();
    assert_eq!(pruned, Pruned { runs: 2, records: 4 });
    assert_eq!(there(store, "matters").await, ["matters-5", "matters-3"]);
    assert_eq!(store.incident("inc-m2").await.unwrap().unwrap().run.0, "matters-2", "incidents stay");
}

async fn many_runs_go_while_others_write(store: &SqlStore) {
    daily(store, "lots", 350).await;
    let writer = run(store, "lots-writer", "lots-writer", "one").await;
    let writing = async {
        for seq in 1..=50 {
            store.append(&writer.run, &records([seq]), &summary(&writer)).await.unwrap();
        }
        store.append(&writer.run, &[], &finished(&writer)).await.unwrap();
    };
    let retention = keep(Some(5), None);
    let (pruned, ()) = tokio::join!(store.prune(&retention, at(0)), writing);
    assert_eq!(pruned.unwrap(), Pruned { runs: 345, records: 690 });
    assert_eq!(there(store, "lots").await.len(), 5);
    assert_eq!(store.records(&writer.run, 0, 100).await.unwrap().len(), 50);
}

/// A run as an engine drives it: its summary follows from its journal.
async fn real_run(store: &SqlStore, id: &str, end: bool) -> RunHeader {
    let header = header(id, experiment("real", id));
    let mut state = RunState::new(&header);
    store.create_run(&header, &RunSummary::of(&header, &state, 0)).await.unwrap();
    let end = end.then(|| Event::Failed(Failure::Target("nothing matches".to_owned())));
    for (event, seq) in [Some(Event::Started), end].into_iter().flatten().zip(1..) {
        let elapsed_ms = seq * 1234;
        let effects = state.step(&header, elapsed_ms, event.clone()).unwrap();
        let record = Record { seq, at: at(0), elapsed_ms, event, effects };
        // The summary of a run that goes on is of a little later.
        let summary = RunSummary::of(&header, &state, elapsed_ms + 5);
        store.append(&header.run, &[record], &summary).await.unwrap();
    }
    header
}

pub(super) async fn what_is_whole_is_found_whole_and_what_is_not_is_named(store: &SqlStore) {
    assert!(store.check().await.unwrap().is_whole());
    for number in 0..20 {
        real_run(store, &format!("real-{number}"), number % 3 > 0).await;
    }
    store.append_audit(&super::audit::event("run.start")).await.unwrap();
    let report = store.check().await.unwrap();
    assert!(report.is_whole(), "{report:?}");
    assert_eq!((report.experiments, report.runs, report.records, report.audit_entries), (20, 20, 33, 1));
    let text = "replace(record, 'nothing', 'anything')";
    let of = |run: &str| format!("(SELECT number FROM runs WHERE run = '{run}')");
    let one = of("real-1");
    let damages = [
        (
            format!("UPDATE records SET record = {text} WHERE run_number = {one} AND seq = 2"),
            "run real-1: its summary says reason is",
        ),
        (
            format!("DELETE FROM records WHERE run_number = {} AND seq = 1", of("real-2")),
            "run real-2: record 2 follows record 0",
        ),
        (
            format!("DELETE FROM records WHERE run_number = {} AND seq = 2", of("real-4")),
            "run real-4: its journal ends at record 1, 2 were written",
        ),
        ("UPDATE runs SET header = '{}' WHERE run = 'real-5'".to_owned(), "run real-5: its header: "),
        (
            "UPDATE runs SET summary = '[]' WHERE run = 'real-7'".to_owned(),
            "run real-7: its summary can't be read",
        ),
        (
            format!("UPDATE records SET position = 900 WHERE run_number = {} AND seq = 1", of("real-8")),
            "run real-8: record 2 is at position",
        ),
        ("UPDATE records SET run_number = 4711 WHERE position = 1".to_owned(), "1 records belong to no run"),
        (
            "UPDATE experiments SET latest_run = 4711 WHERE name = 'real-9'".to_owned(),
            "the latest run of 1 experiments",
        ),
        ("DELETE FROM audit".to_owned(), "the audit log was changed at entry 1"),
    ];
    for (damage, problem) in damages {
        raw(store, &damage).await;
        let problems = store.check().await.unwrap().problems;
        assert!(problems.iter().any(|found| found.starts_with(problem)), "{damage}: {problems:#?}");
    }
}

//! SQLite alone: files, settings, formats, plans, full disks.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use chaos_core::journal::RECORDS_MAX;
use chaos_core::port::Store as _;
use chaos_core::run::Status;
use futures_util::future::join_all;
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};

use super::conformance::{self, experiment, finished, key, record, records, summary};
use crate::page::{LINE_COLUMNS, ROW_COLUMNS, list_statement};
use crate::place::{Access, Place};
use crate::session::Session;
use crate::{
    Database, ExperimentCursor, ExperimentFilter, PAGE_BYTES_MAX, RunCursor, SCHEMA_VERSION, SqlStore,
};
use crate::{approvals, audit, check, incidents, read, retention, tokens};

pub(super) async fn store(folder: &tempfile::TempDir) -> SqlStore {
    SqlStore::open(&folder.path().join("state/chaos.db")).await.unwrap()
}

/// Runs a statement from outside the store.
pub(super) async fn execute(path: &Path, statement: &'static str) {
    let url = format!("sqlite://{}?mode=rw", path.display());
    let mut connection = sqlx::AnyConnection::connect(&url).await.unwrap();
    connection.execute(statement).await.unwrap();
    connection.close().await.unwrap();
}

async fn text(store: &SqlStore, statement: &str) -> String {
    let rows = sqlx::query(AssertSqlSafe(statement.to_owned())).fetch_all(&store.readers).await.unwrap();
    rows.iter().map(|row| row.try_get::<String, _>(0).unwrap()).collect::<Vec<_>>().join("\n")
}

async fn count(store: &SqlStore, table: &str) -> i64 {
    let statement = AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
    sqlx::query(statement).fetch_one(&store.readers).await.unwrap().try_get(0).unwrap()
}

#[tokio::test]
async fn sqlite_passes_the_conformance_suite() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    conformance::all(&store).await;
    assert_eq!(text(&store, "PRAGMA integrity_check").await, "ok");
    store.close().await;
    let folder = tempfile::tempdir().unwrap();
    let store = self::store(&folder).await;
    conformance::damage(&store).await;
    store.close().await;
}

#[tokio::test]
async fn only_the_owner_can_read_what_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    conformance::run(&store, "run", "default", "one").await;
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let state = folder.path().join("state");
    assert_eq!(mode(&state), 0o700);
    for file in ["chaos.db", "chaos.db-wal", "chaos.db-shm"] {
        assert_eq!(mode(&state.join(file)), 0o600, "{file}");
    }
    store.close().await;
    let file = state.join("chaos.db");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    SqlStore::open(&file).await.unwrap().close().await;
    assert_eq!(mode(&file), 0o600);
}

#[tokio::test]
async fn a_path_with_any_character_can_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b%20?#ü'").join("x=1&.db");
    SqlStore::open(&path).await.unwrap().close().await;
    assert!(path.metadata().unwrap().len() > 0);
}

#[tokio::test]
async fn opening_again_keeps_everything_and_changes_no_format() {
    let folder = tempfile::tempdir().unwrap();
    let first = store(&folder).await;
    let header = conformance::run(&first, "run", "default", "one").await;
    first.append(&header.run, &records(1..=3), &summary(&header)).await.unwrap();
    let tables = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name";
    let format = text(&first, tables).await;
    first.close().await;
    let error = first.append(&header.run, &records([4]), &summary(&header)).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot append to the journal of run run: the store is closed");
    let again = store(&folder).await;
    assert_eq!(text(&again, tables).await, format);
    assert_eq!(count(&again, "schema_version").await, SCHEMA_VERSION);
    assert_eq!(again.unfinished().await.unwrap(), [(header.clone(), records(1..=3))]);
    assert_eq!(*again.positions().borrow(), 3);
    again.append(&header.run, &records([4]), &finished(&header)).await.unwrap();
    again.close().await;
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    store(&folder).await.close().await;
    let path = folder.path().join("state/chaos.db");
    execute(&path, "INSERT INTO schema_version (version) VALUES (99)").await;
    let error = SqlStore::open(&path).await.unwrap_err();
    assert!(error.conflict && error.reason.contains("it has format 99, this build knows up to"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_an_error_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chaos.db");
    let content = "not a database, but somebody's file ".repeat(100);
    std::fs::write(&path, &content).unwrap();
    let error = SqlStore::open(&path).await.unwrap_err();
    assert!(error.to_string().contains("file is not a database"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
}

#[tokio::test]
async fn the_writing_connection_flushes_each_commit() {
    let folder = tempfile::tempdir().unwrap();
    store(&folder).await.close().await;
    let place = Place::file(&folder.path().join("state/chaos.db"), Access::ReadWrite).unwrap();
    let mut session = Session::new(place);
    let connection = session.connected().await.unwrap();
    for (pragma, expected) in [("PRAGMA journal_mode", "wal"), ("PRAGMA synchronous", "2")] {
        let row = connection.fetch_one(pragma).await.unwrap();
        let found = row.try_get::<String, _>(0).or_else(|_| row.try_get::<i64, _>(0).map(|n| n.to_string()));
        assert_eq!(found.unwrap(), expected, "{pragma}");
    }
}

#[tokio::test]
async fn ten_thousand_experiments_are_listed_by_index() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let names: Vec<String> = (0..10_000).map(|number| format!("e{number:05}")).collect();
    for chunk in names.chunks(500) {
        let documents: Vec<_> = chunk.iter().map(|name| experiment("default", name)).collect();
        let done =
            join_all(documents.iter().map(|document| store.register(document, Timestamp::UNIX_EPOCH))).await;
        done.into_iter().for_each(|result| result.unwrap());
    }
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.list(&ExperimentFilter::default(), 500, cursor.as_ref()).await.unwrap();
        found.extend(page.items.into_iter().map(|row| row.key.name));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found, names);
    let after = ExperimentCursor::after(&key("default", "e05000"));
    for bits in 0..32 {
        let on = |bit: u32| bits & (1 << bit) != 0;
        let filter = ExperimentFilter {
            namespace: on(0).then(|| "default".to_owned()),
            status: on(1).then_some(Status::Completed),
            kind: on(2).then(|| "pod_kill".to_owned()),
            name_prefix: on(3).then(|| "e0".to_owned()),
        };
        check_plan(&store, &filter, on(4).then_some(&after)).await;
    }
    store.close().await;
}

/// A page is found by an index and comes out of it in order.
async fn check_plan(store: &SqlStore, filter: &ExperimentFilter, cursor: Option<&ExperimentCursor>) {
    for columns in [ROW_COLUMNS, LINE_COLUMNS] {
        check_plan_of(store, columns, filter, cursor).await;
    }
}

async fn check_plan_of(
    store: &SqlStore,
    columns: &str,
    filter: &ExperimentFilter,
    cursor: Option<&ExperimentCursor>,
) {
    let statement = list_statement(columns, filter, 50, cursor);
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", statement.text));
    let query = statement.values.into_iter().fold(sqlx::query(explain), |query, value| query.bind(value));
    let rows = query.fetch_all(&store.readers).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.try_get("detail").unwrap()).collect();
    let narrowed = *filter != ExperimentFilter::default() || cursor.is_some();
    let expected = if narrowed { "SEARCH e USING INDEX" } else { "SCAN e USING INDEX" };
    assert!(plan[0].starts_with(expected), "{filter:?} {cursor:?}: {plan:?}");
    assert!(!plan.iter().any(|line| line.contains("TEMP B-TREE")), "{filter:?} {cursor:?}: {plan:?}");
    assert!(plan[1].starts_with("SEARCH r USING INTEGER PRIMARY KEY"), "{plan:?}");
}

#[tokio::test]
async fn every_query_goes_by_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let cases = [
        (read::EXPERIMENT, "SEARCH e USING INDEX"),
        (read::RUNS, "SEARCH runs USING INDEX runs_by_experiment (namespace=? AND name=? AND number<?)"),
        (read::RUN, "SEARCH runs USING INDEX"),
        (read::LATEST_RUN, "SEARCH runs USING INDEX runs_by_experiment"),
        (read::RECORDS, "SEARCH records USING INDEX sqlite_autoindex_records_1 (run_number=? AND seq>?)"),
        (read::UNFINISHED, "SCAN runs USING INDEX runs_unfinished"),
        (read::EVENTS, "SEARCH e USING INTEGER PRIMARY KEY (rowid>?)"),
        (read::OUTCOMES, "SEARCH runs USING INDEX runs_by_target (target=?)"),
        (tokens::TOKEN, "SEARCH tokens USING INDEX sqlite_autoindex_tokens_1 (id=?)"),
        (audit::PAGE, "SEARCH audit USING INTEGER PRIMARY KEY (rowid>?)"),
        (incidents::INCIDENT, "SEARCH incidents USING INDEX sqlite_autoindex_incidents_1 (id=?)"),
        (incidents::INCIDENTS, "SCAN incidents USING INDEX incidents_by_time"),
        (incidents::INCIDENTS_BY_STATUS, "SEARCH incidents USING INDEX incidents_by_status (status=?)"),
        (approvals::APPROVALS, "SEARCH approvals USING INDEX sqlite_autoindex_approvals_1"),
        (check::RUNS, "SEARCH runs USING INTEGER PRIMARY KEY (rowid>?)"),
        (
            check::JOURNAL,
            "SEARCH records USING INDEX sqlite_autoindex_records_1 (run_number=? AND seq>? AND seq<?)",
        ),
    ];
    for (statement, expected) in cases {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        // What is not bound is NULL.
        let rows = sqlx::raw_sql(explain).fetch_all(&store.readers).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.try_get("detail").unwrap()).collect();
        assert!(plan[0].starts_with(expected), "{statement}: {plan:?}");
        assert!(!plan.iter().any(|line| line.contains("TEMP B-TREE")), "{statement}: {plan:?}");
    }
    store.close().await;
}

#[tokio::test]
async fn an_append_looks_through_no_table() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let text = Database::Sqlite.append(2, false);
    let statements: Vec<&str> = text.split(';').filter(|part| !part.trim().is_empty()).collect();
    assert_eq!(statements.len(), 3, "{text}");
    for statement in statements {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let rows = sqlx::raw_sql(explain).fetch_all(&store.readers).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.try_get("detail").unwrap()).collect();
        let table = |line: &String| line.starts_with("SCAN ") && !line.contains("VALUES CLAUSE");
        assert!(!plan.iter().any(table), "{statement}: {plan:#?}");
    }
    store.close().await;
}

#[tokio::test]
async fn retention_chooses_from_an_index_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", retention::CHOOSE));
    let rows = sqlx::raw_sql(explain).fetch_all(&store.readers).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.try_get("detail").unwrap()).collect();
    let covered = "SCAN runs USING COVERING INDEX runs_by_experiment";
    assert!(plan.iter().any(|line| line == covered), "{plan:?}");
    store.close().await;
}

#[tokio::test]
async fn a_page_ends_early_when_its_rows_are_large() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let header = conformance::run(&store, "run", "default", "one").await;
    let large = "x".repeat(PAGE_BYTES_MAX / 4);
    for seq in 1..=10 {
        store.append(&header.run, &[record(seq, &large)], &summary(&header)).await.unwrap();
    }
    assert_eq!(store.records(&header.run, 0, 100).await.unwrap().len(), 4);
    assert_eq!(store.events_after(0, 100).await.unwrap().len(), 4);
    assert_eq!(store.unfinished().await.unwrap()[0].1.len(), 10);
    let too_large = record(11, &"x".repeat(crate::VALUE_BYTES_MAX));
    assert!(store.append(&header.run, &[too_large], &summary(&header)).await.unwrap_err().conflict);
    store.close().await;
}

#[tokio::test]
async fn a_journal_takes_its_last_record_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let first = store(&folder).await;
    let header = conformance::run(&first, "run", "default", "one").await;
    first.close().await;
    execute(&folder.path().join("state/chaos.db"), "UPDATE runs SET last_seq = 499999").await;
    let store = store(&folder).await;
    store.append(&header.run, &records([RECORDS_MAX]), &summary(&header)).await.unwrap();
    let error = store.append(&header.run, &records([RECORDS_MAX + 1]), &summary(&header)).await.unwrap_err();
    assert!(error.conflict && error.reason == "a journal takes at most 500000 records", "{error}");
    store.append(&header.run, &[], &finished(&header)).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn records_of_deleted_runs_are_removed_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let first = store(&folder).await;
    let header = conformance::run(&first, "run", "default", "one").await;
    first.append(&header.run, &records(1..=4000), &finished(&header)).await.unwrap();
    first.delete_experiment(&header.key()).await.unwrap();
    // Closing does not wait for it; the next start goes on.
    first.close().await;
    let store = store(&folder).await;
    conformance::swept(&store).await;
    store.close().await;
}

#[test]
fn a_foreign_text_is_no_cursor() {
    for text in ["", "0", "zz", "é", "6162", "610062ff", "-1", "+1"] {
        assert!(text.parse::<ExperimentCursor>().is_err(), "{text:?}");
    }
    for text in ["", "0", "-1", "+1", "g", "ffffffffffffffff"] {
        assert!(text.parse::<RunCursor>().is_err(), "{text:?}");
    }
}

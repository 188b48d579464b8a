//! A database that an older build wrote.

use std::path::Path;

use chaos_core::journal::RunSummary;
use chaos_core::port::Store as _;
use chaos_core::run::Verdict;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _, Row as _};

use super::conformance::{experiment, finished, header, key, records, summary};
use crate::place::{Access, Place, create_file};
use crate::{Database, ExperimentFilter, Retention, SCHEMA_VERSION, SqlStore, schema};

/// Makes a database as the first version of the format was written: an experiment that never ran and one with a run.
async fn first_version(path: &Path) {
    create_file(path).unwrap();
    let place = Place::file(path, Access::ReadWrite).unwrap();
    let mut connection = place.connect().await.unwrap();
    schema::apply(&mut connection, Database::Sqlite, 1).await.unwrap();
    let header = header("run", experiment("default", "ran"));
    let quoted = |value: serde_json::Value| value.to_string().replace('\'', "''");
    let document = |name| {
        let mut document = experiment("default", name);
        document.metadata.labels.insert("team".to_owned(), "it's ours".to_owned());
        quoted(serde_json::to_value(document).unwrap())
    };
    for statement in [
        format!(
            "INSERT INTO experiments VALUES ('default', 'never', 'pod_kill', '{}', 7, 0, '')",
            document("never")
        ),
        format!(
            "INSERT INTO experiments VALUES ('default', 'ran', 'pod_kill', '{}', 7, 2, 'completed')",
            document("ran")
        ),
        "INSERT INTO experiments VALUES ('default', 'torn', 'pod_kill', '{', 7, 0, '')".to_owned(),
        "UPDATE journal SET position = 3, runs = 2".to_owned(),
    ] {
        connection.execute(AssertSqlSafe(statement)).await.unwrap();
    }
    let unproven = RunSummary { revert_incomplete: true, ..finished(&header) };
    for (number, run, end) in [(1, "old", unproven), (2, "run", finished(&header))] {
        let end = RunSummary { run: chaos_core::run::RunId(run.to_owned()), ..end };
        let header = chaos_core::journal::RunHeader { run: end.run.clone(), ..header.clone() };
        sqlx::query("INSERT INTO runs VALUES ($1, $2, 'default', 'ran', 7, 'completed', 1, $3, $4, $5)")
            .bind(number)
            .bind(run)
            .bind(if run == "run" { 3 } else { 0 })
            .bind(serde_json::to_string(&header).unwrap())
            .bind(serde_json::to_string(&end).unwrap())
            .execute(&mut connection)
            .await
            .unwrap();
    }
    for record in records(1..=3) {
        sqlx::query("INSERT INTO records VALUES ($1, 2, $1, $2)")
            .bind(record.seq as i64)
            .bind(serde_json::to_string(&record).unwrap())
            .execute(&mut connection)
            .await
            .unwrap();
    }
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_database_of_the_first_version_has_everything_after_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chaos.db");
    first_version(&path).await;
    let error = SqlStore::open_to_read(&path).await.unwrap_err();
    assert!(error.conflict && error.reason.contains("it has format 1, this build reads"), "{error}");
    let store = SqlStore::open(&path).await.unwrap();
    let header = header("run", experiment("default", "ran"));
    assert_eq!(store.records(&header.run, 0, 10).await.unwrap(), records(1..=3));
    assert_eq!(store.run(&header.run).await.unwrap(), Some((header.clone(), finished(&header))));
    let page = store.lines(&ExperimentFilter::default(), 10, None).await.unwrap();
    let lines: Vec<_> =
        page.items.iter().map(|line| (&*line.key.name, &*line.target, line.labels.len())).collect();
    let target = "app \"orchestrator\"";
    assert_eq!(lines, [("never", target, 1), ("ran", target, 1), ("torn", "", 0)]);
    assert_eq!(page.items[0].labels["team"], "it's ours");
    assert_eq!(store.recent_outcomes(target, 1).await.unwrap(), [finished(&header)]);
    // What the summary of an old run says about its undo holds.
    let retention = Retention { keep_runs_per_experiment: Some(1), keep_days: None };
    assert_eq!(store.prune(&retention, jiff::Timestamp::now()).await.unwrap().runs, 0);
    assert_eq!(store.runs(&key("default", "ran"), 10, None).await.unwrap().items.len(), 2);
    store.append(&header.run, &records([4]), &summary(&header)).await.unwrap();
    store.close().await;
    SqlStore::open_to_read(&path).await.unwrap().close().await;
}

/// Older runs of a target count as outcomes where new ones do, on an empty database.
pub(super) async fn older_runs_count_where_new_ones_do(place: &Place) {
    let mut connection = place.connect().await.unwrap();
    schema::apply(&mut connection, place.database, 2).await.unwrap();
    let target = "app \"orchestrator\"";
    let mut ends = Vec::new();
    for (number, verdict) in (1..).zip([Verdict::Error, Verdict::Held, Verdict::Blocked].repeat(100)) {
        let header = header(&format!("run-{number}"), experiment("default", "one"));
        let end = RunSummary { verdict: Some(verdict), ..finished(&header) };
        sqlx::query(
            "INSERT INTO runs (number, run, namespace, name, created_at, status, finished, last_seq, header, \
             summary, target) VALUES ($1, $2, 'default', 'one', 7, 'completed', 1, 0, '{}', $3, $4)",
        )
        .bind(number)
        .bind(&*header.run.0)
        .bind(serde_json::to_string(&end).unwrap())
        .bind(target)
        .execute(&mut connection)
        .await
        .unwrap();
        ends.push(end);
    }
    connection.execute("UPDATE runs SET summary = '{' WHERE number = 1").await.unwrap();
    schema::apply(&mut connection, place.database, 3).await.unwrap();
    let counted = "SELECT number FROM runs WHERE counted = 1 ORDER BY number";
    let rows = connection.fetch_all(counted).await.unwrap();
    let counted: Vec<i64> = rows.iter().map(|row| row.try_get(0).unwrap()).collect();
    let expected = (1..).zip(&ends).skip(1).filter(|(_, end)| end.verdict != Some(Verdict::Blocked));
    assert_eq!(counted, expected.map(|(number, _)| number).collect::<Vec<i64>>());
    connection.close().await.unwrap();
}

#[tokio::test]
async fn runs_of_the_second_version_count_where_new_ones_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chaos.db");
    create_file(&path).unwrap();
    older_runs_count_where_new_ones_do(&Place::file(&path, Access::ReadWrite).unwrap()).await;
}

#[tokio::test]
async fn a_database_that_was_brought_up_to_date_has_the_tables_of_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old.db"), folder.path().join("new.db"));
    first_version(&old).await;
    let mut formats = Vec::new();
    for path in [&old, &new] {
        let store = SqlStore::open(path).await.unwrap();
        let rows =
            sqlx::query("SELECT name || ': ' || sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name");
        let rows = rows.fetch_all(&store.readers).await.unwrap();
        formats.push(rows.iter().map(|row| row.try_get::<String, _>(0).unwrap()).collect::<Vec<_>>());
        store.close().await;
    }
    assert_eq!(formats[0], formats[1]);
    assert!(formats[0].len() > 20);
}

#[tokio::test]
async fn a_migration_that_breaks_off_leaves_the_old_format() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chaos.db");
    first_version(&path).await;
    // The last table of the new version is in the way.
    super::sqlite::execute(&path, "CREATE TABLE approvals (anything TEXT)").await;
    let error = SqlStore::open(&path).await.unwrap_err();
    assert!(error.to_string().contains("already exists"), "{error}");
    super::sqlite::execute(&path, "DROP TABLE approvals").await;
    let mut connection = AnyConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    let row = connection.fetch_one("SELECT MAX(version) FROM schema_version").await.unwrap();
    assert_eq!(row.try_get::<i64, _>(0).unwrap(), 1);
    connection.close().await.unwrap();
    let store = SqlStore::open(&path).await.unwrap();
    assert_eq!(store.check().await.unwrap().schema, SCHEMA_VERSION);
    store.close().await;
}

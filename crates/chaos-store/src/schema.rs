//! The tables, and how a database of an older build comes to have them.
//!
//! Owns the version of the format. A migration that was released is never changed, only followed by another.
//!
//! Columns are TEXT (names, JSON), BIGINT (numbers, milliseconds since 1970, 0 or 1) or DOUBLE PRECISION, so that every
//! statement is the same for SQLite and PostgreSQL. `INTEGER PRIMARY KEY` is SQLite's way of saying that a key is the
//! row's own number and needs no second index.

use chaos_core::journal::RunSummary;
use chaos_core::port::StoreError;
use chaos_core::spec::Experiment;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Connection, Row};

use crate::dialect::Database;
use crate::error::{failed, refused};
use crate::page::{labels_of, target_of};
use crate::place::Place;
use crate::write::counts;

/// The version of the format that this build writes.
pub const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

pub(crate) const VERSION: &str = "SELECT COALESCE(MAX(version), 0) FROM schema_version";

/// A part of a migration.
enum Step {
    Sql(&'static str),
    /// Fills what rows of an older build lack, in SQLite's words: a database of PostgreSQL was empty then.
    Sqlite(&'static str),
    /// Fills the columns that lists show.
    Lines,
    /// Fills which runs count among the outcomes of their target.
    Counted,
}

use Step::{Counted, Lines, Sql, Sqlite};

/// Runs whose summaries are read at once when columns of theirs are filled.
const FILL_RUNS: i64 = 100;

/// The steps to each version, the first one first.
const MIGRATIONS: &[&[Step]] = &[
    &[
        // A counter in a row instead of a sequence: whoever takes a number holds the row until the commit, so numbers
        // become visible in their order, and those of deleted rows are never given out again. The position is that of
        // the latest record which was removed, or later.
        Sql("CREATE TABLE journal (id BIGINT NOT NULL PRIMARY KEY, position BIGINT NOT NULL, runs BIGINT NOT NULL)"),
        Sql("INSERT INTO journal (id, position, runs) VALUES (1, 0, 0)"),
        Sql("CREATE TABLE experiments (
            namespace TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, document TEXT NOT NULL,
            registered_at BIGINT NOT NULL, latest_run BIGINT NOT NULL, status TEXT NOT NULL,
            PRIMARY KEY (namespace, name))"),
        Sql("CREATE UNIQUE INDEX experiments_by_name ON experiments (name, namespace)"),
        Sql("CREATE INDEX experiments_by_status ON experiments (status, name, namespace)"),
        Sql("CREATE INDEX experiments_by_kind ON experiments (kind, name, namespace)"),
        Sql("CREATE TABLE runs (
            number INTEGER NOT NULL PRIMARY KEY, run TEXT NOT NULL UNIQUE, namespace TEXT NOT NULL, name TEXT NOT NULL,
            created_at BIGINT NOT NULL, status TEXT NOT NULL, finished BIGINT NOT NULL, last_seq BIGINT NOT NULL,
            header TEXT NOT NULL, summary TEXT NOT NULL)"),
        Sql("CREATE INDEX runs_by_experiment ON runs (namespace, name, number)"),
        Sql("CREATE INDEX runs_unfinished ON runs (number) WHERE finished = 0"),
        Sql("CREATE TABLE records (
            position INTEGER NOT NULL PRIMARY KEY, run_number BIGINT NOT NULL, seq BIGINT NOT NULL, record TEXT NOT NULL,
            UNIQUE (run_number, seq))"),
        // Runs whose records are still to be removed.
        Sql("CREATE TABLE doomed (run_number BIGINT NOT NULL PRIMARY KEY)"),
    ],
    &[
        Sql("ALTER TABLE experiments ADD COLUMN target TEXT NOT NULL DEFAULT ''"),
        Sql("ALTER TABLE experiments ADD COLUMN labels TEXT NOT NULL DEFAULT '{}'"),
        Lines,
        Sql("ALTER TABLE runs ADD COLUMN target TEXT NOT NULL DEFAULT ''"),
        Sql("ALTER TABLE runs ADD COLUMN revert_incomplete BIGINT NOT NULL DEFAULT 0"),
        Sqlite("UPDATE runs SET target = COALESCE(json_extract(summary, '$.target'), ''),
            revert_incomplete = COALESCE(json_extract(summary, '$.revert_incomplete'), 0)"),
        Sql("CREATE INDEX runs_by_target ON runs (target, number) WHERE finished = 1"),
        // What retention asks for is in the index, so that it reads no headers and no summaries.
        Sql("DROP INDEX runs_by_experiment"),
        Sql("CREATE INDEX runs_by_experiment ON runs
            (namespace, name, number, created_at, finished, revert_incomplete)"),
        Sql("CREATE TABLE owner (
            id BIGINT NOT NULL PRIMARY KEY, host TEXT NOT NULL, pid BIGINT NOT NULL, address TEXT NOT NULL,
            since BIGINT NOT NULL)"),
        Sql("CREATE TABLE lever (id BIGINT NOT NULL PRIMARY KEY, lever TEXT NOT NULL)"),
        // Not revoked is 0.
        Sql("CREATE TABLE tokens (
            id TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, revoked_at BIGINT NOT NULL, record TEXT NOT NULL)"),
        Sql("CREATE UNIQUE INDEX tokens_by_name ON tokens (name) WHERE revoked_at = 0"),
        Sql("CREATE TABLE audit (
            seq INTEGER NOT NULL PRIMARY KEY, event TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL)"),
        // Apart from the entries, so that a cut tail is seen.
        Sql("CREATE TABLE audit_head (id BIGINT NOT NULL PRIMARY KEY, seq BIGINT NOT NULL, hash TEXT NOT NULL)"),
        Sql("CREATE TABLE incidents (
            id TEXT NOT NULL PRIMARY KEY, run TEXT NOT NULL, status TEXT NOT NULL, opened_at BIGINT NOT NULL,
            incident TEXT NOT NULL)"),
        Sql("CREATE INDEX incidents_by_time ON incidents (opened_at, id)"),
        Sql("CREATE INDEX incidents_by_status ON incidents (status, opened_at, id)"),
        Sql("CREATE INDEX incidents_by_run ON incidents (run, status)"),
        Sql("CREATE TABLE approvals (
            namespace TEXT NOT NULL, name TEXT NOT NULL, document_hash TEXT NOT NULL, approver TEXT NOT NULL,
            expires_at BIGINT NOT NULL, approval TEXT NOT NULL,
            PRIMARY KEY (namespace, name, document_hash, approver))"),
    ],
    &[
        // 1 when the outcome says something of the target: whoever asks for the latest of these passes over no refusals.
        Sql("ALTER TABLE runs ADD COLUMN counted BIGINT NOT NULL DEFAULT 0"),
        Counted,
        Sql("DROP INDEX runs_by_target"),
        Sql("CREATE INDEX runs_by_target ON runs (target, number) WHERE counted = 1"),
    ],
];

/// Brings the database up to [`SCHEMA_VERSION`]; changes nothing when it is.
pub(crate) async fn migrate(connection: &mut AnyConnection, place: &Place) -> Result<(), StoreError> {
    let action = || format!("bring the format of {} up to date", place.what);
    let target = MIGRATIONS.len();
    let found = apply(connection, place.database, target).await.map_err(|error| failed(action(), error))?;
    if found > SCHEMA_VERSION {
        let reason =
            format!("it has format {found}, this build knows up to {SCHEMA_VERSION}: use the newer build");
        return Err(refused(format!("open {}", place.what), reason));
    }
    Ok(())
}

/// The version that a database has.
pub(crate) async fn version(readers: &AnyPool) -> Result<i64, sqlx::Error> {
    sqlx::query(VERSION).fetch_one(readers).await?.try_get(0)
}

/// Goes up to the version `target`. Returns the version that was found.
pub(crate) async fn apply(
    connection: &mut AnyConnection,
    database: Database,
    target: usize,
) -> Result<i64, sqlx::Error> {
    let mut transaction = connection.begin_with(database.begin()).await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL PRIMARY KEY)")
        .execute(&mut *transaction)
        .await?;
    let found: i64 = sqlx::query(VERSION).fetch_one(&mut *transaction).await?.try_get(0)?;
    for (steps, version) in MIGRATIONS.iter().take(target).zip(1_i64..) {
        if version <= found {
            continue;
        }
        for step in *steps {
            match step {
                Sql(statement) => {
                    // Made of constants.
                    let statement = AssertSqlSafe(database.schema(statement).into_owned());
                    sqlx::query(statement).execute(&mut *transaction).await?;
                }
                Sqlite(statement) if database == Database::Sqlite => {
                    sqlx::query(*statement).execute(&mut *transaction).await?;
                }
                Sqlite(_) => {}
                Lines => fill_lines(&mut transaction).await?,
                Counted => fill_counted(&mut transaction).await?,
            }
        }
        sqlx::query("INSERT INTO schema_version (version) VALUES ($1)")
            .bind(version)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(found)
}

/// Takes target and labels of each experiment from its document.
async fn fill_lines(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let (mut namespace, mut name) = (String::new(), String::new());
    loop {
        let row = sqlx::query(
            "SELECT namespace, name, document FROM experiments WHERE (namespace, name) > ($1, $2) \
             ORDER BY namespace, name LIMIT 1",
        )
        .bind(&*namespace)
        .bind(&*name)
        .fetch_optional(&mut *connection)
        .await?;
        let Some(row) = row else { return Ok(()) };
        (namespace, name) = (row.try_get(0)?, row.try_get(1)?);
        // A document that can't be read stays as it is; reading it alone says why.
        let Ok(document) = serde_json::from_str::<Experiment>(&row.try_get::<String, _>(2)?) else {
            continue;
        };
        sqlx::query("UPDATE experiments SET target = $1, labels = $2 WHERE namespace = $3 AND name = $4")
            .bind(target_of(&document))
            .bind(labels_of(&document))
            .bind(&*namespace)
            .bind(&*name)
            .execute(&mut *connection)
            .await?;
    }
}

/// Takes from each summary whether its run counts.
async fn fill_counted(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let mut after: i64 = 0;
    loop {
        let rows = sqlx::query("SELECT number, summary FROM runs WHERE number > $1 ORDER BY number LIMIT $2")
            .bind(after)
            .bind(FILL_RUNS)
            .fetch_all(&mut *connection)
            .await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.try_get(0)?;
        for row in &rows {
            // A summary that can't be read says nothing; reading it alone says why.
            let summary = serde_json::from_str::<RunSummary>(&row.try_get::<String, _>(1)?);
            if summary.is_ok_and(|summary| counts(&summary)) {
                sqlx::query("UPDATE runs SET counted = 1 WHERE number = $1")
                    .bind(row.try_get::<i64, _>(0)?)
                    .execute(&mut *connection)
                    .await?;
            }
        }
    }
}

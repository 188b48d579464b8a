//! The tables, and how a database of an older build comes to have them.
//!
//! Owns the version of the format. A migration that was released is never changed, only followed by another.
//!
//! Columns are TEXT (names, JSON), BIGINT (numbers, milliseconds since 1970, 0 or 1) or DOUBLE PRECISION, so that every
//! statement outside this module is the same for SQLite and PostgreSQL. `INTEGER PRIMARY KEY` is SQLite's way of saying
//! that a key is the row's own number and needs no second index.

use chaos_core::port::StoreError;
use sqlx::{AnyConnection, Connection, Row};

use crate::error::{failed, refused};

/// The version of the format that this build writes.
pub const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// Statements of each version, the first one first.
const MIGRATIONS: &[&[&str]] = &[&[
    // Counters in a row instead of a sequence: whoever takes a number holds the row until the commit, so numbers
    // become visible in their order, and those of deleted rows are never given out again.
    "CREATE TABLE journal (id BIGINT NOT NULL PRIMARY KEY, position BIGINT NOT NULL, runs BIGINT NOT NULL)",
    "INSERT INTO journal (id, position, runs) VALUES (1, 0, 0)",
    "CREATE TABLE experiments (
        namespace TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, document TEXT NOT NULL,
        registered_at BIGINT NOT NULL, latest_run BIGINT NOT NULL, status TEXT NOT NULL,
        PRIMARY KEY (namespace, name))",
    "CREATE UNIQUE INDEX experiments_by_name ON experiments (name, namespace)",
    "CREATE INDEX experiments_by_status ON experiments (status, name, namespace)",
    "CREATE INDEX experiments_by_kind ON experiments (kind, name, namespace)",
    "CREATE TABLE runs (
        number INTEGER NOT NULL PRIMARY KEY, run TEXT NOT NULL UNIQUE, namespace TEXT NOT NULL, name TEXT NOT NULL,
        created_at BIGINT NOT NULL, status TEXT NOT NULL, finished BIGINT NOT NULL, last_seq BIGINT NOT NULL,
        header TEXT NOT NULL, summary TEXT NOT NULL)",
    "CREATE INDEX runs_by_experiment ON runs (namespace, name, number)",
    "CREATE INDEX runs_unfinished ON runs (number) WHERE finished = 0",
    "CREATE TABLE records (
        position INTEGER NOT NULL PRIMARY KEY, run_number BIGINT NOT NULL, seq BIGINT NOT NULL, record TEXT NOT NULL,
        UNIQUE (run_number, seq))",
    // Runs whose records are still to be removed.
    "CREATE TABLE doomed (run_number BIGINT NOT NULL PRIMARY KEY)",
]];

/// Brings the database up to [`SCHEMA_VERSION`]; changes nothing when it is.
pub(crate) async fn migrate(connection: &mut AnyConnection, what: &str) -> Result<(), StoreError> {
    let action = || format!("bring the format of {what} up to date");
    let found = apply(connection).await.map_err(|error| failed(action(), error))?;
    if found > SCHEMA_VERSION {
        let reason =
            format!("it has format {found}, this build knows up to {SCHEMA_VERSION}: use the newer build");
        return Err(refused(format!("open {what}"), reason));
    }
    Ok(())
}

/// Returns the version that was found.
async fn apply(connection: &mut AnyConnection) -> Result<i64, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL PRIMARY KEY)")
        .execute(&mut *transaction)
        .await?;
    let row = sqlx::query("SELECT COALESCE(MAX(version), 0) FROM schema_version")
        .fetch_one(&mut *transaction)
        .await?;
    let found: i64 = row.try_get(0)?;
    for (index, statements) in MIGRATIONS.iter().enumerate() {
        let version = index as i64 + 1;
        if version <= found {
            continue;
        }
        for statement in *statements {
            sqlx::query(*statement).execute(&mut *transaction).await?;
        }
        sqlx::query("INSERT INTO schema_version (version) VALUES ($1)")
            .bind(version)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(found)
}

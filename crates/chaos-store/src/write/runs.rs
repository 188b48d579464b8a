//! Experiments, runs and records: the statements that change them.
//!
//! Owns the order of a journal: nothing changes when an append does not fit.

use chaos_core::spec::ExperimentKey;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::work::{Append, Create, Document};
use super::{Answer, Done};
use crate::dialect::Database;

/// Records in one call; each number of them is a statement of its own, which stays prepared.
const INSERT_ROWS_MAX: usize = 50;

pub(super) async fn register(
    connection: &mut AnyConnection,
    document: &Document,
) -> Result<Answer, sqlx::Error> {
    sqlx::query(
        "INSERT INTO experiments \
         (namespace, name, kind, target, labels, document, registered_at, latest_run, status) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, '') ON CONFLICT (namespace, name) DO UPDATE \
         SET kind = excluded.kind, target = excluded.target, labels = excluded.labels, \
         document = excluded.document, registered_at = excluded.registered_at",
    )
    .bind(&*document.key.namespace)
    .bind(&*document.key.name)
    .bind(&*document.kind)
    .bind(&*document.target)
    .bind(&*document.labels)
    .bind(&*document.text)
    .bind(document.at)
    .execute(connection)
    .await?;
    Ok(Ok(Done::Changed(true)))
}

pub(super) async fn delete(
    connection: &mut AnyConnection,
    key: &ExperimentKey,
) -> Result<Answer, sqlx::Error> {
    let unfinished =
        sqlx::query("SELECT run FROM runs WHERE finished = 0 AND namespace = $1 AND name = $2 LIMIT 1")
            .bind(&*key.namespace)
            .bind(&*key.name)
            .fetch_optional(&mut *connection)
            .await?;
    if let Some(row) = unfinished {
        return Ok(Err(format!("run {} has no outcome yet", row.try_get::<String, _>(0)?)));
    }
    let mut count = 0;
    for statement in [
        // Journals can be long: their records are invisible without the run, and removed bit by bit later.
        "INSERT INTO doomed (run_number) SELECT number FROM runs WHERE namespace = $1 AND name = $2",
        "DELETE FROM runs WHERE namespace = $1 AND name = $2",
        // The same document registered again is for somebody to approve again.
        "DELETE FROM approvals WHERE namespace = $1 AND name = $2",
        "DELETE FROM experiments WHERE namespace = $1 AND name = $2",
    ] {
        let result = sqlx::query(statement).bind(&*key.namespace).bind(&*key.name).execute(&mut *connection);
        count = result.await?.rows_affected();
    }
    Ok(Ok(Done::Changed(count > 0)))
}

pub(super) async fn create(connection: &mut AnyConnection, run: &Create) -> Result<Answer, sqlx::Error> {
    let Create { document, header, summary } = run;
    let there = sqlx::query("SELECT number FROM runs WHERE run = $1")
        .bind(&*summary.run.0)
        .fetch_optional(&mut *connection)
        .await?;
    if there.is_some() {
        return Ok(Err("there is a run of that id".to_owned()));
    }
    let row = sqlx::query("UPDATE journal SET runs = runs + 1 WHERE id = 1 RETURNING runs")
        .fetch_one(&mut *connection)
        .await?;
    let number: i64 = row.try_get(0)?;
    sqlx::query(
        "INSERT INTO runs (number, run, namespace, name, created_at, status, finished, last_seq, header, summary, \
         target, revert_incomplete, counted) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9, $10, $11, $12)",
    )
    .bind(number)
    .bind(&*summary.run.0)
    .bind(&*document.key.namespace)
    .bind(&*document.key.name)
    .bind(document.at)
    .bind(&*summary.status)
    .bind(summary.finished)
    .bind(&**header)
    .bind(&*summary.text)
    .bind(&*summary.target)
    .bind(summary.revert_incomplete)
    .bind(summary.counted)
    .execute(&mut *connection)
    .await?;
    register(&mut *connection, document).await?.ok();
    sqlx::query("UPDATE experiments SET latest_run = $1, status = $2 WHERE namespace = $3 AND name = $4")
        .bind(number)
        .bind(&*summary.status)
        .bind(&*document.key.namespace)
        .bind(&*document.key.name)
        .execute(connection)
        .await?;
    Ok(Ok(Done::Changed(true)))
}

/// Adds records, of which those that are there already are left out: whoever did not hear that an append was committed
/// makes it again, perhaps with more.
pub(super) async fn append(
    connection: &mut AnyConnection,
    database: Database,
    append: &Append,
) -> Result<Answer, sqlx::Error> {
    if let Some(position) = add(connection, database, append, 0).await? {
        return Ok(Ok(Done::Appended(position)));
    }
    match there_already(connection, append).await? {
        Ok(skip) => {
            let position = add(connection, database, append, skip).await?;
            Ok(Ok(Done::Appended(position.unwrap_or(0))))
        }
        Err(reason) => Ok(Err(reason)),
    }
}

/// Adds the records after the first `skip`, if they are next. Returns the position of the last.
async fn add(
    connection: &mut AnyConnection,
    database: Database,
    append: &Append,
    skip: usize,
) -> Result<Option<u64>, sqlx::Error> {
    let rest = append.records.get(skip..).unwrap_or_default();
    let (first, rest) = rest.split_at(rest.len().min(INSERT_ROWS_MAX));
    let mut latest = add_some(connection, database, append, skip, first, false).await?;
    for (records, skip) in rest.chunks(INSERT_ROWS_MAX).zip((skip + first.len()..).step_by(INSERT_ROWS_MAX)) {
        if latest.is_some() {
            // Where the first fit, so do those that follow.
            latest = add_some(connection, database, append, skip, records, false).await?;
        }
    }
    Ok(latest)
}

/// One append in a transaction of its own, in one call. Returns the position of its last record; `None` when it did not
/// fit, or is too long for one call, and nothing was changed.
pub(super) async fn append_alone(
    connection: &mut AnyConnection,
    database: Database,
    append: &Append,
) -> Result<Option<u64>, sqlx::Error> {
    if append.records.len() > INSERT_ROWS_MAX {
        return Ok(None);
    }
    add_some(connection, database, append, 0, &append.records, true).await
}

async fn add_some(
    connection: &mut AnyConnection,
    database: Database,
    append: &Append,
    skip: usize,
    records: &[String],
    alone: bool,
) -> Result<Option<u64>, sqlx::Error> {
    let summary = &append.summary;
    let query = sqlx::query(AssertSqlSafe(database.append(records.len(), alone)))
        .bind(&*summary.run.0)
        .bind(append.first.map_or(0, |first| first + skip as i64))
        .bind(records.len() as i64)
        .bind(&*summary.text)
        .bind(&*summary.status)
        .bind(summary.finished)
        .bind(summary.revert_incomplete)
        .bind(&*summary.key.namespace)
        .bind(&*summary.key.name)
        .bind(summary.counted);
    let query = records.iter().fold(query, |query, record| query.bind(&**record));
    let rows = query.fetch_all(connection).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    u64::try_from(row.try_get::<i64, _>(0)?).map(Some).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// How many of the first records the journal has word for word, and nothing after them that they don't; else why the
/// append does not fit.
async fn there_already(
    connection: &mut AnyConnection,
    append: &Append,
) -> Result<Result<usize, String>, sqlx::Error> {
    let row = sqlx::query("SELECT number, last_seq FROM runs WHERE run = $1")
        .bind(&*append.summary.run.0)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(Err("there is no such run".to_owned())) };
    let (number, last): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let first = append.first.unwrap_or(0);
    let stored =
        sqlx::query("SELECT record FROM records WHERE run_number = $1 AND seq >= $2 ORDER BY seq LIMIT $3")
            .bind(number)
            .bind(first)
            .bind(append.records.len() as i64 + 1)
            .fetch_all(connection)
            .await?;
    let stored: Vec<String> = stored.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let follows = !stored.is_empty() && append.records.starts_with(&stored);
    Ok(if follows { Ok(stored.len()) } else { Err(format!("record {first} can't follow record {last}")) })
}

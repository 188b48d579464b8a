//! What each write does inside a transaction.
//!
//! Owns the statements that change rows. A write that is refused has changed nothing, so the rest of its batch can be
//! committed.

use chaos_core::journal::{RECORDS_MAX, Record, RunHeader, RunSummary};
use chaos_core::port::StoreError;
use chaos_core::run::{Phase, RunId};
use chaos_core::spec::{Experiment, ExperimentKey};
use jiff::Timestamp;
use serde::Serialize;
use sqlx::{AnyConnection, Connection, Row};

use super::Answer;
use crate::error::{failed, refused};
use crate::{APPEND_RECORDS_MAX, SWEEP_RECORDS_MAX, SqlStore, VALUE_BYTES_MAX};

/// A write as the columns it fills.
#[derive(Debug)]
pub(crate) enum Work {
    Register(Document),
    Delete(ExperimentKey),
    Create(Box<Create>),
    Append(Box<Append>),
}

#[derive(Debug)]
pub(crate) struct Document {
    key: ExperimentKey,
    kind: String,
    text: String,
    at: i64,
}

#[derive(Debug)]
pub(crate) struct Create {
    document: Document,
    header: String,
    summary: Summary,
}

#[derive(Debug)]
pub(crate) struct Append {
    /// Number of the first record; absent without records.
    first: Option<i64>,
    records: Vec<String>,
    summary: Summary,
}

#[derive(Debug)]
struct Summary {
    run: RunId,
    key: ExperimentKey,
    status: String,
    finished: i64,
    text: String,
}

impl SqlStore {
    /// Registers an experiment, or replaces the document of one; its runs stay. Creating a run registers the document
    /// that it carries the same way.
    ///
    /// # Errors
    /// When it can't be written.
    pub async fn register(&self, experiment: &Experiment, at: Timestamp) -> Result<(), StoreError> {
        let key = experiment.key();
        let action = format!("register experiment {}/{}", key.namespace, key.name);
        let work = Work::Register(Document::of(&action, experiment, at)?);
        self.write(action, work).await.map(|_| ())
    }

    /// Deletes an experiment with its runs and their journals. Returns whether it was there.
    ///
    /// # Errors
    /// When it can't be written, and as a conflict when a run of it has no outcome yet: its journal says what is to be
    /// undone.
    pub async fn delete_experiment(&self, key: &ExperimentKey) -> Result<bool, StoreError> {
        self.write(format!("delete experiment {}/{}", key.namespace, key.name), Work::Delete(key.clone()))
            .await
    }
}

impl Work {
    pub(crate) fn create(action: &str, header: &RunHeader, summary: &RunSummary) -> Result<Self, StoreError> {
        if summary.run != header.run || key_of(summary) != header.key() {
            return Err(refused(action, "header and summary are of different runs"));
        }
        Ok(Self::Create(Box::new(Create {
            document: Document::of(action, &header.experiment, header.created_at)?,
            header: text(action, header)?,
            summary: Summary::of(action, summary)?,
        })))
    }

    pub(crate) fn append(
        action: &str,
        run: &RunId,
        records: &[Record],
        summary: &RunSummary,
    ) -> Result<Self, StoreError> {
        if summary.run != *run {
            return Err(refused(action, format!("the summary is of run {}", summary.run)));
        }
        if records.len() > APPEND_RECORDS_MAX {
            let reason = format!("{} records at once, at most {APPEND_RECORDS_MAX}", records.len());
            return Err(refused(action, reason));
        }
        let first = records.first().map_or(0, |record| record.seq);
        if let Some((record, expected)) =
            records.iter().zip(first..).find(|(record, expected)| record.seq != *expected || record.seq == 0)
        {
            return Err(refused(
                action,
                format!("record {} is where {} belongs", record.seq, expected.max(1)),
            ));
        }
        if records.last().is_some_and(|record| record.seq > RECORDS_MAX) {
            return Err(refused(action, format!("a journal takes at most {RECORDS_MAX} records")));
        }
        let first = records.first().map(|record| i64::try_from(record.seq)).transpose();
        Ok(Self::Append(Box::new(Append {
            first: first.map_err(|error| failed(action, error))?,
            records: records.iter().map(|record| text(action, record)).collect::<Result<_, _>>()?,
            summary: Summary::of(action, summary)?,
        })))
    }

    fn records(&self) -> usize {
        if let Self::Append(append) = self { append.records.len() } else { 0 }
    }
}

impl Document {
    fn of(action: &str, experiment: &Experiment, at: Timestamp) -> Result<Self, StoreError> {
        let (key, kind) = (experiment.key(), experiment.type_name());
        Ok(Self { key, kind, text: text(action, experiment)?, at: at.as_millisecond() })
    }
}

impl Summary {
    fn of(action: &str, summary: &RunSummary) -> Result<Self, StoreError> {
        Ok(Self {
            run: summary.run.clone(),
            key: key_of(summary),
            status: summary.status.to_string(),
            finished: i64::from(summary.phase == Phase::Finished),
            text: text(action, summary)?,
        })
    }
}

fn key_of(summary: &RunSummary) -> ExperimentKey {
    ExperimentKey { namespace: summary.namespace.clone(), name: summary.name.clone() }
}

fn text(action: &str, value: &impl Serialize) -> Result<String, StoreError> {
    let text = serde_json::to_string(value).map_err(|error| refused(action, error.to_string()))?;
    if text.len() > VALUE_BYTES_MAX {
        return Err(refused(action, format!("a value has {} bytes, at most {VALUE_BYTES_MAX}", text.len())));
    }
    Ok(text)
}

/// Applies writes in order. Returns their answers and, when records were added, the position of the last.
pub(super) async fn all<'w>(
    connection: &mut AnyConnection,
    works: impl Iterator<Item = &'w Work> + Clone,
) -> Result<(Vec<Answer>, Option<u64>), sqlx::Error> {
    let mut position = take_positions(connection, works.clone().map(Work::records).sum()).await?;
    let (mut answers, mut latest) = (Vec::new(), None);
    for work in works {
        let answer = match work {
            Work::Register(document) => register(connection, document).await?,
            Work::Delete(key) => delete(connection, key).await?,
            Work::Create(run) => create(connection, run).await?,
            Work::Append(append) => append_records(connection, append, position).await?,
        };
        position += work.records() as i64;
        if answer.is_ok() && work.records() > 0 {
            latest = u64::try_from(position).ok();
        }
        answers.push(answer);
    }
    Ok((answers, latest))
}

/// Takes the next `count` positions and returns the one before them. Those of a write that is refused stay unused.
async fn take_positions(connection: &mut AnyConnection, count: usize) -> Result<i64, sqlx::Error> {
    if count == 0 {
        return Ok(0);
    }
    let count = count as i64;
    let row = sqlx::query("UPDATE journal SET position = position + $1 WHERE id = 1 RETURNING position")
        .bind(count)
        .fetch_one(&mut *connection)
        .await?;
    Ok(row.try_get::<i64, _>(0)? - count)
}

async fn register(connection: &mut AnyConnection, document: &Document) -> Result<Answer, sqlx::Error> {
    sqlx::query(
        "INSERT INTO experiments (namespace, name, kind, document, registered_at, latest_run, status) \
         VALUES ($1, $2, $3, $4, $5, 0, '') ON CONFLICT (namespace, name) DO UPDATE \
         SET kind = excluded.kind, document = excluded.document, registered_at = excluded.registered_at",
    )
    .bind(&*document.key.namespace)
    .bind(&*document.key.name)
    .bind(&*document.kind)
    .bind(&*document.text)
    .bind(document.at)
    .execute(connection)
    .await?;
    Ok(Ok(true))
}

async fn delete(connection: &mut AnyConnection, key: &ExperimentKey) -> Result<Answer, sqlx::Error> {
    let unfinished =
        sqlx::query("SELECT run FROM runs WHERE finished = 0 AND namespace = $1 AND name = $2 LIMIT 1")
            .bind(&*key.namespace)
            .bind(&*key.name)
            .fetch_optional(&mut *connection)
            .await?;
    if let Some(row) = unfinished {
        return Ok(Err(format!("run {} has no outcome yet", row.try_get::<String, _>(0)?)));
    }
    let mut changed = 0;
    for statement in [
        // Journals can be long: their records are invisible without the run, and removed bit by bit later.
        "INSERT INTO doomed (run_number) SELECT number FROM runs WHERE namespace = $1 AND name = $2",
        "DELETE FROM runs WHERE namespace = $1 AND name = $2",
        "DELETE FROM experiments WHERE namespace = $1 AND name = $2",
    ] {
        let result = sqlx::query(statement).bind(&*key.namespace).bind(&*key.name).execute(&mut *connection);
        changed = result.await?.rows_affected();
    }
    Ok(Ok(changed > 0))
}

async fn create(connection: &mut AnyConnection, run: &Create) -> Result<Answer, sqlx::Error> {
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
        "INSERT INTO runs (number, run, namespace, name, created_at, status, finished, last_seq, header, summary) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9)",
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
    Ok(Ok(true))
}

async fn append_records(
    connection: &mut AnyConnection,
    append: &Append,
    position: i64,
) -> Result<Answer, sqlx::Error> {
    let summary = &append.summary;
    // The condition makes the order of the journal a matter of the database: nothing changes when it does not fit.
    let row = sqlx::query(
        "UPDATE runs SET last_seq = last_seq + $1, summary = $2, status = $3, finished = $4 \
         WHERE run = $5 AND ($6 = 0 OR last_seq + 1 = $6) RETURNING number",
    )
    .bind(append.records.len() as i64)
    .bind(&*summary.text)
    .bind(&*summary.status)
    .bind(summary.finished)
    .bind(&*summary.run.0)
    .bind(append.first.unwrap_or(0))
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return explain(connection, append).await.map(Err) };
    let number: i64 = row.try_get(0)?;
    for ((record, position), seq) in
        append.records.iter().zip(position + 1..).zip(append.first.unwrap_or(0)..)
    {
        sqlx::query("INSERT INTO records (position, run_number, seq, record) VALUES ($1, $2, $3, $4)")
            .bind(position)
            .bind(number)
            .bind(seq)
            .bind(&**record)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query(
        "UPDATE experiments SET status = $1 \
         WHERE namespace = $2 AND name = $3 AND latest_run = $4 AND status <> $1",
    )
    .bind(&*summary.status)
    .bind(&*summary.key.namespace)
    .bind(&*summary.key.name)
    .bind(number)
    .execute(connection)
    .await?;
    Ok(Ok(true))
}

/// Why an append did not fit.
async fn explain(connection: &mut AnyConnection, append: &Append) -> Result<String, sqlx::Error> {
    let row = sqlx::query("SELECT last_seq FROM runs WHERE run = $1")
        .bind(&*append.summary.run.0)
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok("there is no such run".to_owned()) };
    let last: i64 = row.try_get(0)?;
    Ok(format!("record {} can't follow record {last}", append.first.unwrap_or(0)))
}

/// Removes some records of deleted runs. Returns whether there may be more.
pub(super) async fn sweep(connection: &mut AnyConnection) -> Result<bool, sqlx::Error> {
    let doomed =
        sqlx::query("SELECT run_number FROM doomed LIMIT 1").fetch_optional(&mut *connection).await?;
    let Some(row) = doomed else { return Ok(false) };
    let number: i64 = row.try_get(0)?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let removed = sqlx::query(
        "DELETE FROM records WHERE position IN (SELECT position FROM records WHERE run_number = $1 LIMIT $2)",
    )
    .bind(number)
    .bind(i64::from(SWEEP_RECORDS_MAX))
    .execute(&mut *transaction)
    .await?;
    if removed.rows_affected() < u64::from(SWEEP_RECORDS_MAX) {
        sqlx::query("DELETE FROM doomed WHERE run_number = $1")
            .bind(number)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(true)
}

//! Every query.
//!
//! Owns how rows become values. It never changes anything: its connections can't.

use std::sync::Arc;

use chaos_core::journal::{Record, RunHeader, RunSummary};
use chaos_core::port::StoreError;
use chaos_core::run::RunId;
use chaos_core::spec::ExperimentKey;
use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyPool, AssertSqlSafe, Row};

use crate::cache::{self, Lines};
use crate::dialect::plain;
use crate::error::failed;
use crate::page::{
    ExperimentCursor, ExperimentFilter, ExperimentLine, ExperimentRow, LINE_COLUMNS, Page, ROW_COLUMNS,
    RunCursor, StoredEvent, list_statement,
};
use crate::{PAGE_BYTES_MAX, PAGE_MAX, SqlStore};

type Statement<'q> = Query<'q, Any, AnyArguments>;

/// Turns a row into a value and about how many bytes it takes; the text is what is attempted, for the error.
pub(crate) type Decode<T> = fn(&str, &AnyRow) -> Result<(T, usize), StoreError>;

pub(crate) const EXPERIMENT: &str = "SELECT e.namespace, e.name, e.document, e.registered_at, r.summary \
    FROM experiments e LEFT JOIN runs r ON r.number = e.latest_run WHERE e.namespace = $1 AND e.name = $2";
pub(crate) const RUNS: &str = "SELECT number, summary FROM runs \
    WHERE namespace = $1 AND name = $2 AND number < $3 ORDER BY number DESC LIMIT $4";
pub(crate) const RUN: &str = "SELECT header, summary FROM runs WHERE run = $1";
pub(crate) const LATEST_RUN: &str = "SELECT header, summary FROM runs \
    WHERE namespace = $1 AND name = $2 ORDER BY number DESC LIMIT 1";
pub(crate) const RECORDS: &str = "SELECT record FROM records WHERE run_number = (SELECT number FROM runs WHERE run = $1) \
    AND seq > $2 ORDER BY seq LIMIT $3";
pub(crate) const UNFINISHED: &str = "SELECT header, summary FROM runs WHERE finished = 0 ORDER BY number";
pub(crate) const EVENTS: &str = "SELECT e.position, r.run, r.namespace, r.name, e.record \
    FROM records e JOIN runs r ON r.number = e.run_number WHERE e.position > $1 ORDER BY e.position LIMIT $2";
pub(crate) const OUTCOMES: &str =
    "SELECT summary FROM runs WHERE counted = 1 AND target = $1 ORDER BY number DESC LIMIT $2";
/// What was given out last: the journal has it when those records are gone.
const POSITION: &str =
    "SELECT position, (SELECT COALESCE(MAX(position), 0) FROM records) FROM journal WHERE id = 1";

impl SqlStore {
    /// The experiment of that name.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn experiment(&self, key: &ExperimentKey) -> Result<Option<ExperimentRow>, StoreError> {
        let action = format!("read experiment {}/{}", key.namespace, key.name);
        let statement = sqlx::query(EXPERIMENT).bind(plain(&key.namespace)).bind(plain(&key.name));
        Ok(self.rows(&action, statement, 1, experiment_row).await?.0.pop())
    }

    /// Experiments by name, then namespace, at most `limit` ([`PAGE_MAX`]). The order never changes; what is
    /// registered meanwhile appears if it comes after the cursor.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn list(
        &self,
        filter: &ExperimentFilter,
        limit: u32,
        cursor: Option<&ExperimentCursor>,
    ) -> Result<Page<ExperimentRow, ExperimentCursor>, StoreError> {
        let limit = page_limit(limit);
        let statement = list_statement(ROW_COLUMNS, filter, limit, cursor);
        let (items, more) = self.rows("list experiments", query_of(statement), limit, experiment_row).await?;
        let next = items.last().filter(|_| more).map(|row| ExperimentCursor::after(&row.key));
        Ok(Page { items, next })
    }

    /// The same list without documents. A page of up to 100 rows is kept until something in it may have changed, so
    /// asking often costs little; what another process writes to the same file appears within a second.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn lines(
        &self,
        filter: &ExperimentFilter,
        limit: u32,
        cursor: Option<&ExperimentCursor>,
    ) -> Result<Arc<Page<ExperimentLine, ExperimentCursor>>, StoreError> {
        let limit = page_limit(limit);
        let read = async {
            let statement = list_statement(LINE_COLUMNS, filter, limit, cursor);
            let (items, more) = self.rows("list experiments", query_of(statement), limit, line_row).await?;
            let next = items.last().filter(|_| more).map(|line| ExperimentCursor::after(&line.key));
            Ok::<Lines, StoreError>(Arc::new(Page { items, next }))
        };
        if limit > cache::PAGE_ROWS_MAX {
            return read.await;
        }
        self.lists.page(format!("{filter:?} {limit} {cursor:?}"), read).await
    }

    /// Runs of an experiment, the latest first, at most `limit` ([`PAGE_MAX`]).
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn runs(
        &self,
        key: &ExperimentKey,
        limit: u32,
        cursor: Option<RunCursor>,
    ) -> Result<Page<RunSummary, RunCursor>, StoreError> {
        let (limit, before) = (page_limit(limit), cursor.map_or(i64::MAX, |cursor| cursor.0));
        let action = format!("list the runs of {}/{}", key.namespace, key.name);
        let query = sqlx::query(RUNS)
            .bind(plain(&key.namespace))
            .bind(plain(&key.name))
            .bind(before)
            .bind(limit as i64 + 1);
        let (rows, more) = self
            .rows(&action, query, limit, |action, row| {
                let text: String = column(action, row, 1)?;
                Ok(((column::<i64>(action, row, 0)?, parse(action, &text)?), text.len()))
            })
            .await?;
        let next = rows.last().filter(|_| more).map(|(number, _)| RunCursor(*number));
        Ok(Page { items: rows.into_iter().map(|(_, summary)| summary).collect(), next })
    }

    /// Header and summary of a run.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn run(&self, run: &RunId) -> Result<Option<(RunHeader, RunSummary)>, StoreError> {
        let query = sqlx::query(RUN).bind(plain(&run.0));
        Ok(self.rows(&format!("read run {run}"), query, 1, run_row).await?.0.pop())
    }

    /// Header and summary of the latest run of an experiment.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn latest_run(
        &self,
        key: &ExperimentKey,
    ) -> Result<Option<(RunHeader, RunSummary)>, StoreError> {
        let action = format!("read the latest run of {}/{}", key.namespace, key.name);
        let query = sqlx::query(LATEST_RUN).bind(plain(&key.namespace)).bind(plain(&key.name));
        Ok(self.rows(&action, query, 1, run_row).await?.0.pop())
    }

    /// Records of a run after `after` (0: from the first), in order, at most `limit` ([`PAGE_MAX`]) and
    /// [`PAGE_BYTES_MAX`]. Empty only when there are no more.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn records(&self, run: &RunId, after: u64, limit: u32) -> Result<Vec<Record>, StoreError> {
        let (action, limit) = (format!("read the journal of run {run}"), page_limit(limit));
        let query = sqlx::query(RECORDS).bind(plain(&run.0)).bind(number(after)).bind(limit as i64);
        let rows = self.rows(&action, query, limit, |action, row| {
            let text: String = column(action, row, 0)?;
            Ok((parse(action, &text)?, text.len()))
        });
        Ok(rows.await?.0)
    }

    /// The runs that have no outcome yet with their whole journals, the oldest first: what a restart goes on with.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn unfinished(&self) -> Result<Vec<(RunHeader, Vec<Record>)>, StoreError> {
        let query = sqlx::query(UNFINISHED);
        let mut runs = Vec::new();
        let headers = self.all("read the unfinished runs", query, run_row).await?;
        for (header, _) in headers {
            let mut records: Vec<Record> = Vec::new();
            loop {
                let after = records.last().map_or(0, |record| record.seq);
                let page = self.records(&header.run, after, PAGE_MAX).await?;
                if page.is_empty() {
                    break;
                }
                records.extend(page);
            }
            runs.push((header, records));
        }
        Ok(runs)
    }

    /// Records of every run after a position (0: from the first), in the order they were committed, at most `limit`
    /// ([`PAGE_MAX`]) and [`PAGE_BYTES_MAX`]. Empty only when there are no more.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn events_after(&self, position: u64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let limit = page_limit(limit);
        let query = sqlx::query(EVENTS).bind(number(position)).bind(limit as i64);
        Ok(self.rows("read events", query, limit, event_row).await?.0)
    }

    /// The position of the latest record of any process, 0 before the first.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn latest_position(&self) -> Result<u64, StoreError> {
        latest_position(&self.readers).await
    }

    /// Finished runs on a target, as [`RunSummary::target`] names it, the latest first, at most `limit`
    /// ([`PAGE_MAX`]). Those that say nothing of it ([`chaos_core::safety::breaker::failed`]) are not among them.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn recent_outcomes(&self, target: &str, limit: usize) -> Result<Vec<RunSummary>, StoreError> {
        let limit = rows_limit(limit);
        let query = sqlx::query(OUTCOMES).bind(plain(target)).bind(limit as i64);
        let rows = self.rows("read the latest outcomes of a target", query, limit, |action, row| {
            let text: String = column(action, row, 0)?;
            Ok((parse(action, &text)?, text.len()))
        });
        Ok(rows.await?.0)
    }

    pub(crate) async fn all<T>(
        &self,
        action: &str,
        query: Statement<'_>,
        decode: Decode<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut rows = query.fetch(&self.readers);
        let mut items = Vec::new();
        while let Some(row) = rows.try_next().await.map_err(|error| failed(action, error))? {
            items.push(decode(action, &row)?.0);
        }
        Ok(items)
    }

    /// At most `limit` rows and about [`PAGE_BYTES_MAX`], and whether there are more.
    pub(crate) async fn rows<T>(
        &self,
        action: &str,
        query: Statement<'_>,
        limit: usize,
        decode: Decode<T>,
    ) -> Result<(Vec<T>, bool), StoreError> {
        let mut rows = query.fetch(&self.readers);
        let (mut items, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.try_next().await.map_err(|error| failed(action, error))? {
            if items.len() == limit || bytes >= PAGE_BYTES_MAX {
                return Ok((items, true));
            }
            let (item, size) = decode(action, &row)?;
            bytes += size;
            items.push(item);
        }
        Ok((items, false))
    }
}

pub(crate) async fn latest_position(readers: &AnyPool) -> Result<u64, StoreError> {
    let action = "read the latest position";
    let row = sqlx::query(POSITION).fetch_one(readers).await.map_err(|error| failed(action, error))?;
    let (remembered, latest): (i64, i64) = (column(action, &row, 0)?, column(action, &row, 1)?);
    u64::try_from(remembered.max(latest)).map_err(|error| failed(action, error))
}

fn page_limit(limit: u32) -> usize {
    limit.clamp(1, PAGE_MAX) as usize
}

pub(crate) fn rows_limit(limit: usize) -> usize {
    limit.clamp(1, PAGE_MAX as usize)
}

/// The text is put together from constants; every value is bound.
fn query_of(statement: crate::page::Statement) -> Statement<'static> {
    let query = sqlx::query(AssertSqlSafe(statement.text));
    statement.values.into_iter().fold(query, |query, value| query.bind(value))
}

/// Nothing is stored beyond what a column holds, so a larger number finds what the largest does.
pub(crate) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn column<'r, T>(action: &str, row: &'r AnyRow, index: usize) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, Any> + sqlx::Type<Any>,
{
    row.try_get(index).map_err(|error| failed(action, error))
}

/// Milliseconds since 1970.
pub(crate) fn time(action: &str, row: &AnyRow, index: usize) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(column(action, row, index)?).map_err(|error| failed(action, error))
}

pub(crate) fn parse<T: DeserializeOwned>(action: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text)
        .map_err(|error| failed(action, format!("what is stored is not readable: {error}")))
}

fn run_row(action: &str, row: &AnyRow) -> Result<((RunHeader, RunSummary), usize), StoreError> {
    let (header, summary): (String, String) = (column(action, row, 0)?, column(action, row, 1)?);
    Ok(((parse(action, &header)?, parse(action, &summary)?), header.len() + summary.len()))
}

fn experiment_row(action: &str, row: &AnyRow) -> Result<(ExperimentRow, usize), StoreError> {
    let key = ExperimentKey { namespace: column(action, row, 0)?, name: column(action, row, 1)? };
    let action = format!("{action}: {}/{}", key.namespace, key.name);
    let document: String = column(&action, row, 2)?;
    let registered_at = time(&action, row, 3)?;
    let summary: Option<String> = column(&action, row, 4)?;
    let latest = summary.as_deref().map(|text| parse(&action, text)).transpose()?;
    let size = document.len() + summary.as_ref().map_or(0, String::len);
    Ok((ExperimentRow { key, document: parse(&action, &document)?, registered_at, latest }, size))
}

fn line_row(action: &str, row: &AnyRow) -> Result<(ExperimentLine, usize), StoreError> {
    let key = ExperimentKey { namespace: column(action, row, 0)?, name: column(action, row, 1)? };
    let action = format!("{action}: {}/{}", key.namespace, key.name);
    let labels: String = column(&action, row, 4)?;
    let summary: Option<String> = column(&action, row, 6)?;
    let size = labels.len() + summary.as_ref().map_or(0, String::len);
    let line = ExperimentLine {
        key,
        kind: column(&action, row, 2)?,
        target: column(&action, row, 3)?,
        labels: parse(&action, &labels)?,
        registered_at: time(&action, row, 5)?,
        latest: summary.as_deref().map(|text| parse(&action, text)).transpose()?,
    };
    Ok((line, size))
}

fn event_row(action: &str, row: &AnyRow) -> Result<(StoredEvent, usize), StoreError> {
    let position: i64 = column(action, row, 0)?;
    let text: String = column(action, row, 4)?;
    let event = StoredEvent {
        position: u64::try_from(position).map_err(|error| failed(action, error))?,
        run: RunId(column(action, row, 1)?),
        experiment: ExperimentKey { namespace: column(action, row, 2)?, name: column(action, row, 3)? },
        record: parse(action, &text)?,
    };
    Ok((event, text.len()))
}

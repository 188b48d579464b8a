//! What is forgotten, and what never is.
//!
//! Owns the choice of runs, and that a writer never waits long for it: runs go a hundred at a time, their records bit by
//! bit afterwards, while nobody else writes.

use std::time::Duration;

use chaos_core::port::StoreError;
use jiff::Timestamp;
use sqlx::{AnyConnection, Row};

use crate::SqlStore;
use crate::error::failed;
use crate::read::column;
use crate::write::{Answer, Done, Work};

/// Runs that go in one transaction.
pub(crate) const PRUNE_RUNS_MAX: usize = 100;

const DAY: Duration = Duration::from_hours(24);

/// Runs from the latest of their experiment on: finished ones that are too many or too old. All of it is in one index.
pub(crate) const CHOOSE: &str = "SELECT number FROM (SELECT number, created_at, finished, revert_incomplete, \
    ROW_NUMBER() OVER (PARTITION BY namespace, name ORDER BY number DESC) AS place FROM runs) r \
    WHERE place > 1 AND finished = 1 AND revert_incomplete = 0 AND (place > $1 OR created_at < $2)";

/// What is kept. A run goes when either limit says so; without limits nothing does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// So many runs of each experiment, counted from the latest; the latest always stays.
    pub keep_runs_per_experiment: Option<u32>,
    /// Runs that were accepted at most so many days ago.
    pub keep_days: Option<u32>,
}

/// What went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Runs.
    pub runs: u64,
    /// Records of their journals; the room they take is free a little later.
    pub records: u64,
}

impl SqlStore {
    /// Removes finished runs by the rules of `retention`. Never the latest run of an experiment, never one with an open
    /// incident, never one whose undo is not proven.
    ///
    /// # Errors
    /// When the database can't be read or written; what went until then is gone.
    pub async fn prune(&self, retention: &Retention, now: Timestamp) -> Result<Pruned, StoreError> {
        let action = "remove old runs";
        if *retention == Retention::default() {
            return Ok(Pruned::default());
        }
        let keep = retention.keep_runs_per_experiment.map_or(i64::MAX, i64::from);
        let age = |days: u32| (DAY * days).as_millis() as i64;
        let before = retention.keep_days.map_or(i64::MIN, |days| now.as_millisecond() - age(days));
        let query = sqlx::query(CHOOSE).bind(keep).bind(before);
        let numbers: Vec<i64> =
            self.all(action, query, |action, row| Ok((column(action, row, 0)?, 0))).await?;
        let mut total = Pruned::default();
        for numbers in numbers.chunks(PRUNE_RUNS_MAX) {
            match self.write(action.to_owned(), Work::Prune(numbers.to_vec())).await? {
                Done::Pruned(pruned) => {
                    total.runs += pruned.runs;
                    total.records += pruned.records;
                }
                other => return Err(failed(action, format!("the answer was {other:?}"))),
            }
        }
        Ok(total)
    }
}

/// Removes those of the chosen runs that may still go.
pub(crate) async fn prune(connection: &mut AnyConnection, numbers: &[i64]) -> Result<Answer, sqlx::Error> {
    let mut pruned = Pruned::default();
    for number in numbers {
        // An incident may have been opened since it was chosen, a run deleted.
        let row = sqlx::query(
            "DELETE FROM runs WHERE number = $1 AND finished = 1 AND revert_incomplete = 0 \
             AND NOT EXISTS (SELECT 1 FROM incidents i WHERE i.run = runs.run AND i.status = 'open') \
             AND EXISTS (SELECT 1 FROM experiments e WHERE e.namespace = runs.namespace AND e.name = runs.name \
             AND e.latest_run > runs.number) RETURNING last_seq",
        )
        .bind(number)
        .fetch_optional(&mut *connection)
        .await?;
        let Some(row) = row else { continue };
        sqlx::query("INSERT INTO doomed (run_number) VALUES ($1)")
            .bind(number)
            .execute(&mut *connection)
            .await?;
        pruned.runs += 1;
        pruned.records += u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0);
    }
    Ok(Ok(Done::Pruned(pruned)))
}

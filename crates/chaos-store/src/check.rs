//! Whether everything that is stored fits together.
//!
//! Owns the checks. It changes nothing, and may run beside a process that writes.

use chaos_core::journal::{Record, RunHeader, RunSummary};
use chaos_core::port::StoreError;
use chaos_core::run::{Phase, RunState};
use serde_json::Value;
use sqlx::Row;

use crate::error::failed;
use crate::read::{column, parse};
use crate::{AuditError, PAGE_MAX, SqlStore, schema};

/// Problems that are told; one more says that there are more.
pub const CHECK_PROBLEMS_MAX: usize = 100;

pub(crate) const RUNS: &str =
    "SELECT number, last_seq, run, header, summary FROM runs WHERE number > $1 ORDER BY number LIMIT $2";
pub(crate) const JOURNAL: &str = "SELECT seq, position, record FROM records \
    WHERE run_number = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4";
const STRAYS: &str = "SELECT COUNT(*) FROM records e WHERE NOT EXISTS \
    (SELECT 1 FROM runs r WHERE r.number = e.run_number) AND NOT EXISTS \
    (SELECT 1 FROM doomed d WHERE d.run_number = e.run_number)";
const LOST: &str = "SELECT COUNT(*) FROM experiments e WHERE e.latest_run > 0 AND NOT EXISTS \
    (SELECT 1 FROM runs r WHERE r.number = e.latest_run AND r.namespace = e.namespace AND r.name = e.name)";
const EXPERIMENTS: &str = "SELECT COUNT(*) FROM experiments";
const RUN_THERE: &str = "SELECT COUNT(*) FROM runs WHERE number = $1";

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckReport {
    /// Version of the format.
    pub schema: i64,
    /// Experiments.
    pub experiments: u64,
    /// Runs.
    pub runs: u64,
    /// Records of their journals.
    pub records: u64,
    /// Entries of the audit log.
    pub audit_entries: u64,
    /// What does not fit, in words; at most [`CHECK_PROBLEMS_MAX`] and a line that says so.
    pub problems: Vec<String>,
}

impl CheckReport {
    /// Everything fits together.
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }

    fn problem(&mut self, problem: String) {
        match self.problems.len() {
            CHECK_PROBLEMS_MAX => self.problems.push("there are more problems".to_owned()),
            count if count < CHECK_PROBLEMS_MAX => self.problems.push(problem),
            _ => {}
        }
    }
}

/// A run as it is stored.
struct Stored {
    number: i64,
    last_seq: i64,
    run: String,
    header: String,
    summary: String,
}

/// What a look at one journal came to.
#[derive(Default)]
struct Journal {
    records: u64,
    last_position: i64,
    problem: Option<String>,
}

impl SqlStore {
    /// Looks whether the database itself is whole, every journal leads to the summary of its run, records have their
    /// places, and the audit log is as it was written. Open a store with [`SqlStore::open_to_read`] to check it without
    /// changing it.
    ///
    /// # Errors
    /// When the database can't be read at all.
    pub async fn check(&self) -> Result<CheckReport, StoreError> {
        let action = "check the database";
        let version = schema::version(&self.readers).await.map_err(|error| failed(action, error))?;
        let mut report = CheckReport { schema: version, ..CheckReport::default() };
        for statement in self.place.database.integrity() {
            let said =
                self.all(action, sqlx::query(*statement), |action, row| Ok((column(action, row, 0)?, 0)));
            let said: Vec<String> = said.await?;
            said.into_iter().filter(|line| line != "ok").for_each(|line| report.problem(line));
        }
        self.check_runs(action, &mut report).await?;
        report.experiments = self.count(action, EXPERIMENTS).await?;
        let strays = self.count(action, STRAYS).await?;
        if strays > 0 {
            report.problem(format!("{strays} records belong to no run"));
        }
        let lost = self.count(action, LOST).await?;
        if lost > 0 {
            report.problem(format!("the latest run of {lost} experiments is missing"));
        }
        match self.verify_audit().await {
            Ok(entries) => report.audit_entries = entries,
            Err(AuditError::Tampered(tampered)) => report.problem(tampered.to_string()),
            Err(AuditError::Store(error)) => return Err(error),
        }
        Ok(report)
    }

    async fn count(&self, action: &str, statement: &'static str) -> Result<u64, StoreError> {
        let row = sqlx::query(statement).fetch_one(&self.readers).await;
        let count: i64 = row.and_then(|row| row.try_get(0)).map_err(|error| failed(action, error))?;
        u64::try_from(count).map_err(|error| failed(action, error))
    }

    async fn check_runs(&self, action: &str, report: &mut CheckReport) -> Result<(), StoreError> {
        let mut after = 0;
        loop {
            let query = sqlx::query(RUNS).bind(after).bind(i64::from(PAGE_MAX));
            let rows = self.rows(action, query, PAGE_MAX as usize, |action, row| {
                let stored = Stored {
                    number: column(action, row, 0)?,
                    last_seq: column(action, row, 1)?,
                    run: column(action, row, 2)?,
                    header: column(action, row, 3)?,
                    summary: column(action, row, 4)?,
                };
                let size = stored.header.len() + stored.summary.len();
                Ok((stored, size))
            });
            let (runs, _) = rows.await?;
            let Some(last) = runs.last() else { return Ok(()) };
            after = last.number;
            for stored in runs {
                let journal = self.check_run(action, &stored).await?;
                report.runs += 1;
                report.records += journal.records;
                if let Some(problem) = journal.problem
                    && self.is_there(action, stored.number).await?
                {
                    report.problem(format!("run {}: {problem}", stored.run));
                }
            }
        }
    }

    /// A run that was deleted while its journal was read has no problem.
    async fn is_there(&self, action: &str, number: i64) -> Result<bool, StoreError> {
        let row = sqlx::query(RUN_THERE).bind(number).fetch_one(&self.readers).await;
        let count: i64 = row.and_then(|row| row.try_get(0)).map_err(|error| failed(action, error))?;
        Ok(count > 0)
    }

    async fn check_run(&self, action: &str, stored: &Stored) -> Result<Journal, StoreError> {
        let mut journal = Journal::default();
        let header: RunHeader = match parse(action, &stored.header) {
            Ok(header) => header,
            Err(error) => {
                journal.problem = Some(format!("its header: {}", error.reason));
                return Ok(journal);
            }
        };
        let mut state = RunState::new(&header);
        let (mut after, mut elapsed_ms) = (0, 0);
        loop {
            let query = sqlx::query(JOURNAL).bind(stored.number).bind(after).bind(stored.last_seq);
            let query = query.bind(i64::from(PAGE_MAX));
            let rows = self.rows(action, query, PAGE_MAX as usize, |action, row| {
                let text: String = column(action, row, 2)?;
                let size = text.len();
                Ok(((column::<i64>(action, row, 0)?, column::<i64>(action, row, 1)?, text), size))
            });
            let (rows, _) = rows.await?;
            if rows.is_empty() {
                break;
            }
            for (seq, position, text) in rows {
                let place = Place { seq, position, after, last_position: journal.last_position };
                match follow(&header, &mut state, place, &text) {
                    Ok(elapsed) => elapsed_ms = elapsed,
                    Err(problem) => {
                        journal.problem = Some(problem);
                        return Ok(journal);
                    }
                }
                (after, journal.last_position) = (seq, position);
                journal.records += 1;
            }
        }
        journal.problem = if after == stored.last_seq {
            compare(&stored.summary, &RunSummary::of(&header, &state, elapsed_ms))
        } else {
            Some(format!("its journal ends at record {after}, {} were written", stored.last_seq))
        };
        Ok(journal)
    }
}

/// Where a record is, and the one before it.
struct Place {
    seq: i64,
    position: i64,
    after: i64,
    last_position: i64,
}

/// Takes the next record of a journal. Returns its time, or what is wrong with it.
fn follow(header: &RunHeader, state: &mut RunState, place: Place, text: &str) -> Result<u64, String> {
    let Place { seq, position, after, last_position } = place;
    if seq != after + 1 {
        return Err(format!("record {seq} follows record {after}"));
    }
    if position <= last_position {
        return Err(format!("record {seq} is at position {position}, the one before it at {last_position}"));
    }
    let record: Record = serde_json::from_str(text).map_err(|error| format!("record {seq}: {error}"))?;
    if i64::try_from(record.seq) != Ok(seq) {
        return Err(format!("record {seq} says that it is record {}", record.seq));
    }
    let elapsed_ms = record.elapsed_ms;
    state.step(header, elapsed_ms, record.event).map_err(|error| format!("record {seq}: {error}"))?;
    Ok(elapsed_ms)
}

/// What a summary says that its journal does not. One that an older build wrote may lack fields; the length of a run that
/// is not finished is that of the moment.
fn compare(stored: &str, computed: &RunSummary) -> Option<String> {
    let finished = computed.phase == Phase::Finished;
    // Through text, so that both numbers were rounded the same way.
    let computed = serde_json::to_string(computed).and_then(|text| serde_json::from_str::<Value>(&text));
    let (Ok(Value::Object(stored)), Ok(Value::Object(computed))) = (serde_json::from_str(stored), computed)
    else {
        return Some("its summary can't be read".to_owned());
    };
    let differs = |(field, value): &(&String, &Value)| {
        computed.get(*field) != Some(*value) && (finished || *field != "duration_seconds")
    };
    let (field, value) = stored.iter().find(differs)?;
    let expected = computed.get(field).unwrap_or(&Value::Null);
    Some(format!("its summary says {field} is {value}, its journal says {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::conformance::{experiment, finished, header, summary};

    #[test]
    fn a_summary_that_an_older_build_wrote_may_lack_fields() {
        let header = header("run", experiment("default", "one"));
        let mut stored = serde_json::to_value(summary(&header)).unwrap();
        stored.as_object_mut().unwrap().remove("actor");
        assert_eq!(compare(&stored.to_string(), &summary(&header)), None);
        stored["injections"] = 3.into();
        let problem = compare(&stored.to_string(), &summary(&header)).unwrap();
        assert_eq!(problem, "its summary says injections is 3, its journal says 0");
    }

    #[test]
    fn the_length_of_a_run_counts_once_it_is_finished() {
        let header = header("run", experiment("default", "one"));
        for (computed, problem) in [(summary(&header), false), (finished(&header), true)] {
            let mut stored = serde_json::to_value(&computed).unwrap();
            stored["duration_seconds"] = 7.5.into();
            assert_eq!(compare(&stored.to_string(), &computed).is_some(), problem);
        }
    }
}

//! What lists hand out: rows, pages, and cursors that say where the next page starts.
//!
//! Owns the order of lists and the statement for each filter. It never runs one.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chaos_core::journal::{Record, RunSummary};
use chaos_core::run::{RunId, Status};
use chaos_core::spec::{Experiment, ExperimentKey};
use jiff::Timestamp;

use crate::dialect::plain;

/// Part of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T, C> {
    /// The rows, in order.
    pub items: Vec<T>,
    /// Where the next page starts; absent at the end.
    pub next: Option<C>,
}

/// An experiment as it was registered last, and its latest run.
#[derive(Debug, Clone, PartialEq)]
pub struct ExperimentRow {
    /// Namespace and name.
    pub key: ExperimentKey,
    /// The document.
    pub document: Experiment,
    /// When this document was registered, to the millisecond.
    pub registered_at: Timestamp,
    /// Its latest run, if it ever ran.
    pub latest: Option<RunSummary>,
}

/// An experiment as lists show it: without its document.
#[derive(Debug, Clone, PartialEq)]
pub struct ExperimentLine {
    /// Namespace and name.
    pub key: ExperimentKey,
    /// Its faults, as in [`RunSummary::kind`].
    pub kind: String,
    /// What it hits, in words, as in [`RunSummary::target`].
    pub target: String,
    /// Labels of the document.
    pub labels: BTreeMap<String, String>,
    /// When the document was registered, to the millisecond.
    pub registered_at: Timestamp,
    /// Its latest run, if it ever ran.
    pub latest: Option<RunSummary>,
}

/// What an experiment hits, in words.
pub(crate) fn target_of(experiment: &Experiment) -> String {
    experiment.spec.target.host.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// Labels of an experiment as JSON.
pub(crate) fn labels_of(experiment: &Experiment) -> String {
    // A map of texts is always JSON.
    serde_json::to_string(&experiment.metadata.labels).unwrap_or_default()
}

/// A record with its place among the records of all runs.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// Grows with every record of any run, with gaps; never used twice.
    pub position: u64,
    /// The run.
    pub run: RunId,
    /// Its experiment.
    pub experiment: ExperimentKey,
    /// The record.
    pub record: Record,
}

/// Which experiments a list shows; what is absent is not asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExperimentFilter {
    /// Only of this namespace.
    pub namespace: Option<String>,
    /// Only those whose latest run stands so. An experiment that never ran has no status.
    pub status: Option<Status>,
    /// Only those with exactly these faults, as in [`RunSummary::kind`].
    pub kind: Option<String>,
    /// Only those whose name starts so.
    pub name_prefix: Option<String>,
}

/// A text is no cursor of this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor that this list handed out")]
pub struct InvalidCursor;

/// The last experiment of a page. Written as hexadecimal digits, which need no escaping anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExperimentCursor {
    name: String,
    namespace: String,
}

impl ExperimentCursor {
    pub(crate) fn after(key: &ExperimentKey) -> Self {
        Self { name: key.name.clone(), namespace: key.namespace.clone() }
    }
}

impl fmt::Display for ExperimentCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}\0{}", self.name, self.namespace);
        text.bytes().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for ExperimentCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidCursor);
        }
        let bytes: Result<Vec<u8>, _> =
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16)).collect();
        let text = String::from_utf8(bytes.map_err(|_| InvalidCursor)?).map_err(|_| InvalidCursor)?;
        let (name, namespace) = text.split_once('\0').ok_or(InvalidCursor)?;
        Ok(Self { name: name.to_owned(), namespace: namespace.to_owned() })
    }
}

/// The last run of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunCursor(pub(crate) i64);

impl fmt::Display for RunCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for RunCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        match i64::from_str_radix(text, 16) {
            Ok(number) if number > 0 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(Self(number)),
            _ => Err(InvalidCursor),
        }
    }
}

/// A statement and its values. Values never become part of the text.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) text: String,
    pub(crate) values: Vec<String>,
}

impl Statement {
    /// Adds a condition in which each `?` stands for the next of `values`.
    fn and(&mut self, condition: &str, values: &[&str]) {
        self.text.push_str(if self.values.is_empty() { " WHERE " } else { " AND " });
        let mut rest = values.iter();
        for part in condition.split_inclusive('?') {
            self.text.push_str(part.trim_end_matches('?'));
            if let Some(value) = rest.next() {
                self.values.push(plain(value));
                self.text.push_str(&format!("${}", self.values.len()));
            }
        }
    }
}

/// The largest character: every name that starts with a prefix sorts before the prefix followed by it.
const LAST: char = char::MAX;

/// What a row of a list has: with the whole document, or as a line.
pub(crate) const ROW_COLUMNS: &str = "e.namespace, e.name, e.document, e.registered_at, r.summary";
pub(crate) const LINE_COLUMNS: &str =
    "e.namespace, e.name, e.kind, e.target, e.labels, e.registered_at, r.summary";

/// Experiments by name, then namespace, one row more than `limit` to know whether there are more.
///
/// An index starts with each thing that can be asked for and goes on in the order of the list, so that a page is read
/// from where the last one ended and nothing is sorted.
pub(crate) fn list_statement(
    columns: &str,
    filter: &ExperimentFilter,
    limit: usize,
    cursor: Option<&ExperimentCursor>,
) -> Statement {
    let text = format!("SELECT {columns} FROM experiments e LEFT JOIN runs r ON r.number = e.latest_run");
    let mut statement = Statement { text, values: Vec::new() };
    if let Some(namespace) = &filter.namespace {
        statement.and("e.namespace = ?", &[namespace]);
    }
    if let Some(status) = filter.status {
        statement.and("e.status = ?", &[&status.to_string()]);
    }
    if let Some(kind) = &filter.kind {
        statement.and("e.kind = ?", &[kind]);
    }
    let prefix = filter.name_prefix.as_deref().unwrap_or_default();
    // A cursor says more than the prefix, unless it is of another list.
    let cursor = cursor.filter(|after| after.name.as_str() >= prefix);
    if !prefix.is_empty() {
        statement.and("e.name < ?", &[&format!("{prefix}{LAST}")]);
        if cursor.is_none() {
            statement.and("e.name >= ?", &[prefix]);
        }
    }
    match cursor {
        Some(after) if filter.namespace.is_some() => statement.and("e.name > ?", &[&after.name]),
        Some(after) => statement.and("(e.name, e.namespace) > (?, ?)", &[&after.name, &after.namespace]),
        None => {}
    }
    statement.text.push_str(&format!(" ORDER BY e.name, e.namespace LIMIT {}", limit + 1));
    statement
}

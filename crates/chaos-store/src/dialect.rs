//! What SQLite and PostgreSQL say differently.
//!
//! Owns every difference in a statement; any other text of SQL in this crate is the same for both. It never runs one.
//!
//! Both are spoken to through one driver that knows texts, 64-bit numbers, floating-point numbers and bytes only: times
//! are milliseconds since 1970, yes and no are 1 and 0, and what has a shape is JSON.

use std::borrow::Cow;
use std::time::Duration;

use crate::BUSY_TIMEOUT;

/// How long PostgreSQL waits for somebody else's lock on a table of ours.
const LOCK_TIMEOUT: Duration = BUSY_TIMEOUT;
/// The longest query on PostgreSQL; a page takes milliseconds.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Which database a store is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// A file of this host.
    Sqlite,
    /// A server.
    Postgres,
}

impl Database {
    /// Begins a transaction that is going to write.
    pub(crate) fn begin(self) -> &'static str {
        match self {
            // One that asks for the lock only at its first write may find it taken, and then has to start again.
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// Adds records to a run in one call, because calls are what a commit waits for beside the disk. It changes nothing when
    /// the records are not next, and returns one row when they are: the position of the last.
    ///
    /// `$1` run, `$2` number of the first record (0 without), `$3` how many, `$4` summary, `$5` status, `$6` finished, `$7`
    /// revert_incomplete, `$8` and `$9` namespace and name, `$10` counted, then the records. `alone` makes it a transaction
    /// of its own.
    pub(crate) fn append(self, records: usize, alone: bool) -> String {
        let fits = "run = $1 AND ($2 = 0 OR last_seq + 1 = $2)";
        let run = format!(
            "UPDATE runs SET last_seq = last_seq + $3, summary = $4, status = $5, finished = $6, \
             revert_incomplete = $7, counted = $10 WHERE {fits}"
        );
        let greatest = match self {
            Self::Sqlite => "MAX",
            Self::Postgres => "GREATEST",
        };
        // What was given out last; the journal has it when those records are gone.
        let last = format!(
            "SELECT {greatest}(position, COALESCE((SELECT MAX(position) FROM records), 0)) AS position \
             FROM journal WHERE id = 1"
        );
        let rows: Vec<String> = (1..=records).map(|row| format!("({row}, ${})", row + 10)).collect();
        let insert = |tables: &str| {
            format!(
                "INSERT INTO records (position, run_number, seq, record) SELECT p.position + v.column1, r.number, \
                 $2 + v.column1 - 1, v.column2 FROM {tables}, (VALUES {}) v",
                rows.join(", ")
            )
        };
        let experiment = "namespace = $8 AND name = $9 AND status <> $5 AND latest_run =";
        match self {
            // Several statements, of which the last makes the others not fit any more.
            Self::Sqlite => {
                let (begin, commit) = if alone { ("BEGIN IMMEDIATE;", "; COMMIT") } else { ("", "") };
                let run_number = format!("SELECT number FROM runs WHERE {fits}");
                let insert = match records {
                    0 => String::new(),
                    _ => format!("{} WHERE {fits};", insert(&format!("runs r, ({last}) p"))),
                };
                format!(
                    "{begin} {insert} UPDATE experiments SET status = $5 WHERE {experiment} ({run_number}); \
                     {run} RETURNING COALESCE((SELECT MAX(position) FROM records), 0){commit}"
                )
            }
            // One statement, whose parts all see what was there before, and which is a transaction anyway.
            Self::Postgres => {
                let insert = match records {
                    0 => String::new(),
                    _ => format!(", i AS ({})", insert("r, p")),
                };
                format!(
                    "WITH r AS ({run} RETURNING number), p AS ({last}), \
                     e AS (UPDATE experiments SET status = $5 FROM r WHERE {experiment} r.number){insert} \
                     SELECT p.position + $3 FROM r, p"
                )
            }
        }
    }

    /// A statement that makes or changes a table, in the words of this database.
    pub(crate) fn schema(self, statement: &'static str) -> Cow<'static, str> {
        match self {
            Self::Sqlite => Cow::Borrowed(statement),
            // `INTEGER PRIMARY KEY` is how SQLite is told that a key is the row's own number. Texts compare by their
            // bytes in SQLite; PostgreSQL would follow the language of the database.
            Self::Postgres => {
                Cow::Owned(statement.replace("INTEGER", "BIGINT").replace("TEXT", "TEXT COLLATE \"C\""))
            }
        }
    }

    /// Settings of the connection that writes: acknowledged means on disk.
    pub(crate) fn writer_settings(self) -> Vec<String> {
        match self {
            Self::Sqlite => ["synchronous = FULL", "trusted_schema = OFF", "journal_size_limit = 67108864"]
                .map(|setting| format!("PRAGMA {setting}"))
                .into(),
            Self::Postgres => vec![
                "SET synchronous_commit = on".to_owned(),
                format!("SET lock_timeout = {}", LOCK_TIMEOUT.as_millis()),
                // The lock of a host that lost its power is free again within half a minute.
                "SET tcp_keepalives_idle = 10".to_owned(),
                "SET tcp_keepalives_interval = 5".to_owned(),
                "SET tcp_keepalives_count = 3".to_owned(),
            ],
        }
    }

    /// Settings of a connection that only reads.
    pub(crate) fn reader_settings(self) -> Vec<String> {
        match self {
            Self::Sqlite => vec![busy_timeout(), "PRAGMA query_only = ON".to_owned()],
            Self::Postgres => vec![
                "SET default_transaction_read_only = on".to_owned(),
                format!("SET statement_timeout = {}", READ_TIMEOUT.as_millis()),
            ],
        }
    }

    /// Statements that find damage in the database itself: one row of text each, `ok` when there is none.
    pub(crate) fn integrity(self) -> &'static [&'static str] {
        match self {
            Self::Sqlite => &["PRAGMA integrity_check(100)"],
            // PostgreSQL has programs for that, pg_amcheck and pg_checksums.
            Self::Postgres => &[],
        }
    }
}

/// SQLite's setting for how long to wait for another process.
pub(crate) fn busy_timeout() -> String {
    format!("PRAGMA busy_timeout = {}", BUSY_TIMEOUT.as_millis())
}

/// A text as a column holds it. PostgreSQL has no NUL in texts; JSON has none either, so this is about names that
/// somebody asks for.
pub(crate) fn plain(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

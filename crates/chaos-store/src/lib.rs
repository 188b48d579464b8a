//! The journal on disk: runs, their records and the experiments they belong to, and beside them what people decided
//! (the lever, tokens, approvals), the audit log and incidents; in SQLite or PostgreSQL.
//!
//! Owns the format of the database and every query on it. It never decides what a record means: it gives back what it
//! was given, in the same order. What it acknowledged is on disk.

mod approvals;
mod audit;
mod backup;
mod cache;
mod check;
mod dialect;
mod error;
mod incidents;
mod lever;
mod open;
mod owner;
mod page;
mod place;
mod read;
mod retention;
mod schema;
mod session;
mod tokens;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use sqlx::AnyPool;
use tokio::sync::{mpsc, watch};

pub use audit::{AUDIT_EVENT_BYTES_MAX, AuditError};
pub use check::{CHECK_PROBLEMS_MAX, CheckReport};
pub use dialect::Database;
pub use owner::StoreOwner;
pub use page::{
    ExperimentCursor, ExperimentFilter, ExperimentLine, ExperimentRow, InvalidCursor, Page, RunCursor,
    StoredEvent,
};
pub use retention::{Pruned, Retention};
pub use schema::SCHEMA_VERSION;
pub use tokens::TOKENS_MAX;

/// The most rows in one page; a larger limit is cut to it.
pub const PAGE_MAX: u32 = 1000;
/// A page ends early when it has this many bytes, however few rows that are.
pub const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The largest record, document, header or summary, in bytes of JSON.
pub const VALUE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The most records in one append.
pub const APPEND_RECORDS_MAX: usize = 10_000;
/// Writes that may wait for the disk; the next one waits for a place.
pub const WRITE_QUEUE_MAX: usize = 1024;
/// The most writes that share one commit.
pub const BATCH_WRITES_MAX: usize = 256;
/// How long a write waits for another process that writes to the same file.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that PostgreSQL may take for one commit and all that is in it.
pub const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections for reading.
pub const READERS_MAX: u32 = 4;
/// Records of deleted runs removed in one transaction, so that no append waits long for it.
pub const SWEEP_RECORDS_MAX: u32 = 1000;

/// The journal in a database. Writes go through one task that lets concurrent ones share a commit; reads have their
/// own connections and never wait for it.
///
/// A write that was asked for happens also when the future that waits for it is dropped.
#[derive(Debug)]
pub struct SqlStore {
    place: place::Place,
    readers: AnyPool,
    /// Absent in a store that was opened to read only.
    writer: Option<mpsc::Sender<write::Message>>,
    position: watch::Receiver<u64>,
    lists: Arc<cache::Lists>,
}

impl SqlStore {
    /// Finishes the writes that were asked for and closes the database. Later calls are errors.
    pub async fn close(&self) {
        if let Some(writer) = &self.writer {
            write::close(writer).await;
        }
        self.readers.close().await;
    }

    /// The position of the latest record that this process committed, as it changes.
    pub fn positions(&self) -> watch::Receiver<u64> {
        self.position.clone()
    }

    /// Which database it is in.
    pub fn database(&self) -> Database {
        self.place.database
    }

    /// Grows whenever this process changed something that [`SqlStore::lines`] shows, before the change is
    /// acknowledged: whoever read it before a page may keep the page as long as it stays the same.
    pub fn lists_version(&self) -> u64 {
        self.lists.version()
    }
}

//! The journal on disk: runs, their records and the experiments they belong to, in SQLite.
//!
//! Owns the format of the database file and every query on it. It never decides what a record means: it gives back
//! what it was given, in the same order. What it acknowledged is on disk.

mod error;
mod open;
mod page;
mod read;
mod schema;
mod write;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tests;

use std::time::Duration;

use chaos_core::port::StoreError;
use sqlx::AnyPool;
use tokio::sync::{mpsc, watch};

pub use page::{
    ExperimentCursor, ExperimentFilter, ExperimentRow, InvalidCursor, Page, RunCursor, StoredEvent,
};
pub use schema::SCHEMA_VERSION;

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
    readers: AnyPool,
    writer: mpsc::Sender<write::Message>,
    position: watch::Receiver<u64>,
}

impl SqlStore {
    /// Finishes the writes that were asked for and closes the file. Later calls are errors.
    pub async fn close(&self) {
        write::close(&self.writer).await;
        self.readers.close().await;
    }

    /// The position of the latest record that this process committed, as it changes.
    pub fn positions(&self) -> watch::Receiver<u64> {
        self.position.clone()
    }

    /// Opens the database in the file `path`, creates it and its folder (modes 0600 and 0700) when they are absent,
    /// and brings its format up to date.
    ///
    /// # Errors
    /// When the file can't be opened, is no database, or was written by a newer build.
    pub async fn open(path: &std::path::Path) -> Result<Self, StoreError> {
        open::open(path).await
    }
}

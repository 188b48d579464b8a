//! Copies and checks of a state folder's database, beside a running service or without one.
//!
//! Owns where the database of a state folder is. It never writes to one that is in use.

use std::path::Path;

use chaos_core::port::StoreError;
use chaos_store::SqlStore;

pub use chaos_store::CheckReport;

use crate::lock::StateLock;
use crate::start::JOURNAL_FILE;

/// Why a state folder could not be copied, restored or checked.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody works with the state folder.
    #[error(transparent)]
    InUse(#[from] crate::lock::LockError),
}

/// Copies the database of a state folder to the new file `to`, as it is at one moment.
///
/// # Errors
/// As [`SqlStore::backup`].
pub async fn backup(state_dir: &Path, to: &Path) -> Result<(), UpkeepError> {
    let store = SqlStore::open_to_read(&state_dir.join(JOURNAL_FILE)).await?;
    let copied = store.backup(to).await;
    store.close().await;
    Ok(copied?)
}

/// Puts a copy in the place of the database of a state folder that nobody works with.
///
/// # Errors
/// As [`SqlStore::restore`], and when a process owns the folder.
pub async fn restore(state_dir: &Path, from: &Path, replace: bool) -> Result<(), UpkeepError> {
    let lock = StateLock::acquire(state_dir)?;
    let restored = SqlStore::restore(from, &state_dir.join(JOURNAL_FILE), replace).await;
    drop(lock);
    Ok(restored?)
}

/// Looks whether everything in the database of a state folder, or in the one at this address, fits together.
///
/// # Errors
/// As [`SqlStore::check`].
pub async fn check(state_dir: &Path, database: Option<&str>) -> Result<CheckReport, UpkeepError> {
    let store = match database {
        Some(url) => SqlStore::open_url_to_read(url).await?,
        None => SqlStore::open_to_read(&state_dir.join(JOURNAL_FILE)).await?,
    };
    let report = store.check().await;
    store.close().await;
    Ok(report?)
}

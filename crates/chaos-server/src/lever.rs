//! The safety lever of this installation: in memory for whoever asks, on disk for the next start.
//!
//! Owns the order in which it moves. Engaged, it counts from the moment that somebody asks for it, and the disk follows;
//! released, it counts once the disk says so. So nothing that fails makes it less safe. It never stops a run.

use std::sync::Arc;

use chaos_core::port::StoreError;
use chaos_core::safety::Lever;
use chaos_store::SqlStore;
use tokio::sync::{Mutex, watch};

/// The lever.
pub(crate) struct LeverState {
    store: Arc<SqlStore>,
    now: watch::Sender<Lever>,
    /// Held by whoever writes it to disk.
    disk: Mutex<()>,
}

/// Why it was not released.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReleaseError {
    /// It stays engaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody else engaged it at the same time, which counts.
    #[error("{} engaged the lever at the same time: {}", .0.actor, .0.reason)]
    Engaged(Lever),
}

impl LeverState {
    /// Reads it from the store.
    pub(crate) async fn load(store: Arc<SqlStore>) -> Result<Self, StoreError> {
        let lever = store.lever().await?;
        Ok(Self { store, now: watch::Sender::new(lever), disk: Mutex::default() })
    }

    /// The lever now.
    pub(crate) fn now(&self) -> Lever {
        self.now.borrow().clone()
    }

    /// Engages it at once: from here on every gate refuses.
    pub(crate) fn engage(&self, lever: Lever) {
        self.now.send_replace(lever);
    }

    /// Brings to disk what counts, until that is what is there.
    ///
    /// # Errors
    /// When it can't be written; it counts all the same, until this process ends.
    pub(crate) async fn write(&self) -> Result<(), StoreError> {
        let _disk = self.disk.lock().await;
        loop {
            let lever = self.now();
            self.store.set_lever(&lever).await?;
            if self.now() == lever {
                return Ok(());
            }
        }
    }

    /// Releases it, once that is on disk.
    ///
    /// # Errors
    /// [`ReleaseError`]; it is engaged then, if it was.
    pub(crate) async fn release(&self, lever: Lever) -> Result<(), ReleaseError> {
        let _disk = self.disk.lock().await;
        let before = self.now();
        self.store.set_lever(&lever).await?;
        // Whoever engaged it meanwhile waits for the disk, and writes that.
        let released = self.now.send_if_modified(|now| {
            let unchanged = *now == before;
            if unchanged {
                now.clone_from(&lever);
            }
            unchanged
        });
        if released { Ok(()) } else { Err(ReleaseError::Engaged(self.now())) }
    }
}

//! How many agents may be at the door, and beyond it.
//!
//! Owns the places. A socket has one for its whole life, since the listener forgets a connection when it is upgraded;
//! it never looks at what is said over it.

use std::sync::Arc;

use chaos_api::ProblemCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;
use crate::limits::{AGENTS_MAX, NEW_AGENTS_MAX};

/// The places that are free.
#[derive(Debug)]
pub(super) struct Door {
    places: Arc<Semaphore>,
    new: Arc<Semaphore>,
    places_max: usize,
}

/// Room for one agent, until it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    /// For as long as its socket is open.
    pub(super) place: OwnedSemaphorePermit,
    /// For as long as it has not said who it is.
    pub(super) new: OwnedSemaphorePermit,
}

impl Door {
    /// The door of a process that may open so many files.
    pub(super) fn new(open_files_max: u64) -> Self {
        let places_max = places_max(open_files_max);
        Self {
            places: Arc::new(Semaphore::new(places_max)),
            new: Arc::new(Semaphore::new(NEW_AGENTS_MAX)),
            places_max,
        }
    }

    /// Room for one more.
    ///
    /// # Errors
    /// There is none; whoever asks again a moment later may find some.
    pub(super) fn enter(&self) -> Result<Room, ApiError> {
        let full = |detail: String| ApiError::new(ProblemCode::TooManyAgents, detail);
        let new = Arc::clone(&self.new).try_acquire_owned().map_err(|_| {
            full(format!("{NEW_AGENTS_MAX} agents have not said hello yet, which is the limit"))
        })?;
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| full(format!("{} agents are connected, which is the limit", self.places_max)))?;
        Ok(Room { place, new })
    }
}

/// Half of the files that this process may open: agents never take those that a stop needs.
fn places_max(open_files_max: u64) -> usize {
    usize::try_from(open_files_max / 2).unwrap_or(usize::MAX).min(AGENTS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_take_at_most_half_of_the_files_that_may_be_open() {
        for (open_files_max, expected) in
            [(0, 0), (4096, 2048), (1 << 20, AGENTS_MAX), (u64::MAX, AGENTS_MAX)]
        {
            assert_eq!(places_max(open_files_max), expected);
        }
    }

    #[test]
    fn a_socket_keeps_its_place_after_its_hello() {
        let door = Door::new(4);
        let Room { place, new } = door.enter().expect("room");
        drop(new);
        let second = door.enter().expect("room");
        let refused = door.enter().expect_err("two places");
        assert!(refused.0.detail.contains("2 agents are connected"), "{refused:?}");
        drop(second);
        assert!(door.enter().is_ok());
        drop(place);
        assert_eq!((door.places.available_permits(), door.new.available_permits()), (2, NEW_AGENTS_MAX));
    }
}

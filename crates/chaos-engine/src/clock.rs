//! The clock of this machine.
//!
//! Owns the only reads of it in this crate.

use std::time::{Duration, Instant};

use chaos_core::port::Clock;
use jiff::Timestamp;

/// Wall clock for people, and monotonic time since this value was made.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

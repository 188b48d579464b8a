//! How late measurements start.
//!
//! Owns the histogram of lateness, by which the schedule can be checked from outside. It never schedules.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

/// The most lateness that is told from more: it bounds the histogram.
const LATE_MAX: Duration = Duration::from_secs(3600);

/// How late measurements started, against the time each was scheduled for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StartJitter {
    /// Measurements that were started.
    pub starts: u64,
    /// Median.
    pub p50: Duration,
    /// 99th percentile.
    pub p99: Duration,
    /// The latest of all.
    pub max: Duration,
}

/// Gathers lateness.
#[derive(Debug)]
pub(crate) struct Jitter(Mutex<Option<Histogram<u64>>>);

impl Default for Jitter {
    fn default() -> Self {
        Self(Mutex::new(Histogram::new(3).ok()))
    }
}

impl Jitter {
    pub(crate) fn add(&self, late: Duration) {
        if let Some(histogram) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            // It grows by itself, and can't refuse what is bounded.
            let _ = histogram.record(u64::try_from(late.min(LATE_MAX).as_micros()).unwrap_or(u64::MAX));
        }
    }

    pub(crate) fn so_far(&self) -> StartJitter {
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(histogram) = guard.as_ref() else {
            return StartJitter::default();
        };
        StartJitter {
            starts: histogram.len(),
            p50: Duration::from_micros(histogram.value_at_quantile(0.50)),
            p99: Duration::from_micros(histogram.value_at_quantile(0.99)),
            max: Duration::from_micros(histogram.max()),
        }
    }
}

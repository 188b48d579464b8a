//! The circuit breaker of a source of signals: a source that fails is left alone for a while.
//!
//! ```text
//! closed --5 failures in a row--> open --10 s--> half open --answer--> closed
//!    ^--------- answer ---------+    ^--------- failure ------+
//! ```
//!
//! Questions that were in flight together and fail together are one failure, not several in a row.
//!
//! Owns the three states as a function of answers and times it is told. It never asks, waits or reads a clock.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Failures in a row that open it.
pub const OPENS_AFTER: u32 = 5;
/// How long it stays open before one trial.
pub const OPEN_FOR: Duration = Duration::from_secs(10);

/// What a breaker is doing, for people and the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// The source is asked.
    Closed,
    /// The source is left alone: its signals are unknown.
    Open,
    /// One trial decides.
    HalfOpen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32, last: Duration },
    Open { since: Duration },
    HalfOpen { since: Duration },
}

/// A circuit breaker. Times are of one monotonic clock of the caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker(State);

impl Default for Breaker {
    fn default() -> Self {
        Self(State::CLOSED)
    }
}

impl State {
    const CLOSED: Self = Self::Closed { failures: 0, last: Duration::ZERO };
}

impl Breaker {
    /// May the source be asked? When this says yes, [`Self::record`] is told the outcome. The trial of a half-open
    /// breaker that never reports (its caller went away) is followed by another after [`OPEN_FOR`].
    pub fn admit(&mut self, now: Duration) -> bool {
        match self.0 {
            State::Closed { .. } => true,
            State::Open { since } | State::HalfOpen { since } if now.saturating_sub(since) >= OPEN_FOR => {
                self.0 = State::HalfOpen { since: now };
                true
            }
            State::Open { .. } | State::HalfOpen { .. } => false,
        }
    }

    /// The source was asked at `asked`: did it answer? Answers that arrive while it is open, or half open and were not
    /// asked for since, are of questions from before.
    pub fn record(&mut self, answered: bool, asked: Duration, now: Duration) {
        self.0 = match (self.0, answered) {
            (open @ State::Open { .. }, _) => open,
            (trial @ State::HalfOpen { since }, _) if asked < since => trial,
            (State::Closed { .. } | State::HalfOpen { .. }, true) => State::CLOSED,
            (same @ State::Closed { failures: 1.., last }, false) if asked < last => same,
            (State::Closed { failures, .. }, false) if failures + 1 < OPENS_AFTER => {
                State::Closed { failures: failures + 1, last: now }
            }
            (State::Closed { .. } | State::HalfOpen { .. }, false) => State::Open { since: now },
        };
    }

    /// What it is doing.
    pub fn state(&self) -> BreakerState {
        match self.0 {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const CLOSED: State = State::CLOSED;
    const LAST: State = State::Closed { failures: OPENS_AFTER - 1, last: at(100) };
    const OPEN: State = State::Open { since: at(100) };
    const TRIAL: State = State::HalfOpen { since: at(100) };

    #[test]
    fn every_state_and_question() {
        let table = [
            (CLOSED, 0, true, CLOSED),
            (LAST, 500, true, LAST),
            (OPEN, 100, false, OPEN),
            (OPEN, 109, false, OPEN),
            (OPEN, 110, true, State::HalfOpen { since: at(110) }),
            // A clock that went back opens nothing.
            (OPEN, 50, false, OPEN),
            (TRIAL, 101, false, TRIAL),
            (TRIAL, 110, true, State::HalfOpen { since: at(110) }),
        ];
        for (before, now, admitted, after) in table {
            let mut breaker = Breaker(before);
            assert_eq!((breaker.admit(at(now)), breaker.0), (admitted, after), "{before:?} at {now}");
        }
    }

    #[test]
    fn every_state_and_outcome() {
        let table = [
            (CLOSED, true, 103, CLOSED),
            (LAST, true, 103, CLOSED),
            (CLOSED, false, 0, State::Closed { failures: 1, last: at(105) }),
            (LAST, false, 100, State::Open { since: at(105) }),
            // It was in flight when the last failure was counted.
            (LAST, false, 99, LAST),
            (OPEN, true, 103, OPEN),
            (OPEN, false, 103, OPEN),
            (TRIAL, true, 100, CLOSED),
            (TRIAL, false, 100, State::Open { since: at(105) }),
            (TRIAL, true, 99, TRIAL),
            (TRIAL, false, 99, TRIAL),
        ];
        for (before, answered, asked, after) in table {
            let mut breaker = Breaker(before);
            breaker.record(answered, at(asked), at(105));
            assert_eq!(breaker.0, after, "{before:?}, asked at {asked}, answered: {answered}");
        }
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_a_good_trial_closes_it() {
        let mut breaker = Breaker::default();
        for now in 0..4 {
            breaker.record(false, at(now), at(now));
        }
        breaker.record(true, at(4), at(4));
        for now in 5..10 {
            assert_eq!(breaker.state(), BreakerState::Closed);
            breaker.record(false, at(now), at(now));
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(!breaker.admit(at(18)) && breaker.admit(at(19)) && !breaker.admit(at(19)), "one trial only");
        breaker.record(true, at(19), at(19));
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn a_hundred_questions_that_fail_together_are_one_failure() {
        let mut breaker = Breaker::default();
        (0..100).for_each(|_| breaker.record(false, at(1), at(3)));
        assert_eq!(breaker.0, State::Closed { failures: 1, last: at(3) });
    }
}

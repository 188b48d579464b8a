//! A run: its phases, its injections, and the one function that moves it on.
//!
//! Owns the state machine ([`RunState::step`]), tolerance and verdict. It never acts: effects are data.

mod event;
mod state;
mod step;
pub mod tolerance;
mod types;
mod verdict;

pub use event::{ActionOutcome, Effect, Event, Resolution, Timer};
pub use state::{Injection, ItemState, RunState};
pub use step::{
    INJECTING_TIMEOUT, IllegalEvent, REVERT_FAILURES_MAX, REVERT_TIMEOUT, STEPWISE_TIMEOUT,
    UNKNOWN_HEALTH_MAX,
};
pub use tolerance::{Judgement, LatencyCount, ProbeSample, Tally};
pub use types::{InjectionId, InjectionState, Phase, RunId, Status, Stop, StopCause, Verdict};
pub use verdict::{Failure, Outcome};

#[cfg(test)]
mod tests;

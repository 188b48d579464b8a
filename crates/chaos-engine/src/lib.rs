//! Runs experiments: one driver task per run, a bounded queue, one bus of events.
//!
//! Owns the order of things: journal first, effect second, outcome third. Every decision is
//! [`chaos_core::run::RunState::step`]'s; nodes, probes, journals and clocks are ports, and nothing here knows their
//! adapters.

mod claims;
mod clock;
mod driver;
mod engine;
mod errands;
mod facts;
mod health;
pub mod hub;
mod measure;
mod preflight;
mod watch;

pub use clock::SystemClock;
pub use engine::{Engine, Limits, Ports, Published, RunSnapshot, StopReport, SubmitError};

//! Whether it is safe to start and to go on: the health score and the gates.
//!
//! Owns both decisions as functions over what was measured. It never measures, and never changes a run.

mod gates;
mod score;

pub use gates::{Decision, Gate, GateInput, Override, decide};
pub use score::{Health, Score, Signal, score};

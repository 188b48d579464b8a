//! The pure model of chaos: documents, target selection, safety decisions, the run state machine, verdicts.
//!
//! Owns every decision of the product as functions over data. It never does I/O, reads no clock, starts no thread
//! and draws no randomness but from a seed it is given: whoever needs those passes the result in.

pub mod access;
pub mod audit;
pub mod duration;
pub mod incident;
pub mod journal;
pub mod link;
pub mod port;
pub mod run;
pub mod safety;
pub mod spec;
pub mod target;
pub mod text;
pub mod units;

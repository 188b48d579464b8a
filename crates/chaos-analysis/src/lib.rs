//! What a journal says: measures, and reports for people and for machines.
//!
//! Owns every figure and every word of a report. It never reads anything but the header and the records it is given:
//! no clock, no files, no store, so the same journal always gives the same report.

mod incident;
pub mod measures;
pub mod report;

pub use incident::{incident, post_mortem};

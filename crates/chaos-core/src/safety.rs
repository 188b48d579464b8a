//! Whether it is safe to start and to go on: the health score and the gates.
//!
//! Owns both decisions as functions over what was measured. It never measures, and never changes a run.

pub mod breaker;
pub mod budget;
pub mod condition;
mod facts;
mod gates;
mod lever;
mod names;
mod policy;
mod score;
mod windows;

pub use facts::{AlertReading, AlertingRule, BudgetReading, Burn, Claim, ConditionReading, Facts, Known};
pub use gates::{
    BESIDE_DURATION_MAX, Decision, DrawInput, Gate, GateInput, GuardInput, Override, Standing, again, decide,
    during,
};
pub use lever::{Approval, Lever, REASON_CHARS_MAX, document_hash};
pub use policy::{AlertMatch, ApprovalRule, BreakerPolicy, Caps, Day, Policy, Slo, Window, Windows};
pub use score::{Health, STALE_AFTER, Score, Signal, score};
pub use windows::{HORIZON_DAYS, Moment, UnknownZone};

#[cfg(test)]
mod tests;

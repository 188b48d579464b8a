//! The health score before a start.
//!
//! Owns the decision. The score is [`crate::safety::score`]'s.

use super::{Finding, GateInput, Standing};

pub(super) fn health(input: &GateInput<'_>) -> Finding {
    let GateInput { health, threshold, .. } = input;
    let standing = match health.score.value() {
        None => Standing::Unknown,
        Some(_) if health.is_safe(*threshold) => Standing::Passed,
        Some(_) => Standing::Refused,
    };
    Finding::new(standing, health.explain(*threshold))
        .with("score", &health.score)
        .with("threshold", threshold)
        .with("at", health.at)
}

//! The breaker of a target, asked before a start.
//!
//! Owns what its state means for one run. The state is [`breaker::state`]'s.

use super::{Finding, GateInput, Standing};
use crate::safety::breaker::{self, BreakerState};
use crate::safety::{Facts, names};

pub(super) fn breaker(input: &GateInput<'_>) -> Option<Finding> {
    let policy = &input.policy.breaker;
    if policy.failures == 0 {
        return None;
    }
    let Facts { now, outcomes, claims, .. } = input.facts;
    let outcomes = match outcomes {
        Ok(outcomes) => outcomes,
        Err(error) => {
            let message = format!("how the last runs on this target ended is not known: {error}");
            return Some(Finding::new(Standing::Unknown, message).with("error", error));
        }
    };
    let target = names::target(input.experiment);
    let state = breaker::state(policy, outcomes, *now);
    let trying = claims.iter().find(|claim| claim.target == target).map(|claim| &claim.run.0);
    let (passed, message) = match (&state, trying) {
        (BreakerState::Off | BreakerState::Closed { failures: 0 }, _) => {
            (true, format!("the last run on {target} did not fail"))
        }
        (BreakerState::Closed { failures }, _) => (
            true,
            format!("{failures} runs in a row on {target} failed, {} open the breaker", policy.failures),
        ),
        (BreakerState::Open { failures, until }, _) => (
            false,
            format!(
                "{failures} runs in a row on {target} failed: nothing starts until {}",
                super::told(*until)
            ),
        ),
        (BreakerState::HalfOpen { .. }, Some(run)) => {
            (false, format!("after repeated failures on {target} one run may try, and {run} does"))
        }
        (BreakerState::HalfOpen { failures }, None) => {
            (true, format!("{failures} runs in a row on {target} failed: this one may try"))
        }
    };
    Some(
        Finding::passed_if(passed, message)
            .with("breaker", &state)
            .with("opens_after", policy.failures)
            .with("trying", trying),
    )
}

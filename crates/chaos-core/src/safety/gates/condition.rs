//! Stop conditions of a document: each must have data, and none may be met.
//!
//! Owns the decision. Whether one is met was found out by somebody else.

use super::{Finding, Standing};
use crate::safety::{ConditionReading, Facts};
use crate::spec::{Condition, Experiment};

pub(super) fn condition(experiment: &Experiment, facts: &Facts, lenient: bool) -> Option<Finding> {
    let conditions = &experiment.spec.safety.stop_when;
    if conditions.is_empty() {
        return None;
    }
    let reading_of =
        |condition: &Condition| facts.conditions.iter().find(|reading| reading.condition == *condition);
    let parts = conditions.iter().map(|one| judge(one, reading_of(one), lenient)).collect();
    let seen: Vec<&ConditionReading> = conditions.iter().filter_map(reading_of).collect();
    Some(Finding::worst(parts).with("conditions", seen).with("lenient", lenient))
}

fn judge(condition: &Condition, reading: Option<&ConditionReading>, lenient: bool) -> (Standing, String) {
    let detail = reading.map_or("it was not asked for", |reading| reading.detail.as_str());
    match reading.and_then(|reading| reading.met) {
        Some(true) => (Standing::Refused, format!("stop condition met: {condition} ({detail})")),
        Some(false) => (Standing::Passed, format!("{condition}: {detail}")),
        None if lenient => (Standing::Passed, format!("{condition} has no data and ends nothing ({detail})")),
        None => {
            (Standing::Unknown, format!("{condition} has no data, so it could never end a run ({detail})"))
        }
    }
}

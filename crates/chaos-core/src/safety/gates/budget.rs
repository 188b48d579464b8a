//! Error budgets: how much is left, and how fast it is spent.
//!
//! Owns the decision. The numbers and the formulas are [`budget`]'s.

use super::{Finding, Standing};
use crate::safety::budget::{self, BurnWindow};
use crate::safety::{BudgetReading, Facts, Policy, Slo};

/// Enough is left of each, and none is spent at a rate that would page somebody.
pub(super) fn before(policy: &Policy, facts: &Facts) -> Option<Finding> {
    let reserve = policy.budget_reserve();
    let finding = each(policy, facts, |reading| {
        let mut parts = vec![left(reading, reserve)];
        parts.extend(budget::WINDOWS.iter().map(|window| spent(reading, window)));
        parts
    })?;
    Some(finding.with("reserve", reserve))
}

/// None is spent at a rate that would page somebody. What is left does not matter any more: a run that began with
/// enough may spend it.
pub(super) fn during(policy: &Policy, facts: &Facts) -> Option<Finding> {
    each(policy, facts, |reading| budget::WINDOWS.iter().map(|window| spent(reading, window)).collect())
}

fn each(
    policy: &Policy,
    facts: &Facts,
    judge: impl Fn(&BudgetReading) -> Vec<(Standing, String)>,
) -> Option<Finding> {
    if policy.slos.is_empty() {
        return None;
    }
    let reading_of = |slo: &Slo| facts.budgets.iter().find(|reading| reading.slo == slo.name);
    let (mut parts, mut seen) = (Vec::new(), Vec::new());
    for slo in &policy.slos {
        match reading_of(slo) {
            None => parts.push((Standing::Unknown, format!("{} was not measured", slo.name))),
            Some(reading) => {
                parts.extend(judge(reading));
                seen.push(reading);
            }
        }
    }
    Some(Finding::worst(parts).with("budgets", seen))
}

fn left(reading: &BudgetReading, reserve: f64) -> (Standing, String) {
    let slo = &reading.slo;
    let percent = |ratio: f64| (ratio * 1000.0).round() / 10.0;
    match reading.remaining.filter(|left| left.is_finite()) {
        None => (Standing::Unknown, unknown(reading, "how much of its error budget is left")),
        Some(left) => {
            let standing = if left < reserve { Standing::Refused } else { Standing::Passed };
            let (left, reserve) = (percent(left), percent(reserve));
            (standing, format!("{left}% of the error budget of {slo} are left, {reserve}% are reserved"))
        }
    }
}

/// Too fast is too fast over both windows; each has to be known, for silence must not look like calm.
fn spent(reading: &BudgetReading, window: &BurnWindow) -> (Standing, String) {
    let BurnWindow { long_seconds, short_seconds, above } = *window;
    let words = format!("over {} and {}", budget::words(long_seconds), budget::words(short_seconds));
    let (Some(long), Some(short)) = (reading.rate(long_seconds), reading.rate(short_seconds)) else {
        return (Standing::Unknown, unknown(reading, &format!("its burn rate {words}")));
    };
    let slo = &reading.slo;
    if long > above && short > above {
        let text =
            format!("the error budget of {slo} burns at {long:.1} and {short:.1} {words}, above {above}");
        return (Standing::Refused, text);
    }
    (
        Standing::Passed,
        format!("the burn rate of {slo} {words} is {long:.1} and {short:.1}, not above {above}"),
    )
}

fn unknown(reading: &BudgetReading, what: &str) -> String {
    let why = reading.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    format!("{}: {what} is not known{why}", reading.slo)
}

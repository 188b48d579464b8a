//! Alerts of the policy: none may fire.
//!
//! Owns the decision. What fires was found out by somebody else.

use serde::Serialize;

use super::{Finding, Standing};
use crate::safety::{AlertReading, Facts, Policy};

/// What is told of one alert.
#[derive(Serialize)]
struct Seen<'a> {
    labels: &'a str,
    rules: Option<usize>,
    firing: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

pub(super) fn alert(policy: &Policy, facts: &Facts, lenient: bool) -> Option<Finding> {
    if policy.alerts.is_empty() {
        return None;
    }
    let (mut parts, mut seen) = (Vec::new(), Vec::new());
    for wanted in &policy.alerts {
        let labels = wanted.to_string();
        match facts.alerts.iter().find(|reading| reading.labels == labels) {
            None => parts.push((Standing::Unknown, format!("alert {labels} was not asked for"))),
            Some(reading) => {
                parts.push(judge(reading, lenient));
                seen.push(Seen {
                    labels: &reading.labels,
                    rules: reading.rules,
                    firing: reading.firing.iter().take(super::LISTED_MAX).map(String::as_str).collect(),
                    error: reading.error.as_deref(),
                });
            }
        }
    }
    Some(Finding::worst(parts).with("alerts", seen))
}

fn judge(reading: &AlertReading, lenient: bool) -> (Standing, String) {
    let standing = match (reading.met(), &reading.error) {
        (Some(true), _) => Standing::Refused,
        (Some(false), _) => Standing::Passed,
        // An answer that says that there is no such rule is something else than no answer.
        (None, None) if lenient && reading.rules.is_some() => Standing::Passed,
        (None, _) => Standing::Unknown,
    };
    (standing, format!("alert {}: {}", reading.labels, reading.explain()))
}

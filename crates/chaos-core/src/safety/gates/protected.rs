//! Names that are never hit.
//!
//! Owns the comparison. What a target is called is found out by [`names`].

use std::collections::BTreeMap;

use super::{DrawInput, Finding};
use crate::safety::names;

pub(super) fn protected(input: &DrawInput<'_>) -> Option<Finding> {
    let patterns = &input.policy.protected;
    if patterns.is_empty() {
        return None;
    }
    let names = names::of(input.experiment.spec.target.host.as_ref(), input.inventory);
    let pattern_of = |name: &String| patterns.iter().find(|pattern| names::matches(pattern, name));
    let hit: BTreeMap<&String, &String> =
        names.iter().filter_map(|name| Some((name, pattern_of(name)?))).take(super::LISTED_MAX).collect();
    let message = if hit.is_empty() {
        "nothing that the policy protects matches the target".to_owned()
    } else {
        let told: Vec<String> = hit.iter().map(|(name, pattern)| told(name, pattern)).collect();
        format!("the policy protects {}", told.join(", "))
    };
    let shown: Vec<&String> = names.iter().take(super::LISTED_MAX).collect();
    Some(
        Finding::passed_if(hit.is_empty(), message)
            .with("patterns", patterns.len())
            .with("names", shown)
            .with("hit", hit),
    )
}

fn told(name: &str, pattern: &str) -> String {
    if name == pattern { name.to_owned() } else { format!("{name} (by {pattern:?})") }
}

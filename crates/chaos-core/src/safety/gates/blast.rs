//! How much is hit: by this run of its target, and by all runs together.
//!
//! Owns the counts. It never chooses.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{DrawInput, Finding};
use crate::safety::{Caps, Claim, names};
use crate::spec::FaultKind;

/// One claim that holds an instance of ours.
#[derive(Serialize)]
struct Held<'a> {
    run: &'a str,
    experiment: String,
    instance: &'a str,
}

pub(super) fn overlap(input: &DrawInput<'_>) -> Finding {
    let reachable: BTreeSet<&str> = input.reachable().map(|instance| instance.id.as_str()).collect();
    let held: Vec<Held<'_>> = input.claims.iter().filter_map(|claim| held(claim, &reachable)).collect();
    let message = match held.first() {
        None => "no other run holds these instances".to_owned(),
        Some(Held { run, experiment, instance }) => format!("run {run} of {experiment} holds {instance}"),
    };
    let shown: Vec<&Held<'_>> = held.iter().take(super::LISTED_MAX).collect();
    Finding::passed_if(held.is_empty(), message).with("active_runs", input.claims.len()).with("held", shown)
}

fn held<'a>(claim: &'a Claim, reachable: &BTreeSet<&str>) -> Option<Held<'a>> {
    let instance = claim.instances.iter().find(|id| reachable.contains(id.as_str()))?;
    Some(Held { run: &claim.run.0, experiment: claim.experiment.to_string(), instance })
}

pub(super) fn max_affected(input: &DrawInput<'_>) -> Finding {
    let (affected, total) = (input.selection.affected, input.selection.total);
    let cap = input.experiment.spec.safety.max_affected;
    let message = format!("{affected} of {total} instances affected, maxAffected {cap}");
    Finding::passed_if(affected <= cap.of(total), message)
        .with("affected", affected)
        .with("total", total)
        .with("max_affected", cap)
}

pub(super) fn last_ready_instance(input: &DrawInput<'_>) -> Finding {
    let untouched = input.selection.untouched_ready;
    Finding::passed_if(untouched > 0, format!("{untouched} ready instances stay untouched"))
        .with("untouched_ready", untouched)
}

pub(super) fn unmanaged_kill(input: &DrawInput<'_>) -> Option<Finding> {
    if !input.experiment.spec.faults.iter().any(|item| item.fault.kind() == FaultKind::PodKill) {
        return None;
    }
    let unmanaged: Vec<&str> =
        input.reachable().filter(|instance| !instance.managed).map(|instance| instance.id.as_str()).collect();
    let message = match unmanaged.as_slice() {
        [] => "somebody restarts what is killed".to_owned(),
        some => format!("nobody restarts {}", super::listed(some.iter().copied())),
    };
    let shown: Vec<&str> = unmanaged.iter().take(super::LISTED_MAX).copied().collect();
    Some(Finding::passed_if(unmanaged.is_empty(), message).with("unmanaged", shown))
}

/// Instances hit at the same time, in one of the four ways of counting.
#[derive(Serialize)]
struct Count {
    of: String,
    hit: usize,
    cap: usize,
}

pub(super) fn caps(input: &DrawInput<'_>) -> Option<Finding> {
    let Caps { run, app, namespace, total } = input.policy.caps;
    let own = input.held;
    let target = names::target(input.experiment);
    let matching: BTreeSet<&str> = input.inventory.instances.iter().map(|one| one.id.as_str()).collect();
    let sum = |of: &dyn Fn(&Claim) -> usize| own + input.claims.iter().map(of).sum::<usize>();
    // Another target may name the same instances in other words.
    let of_app = |claim: &Claim| match claim.target == target {
        true => claim.instances.len(),
        false => claim.instances.iter().filter(|id| matching.contains(id.as_str())).count(),
    };
    let own_namespace = &input.experiment.metadata.namespace;
    let of_namespace =
        |claim: &Claim| if claim.experiment.namespace == *own_namespace { claim.instances.len() } else { 0 };
    let counts: Vec<Count> = [
        ("this run".to_owned(), own, run),
        (format!("all runs of {target}"), sum(&of_app), app),
        (format!("all runs of namespace {own_namespace}"), sum(&of_namespace), namespace),
        ("all runs".to_owned(), sum(&|claim| claim.instances.len()), total),
    ]
    .into_iter()
    .filter_map(|(of, hit, cap)| Some(Count { of, hit, cap: cap? }))
    .collect();
    if counts.is_empty() {
        return None;
    }
    let told =
        |count: &Count| format!("{} would hit {} instances, at most {}", count.of, count.hit, count.cap);
    let beyond: Vec<String> = counts.iter().filter(|count| count.hit > count.cap).map(told).collect();
    let message = match beyond.as_slice() {
        [] => counts.iter().map(told).collect::<Vec<_>>().join("; "),
        beyond => beyond.join("; "),
    };
    Some(Finding::passed_if(beyond.is_empty(), message).with("counts", counts))
}

//! The safety lever, and the approvals that a policy asks for.
//!
//! Owns what both say of one run. It never keeps or counts a consent beyond that.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Finding, GateInput, Standing};
use crate::safety::{ApprovalRule, Facts, document_hash, names};

pub(super) fn lever(facts: &Facts) -> Finding {
    match &facts.lever {
        Err(error) => Finding::new(Standing::Unknown, format!("the safety lever is not known: {error}"))
            .with("error", error),
        Ok(lever) if lever.engaged => {
            let since = super::told(lever.at);
            let message =
                format!("the safety lever is engaged by {} since {since}: {}", lever.actor, lever.reason);
            Finding::new(Standing::Refused, message).with("lever", lever)
        }
        Ok(lever) => Finding::new(Standing::Passed, "the safety lever is released").with("lever", lever),
    }
}

/// One rule that matches, and who met it.
#[derive(Serialize)]
struct Counted<'a> {
    needed: u32,
    approved_by: BTreeSet<&'a str>,
}

impl Counted<'_> {
    fn missing(&self) -> usize {
        (self.needed as usize).saturating_sub(self.approved_by.len())
    }
}

pub(super) fn approval(input: &GateInput<'_>) -> Option<Finding> {
    let names = names::of(input.experiment.spec.target.host.as_ref(), input.inventory);
    let rules: Vec<&ApprovalRule> =
        input.policy.approvals.iter().filter(|rule| matches(rule, input, &names)).collect();
    if rules.is_empty() {
        return None;
    }
    let hash = document_hash(input.experiment);
    if let Err(error) = &input.facts.approvals {
        let finding = Finding::new(Standing::Unknown, format!("the approvals are not known: {error}"));
        return Some(finding.with("document_hash", hash).with("error", error));
    }
    let counted: Vec<Counted<'_>> = rules
        .iter()
        .map(|rule| Counted { needed: rule.approvers, approved_by: valid(rule, input, &hash) })
        .collect();
    // Who approved for the strictest rule approved for the others too, so the largest gap is all that is missing.
    let strictest = counted.iter().max_by_key(|rule| (rule.missing(), rule.needed))?;
    let message = match strictest.missing() {
        0 => format!("approved by {}", super::listed(strictest.approved_by.iter().copied())),
        missing => format!(
            "{} of {} approvals, {missing} missing: somebody other than {} has to say `{}`",
            strictest.approved_by.len(),
            strictest.needed,
            input.facts.actor,
            command(input),
        ),
    };
    let finding = Finding::passed_if(strictest.missing() == 0, message);
    Some(finding.with("document_hash", hash).with("asked_by", &input.facts.actor).with("rules", counted))
}

fn command(input: &GateInput<'_>) -> String {
    let metadata = &input.experiment.metadata;
    match metadata.namespace.as_str() {
        "default" => format!("chaos approve {}", metadata.name),
        namespace => format!("chaos approve {} --namespace {namespace}", metadata.name),
    }
}

fn matches(rule: &ApprovalRule, input: &GateInput<'_>, names: &BTreeSet<String>) -> bool {
    let experiment = input.experiment;
    let kinds = || experiment.spec.faults.iter().map(|item| item.fault.kind());
    rule.namespace.as_ref().is_none_or(|namespace| *namespace == experiment.metadata.namespace)
        && (rule.faults.is_empty() || kinds().any(|kind| rule.faults.contains(&kind)))
        && rule.target.as_ref().is_none_or(|pattern| names.iter().any(|name| names::matches(pattern, name)))
}

/// Who approved exactly this document, not too long ago, and does not ask for the run.
fn valid<'a>(rule: &ApprovalRule, input: &GateInput<'a>, hash: &str) -> BTreeSet<&'a str> {
    let Facts { now, actor, approvals, .. } = input.facts;
    let counts = |at: jiff::Timestamp, expires_at: jiff::Timestamp| {
        expires_at > *now && at.checked_add(rule.valid_for.0).is_ok_and(|end| end > *now)
    };
    approvals
        .iter()
        .flatten()
        .filter(|one| one.document_hash == hash && one.approver != *actor && counts(one.at, one.expires_at))
        .map(|one| one.approver.as_str())
        .collect()
}

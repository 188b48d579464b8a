//! What is known of the world when a gate is asked, as data.
//!
//! Owns the shapes. Each was found out by somebody else; what could not be found out is there as such, and is never
//! taken for good news.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Approval, Lever};
use crate::journal::RunSummary;
use crate::run::RunId;
use crate::spec::{Condition, ExperimentKey};

/// A fact, or why it is not known.
pub type Known<T> = Result<T, String>;

/// Everything that gates look at beside the document and the target.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The time.
    pub now: Timestamp,
    /// Who asked for the run.
    pub actor: String,
    /// The safety lever.
    pub lever: Known<Lever>,
    /// Consents to this document, expired ones among them.
    pub approvals: Known<Vec<Approval>>,
    /// Finished runs on the same target, the latest first, without those of which [`super::breaker::failed`] says
    /// nothing; at least as many as open the breaker.
    pub outcomes: Known<Vec<RunSummary>>,
    /// What other runs have chosen.
    pub claims: Vec<Claim>,
    /// Each objective of the policy.
    pub budgets: Vec<BudgetReading>,
    /// Each alert of the policy.
    pub alerts: Vec<AlertReading>,
    /// Each stop condition of the document.
    pub conditions: Vec<ConditionReading>,
}

/// What a run holds from its choice to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The run.
    pub run: RunId,
    /// Its experiment.
    pub experiment: ExperimentKey,
    /// Its target in words, as `RunSummary::target` has it.
    pub target: String,
    /// Ids of the instances it chose.
    pub instances: BTreeSet<String>,
}

/// An objective as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BudgetReading {
    /// Its name.
    pub slo: String,
    /// Share of the budget that is left, below 0 when it is overspent.
    pub remaining: Option<f64>,
    /// Burn rates, the windows as [`super::budget::WINDOWS`] has them.
    pub burns: Vec<Burn>,
    /// Why something is not known.
    pub error: Option<String>,
}

/// How fast a budget is spent: 1 spends it exactly within the window of the objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Burn {
    /// Seconds that it is measured over.
    pub over_seconds: u64,
    /// The rate; `None` when there is no data.
    pub rate: Option<f64>,
}

/// An alert as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertReading {
    /// The labels that are looked for, in words.
    pub labels: String,
    /// Alerting rules that could fire with these labels.
    pub rules: Option<usize>,
    /// Names of those that fire.
    pub firing: Vec<String>,
    /// Why it is not known.
    pub error: Option<String>,
}

/// An alerting rule of Prometheus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertingRule {
    /// The labels that it sets, its own name as `alertname` among them.
    pub labels: BTreeMap<String, String>,
    /// The labels of each of its alerts that fires; a pending one does not.
    pub firing: Vec<BTreeMap<String, String>>,
}

/// A stop condition as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConditionReading {
    /// The condition.
    pub condition: Condition,
    /// It holds, so nothing may start or go on; `None` when there is no data.
    pub met: Option<bool>,
    /// The value that was compared, when there is one.
    pub value: Option<f64>,
    /// What was seen, or why there is no data.
    pub detail: String,
}

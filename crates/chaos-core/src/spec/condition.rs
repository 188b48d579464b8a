//! `safety.stopWhen`: what ends a run before its time.
//!
//! Owns the shapes and their words. Whether a condition is met is found out by whoever can ask Prometheus.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DocumentError;
use crate::duration::Span;
use crate::safety::AlertMatch;

/// One condition, externally tagged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Condition {
    /// An alert with these labels fires in Prometheus.
    Alert(AlertMatch),
    /// The budget of an objective of the configuration is spent too fast.
    BurnRate(BurnRate),
    /// A PromQL value leaves its bounds.
    Query(QueryBound),
}

/// A burn rate that is too high: over the whole window and over a twelfth of it, at least 30 seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BurnRate {
    /// Name of the objective.
    pub slo: String,
    /// The rate; 1 spends the budget exactly within the objective's window.
    pub above: f64,
    /// What it is measured over.
    #[serde(default = "five_minutes")]
    pub over: Span,
}

fn five_minutes() -> Span {
    Span::seconds(300)
}

/// A value and the bound that it must keep to; exactly one bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueryBound {
    /// PromQL that gives one value.
    pub query: String,
    /// Met above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// Met below this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
}

/// The shortest window of a burn rate.
const OVER_MIN: Span = Span::seconds(60);

impl Condition {
    pub(super) fn validate(&self, path: &str) -> Result<(), DocumentError> {
        match self {
            Self::Alert(AlertMatch(labels)) if labels.is_empty() => {
                Err(DocumentError::at(format!("{path}.alert"), "no label: it would match every alert")
                    .expected("labels such as { severity: critical }"))
            }
            Self::BurnRate(burn) if !(burn.above.is_finite() && burn.above > 0.0) => {
                Err(DocumentError::at(format!("{path}.burnRate.above"), "out of range")
                    .value(burn.above)
                    .expected("a number above 0"))
            }
            Self::BurnRate(burn) if burn.over < OVER_MIN => {
                Err(DocumentError::at(format!("{path}.burnRate.over"), "out of range")
                    .value(burn.over)
                    .expected(format!("{OVER_MIN} or more")))
            }
            Self::Query(bound) if bound.query.trim().is_empty() => {
                Err(DocumentError::at(format!("{path}.query.query"), "empty").expected("PromQL"))
            }
            Self::Query(bound) if bound.above.is_some() == bound.below.is_some() => {
                Err(DocumentError::at(format!("{path}.query"), "no bound, or two")
                    .expected("exactly one of above, below"))
            }
            Self::Alert(_) | Self::BurnRate(_) | Self::Query(_) => Ok(()),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alert(labels) => write!(f, "alert {labels}"),
            Self::BurnRate(burn) => {
                write!(f, "burn rate of {} above {} over {}", burn.slo, burn.above, burn.over)
            }
            Self::Query(bound) => match (bound.above, bound.below) {
                (Some(above), _) => write!(f, "{} above {above}", bound.query),
                (None, below) => write!(f, "{} below {}", bound.query, below.unwrap_or_default()),
            },
        }
    }
}

impl fmt::Display for AlertMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        write!(f, "{{{}}}", labels.join(", "))
    }
}

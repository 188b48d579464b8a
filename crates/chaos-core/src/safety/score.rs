//! The health score: a weighted mean of signals between 0 and 1.
//!
//! Owns the formula. No data is unknown, never healthy; a critical signal at 0 makes the whole score 0.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A signal that was measured longer ago than this is no data. It is as long as two usual scrapes of a Prometheus, and
/// far longer than any measurement of ours may take.
pub const STALE_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// One measured signal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Signal {
    /// Name, e.g. `readiness` or as configured.
    pub name: String,
    /// The raw value; `None` when there was no data.
    pub value: Option<f64>,
    /// The value between its bounds, 0 (bad) to 1 (good); `None` when there was no data or it does not apply.
    pub score: Option<f64>,
    /// Weight in the mean, above 0.
    pub weight: f64,
    /// At 0 it makes the whole score 0.
    pub critical: bool,
    /// Where it came from, e.g. `targets` or the URL of a Prometheus.
    pub source: String,
    /// When it was measured.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// Why there is no data.
    pub error: Option<String>,
    /// It does not apply now (every instance is selected), so it is left out of the mean.
    #[serde(default)]
    pub not_evaluated: bool,
}

impl Signal {
    /// Maps a raw value to 0..=1 between `bad` and `good`, in either order; `None` for what is not finite.
    pub fn between(value: f64, good: f64, bad: f64) -> Option<f64> {
        if !value.is_finite() {
            return None;
        }
        if good == bad {
            return Some(if value == good { 1.0 } else { 0.0 });
        }
        Some(((value - bad) / (good - bad)).clamp(0.0, 1.0))
    }

    /// Takes the data away when it is too old. A time that lies as far ahead is as wrong: the clock was set back.
    fn fresh(mut self, now: Timestamp) -> Self {
        let age = now.duration_since(self.at);
        if age.abs() > STALE_AFTER && self.score.is_some() {
            self.score = None;
            self.error =
                Some(format!("measured {}s ago, too old after {}s", age.as_secs(), STALE_AFTER.as_secs()));
        }
        self
    }
}

/// The score over all signals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Score {
    /// Every signal that applies had data.
    Known(f64),
    /// A signal had no data: its name.
    Unknown(String),
    /// No signal applies.
    NotEvaluated,
}

impl Score {
    /// The number, when there is one.
    pub fn value(&self) -> Option<f64> {
        if let Self::Known(value) = self { Some(*value) } else { None }
    }
}

/// What was measured at one time, and the score of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// The score.
    pub score: Score,
    /// The signals behind it.
    pub signals: Vec<Signal>,
    /// When it was computed.
    #[schemars(with = "String")]
    pub at: Timestamp,
}

impl Health {
    /// Scores `signals` at `now`; one that is older than [`STALE_AFTER`] has no data.
    pub fn of(signals: Vec<Signal>, now: Timestamp) -> Self {
        let signals: Vec<Signal> = signals.into_iter().map(|signal| signal.fresh(now)).collect();
        Self { score: score(&signals), signals, at: now }
    }

    /// Is the score known and at or above `threshold`?
    pub fn is_safe(&self, threshold: f64) -> bool {
        self.score.value().is_some_and(|score| score >= threshold)
    }

    /// The signal that pulls the score down most, or that has no data.
    pub fn to_blame(&self) -> Option<&Signal> {
        let applies = || self.signals.iter().filter(|signal| !signal.not_evaluated);
        let lost = |signal: &&Signal| match signal.score {
            None => f64::INFINITY,
            Some(0.0) if signal.critical => f64::MAX,
            Some(score) => (1.0 - score) * signal.weight,
        };
        applies().max_by(|a, b| lost(a).total_cmp(&lost(b)))
    }

    /// One line: score, threshold and the signal to blame.
    pub fn explain(&self, threshold: f64) -> String {
        let score = match &self.score {
            Score::Known(score) => format!("health score {score:.2}"),
            Score::Unknown(_) => "health score unknown".to_owned(),
            Score::NotEvaluated => "health score not evaluated".to_owned(),
        };
        let blame = self.to_blame().map(|signal| match (&signal.error, signal.value) {
            (Some(error), _) => format!("{} has no data: {error}", signal.name),
            (None, Some(value)) => format!("{} is {value}", signal.name),
            (None, None) => format!("{} has no data", signal.name),
        });
        format!(
            "{score}, threshold {threshold}{}",
            blame.map(|blame| format!("; {blame}")).unwrap_or_default()
        )
    }
}

/// Weighted mean of the signals that apply.
pub fn score(signals: &[Signal]) -> Score {
    let applies: Vec<&Signal> = signals.iter().filter(|signal| !signal.not_evaluated).collect();
    if applies.is_empty() {
        return Score::NotEvaluated;
    }
    let (mut sum, mut weights, mut critical) = (0.0, 0.0, false);
    for signal in &applies {
        match signal.score.filter(|score| score.is_finite()) {
            None => return Score::Unknown(signal.name.clone()),
            Some(score) => {
                sum += score * signal.weight;
                weights += signal.weight;
                critical |= signal.critical && score <= 0.0;
            }
        }
    }
    if critical {
        return Score::Known(0.0);
    }
    if weights > 0.0 { Score::Known((sum / weights).clamp(0.0, 1.0)) } else { Score::NotEvaluated }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn signal(name: &str, score: Option<f64>, weight: f64, critical: bool) -> Signal {
        Signal {
            name: name.into(),
            value: score,
            score,
            weight,
            critical,
            source: "test".into(),
            at: Timestamp::UNIX_EPOCH,
            error: None,
            not_evaluated: false,
        }
    }

    #[test]
    fn the_score_is_a_weighted_mean() {
        assert_eq!(
            score(&[signal("a", Some(1.0), 1.0, false), signal("b", Some(0.5), 3.0, false)]),
            Score::Known(0.625)
        );
    }

    #[test]
    fn no_data_is_unknown_and_a_critical_zero_is_zero() {
        assert_eq!(
            score(&[signal("a", Some(1.0), 1.0, false), signal("b", None, 1.0, false)]),
            Score::Unknown("b".into())
        );
        assert_eq!(
            score(&[signal("a", Some(1.0), 9.0, false), signal("b", Some(0.0), 0.1, true)]),
            Score::Known(0.0)
        );
        assert_eq!(score(&[signal("a", Some(f64::NAN), 1.0, false)]), Score::Unknown("a".into()));
        assert_eq!(score(&[]), Score::NotEvaluated);
    }

    #[test]
    fn a_value_is_placed_between_its_bounds_in_either_order() {
        assert_eq!(Signal::between(0.01, 0.01, 0.10), Some(1.0));
        assert_eq!(Signal::between(0.2, 0.01, 0.10), Some(0.0));
        assert_eq!(Signal::between(0.75, 1.0, 0.5), Some(0.5));
        assert_eq!(Signal::between(f64::NAN, 1.0, 0.5), None);
    }

    #[test]
    fn the_blame_goes_to_the_signal_that_costs_most() {
        let health = Health::of(
            vec![signal("up", Some(0.5), 1.0, false), signal("errors", Some(0.9), 2.0, false)],
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(health.explain(0.9), "health score 0.77, threshold 0.9; up is 0.5");
    }

    proptest! {
        #[test]
        fn a_known_score_lies_between_the_worst_and_the_best_signal(scores in prop::collection::vec((0.0f64..=1.0, 0.1f64..10.0), 1..8)) {
            let signals: Vec<Signal> = scores.iter().map(|(s, w)| signal("s", Some(*s), *w, false)).collect();
            let value = score(&signals).value().expect("all have data");
            let low = scores.iter().map(|s| s.0).fold(1.0, f64::min);
            let high = scores.iter().map(|s| s.0).fold(0.0, f64::max);
            prop_assert!(value >= low - 1e-9 && value <= high + 1e-9);
        }
    }
}

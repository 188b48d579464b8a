//! Stop conditions: what has to be asked of Prometheus for one, and what the answers say.
//!
//! Owns both as functions over data. It never asks, and never ends a run.

use std::collections::BTreeMap;

use super::{AlertMatch, AlertReading, AlertingRule, ConditionReading, Known, Policy, Slo, budget};
use crate::spec::{BurnRate, Condition, QueryBound};
use crate::text::nearest;

/// Short windows of burn rates are this part of the long one.
const SHORT_PART: u64 = 12;
/// And no shorter than this: a rate needs two scrapes.
const SHORT_SECONDS_MIN: u64 = 30;

/// One thing to ask.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// The value of this PromQL now.
    Value(String),
    /// Which rules could fire with these labels, and which do.
    Alert(AlertMatch),
}

/// What came back: for a value why there is none, and `None` when the query has no data.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// To [`Question::Value`].
    Value(Known<Option<f64>>),
    /// To [`Question::Alert`].
    Alert(AlertReading),
}

/// What to ask for a condition; nothing when it names an objective that the policy does not have.
pub fn questions(condition: &Condition, policy: &Policy) -> Vec<Question> {
    match condition {
        Condition::Alert(labels) => vec![Question::Alert(labels.clone())],
        Condition::Query(bound) => vec![Question::Value(bound.query.clone())],
        Condition::BurnRate(burn) => match objective(burn, policy) {
            Some(slo) => {
                let query = |seconds| Question::Value(budget::ratio_query(slo, seconds));
                vec![query(long_seconds(burn)), query(short_seconds(burn))]
            }
            None => Vec::new(),
        },
    }
}

/// What the answers say, in the order of [`questions`]. An answer that is missing is no data.
pub fn reading(condition: &Condition, policy: &Policy, answers: &[Answer]) -> ConditionReading {
    let (met, value, detail) = match condition {
        Condition::Alert(_) => match answers {
            [Answer::Alert(reading)] => (reading.met(), None, reading.explain()),
            _ => no_data("the alerts were not asked for"),
        },
        Condition::Query(bound) => match value(answers.first()) {
            Ok(value) => (Some(is_beyond(bound, value)), Some(value), format!("the value is {value}")),
            Err(why) => no_data(why),
        },
        Condition::BurnRate(burn) => burn_rate(burn, policy, answers),
    };
    ConditionReading { condition: condition.clone(), met, value, detail }
}

type Read = (Option<bool>, Option<f64>, String);

fn no_data(why: impl Into<String>) -> Read {
    (None, None, why.into())
}

fn value(answer: Option<&Answer>) -> Known<f64> {
    match answer {
        Some(Answer::Value(Ok(Some(value)))) if value.is_finite() => Ok(*value),
        Some(Answer::Value(Ok(_))) => Err("the query has no data".to_owned()),
        Some(Answer::Value(Err(error))) => Err(error.clone()),
        Some(Answer::Alert(_)) | None => Err("it was not asked for".to_owned()),
    }
}

fn is_beyond(bound: &QueryBound, value: f64) -> bool {
    bound.above.is_some_and(|above| value > above) || bound.below.is_some_and(|below| value < below)
}

fn burn_rate(burn: &BurnRate, policy: &Policy, answers: &[Answer]) -> Read {
    let Some(slo) = objective(burn, policy) else {
        let known = policy.slos.iter().map(|slo| slo.name.as_str());
        let hint = nearest(&burn.slo, known).map(|name| format!("; did you mean {name:?}?"));
        return no_data(format!("no objective is called {:?}{}", burn.slo, hint.unwrap_or_default()));
    };
    let rate = |place: usize| {
        let ratio = value(answers.get(place))?;
        budget::burn(ratio, slo.objective).ok_or_else(|| format!("{ratio} is no share of bad events"))
    };
    match (rate(0), rate(1)) {
        (Ok(long), Ok(short)) => {
            let detail = format!(
                "burns at {long:.1} over {}s and {short:.1} over {}s",
                long_seconds(burn),
                short_seconds(burn)
            );
            (Some(long > burn.above && short > burn.above), Some(long), detail)
        }
        (Err(why), _) | (_, Err(why)) => no_data(why),
    }
}

fn objective<'p>(burn: &BurnRate, policy: &'p Policy) -> Option<&'p Slo> {
    policy.slos.iter().find(|slo| slo.name == burn.slo)
}

fn long_seconds(burn: &BurnRate) -> u64 {
    burn.over.0.as_secs()
}

fn short_seconds(burn: &BurnRate) -> u64 {
    (long_seconds(burn) / SHORT_PART).max(SHORT_SECONDS_MIN)
}

impl AlertReading {
    /// What Prometheus' rules say of an alert.
    pub fn of(wanted: &AlertMatch, rules: &Known<Vec<AlertingRule>>) -> Self {
        let labels = wanted.to_string();
        let rules = match rules {
            Ok(rules) => rules,
            Err(error) => {
                return Self { labels, rules: None, firing: Vec::new(), error: Some(error.clone()) };
            }
        };
        let has_all = |labels: &&BTreeMap<String, String>| {
            wanted.0.iter().all(|(name, value)| labels.get(name) == Some(value))
        };
        let firing = rules.iter().flat_map(|rule| &rule.firing).filter(has_all);
        let firing = firing.map(|labels| labels.get("alertname").cloned().unwrap_or_default()).collect();
        Self {
            labels,
            rules: Some(rules.iter().filter(|rule| rule.could_be(wanted)).count()),
            firing,
            error: None,
        }
    }

    /// Does it fire? `None` when that is not known, or nothing could ever fire.
    pub fn met(&self) -> Option<bool> {
        match (&self.error, self.firing.is_empty(), self.rules) {
            (_, false, _) => Some(true),
            (None, true, Some(rules)) if rules > 0 => Some(false),
            _ => None,
        }
    }

    /// What was seen, in words.
    pub fn explain(&self) -> String {
        match (&self.error, self.firing.first(), self.rules) {
            (_, Some(name), _) if self.firing.len() == 1 => format!("{name} fires"),
            (_, Some(name), _) => format!("{name} and {} more fire", self.firing.len() - 1),
            (Some(error), None, _) => format!("not known: {error}"),
            (None, None, Some(0)) => "no alerting rule has these labels, so it could never fire".to_owned(),
            (None, None, Some(rules)) => format!("none of {rules} rules fires"),
            (None, None, None) => "not known".to_owned(),
        }
    }
}

impl AlertingRule {
    /// Could an alert of it have these labels? One at least is the rule's own, and none contradicts it: what the rule
    /// does not set may come from the series, and a template may become anything.
    fn could_be(&self, wanted: &AlertMatch) -> bool {
        let own = |name: &String| self.labels.get(name);
        wanted.0.iter().any(|(name, value)| own(name) == Some(value))
            && wanted
                .0
                .iter()
                .all(|(name, value)| own(name).is_none_or(|own| own == value || own.contains("{{")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duration::Span;

    fn policy() -> Policy {
        serde_saphyr::from_str("slos: [{ name: checkout, objective: 99.9%, errors: e, total: t }]")
            .expect("a policy")
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn burn(slo: &str, over: u64) -> Condition {
        Condition::BurnRate(BurnRate { slo: slo.into(), above: 10.0, over: Span::seconds(over) })
    }

    fn values(ratios: [Known<Option<f64>>; 2]) -> Vec<Answer> {
        ratios.map(Answer::Value).into()
    }

    #[test]
    fn a_burn_rate_is_asked_for_over_the_window_and_a_twelfth_of_it() {
        let value = |seconds| {
            Question::Value(format!(
                "(sum(rate(e[{seconds}s])) or 0 * sum(rate(t[{seconds}s]))) / sum(rate(t[{seconds}s]))"
            ))
        };
        assert_eq!(questions(&burn("checkout", 3600), &policy()), [value(3600), value(300)]);
        assert_eq!(
            questions(&burn("checkout", 300), &policy()),
            [value(300), value(30)],
            "two scrapes at least"
        );
    }

    #[test]
    fn a_burn_rate_is_met_when_both_windows_are_above() {
        for (ratios, met) in [
            ([Ok(Some(0.011)), Ok(Some(0.02))], Some(true)),
            ([Ok(Some(0.009)), Ok(Some(0.02))], Some(false)),
            ([Ok(Some(0.02)), Ok(Some(0.009))], Some(false)),
            ([Ok(Some(0.02)), Ok(None)], None),
            ([Ok(None), Ok(Some(0.02))], None),
            ([Err("connection refused".to_owned()), Ok(Some(0.02))], None),
            ([Ok(Some(f64::NAN)), Ok(Some(0.0))], None),
        ] {
            let reading = reading(&burn("checkout", 300), &policy(), &values(ratios.clone()));
            assert_eq!(reading.met, met, "{ratios:?}: {}", reading.detail);
        }
        let met = reading(&burn("checkout", 300), &policy(), &values([Ok(Some(0.011)), Ok(Some(0.02))]));
        assert_eq!(met.detail, "burns at 11.0 over 300s and 20.0 over 30s");
        assert!(met.value.is_some_and(|value| (value - 11.0).abs() < 1e-6));
    }

    #[test]
    fn an_objective_that_nobody_knows_has_no_data_and_says_what_was_meant() {
        let condition = burn("chekout", 300);
        assert_eq!(questions(&condition, &policy()), []);
        let reading = reading(&condition, &policy(), &[]);
        assert_eq!(reading.met, None);
        assert_eq!(reading.detail, r#"no objective is called "chekout"; did you mean "checkout"?"#);
    }

    #[test]
    fn a_query_is_met_beyond_its_bound_and_without_data_not_known() {
        let bound = |above, below| Condition::Query(QueryBound { query: "q".into(), above, below });
        let met = |condition: &Condition, value| reading(condition, &policy(), &[Answer::Value(value)]).met;
        let (above, below) = (bound(Some(5.0), None), bound(None, Some(1.0)));
        assert_eq!(questions(&above, &policy()), [Question::Value("q".into())]);
        assert_eq!(met(&above, Ok(Some(5.1))), Some(true));
        assert_eq!(met(&above, Ok(Some(5.0))), Some(false));
        assert_eq!(met(&below, Ok(Some(0.9))), Some(true));
        assert_eq!(met(&below, Ok(Some(1.0))), Some(false));
        for gap in [Ok(None), Ok(Some(f64::NAN)), Ok(Some(f64::INFINITY)), Err("late".to_owned())] {
            assert_eq!(met(&above, gap.clone()), None, "{gap:?}");
        }
        assert_eq!(reading(&above, &policy(), &[]).met, None, "no answer at all");
    }

    #[test]
    fn an_alert_is_met_when_it_fires_and_has_data_when_a_rule_could() {
        let wanted = AlertMatch(labels(&[("severity", "critical"), ("service", "checkout")]));
        let condition = Condition::Alert(wanted.clone());
        assert_eq!(questions(&condition, &policy()), [Question::Alert(wanted.clone())]);
        let rule = |own: &[(&str, &str)], firing: &[BTreeMap<String, String>]| AlertingRule {
            labels: labels(own),
            firing: firing.to_vec(),
        };
        let fires =
            labels(&[("alertname", "High"), ("severity", "critical"), ("service", "checkout"), ("pod", "x")]);
        let other = labels(&[("alertname", "High"), ("severity", "critical"), ("service", "cart")]);
        let critical = [("alertname", "High"), ("severity", "critical")];
        for (rules, met, detail) in [
            (Ok(vec![rule(&critical, &[other.clone(), fires.clone()])]), Some(true), "High fires"),
            (Ok(vec![rule(&critical, std::slice::from_ref(&other))]), Some(false), "none of 1 rules fires"),
            (Ok(vec![rule(&critical, &[]), rule(&critical, &[])]), Some(false), "none of 2 rules fires"),
            (
                Ok(vec![rule(&[("severity", "critical"), ("service", "{{ $labels.job }}")], &[])]),
                Some(false),
                "none of 1 rules fires",
            ),
            (
                Ok(vec![
                    rule(&[("severity", "critical"), ("service", "cart")], &[]),
                    rule(&[("severity", "warning")], &[]),
                ]),
                None,
                "no alerting rule has these labels, so it could never fire",
            ),
            (
                Ok(vec![rule(&[("alertname", "Other")], &[])]),
                None,
                "no alerting rule has these labels, so it could never fire",
            ),
            (Ok(vec![]), None, "no alerting rule has these labels, so it could never fire"),
            (Ok(vec![rule(&[], &[fires.clone(), fires.clone()])]), Some(true), "High and 1 more fire"),
            (Err("connection refused".to_owned()), None, "not known: connection refused"),
        ] {
            let alert = AlertReading::of(&wanted, &rules);
            let reading = reading(&condition, &policy(), &[Answer::Alert(alert)]);
            assert_eq!((reading.met, reading.detail.as_str()), (met, detail), "{rules:?}");
        }
    }
}

//! Alerting rules as a Prometheus tells them: with their own labels, their alerts, and whether they can be evaluated.
//!
//! Owns reading. Which of them could be the alert that is looked for is `chaos_core::safety`'s to say; a rule among
//! those that can't be evaluated makes silence unknown, never calm.

use std::collections::BTreeMap;

use chaos_core::safety::{AlertMatch, AlertReading, AlertingRule};
use reqwest::StatusCode;
use serde::Deserialize;

use super::answer::{QueryError, data};
use crate::measured::shortened;

/// The most names of firing alerts in a reading.
pub const FIRING_MAX: usize = 64;
/// The label that holds the name of an alert.
pub(crate) const ALERT_NAME: &str = "alertname";

#[derive(Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    alerts: Vec<Active>,
    #[serde(default)]
    health: String,
    #[serde(rename = "lastError", default)]
    error: String,
}

#[derive(Deserialize)]
struct Active {
    state: String,
    labels: BTreeMap<String, String>,
}

/// An alerting rule, and why nothing can be said by it.
#[derive(Debug, PartialEq)]
pub(crate) struct ToldRule {
    rule: AlertingRule,
    trouble: Option<String>,
}

/// The alerting rules in an answer.
pub(crate) fn alerting_rules(status: StatusCode, body: &[u8]) -> Result<Vec<ToldRule>, QueryError> {
    let Groups { groups } = data(status, body)?;
    let rules = groups.into_iter().flat_map(|group| group.rules);
    Ok(rules.filter(|rule| rule.kind == "alerting").map(Rule::told).collect())
}

impl Rule {
    fn told(mut self) -> ToldRule {
        let trouble = match self.health.as_str() {
            "err" => Some(format!("rule {} can't be evaluated: {}", self.name, shortened(&self.error))),
            "unknown" => Some(format!("rule {} was not evaluated yet", self.name)),
            _ => None,
        };
        self.labels.insert(ALERT_NAME.to_owned(), self.name);
        let firing = self.alerts.into_iter().filter(|alert| alert.state == "firing");
        let rule = AlertingRule { labels: self.labels, firing: firing.map(|alert| alert.labels).collect() };
        ToldRule { rule, trouble }
    }
}

/// What the rules say of an alert.
pub(crate) fn reading(wanted: &AlertMatch, told: Result<Vec<ToldRule>, String>) -> AlertReading {
    let told = match told {
        Ok(told) => told,
        Err(error) => return AlertReading::of(wanted, &Err(error)),
    };
    let is_wanted = |rule: &AlertingRule| {
        AlertReading::of(wanted, &Ok(vec![rule.clone()])).rules.is_some_and(|rules| rules > 0)
    };
    let trouble = told.iter().find_map(|one| one.trouble.as_ref().filter(|_| is_wanted(&one.rule))).cloned();
    let mut reading = AlertReading::of(wanted, &Ok(told.into_iter().map(|one| one.rule).collect()));
    reading.error = trouble;
    reading.firing.truncate(FIRING_MAX);
    reading
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rule(name: &str, labels: Value, firing: &[Value], health: &str) -> Value {
        let alerts: Vec<Value> =
            firing.iter().map(|labels| json!({ "state": "firing", "labels": labels })).collect();
        json!({ "type": "alerting", "name": name, "labels": labels, "alerts": alerts, "health": health, "lastError": "vector mismatch" })
    }

    fn read(wanted: Value, rules: &[Value]) -> AlertReading {
        let body = json!({ "status": "success", "data": { "groups": [
            { "name": "empty", "rules": [] }, { "name": "all", "rules": rules, "interval": 15 }
        ] } });
        let told = alerting_rules(StatusCode::OK, body.to_string().as_bytes());
        reading(&serde_json::from_value(wanted).expect("labels"), told.map_err(|error| error.to_string()))
    }

    #[test]
    fn what_fires_and_what_could_is_read_from_one_answer() {
        let fires = json!({ "alertname": "Slow", "severity": "critical", "job": "shop" });
        let pending = json!({ "type": "alerting", "name": "Down", "labels": { "severity": "critical" },
            "alerts": [{ "state": "pending", "labels": { "alertname": "Down", "severity": "critical" } }], "health": "ok" });
        let rules = [
            rule("Slow", json!({ "severity": "critical" }), std::slice::from_ref(&fires), "ok"),
            pending,
            rule("Lame", json!({ "severity": "warning" }), &[], "ok"),
            json!({ "type": "recording", "name": "a:b", "health": "ok" }),
        ];
        let both = read(json!({ "severity": "critical" }), &rules);
        assert_eq!(
            (both.rules, both.firing.as_slice(), &both.error),
            (Some(2), &["Slow".to_owned()][..], &None)
        );
        assert_eq!(both.met(), Some(true));
        assert_eq!(read(json!({ "severity": "critical", "job": "bank" }), &rules).met(), Some(false));
        assert_eq!(read(json!({ "alertname": "Lame" }), &rules).met(), Some(false));
        let none = read(json!({ "alertname": "a:b" }), &rules);
        assert_eq!((none.rules, none.met()), (Some(0), None));
    }

    #[test]
    fn silence_of_a_rule_that_can_not_be_evaluated_is_not_known() {
        let broken = rule("Broken", json!({ "severity": "page" }), &[], "err");
        let new = rule("New", json!({ "severity": "ticket" }), &[], "unknown");
        let well = rule("Well", json!({ "severity": "warning" }), &[], "ok");
        let rules = [broken, new, well];
        let text = |wanted: Value| read(wanted, &rules).explain();
        assert_eq!(
            text(json!({ "severity": "page" })),
            "not known: rule Broken can't be evaluated: vector mismatch"
        );
        assert_eq!(text(json!({ "alertname": "New" })), "not known: rule New was not evaluated yet");
        assert_eq!(read(json!({ "severity": "warning" }), &rules).met(), Some(false));
    }

    #[test]
    fn an_answer_that_is_none_is_not_known_and_many_alerts_are_cut() {
        let wanted = AlertMatch(BTreeMap::from([("a".to_owned(), "b".to_owned())]));
        for (status, body) in [(200, "{}"), (200, "<html>"), (200, "[]"), (503, "")] {
            let status = StatusCode::from_u16(status).expect("a status");
            let told = alerting_rules(status, body.as_bytes()).map_err(|error| error.to_string());
            let reading = reading(&wanted, told);
            assert_eq!((reading.rules, reading.met()), (None, None), "{body}");
            assert!(reading.error.is_some(), "{body}");
        }
        let many = vec![json!({ "alertname": "Many", "a": "b" }); FIRING_MAX + 1];
        assert_eq!(
            read(json!({ "a": "b" }), &[rule("Many", json!({}), &many, "ok")]).firing.len(),
            FIRING_MAX
        );
    }
}

//! Alerts of a real Prometheus.

use chaos_core::port::SignalSource;
use chaos_core::safety::{AlertMatch, AlertReading};
use chaos_probes::PrometheusSignals;
use serde_json::json;

use crate::real_prometheus::RealPrometheus;
use crate::support::eventually;

const RULES: [&str; 5] = [
    "{ alert: Fires, expr: up == 1, labels: { severity: critical, team: '{{ $labels.job }}' } }",
    "{ alert: Pends, expr: up == 1, for: 1h, labels: { severity: warning } }",
    "{ alert: Rests, expr: up == 0, labels: { severity: warning, team: shop } }",
    "{ alert: Breaks, expr: requests_total * on (job) requests_total, labels: { severity: page } }",
    "{ record: 'a:b', expr: up }",
];

async fn look(source: &PrometheusSignals, labels: serde_json::Value) -> AlertReading {
    let labels: AlertMatch = serde_json::from_value(labels).expect("labels");
    let reading = source.alerts(&labels).await;
    assert_eq!(reading.labels, labels.to_string());
    reading
}

#[tokio::test]
async fn a_rule_that_fires_one_that_rests_one_that_breaks_and_none() {
    let Some(prometheus) = RealPrometheus::start(&RULES) else { return };
    prometheus.until_it_knows("up").await;
    let source = PrometheusSignals::new(&prometheus.url, "demo", Vec::new()).expect("valid");
    let source = &source;
    eventually("it fires", async || look(source, json!({ "alertname": "Fires" })).await.met() == Some(true))
        .await;
    let breaks = || look(source, json!({ "severity": "page" }));
    eventually("it breaks", async || breaks().await.explain().contains("can't be evaluated")).await;

    // Labels of the rule, of a template and of the series.
    for labels in [
        json!({ "severity": "critical" }),
        json!({ "alertname": "Fires", "team": "demo" }),
        json!({ "alertname": "Fires", "job": "demo" }),
        json!({ "job": "demo", "severity": "critical" }),
    ] {
        let fires = look(source, labels.clone()).await;
        assert_eq!(
            (fires.rules, fires.met(), fires.firing.as_slice()),
            (Some(1), Some(true), &["Fires".to_owned()][..]),
            "{labels}"
        );
    }
    for (labels, rules) in [
        (json!({ "severity": "warning" }), 2),
        (json!({ "alertname": "Pends" }), 1),
        (json!({ "alertname": "Rests", "team": "shop" }), 1),
        (json!({ "alertname": "Fires", "team": "another" }), 1),
    ] {
        let rests = look(source, labels.clone()).await;
        assert_eq!((rests.rules, rests.met(), &rests.error), (Some(rules), Some(false), &None), "{labels}");
    }
    for labels in [
        json!({ "alertname": "None" }),
        json!({ "alertname": "a:b" }),
        json!({ "severity": "warning", "team": "bank", "alertname": "Rests" }),
    ] {
        let none = look(source, labels.clone()).await;
        assert_eq!((none.rules, none.met(), &none.error), (Some(0), None, &None), "{labels}");
    }
    assert_eq!(breaks().await.met(), None);
}

#[tokio::test]
async fn without_an_answer_no_alert_is_known_to_rest() {
    let Some(mut prometheus) = RealPrometheus::start(&RULES) else { return };
    let source = PrometheusSignals::new(&prometheus.url, "demo", Vec::new()).expect("valid");
    prometheus.kill();
    let away = look(&source, json!({ "severity": "warning" })).await;
    assert_eq!((away.rules, away.met()), (None, None));
    assert!(away.explain().contains("cannot connect"), "{away:?}");
}

//! `prometheus` against a real one, and against answers that no good one gives.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{any, get};
use chaos_core::port::SignalSource;
use chaos_probes::{Probes, ProbesConfig, PrometheusSignals, SignalConfig};
use serde_json::json;

use crate::real_prometheus::RealPrometheus;
use crate::support::{
    Server, assert_failed, assert_no_data, assert_passed, free_port, once, once_with, probe,
};

fn query(url: &str, query: &str, tolerance: &serde_json::Value) -> serde_json::Value {
    json!({ "prometheus": { "url": url, "query": query }, "tolerance": { "value": tolerance }, "timeout": "5s" })
}

#[tokio::test]
async fn a_real_prometheus_gives_values_and_no_data() {
    let Some(prometheus) = RealPrometheus::start(&[]) else { return };
    let (url, ratio) = (prometheus.url.as_str(), r#"sum(requests_total{code=~"5.."}) / sum(requests_total)"#);
    prometheus.until_it_knows("up").await;

    let enough = once(query(url, ratio, &json!({ "max": 0.2 }))).await;
    assert_passed(&enough);
    assert_eq!(enough.value, Some(0.1));
    assert_failed(&once(query(url, ratio, &json!({ "max": 0.05 }))).await, "value 0.1 is above 0.05");
    assert_passed(&once(query(url, "scalar(up) + 1", &json!({ "min": 2, "max": 2 }))).await);
    for (bad, reason) in [
        ("no_such_metric", "no series"),
        ("requests_total", "2 series"),
        ("0 / 0", "the value is NaN"),
        ("vector(1) / 0", "the value is +Inf"),
        ("requests_total[1m]", "a matrix"),
        ("\"text\"", "a string"),
        ("sum(", "bad_data"),
    ] {
        assert_no_data(&once(query(url, bad, &json!({ "min": 0 }))).await, reason);
    }

    let configured =
        Probes::new(ProbesConfig { prometheus: Some(format!("{url}/")), ..ProbesConfig::default() });
    let no_url = json!({ "prometheus": { "query": "up" }, "tolerance": { "value": { "min": 1 } } });
    assert_passed(&once_with(&configured, &probe(no_url.clone())).await);
    assert_no_data(&once(no_url).await, "no Prometheus is named");

    let signal = |name: &str, query: &str| -> SignalConfig {
        serde_json::from_value(json!({ "name": name, "query": query, "good": 0.0, "bad": 0.2 }))
            .expect("valid")
    };
    let source =
        PrometheusSignals::new(url, "demo", vec![signal("errors", ratio), signal("none", "no_such_metric")])
            .expect("valid");
    let signals = source.signals().await;
    assert_eq!((signals[0].value, signals[0].score, &signals[0].error), (Some(0.1), Some(0.5), &None));
    assert_eq!((signals[1].value, signals[1].score), (None, None));
    assert_eq!(signals[1].error.as_deref(), Some("the query gives no series"));
}

#[tokio::test]
async fn answers_that_no_good_prometheus_gives_are_no_data() {
    let vector = |value: &str| {
        let body = format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{}},"value":[1,"{value}"]}}]}}}}"#
        );
        any(move || async move { body })
    };
    let server = Server::start(
        Router::new()
            .route("/nan/api/v1/query", vector("NaN"))
            .route("/words/api/v1/query", vector("many"))
            .route("/empty/api/v1/query", any(|| async { "" }))
            .route(
                "/nothing/api/v1/query",
                any(|| async { r#"{"status":"success","data":{"resultType":"vector","result":[]}}"# }),
            )
            .route("/garbage/api/v1/query", any(|| async { "\u{0}\u{1}<html>" }))
            .route("/huge/api/v1/query", any(|| async { "[".repeat(8 * 1024 * 1024) }))
            .route("/deep/api/v1/query", any(|| async { "[".repeat(100_000) }))
            .route("/late/api/v1/query", any(|| async { std::future::pending::<&'static str>().await }))
            .route("/down/api/v1/query", any(|| async { (StatusCode::SERVICE_UNAVAILABLE, "starting") }))
            .route(
                "/get/api/v1/query",
                get(|| async { r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"# }),
            ),
    );
    for (path, reason) in [
        ("/nan", "the value is NaN"),
        ("/words", "the value is many"),
        ("/empty", "not an answer of Prometheus"),
        ("/nothing", "no series"),
        ("/garbage", "not an answer of Prometheus"),
        ("/huge", "longer than 1048576 bytes"),
        ("/deep", "not an answer of Prometheus"),
        ("/down", "status 503"),
        ("/nowhere", "status 404"),
    ] {
        assert_no_data(&once(query(&server.url(path), "up", &json!({ "min": 0 }))).await, reason);
    }
    let late = json!({ "prometheus": { "url": server.url("/late"), "query": "up" }, "tolerance": { "value": { "min": 0 } }, "timeout": "150ms" });
    assert_no_data(&once(late).await, "no answer within 150.0ms");
    let away = format!("http://127.0.0.1:{}", free_port());
    assert_no_data(&once(query(&away, "up", &json!({ "min": 0 }))).await, "cannot connect");
    assert_passed(&once(query(&server.url("/get"), "up", &json!({ "min": 0 }))).await);
}

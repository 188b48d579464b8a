//! Questions of gates, default signals, old data and the circuit breaker, all with a real Prometheus.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use chaos_core::port::SignalSource;
use chaos_core::safety::{AlertMatch, Score, Signal, score};
use chaos_probes::{BreakerState, OPEN_FOR, OPENS_AFTER, PrometheusSignals};
use serde_json::json;

use crate::real_prometheus::{METRICS, RealPrometheus};
use crate::support::{PATIENCE, Server, eventually, free_port};

fn source(url: &str) -> PrometheusSignals {
    PrometheusSignals::new(url, "demo", Vec::new()).expect("valid")
}

#[tokio::test]
async fn a_query_gives_its_value_or_nothing_or_what_is_wrong_with_it() {
    let Some(prometheus) = RealPrometheus::start(&[]) else { return };
    prometheus.until_it_knows("sum(requests_total)").await;
    let source = source(&prometheus.url);
    for (query, value) in [
        ("sum(requests_total)", Some(100.0)),
        ("requests_total{code=\"500\"}", Some(10.0)),
        ("1 + 1", Some(2.0)),
        ("no_such_metric", None),
        ("0 / 0", None),
        ("vector(1) / 0", None),
        ("-1 / 0", None),
    ] {
        assert_eq!(source.query(query).await, Ok(value), "{query}");
    }
    for (query, part) in [
        ("requests_total", "the query gives 2 series, not one: aggregate them, such as by sum(…)"),
        ("requests_total[1m]", "a matrix"),
        ("sum(", "status 400, bad_data"),
    ] {
        let answer = source.query(query).await;
        assert!(answer.as_ref().is_err_and(|error| error.contains(part)), "{query}: {answer:?}");
    }
    assert_eq!(source.breaker(), BreakerState::Closed);
}

#[tokio::test]
async fn what_is_wrong_is_told_without_secrets() {
    let refuse = || async {
        let body = r#"{"status":"error","errorType":"bad_data","error":"http://a:s3cr3t@b?token=s3cr3t"}"#;
        (axum::http::StatusCode::BAD_REQUEST, body)
    };
    let router = Router::new().route("/api/v1/query", post(refuse));
    let server = Server::start(router);
    let source = source(&server.url("/"));
    let wanted = "status 400, bad_data: http://REDACTED@b?token=REDACTED";
    assert_eq!(source.query("up").await, Err(wanted.to_owned()));
    assert!(!format!("{:?}", source.signals().await).contains("s3cr3t"));
}

fn named<'s>(signals: &'s [Signal], name: &str) -> &'s Signal {
    signals.iter().find(|signal| signal.name == name).expect("it is there")
}

#[tokio::test]
async fn without_declared_signals_there_are_those_that_the_app_has_series_for() {
    let Some(prometheus) = RealPrometheus::start(&[]) else { return };
    prometheus.until_it_knows("up").await;
    let source = source(&prometheus.url);
    let signals = source.signals().await;
    assert_eq!(
        (named(&signals, "up").value, named(&signals, "up").score),
        (Some(1.0), Some(1.0)),
        "{signals:?}"
    );
    for (name, series) in [
        ("error-ratio", "there was no http_requests_total{job=\"demo\",code!=\"\"} within 1h"),
        ("latency-p95-seconds", "there was no http_request_duration_seconds_bucket{job=\"demo\"} within 1h"),
    ] {
        let signal = named(&signals, name);
        assert!(signal.not_evaluated && signal.score.is_none(), "{signal:?}");
        assert_eq!(signal.error.as_deref(), Some(series));
    }
    assert_eq!(score(&signals), Score::Known(1.0));

    // A rate needs two scrapes of a counter that grows.
    let mut count = 0_u32;
    let source = &source;
    eventually("the app has requests, a fifth of them failed and slow", async || {
        count += 100;
        let (good, bad) = (count * 8 / 10, count * 2 / 10);
        prometheus.tell(&format!(
            "{METRICS}http_requests_total{{code=\"200\"}} {good}\nhttp_requests_total{{code=\"503\"}} {bad}\n\
            http_request_duration_seconds_bucket{{le=\"1\"}} {good}\nhttp_request_duration_seconds_bucket{{le=\"4\"}} {count}\n\
            http_request_duration_seconds_bucket{{le=\"+Inf\"}} {count}\n"
        ));
        let signals = source.signals().await;
        let value = |name| named(&signals, name).value.unwrap_or_default();
        (value("error-ratio") - 0.2).abs() < 0.01 && (value("latency-p95-seconds") - 3.25).abs() < 0.01
    })
    .await;
    let signals = source.signals().await;
    assert_eq!(named(&signals, "error-ratio").score, Some(0.0), "{signals:?}");
    assert!(signals.iter().all(|signal| !signal.not_evaluated && signal.weight == 1.0 && !signal.critical));
}

#[tokio::test]
async fn an_app_without_requests_has_no_failed_and_no_slow_ones() {
    let Some(prometheus) = RealPrometheus::start(&[]) else { return };
    prometheus.tell(
        "http_requests_total{code=\"200\"} 7\nhttp_request_duration_seconds_bucket{le=\"1\"} 7\n\
        http_request_duration_seconds_bucket{le=\"+Inf\"} 7\n",
    );
    prometheus.until_it_knows("up").await;
    let source = source(&prometheus.url);
    let source = &source;
    eventually("rates are known", async || {
        let signals = source.signals().await;
        signals.iter().all(|signal| signal.score == Some(1.0))
    })
    .await;
}

#[tokio::test]
async fn a_default_whose_series_were_there_lately_is_missed() {
    let answer = |body: String| async move {
        let was_there = body.contains("present_over_time") && body.contains("job");
        let result = if was_there { r#"{"metric":{},"value":[1,"1"]}"# } else { "" };
        format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{result}]}}}}"#)
    };
    let server = Server::start(Router::new().route("/api/v1/query", post(answer)));
    let signals = source(&server.url("/")).signals().await;
    assert_eq!(signals.len(), 3);
    for signal in &signals {
        assert!(!signal.not_evaluated, "{signal:?}");
        assert_eq!(signal.error.as_deref(), Some("the query gives no series"));
    }
    assert_eq!(score(&signals), Score::Unknown("up".into()));
}

#[tokio::test]
async fn every_query_says_how_old_a_sample_may_be_and_how_long_somebody_listens() {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&bodies);
    let answer = move |body: String| {
        log.lock().expect("no panic").push(body);
        async { r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"# }
    };
    let server = Server::start(Router::new().route("/api/v1/query", post(answer)));
    let source = source(&server.url("/")).with_sample_age_max(Duration::from_secs(5));
    assert_eq!(source.query("a+b").await, Ok(Some(1.0)));
    let bodies = bodies.lock().expect("no panic");
    assert!(bodies.iter().any(|body| body.starts_with("query=a%2Bb&")), "{bodies:?}");
    assert!(
        bodies.len() == 2
            && bodies.iter().all(|body| body.ends_with("&timeout=2000ms&lookback_delta=5000ms"))
    );
}

#[tokio::test]
async fn data_that_is_too_old_is_none() {
    let rules = ["{ alert: Fires, expr: up == 1 }"];
    let Some(mut prometheus) = RealPrometheus::start(&rules) else { return };
    prometheus.until_it_knows("sum(requests_total)").await;
    // It keeps what it has, takes nothing new, and looks back for five minutes.
    prometheus.start_again_blind(&rules);
    prometheus.until_it_knows("sum(requests_total)").await;
    let source = source(&prometheus.url).with_sample_age_max(Duration::from_secs(1));
    let source = &source;
    eventually("it is too old", async || source.query("sum(requests_total)").await.is_err()).await;
    let is_old = |text: &str| text.starts_with("the data is old: nothing was scraped for ");
    for query in ["sum(requests_total)", "sum(rate(requests_total[1h]))", "vector(1)"] {
        let answer = source.query(query).await;
        assert!(answer.as_ref().is_err_and(|error| is_old(error)), "{query}: {answer:?}");
    }
    let signals = source.signals().await;
    let up = named(&signals, "up");
    assert!(up.value.is_none() && up.error.as_deref().is_some_and(is_old), "{signals:?}");
    let wanted: AlertMatch = serde_json::from_value(json!({ "alertname": "Fires" })).expect("labels");
    let alert = source.alerts(&wanted).await;
    assert_eq!((alert.met(), alert.error.as_deref().is_some_and(is_old)), (None, true), "{alert:?}");
    assert_eq!(source.breaker(), BreakerState::Closed);
}

#[tokio::test]
async fn a_prometheus_that_scrapes_nothing_is_believed_in_what_it_computes() {
    let Some(prometheus) = RealPrometheus::start_blind() else { return };
    prometheus.until_it_knows("vector(0.5)").await;
}

#[tokio::test]
async fn the_breaker_opens_when_prometheus_is_killed_and_closes_when_it_is_back() {
    let Some(mut prometheus) = RealPrometheus::start(&["{ alert: Rests, expr: up == 0 }"]) else { return };
    prometheus.until_it_knows("up").await;
    let source = source(&prometheus.url);
    let wanted: AlertMatch = serde_json::from_value(json!({ "alertname": "Rests" })).expect("labels");
    assert_eq!((source.query("up").await, source.breaker()), (Ok(Some(1.0)), BreakerState::Closed));

    prometheus.kill();
    for asked in 0..OPENS_AFTER {
        assert_eq!(source.breaker(), BreakerState::Closed, "after {asked}");
        // Whatever is asked counts.
        let error = match asked % 3 {
            0 => source.query("up").await.expect_err("it is dead"),
            1 => source.alerts(&wanted).await.error.expect("it is dead"),
            _ => source.signals().await[0].error.clone().expect("it is dead"),
        };
        // A connection from before breaks off first.
        assert!(error.contains("cannot connect") || error.contains("no answer"), "{error}");
    }
    let opened = Instant::now();
    assert_eq!(source.breaker(), BreakerState::Open);
    prometheus.start_again();
    let is_open = |text: &str| text.starts_with("circuit open");
    assert!(source.query("up").await.is_err_and(|error| is_open(&error)));
    assert!(source.alerts(&wanted).await.error.is_some_and(|error| is_open(&error)));
    let signals = source.signals().await;
    assert!(
        signals.iter().all(|signal| !signal.not_evaluated && signal.error.as_deref().is_some_and(is_open))
    );

    let source = &source;
    let limit = OPEN_FOR + PATIENCE;
    while source.query("up").await != Ok(Some(1.0)) {
        assert!(opened.elapsed() < limit, "still {:?}", source.breaker());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(opened.elapsed() >= OPEN_FOR, "a trial after {:?}", opened.elapsed());
    assert_eq!(source.breaker(), BreakerState::Closed);
    eventually("all is well", async || {
        score(&source.signals().await) == Score::Known(1.0)
            && source.alerts(&wanted).await.met() == Some(false)
    })
    .await;
}

#[tokio::test]
async fn questions_that_fail_together_count_once() {
    let source = source(&format!("http://127.0.0.1:{}", free_port()));
    let all = (0..50).map(|_| source.query("up"));
    assert!(futures_util::future::join_all(all).await.iter().all(Result::is_err));
    assert_eq!(source.breaker(), BreakerState::Closed);
}

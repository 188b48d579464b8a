//! Health signals whose source fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::any;
use chaos_core::port::SignalSource;
use chaos_core::safety::{Health, Score};
use chaos_probes::{BreakerState, OPENS_AFTER, PrometheusSignals, SIGNAL_TIMEOUT, SignalConfig};
use jiff::Timestamp;
use serde_json::json;

use crate::support::{Server, free_port};

fn config(name: &str) -> SignalConfig {
    let value = json!({ "name": name, "query": "up", "good": 1, "bad": 0, "weight": 2, "critical": true });
    serde_json::from_value(value).expect("valid")
}

#[tokio::test]
async fn a_source_that_is_away_makes_the_score_unknown_and_is_left_alone() {
    let url = format!("http://user:s3cr3t@127.0.0.1:{}", free_port());
    let source = PrometheusSignals::new(&url, "demo", vec![config("up"), config("errors")]).expect("valid");
    for _ in 0..OPENS_AFTER {
        assert_eq!(source.breaker(), BreakerState::Closed);
        let signals = source.signals().await;
        assert!(signals.iter().all(|signal| signal.value.is_none() && signal.score.is_none()));
        assert!(
            signals[0].error.as_deref().is_some_and(|text| text.contains("cannot connect")),
            "{signals:?}"
        );
    }
    assert_eq!(source.breaker(), BreakerState::Open);
    let signals = source.signals().await;
    assert_eq!(signals.len(), 2);
    assert!(signals[1].error.as_deref().is_some_and(|text| text.starts_with("circuit open")), "{signals:?}");
    assert!(!format!("{signals:?} {source:?}").contains("s3cr3t"));
    assert!((signals[0].weight, signals[0].critical) == (2.0, true));
    assert_eq!(Health::of(signals, Timestamp::now()).score, Score::Unknown("up".into()));
}

#[tokio::test]
async fn an_open_breaker_sends_nothing_until_its_trial_which_closes_it() {
    let (asked, well) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (counter, switch) = (Arc::clone(&asked), Arc::clone(&well));
    let answer = move || {
        counter.fetch_add(1, Ordering::SeqCst);
        let well = switch.load(Ordering::SeqCst);
        async move {
            if well {
                r#"{"status":"success","data":{"resultType":"scalar","result":[1,"0.5"]}}"#.into_response()
            } else {
                StatusCode::BAD_GATEWAY.into_response()
            }
        }
    };
    let server = Server::start(Router::new().route("/api/v1/query", any(answer)));
    let source = PrometheusSignals::new(&server.url(""), "demo", vec![config("up")]).expect("valid");
    for _ in 0..20 {
        source.signals().await;
    }
    // Each time the signal, and how fresh everything is.
    assert_eq!(asked.load(Ordering::SeqCst), 2 * OPENS_AFTER as usize);
    well.store(true, Ordering::SeqCst);
    let opened = Instant::now();
    while source.breaker() != BreakerState::Closed {
        assert!(opened.elapsed() < Duration::from_secs(15), "no trial");
        tokio::time::sleep(Duration::from_millis(50)).await;
        source.signals().await;
    }
    assert!(opened.elapsed() > Duration::from_secs(9), "the trial came after {:?}", opened.elapsed());
    assert_eq!(source.signals().await[0].score, Some(0.5));
}

#[tokio::test]
async fn a_source_that_hangs_is_given_up_after_two_seconds_for_all_signals_at_one_time() {
    let hang = any(|| async { std::future::pending::<&'static str>().await });
    let server = Server::start(Router::new().route("/api/v1/query", hang));
    let signals: Vec<SignalConfig> = (0..10).map(|n| config(&format!("signal {n}"))).collect();
    let source = PrometheusSignals::new(&server.url(""), "demo", signals).expect("valid");
    let begin = Instant::now();
    let signals = source.signals().await;
    assert!(begin.elapsed() < SIGNAL_TIMEOUT + Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(signals.len(), 10);
    assert!(
        signals.iter().all(|signal| signal.error.as_deref() == Some("no answer within 2000.0ms")),
        "{signals:?}"
    );
}

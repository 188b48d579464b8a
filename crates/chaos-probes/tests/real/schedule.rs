//! The schedule: starts, samples and ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use chaos_core::port::Prober;
use chaos_core::run::ProbeSample;
use chaos_core::spec::ProbePhase;
use serde_json::json;

use crate::support::{Server, measure_for, probe, probes};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_hangs_delays_no_start_and_hides_none() {
    let arrivals = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&arrivals);
    let hang = move || {
        log.lock().expect("no panic").push(Instant::now());
        std::future::pending::<&'static str>()
    };
    let server = Server::start(Router::new().route("/", get(hang)));
    let probe = probe(json!({ "http": { "url": server.url("/") }, "every": "50ms", "timeout": "500ms" }));
    let samples = measure_for(Duration::from_millis(1475), &probe).await;
    let measured: u64 = samples.iter().map(|sample| sample.measured).sum();
    // Were starts delayed by answers, there would be three. A busy machine may wake the end of this late.
    assert!((15..=60).contains(&measured), "one each 50 ms from the begin on: {measured}");
    assert_eq!(samples.iter().map(|sample| sample.passed + sample.no_data).sum::<u64>(), 0);
    let arrivals = arrivals.lock().expect("no panic");
    assert_eq!(arrivals.len() as u64, measured);
}

#[tokio::test]
async fn a_slow_probe_gives_a_sample_for_each_measurement() {
    let server = Server::start(Router::new().route("/", get(|| async { "ok" })));
    let probe = probe(json!({ "http": { "url": server.url("/") }, "every": "1s" }));
    let samples = measure_for(Duration::from_millis(2300), &probe).await;
    assert!(
        (3..=5).contains(&samples.len()) && samples.iter().all(|sample| sample.measured == 1),
        "{samples:?}"
    );
    assert!(samples.iter().all(|sample| sample.phase == ProbePhase::Chaos && sample.probe == "p"));
}

/// Watches a server that is away for a second and then there, and gives each sample with the time it was handed over,
/// counted from when the server was back.
async fn return_of_a_server(phase: ProbePhase) -> Vec<(i128, ProbeSample)> {
    let is_back = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&is_back);
    let answer = move || {
        let status =
            if switch.load(Ordering::SeqCst) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        async move { status }
    };
    let server = Server::start(Router::new().route("/", get(answer)));
    let probe = probe(json!({ "http": { "url": server.url("/") }, "every": "10ms" }));
    let (begin, back) = (Instant::now(), Mutex::new(None));
    let samples = Mutex::new(Vec::new());
    let sink = |sample| samples.lock().expect("no panic").push((Instant::now(), sample));
    let probes = probes();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(1330)).await;
        is_back.store(true, Ordering::SeqCst);
        *back.lock().expect("no panic") = Some(Instant::now());
        tokio::time::sleep(Duration::from_millis(1330)).await;
    };
    probes.watch(&probe, phase, false, Box::pin(stop), &sink).await;
    let back = back.into_inner().expect("no panic").expect("it was back").duration_since(begin);
    let samples = samples.into_inner().expect("no panic").into_iter();
    let since =
        |at: Instant| at.duration_since(begin).as_millis().cast_signed() - back.as_millis().cast_signed();
    samples.map(|(at, sample)| (since(at), sample)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_revert_a_return_is_told_at_once_and_by_few_samples_more() {
    let is_clean = |sample: &ProbeSample| sample.passed == sample.measured;
    let samples = return_of_a_server(ProbePhase::After).await;
    let clean = samples.iter().position(|(_, sample)| is_clean(sample)).expect("it was back");
    // Nothing passed before it was back. A busy machine may wake us late.
    assert!((1..700).contains(&samples[clean].0), "{samples:?}");
    assert!(samples[clean..].iter().all(|(_, sample)| is_clean(sample)), "{samples:?}");
    let usual = return_of_a_server(ProbePhase::Chaos).await;
    assert!(samples.len() <= usual.len() + 5, "{} samples, usually {}", samples.len(), usual.len());
}

#[tokio::test]
async fn over_the_limit_in_flight_a_start_fails_and_is_not_dropped() {
    let probe = probe(json!({ "command": { "argv": ["sleep", "1"] }, "every": "20ms" }));
    let samples = measure_for(Duration::from_millis(610), &probe).await;
    let sum = |of: fn(&chaos_core::run::ProbeSample) -> u64| samples.iter().map(of).sum::<u64>();
    let limit = chaos_probes::COMMANDS_IN_FLIGHT_MAX as u64;
    assert!((20..=60).contains(&sum(|s| s.measured)), "one each 20 ms: {samples:?}");
    assert_eq!((sum(|s| s.passed), sum(|s| s.no_data)), (limit, 0), "{samples:?}");
    assert!(samples[0].problem.as_deref().is_some_and(|text| text.starts_with("overrun")), "{samples:?}");
}

#[tokio::test]
async fn a_stop_before_the_first_start_measures_at_most_once() {
    let probe = probe(json!({ "tcp": { "address": "127.0.0.1:1" } }));
    let measured: u64 = measure_for(Duration::ZERO, &probe).await.iter().map(|sample| sample.measured).sum();
    assert!(measured <= 1);
}

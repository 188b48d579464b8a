//! `load` against a real server: open loop, shown by a server that stands still.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use chaos_core::port::Prober;
use chaos_core::run::{ProbeSample, Tally};
use chaos_core::spec::ProbePhase;
use serde_json::json;

use crate::support::{Server, free_port, measure_for, once, probe, probes};

fn counting() -> (Server, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    let answer = move || {
        counter.fetch_add(1, Ordering::Relaxed);
        async { "ok" }
    };
    (Server::start(Router::new().route("/", get(answer))), count)
}

fn tally(samples: &[ProbeSample]) -> Tally {
    let mut tally = Tally::default();
    samples.iter().for_each(|sample| tally.add(sample));
    tally
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_paused_for_a_second_makes_about_a_hundred_slow_requests_of_a_hundred_a_second() {
    let (server, _) = counting();
    let probe = probe(json!({ "load": { "url": server.url("/"), "rate": 100 } }));
    let probes = probes();
    let samples = std::sync::Mutex::new(Vec::new());
    let sink = |sample| samples.lock().expect("no panic").push(sample);
    let stop = Box::pin(tokio::time::sleep(Duration::from_secs(4)));
    let pause = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        server.freeze(Duration::from_secs(1));
    };
    tokio::join!(probes.watch(&probe, ProbePhase::Chaos, false, stop, &sink), pause);
    let tally = tally(&samples.into_inner().expect("no panic"));
    assert!((380..=402).contains(&tally.measured), "{} requests in 4 s", tally.measured);
    assert_eq!(tally.passed, tally.measured, "{:?}", tally.problem);
    let over = |ms: f64| tally.latency.iter().filter(|one| one.ms > ms).map(|one| one.count).sum::<u64>();
    // Request k of the pause waits for what is left of it: a closed loop would have seen one slow request.
    let (slow, half) = (over(50.0), over(500.0));
    assert!((80..=130).contains(&slow), "{slow} slow requests");
    assert!((35..=80).contains(&half), "{half} of more than half a second");
    assert!(tally.latency_quantile(1.0).is_some_and(|ms| ms > 900.0), "{:?}", tally.latency.last());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_counted_once_also_those_in_flight_at_the_stop() {
    let (server, count) = counting();
    let probe = probe(json!({ "load": { "url": server.url("/"), "rate": 1000 } }));
    let samples = measure_for(Duration::from_millis(1500), &probe).await;
    let tally = tally(&samples);
    assert!((1300..=1510).contains(&tally.measured), "{tally:?}");
    assert_eq!(
        (tally.passed, count.load(Ordering::Relaxed)),
        (tally.measured, tally.measured),
        "{:?}",
        tally.problem
    );
    assert!(samples.len() >= 2, "about one sample a second and a last one: {}", samples.len());
}

#[tokio::test]
async fn a_single_measurement_is_a_short_burst_in_one_sample() {
    let (server, _) = counting();
    for (rate, requests) in [(1, 1), (50, 5), (200, 20)] {
        let sample = once(json!({ "load": { "url": server.url("/"), "rate": rate } })).await;
        assert_eq!((sample.measured, sample.passed), (requests, requests), "{sample:?}");
    }
}

#[tokio::test]
async fn requests_to_nobody_fail_each() {
    let url = format!("http://127.0.0.1:{}/", free_port());
    let sample = once(json!({ "load": { "url": url, "rate": 50 } })).await;
    assert_eq!((sample.measured, sample.passed, sample.no_data), (5, 0, 0), "{sample:?}");
}

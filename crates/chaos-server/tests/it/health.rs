//! Health from a Prometheus: it blocks, it stops, and no data is no health.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use chaos_api::{CreateQuery, ProblemCode};
use chaos_core::run::Phase;
use chaos_server::FileConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::support::{PATIENCE, Service, document, key};

/// Answers every query with the latest value, until the test ends.
pub(crate) async fn prometheus(values: watch::Receiver<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let mut request = [0; 8192];
            let _ = stream.read(&mut request).await;
            let body = format!(
                r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{}},"value":[0,"{}"]}}]}}}}"#,
                *values.borrow()
            );
            let head = format!(
                "content-type: application/json\r\nconnection: close\r\ncontent-length: {}",
                body.len()
            );
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").as_bytes()).await;
        }
    });
    url
}

pub(crate) fn config(url: &str) -> FileConfig {
    FileConfig::parse(&format!(
        "safety: {{ threshold: 0.7, prometheus: '{url}', signals: [ {{ name: up, query: up, good: 1, bad: 0 }} ] }}"
    ))
    .unwrap()
}

async fn counted(service: &Service, line: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = service.client.metrics().await.unwrap();
        if text.contains(line) {
            return;
        }
        assert!(Instant::now() < deadline, "{line} in\n{text}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_blocks_a_start_and_is_to_blame() {
    let (value, values) = watch::channel("0.2");
    let service = Service::with(config(&prometheus(values).await)).await;
    let body = document("unhealthy", "1s").into();
    let error = service.client.create(&body, &CreateQuery::default()).await.unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!(
        (problem.code, problem.score, problem.threshold),
        (ProblemCode::Blocked, Some(0.6), Some(0.7))
    );
    assert_eq!(problem.signal.as_ref().map(|signal| signal.name.as_str()), Some("up"));
    value.send_replace("NaN");
    let error = service.client.create(&body, &CreateQuery::default()).await.unwrap_err();
    assert_eq!((error.problem().unwrap().code, error.problem().unwrap().score), (ProblemCode::Blocked, None));
    counted(&service, "safety_threshold_violations_total{reason=\"health\"} 2").await;
    counted(&service, "system_health_score NaN").await;
    value.send_replace("1");
    service.client.create(&body, &CreateQuery::default()).await.unwrap();
    service.until("unhealthy", Phase::Finished).await;
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_stopped_and_reverted_when_health_falls() {
    let (value, values) = watch::channel("1");
    let service = Service::with(config(&prometheus(values).await)).await;
    service.run("falling", "1h").await;
    service.until("falling", Phase::Active).await;
    value.send_replace("0");
    let detail = service.until("falling", Phase::Finished).await;
    assert_eq!((detail.record.exit_code, service.node.active()), (Some(4), 0));
    assert!(detail.record.reason.unwrap().contains("health score"));
    counted(&service, "safety_threshold_violations_total{reason=\"running_health\"} 1").await;
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_of_the_untouched_counts_while_faults_are_active() {
    let service = Service::start().await;
    service.run("uncovered", "1h").await;
    service.until("uncovered", Phase::Active).await;
    service.node.unready.store(4, Ordering::SeqCst);
    assert_eq!(service.until("uncovered", Phase::Finished).await.record.exit_code, Some(4));
    assert!(service.server.engine().active_run(&key("uncovered")).is_none());
    assert_eq!(Arc::clone(&service.node).active(), 0);
    service.shutdown().await;
}

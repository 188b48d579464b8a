//! `http` against a real server.

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{any, get, post};
use serde_json::json;

use crate::support::{
    Server, assert_failed, assert_no_data, assert_passed, free_port, once, once_with, probe, probes,
};

fn server() -> Server {
    Server::start(
        Router::new()
            .route("/ok", any(|| async { ([(header::CONTENT_TYPE, "text/plain")], "all is well") }))
            .route(
                "/json",
                get(|| async { axum::Json(json!({ "status": "up", "ready": 3, "secret": "s3cr3t" })) }),
            )
            .route("/broken", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
            .route("/moved", get(|| async { (StatusCode::FOUND, [(header::LOCATION, "/broken")]) }))
            .route("/hangs", get(|| async { std::future::pending::<&'static str>().await }))
            .route("/huge", get(|| async { "x".repeat(3 * 1024 * 1024) }))
            .route(
                "/echo",
                post(|headers: HeaderMap, body: String| async move {
                    format!("{:?} {:?} {body}", headers.get("x-probe"), headers.get("authorization"))
                }),
            ),
    )
}

#[tokio::test]
async fn a_target_that_answers_as_expected_passes() {
    let server = server();
    for http in [
        json!({ "url": server.url("/ok") }),
        json!({ "url": server.url("/ok"), "method": "HEAD" }),
        json!({ "url": server.url("/ok"), "expect": { "status": 200, "headers": { "content-type": "text/plain" }, "body": { "contains": "well" }, "latency": "900ms" } }),
        json!({ "url": server.url("/moved") }),
        json!({ "url": server.url("/json"), "expect": { "body": { "jsonPath": "$.status", "equals": "up" } } }),
        json!({ "url": server.url("/echo"), "method": "POST", "headers": { "x-probe": "yes" }, "body": "hello", "expect": { "body": { "contains": "Some(\"yes\") None hello" } } }),
        json!({ "url": server.url("/huge") }),
    ] {
        let sample = once(json!({ "http": http })).await;
        assert_passed(&sample);
        assert_eq!(sample.latency.iter().map(|one| one.count).sum::<u64>(), 1, "{sample:?}");
    }
}

#[tokio::test]
async fn a_target_that_answers_otherwise_fails_with_the_reason() {
    let server = server();
    for (http, reason) in [
        (json!({ "url": server.url("/broken") }), "status 500, expected 200 to 399"),
        (json!({ "url": server.url("/moved"), "expect": { "status": 200 } }), "status 302, expected 200"),
        (
            json!({ "url": server.url("/json"), "expect": { "body": { "jsonPath": "$.status", "equals": "down" } } }),
            "$.status is \"up\", expected \"down\"",
        ),
        (
            json!({ "url": server.url("/huge"), "expect": { "body": { "contains": "y" } } }),
            "longer than 1048576 bytes",
        ),
        (json!({ "url": server.url("/ok"), "expect": { "body": { "jsonPath": "$.a" } } }), "not JSON"),
    ] {
        assert_failed(&once(json!({ "http": http })).await, reason);
    }
}

#[tokio::test]
async fn a_target_that_hangs_or_is_away_fails_and_is_not_no_data() {
    let server = server();
    let late = once(json!({ "http": { "url": server.url("/hangs") }, "timeout": "100ms" })).await;
    assert_failed(&late, "no complete answer within 100.0ms");
    assert!(late.latency.iter().all(|one| one.ms >= 100.0) && late.latency.len() == 1, "{late:?}");
    let away = once(json!({ "http": { "url": format!("http://127.0.0.1:{}/", free_port()) } })).await;
    assert_failed(&away, "cannot connect: Connection refused");
    let unknown = once(json!({ "http": { "url": "http://no-such-host.invalid/" }, "timeout": "10s" })).await;
    assert_failed(&unknown, "cannot connect");
}

#[tokio::test]
async fn what_can_not_be_asked_is_no_data() {
    let bad_path =
        json!({ "http": { "url": "http://localhost/", "expect": { "body": { "jsonPath": "$[" } } } });
    assert_no_data(&once(bad_path).await, "not a JSON path");
    let bad_header = json!({ "http": { "url": "http://localhost/", "headers": { "a b": "c" } } });
    assert_no_data(&once(bad_header).await, "not a header name");
}

#[tokio::test]
async fn no_problem_tells_a_password_or_a_header_value() {
    let server = server();
    let port = free_port();
    for http in [
        json!({ "url": format!("http://user:s3cr3t@127.0.0.1:{port}/"), "headers": { "x-token": "s3cr3t" } }),
        json!({ "url": format!("http://user:s3cr3t@{}/hangs", server.address), "headers": { "x-token": "s3cr3t" } }),
        json!({ "url": server.url("/ok"), "expect": { "headers": { "content-type": "s3cr3t" } } }),
        json!({ "url": "http://user:s3cr3t@localhost:99999/" }),
    ] {
        let sample = once(json!({ "http": http, "timeout": "200ms" })).await;
        assert_eq!(sample.passed, 0);
        assert!(!format!("{sample:?}").contains("s3cr3t"), "{sample:?}");
    }
    let url = format!("http://user:s3cr3t@{}/echo", server.address);
    let basic = json!({ "http": { "url": url, "method": "POST", "expect": { "body": { "contains": "Basic dXNlcjpzM2NyM3Q=" } } } });
    assert_passed(&once(basic).await);
}

#[tokio::test]
async fn a_number_in_the_answer_is_judged_by_its_bounds() {
    let server = server();
    let with = |tolerance: serde_json::Value| json!({ "http": { "url": server.url("/json"), "expect": { "body": { "jsonPath": "$.ready" } } }, "tolerance": { "value": tolerance } });
    let enough = once(with(json!({ "min": 3 }))).await;
    assert_passed(&enough);
    assert_eq!(enough.value, Some(3.0));
    assert_failed(&once(with(json!({ "min": 4 }))).await, "value 3 is below 4");
    let none = json!({ "http": { "url": server.url("/ok") }, "tolerance": { "value": { "min": 1 } } });
    assert_no_data(&once(none).await, "no value");
}

#[tokio::test]
async fn https_does_not_trust_a_plain_server() {
    let server = server();
    let url = format!("https://{}/ok", server.address);
    let sample = once_with(&probes(), &probe(json!({ "http": { "url": url } }))).await;
    assert_eq!(sample.passed, 0, "{sample:?}");
}

//! Large, slow and broken callers.

use std::time::{Duration, Instant};

use chaos_api::ProblemCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{PATIENCE, Service, exchange, yaml};

const CREATE: &str = "/api/v1/experiments";

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_are_refused_however_they_are_sent() {
    let service = Service::start().await;
    let headers = [("content-type", "application/yaml")];
    let large = format!("{}# {}", yaml("large", "1s"), "x".repeat(10 * 1024 * 1024));
    let answer = service.send_body("POST", CREATE, &headers, &large).await;
    assert_eq!(answer.problem().code, ProblemCode::PayloadTooLarge);
    let chunked = format!("{:x}\r\n{}\r\n0\r\n\r\n", large.len(), large);
    let headers = [("content-type", "application/yaml"), ("transfer-encoding", "chunked")];
    let answer = service.send_body("POST", CREATE, &headers, &chunked).await;
    assert_eq!(answer.problem().code, ProblemCode::PayloadTooLarge);
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    let answer = service.send_body("POST", CREATE, &headers[..1], bomb).await;
    assert_eq!(answer.problem().code, ProblemCode::InvalidDocument);
    assert_eq!(service.send("GET", "/health", &[]).await.status, 200);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_drips_is_cut_off_and_a_body_that_drips_is_told() {
    let service = Service::start().await;
    let authority = service.authority().to_owned();
    let head = tokio::spawn({
        let authority = authority.clone();
        async move {
            let mut stream = TcpStream::connect(&authority).await.unwrap();
            let begin = Instant::now();
            stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nx-drip: ").await.unwrap();
            let mut byte = [0];
            // Until it is cut off, one more byte every half second.
            while let Err(_elapsed) = timeout(Duration::from_millis(500), stream.read(&mut byte)).await {
                if stream.write_all(b"x").await.is_err() {
                    break;
                }
                assert!(begin.elapsed() < PATIENCE, "the head is still awaited");
            }
            begin.elapsed()
        }
    });
    let token = service.server.token().secret();
    let request = format!(
        "POST /api/v1/stop HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-length: 100\r\n\r\n{{"
    );
    let answer = exchange(&authority, request.as_bytes()).await;
    assert_eq!(answer.problem().code, ProblemCode::Timeout);
    let cut = head.await.unwrap();
    assert!(cut >= Duration::from_secs(9), "{cut:?}");
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_does_not_leave_half_a_start_behind() {
    let service = Service::start().await;
    let body = yaml("orphan", "200ms");
    let token = service.server.token().secret();
    let request = format!(
        "POST {CREATE} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/yaml\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(service.authority()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    drop(stream);
    // Either it was never read, or it runs to its end; it never stays in between.
    service
        .shutdown_and_reopen(|next| async move {
            let found = next.client.list(&chaos_api::ListQuery::default()).await.unwrap();
            assert!(found.iter().all(|one| one.exit_code.is_some() && !one.revert_incomplete), "{found:?}");
            assert!(
                found.iter().all(|one| one.reason.as_ref().is_none_or(|reason| !reason.contains("was gone"))),
                "{found:?}"
            );
            next
        })
        .await;
}

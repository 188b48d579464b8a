//! How often somebody may call.

use chaos_api::{ListQuery, ProblemCode, StopRequest};
use chaos_core::access::Role;
use chaos_server::{Rate, Rates, ServerConfig};
use tempfile::TempDir;

use crate::support::{Service, key};

/// So many, and then none for a long time.
fn only(burst: f64) -> Rate {
    Rate { burst, per_second: 0.01 }
}

async fn limited(rates: Rates) -> Service {
    let change = |config| ServerConfig { rates, ..config };
    Service::made(TempDir::new().unwrap(), change).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_writes_too_much_is_told_when_to_come_back() {
    let service = limited(Rates { writes: only(3.0), ..Rates::default() }).await;
    let ada = format!("Bearer {}", service.token("ada", Role::Operator).await.token);
    let delete = async |token: &str| {
        service.send("DELETE", "/api/v1/experiments/none", &[("authorization", token)]).await
    };
    for _ in 0..3 {
        assert_eq!(delete(&ada).await.status, 404);
    }
    let answer = delete(&ada).await;
    let problem = answer.problem();
    assert_eq!((problem.code, problem.status), (ProblemCode::RateLimited, 429));
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((90..=100).contains(&seconds), "{seconds}");
    assert_eq!(problem.retry_after_seconds, Some(seconds));
    let own = format!("Bearer {}", service.server.token().secret());
    assert_eq!(delete(&own).await.status, 404, "others are counted apart");
    // An emergency is never refused for its number, and reading is counted apart.
    let client = service.client.clone().with_token(ada.trim_start_matches("Bearer "));
    for _ in 0..5 {
        client.stop_all(&StopRequest::default()).await.unwrap();
        let error = client.stop(&key("none"), &StopRequest::default()).await.unwrap_err();
        assert_eq!(error.problem().unwrap().code, ProblemCode::NotFound);
        client.list(&ListQuery::default()).await.unwrap();
    }
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_tokens_is_slowed_down_and_the_right_one_is_not() {
    let service = limited(Rates { wrong_tokens: only(2.0), ..Rates::default() }).await;
    let guess = async || {
        let headers = [("authorization", "Bearer chaos_00000000_guess")];
        service.send("GET", "/api/v1/experiments", &headers).await.problem().code
    };
    let guesses = [guess().await, guess().await, guess().await];
    let expected = [ProblemCode::Unauthorized, ProblemCode::Unauthorized, ProblemCode::RateLimited];
    assert_eq!(guesses, expected);
    service.client.list(&ListQuery::default()).await.unwrap();
    assert_eq!(service.send("GET", "/health", &[("authorization", "Bearer wrong")]).await.status, 200);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_and_engaging_without_a_token_are_counted_by_address() {
    let service = limited(Rates { reads: only(2.0), unknown_engages: only(1.0), ..Rates::default() }).await;
    let nobody = [("authorization", "")];
    for status in [200, 200, 429] {
        assert_eq!(service.send("GET", "/api/v1/experiments", &nobody).await.status, status);
    }
    for _ in 0..5 {
        assert_eq!(service.send("GET", "/health", &nobody).await.status, 200);
        assert_eq!(service.send("GET", "/ready", &nobody).await.status, 200);
    }
    let body = "{ \"engaged\": true, \"reason\": \"r\" }";
    for status in [200, 429] {
        assert_eq!(service.send_body("PUT", "/api/v1/lever", &nobody, body).await.status, status);
    }
    // Whoever is known is not held up.
    for _ in 0..3 {
        assert_eq!(service.send_body("PUT", "/api/v1/lever", &[], body).await.status, 200);
    }
    service.shutdown().await;
}

//! Tokens: made, shown once, rotated, revoked, over.

use std::time::Duration;

use chaos_api::{ClientError, ListQuery, ProblemCode, TokenRequest};
use chaos_core::access::Role;
use chaos_server::FileConfig;
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{PATIENCE, Service, state};

fn code(error: &ClientError) -> ProblemCode {
    error.problem().unwrap().code
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_once_works_at_once_and_ends_at_once() {
    let service = Service::start().await;
    let made = service.token("ada", Role::Operator).await;
    let (id, secret) = made.token.strip_prefix("chaos_").unwrap().split_once('_').unwrap();
    assert_eq!((id, id.len(), secret.len()), (made.info.id.as_str(), 8, 64));
    assert_eq!((made.info.created_by.as_str(), made.info.valid), ("local", true));
    assert!(!format!("{made:?}").contains(secret));
    let ada = service.client.clone().with_token(&made.token);
    assert_eq!(ada.list(&ListQuery::default()).await.unwrap(), []);
    let listed = service.send("GET", "/api/v1/tokens", &[]).await;
    assert!(listed.body.contains("ada") && !listed.body.contains(secret), "{listed:?}");
    for entry in std::fs::read_dir(state(&service.folder)).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap_or_default();
        assert!(!bytes.windows(64).any(|part| part == secret.as_bytes()), "{} has it", path.display());
    }

    let rotated = service.client.rotate_token(&made.info.id).await.unwrap();
    assert_ne!((&rotated.info.id, &rotated.token), (&made.info.id, &made.token));
    assert_eq!((rotated.info.name.as_str(), rotated.info.role), ("ada", Role::Operator));
    let error = ada.list(&ListQuery::default()).await.unwrap_err();
    assert_eq!(code(&error), ProblemCode::Unauthorized);
    assert!(error.to_string().contains("revoked"), "{error}");
    assert_eq!(code(&service.client.rotate_token(&made.info.id).await.unwrap_err()), ProblemCode::Conflict);

    let ada = service.client.clone().with_token(&rotated.token);
    ada.list(&ListQuery::default()).await.unwrap();
    let revoked = service.client.revoke_token(&rotated.info.id).await.unwrap();
    assert!(!revoked.valid && revoked.revoked_at.is_some());
    assert_eq!(code(&ada.list(&ListQuery::default()).await.unwrap_err()), ProblemCode::Unauthorized);
    assert_eq!(service.client.revoke_token(&rotated.info.id).await.unwrap(), revoked, "once more is no harm");
    assert_eq!(service.client.tokens().await.unwrap().len(), 2);
    // Its name is free again.
    service.token("ada", Role::Viewer).await;
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_outlives_the_service_but_not_its_time() {
    let service = Service::start().await;
    let lasting = service.token("lasting", Role::Viewer).await;
    let expires_at = Some(Timestamp::now() + Duration::from_millis(1500));
    let request = TokenRequest { name: "short".into(), role: Role::Viewer, expires_at };
    let short = service.client.create_token(&request).await.unwrap();
    let shorts = service.client.clone().with_token(&short.token);
    shorts.lever().await.unwrap();
    loop {
        match shorts.lever().await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => {
                assert_eq!(code(&error), ProblemCode::Unauthorized);
                assert!(error.to_string().contains("expired"), "{error}");
                break;
            }
        }
    }
    let rotated = service.client.rotate_token(&short.info.id).await.unwrap();
    let lifetime = rotated.info.expires_at.unwrap().duration_since(rotated.info.created_at);
    let before = short.info.expires_at.unwrap().duration_since(short.info.created_at);
    assert_eq!(lifetime, before, "it lasts as long again");
    let folder = service.shutdown().await;
    let next = Service::below(folder, FileConfig::default()).await.unwrap();
    next.client.clone().with_token(&lasting.token).lever().await.unwrap();
    next.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_has_a_name_of_its_own_and_an_end_that_is_to_come() {
    let service = Service::start().await;
    let make = async |name: &str, expires_at: Option<Timestamp>| {
        let request = TokenRequest { name: name.into(), role: Role::Viewer, expires_at };
        service.client.create_token(&request).await.map_err(|error| code(&error))
    };
    make("ada", None).await.unwrap();
    assert_eq!(make("ada", None).await.unwrap_err(), ProblemCode::Conflict);
    for name in ["", "local", "anonymous", "unix:root", "Ada", "a b", &"a".repeat(64)] {
        assert_eq!(make(name, None).await.unwrap_err(), ProblemCode::InvalidDocument, "{name}");
    }
    for end in [Timestamp::now(), Timestamp::MAX] {
        assert_eq!(make("bob", Some(end)).await.unwrap_err(), ProblemCode::InvalidDocument, "{end}");
    }
    for id in ["none", "00000000"] {
        assert_eq!(code(&service.client.rotate_token(id).await.unwrap_err()), ProblemCode::NotFound);
        assert_eq!(code(&service.client.revoke_token(id).await.unwrap_err()), ProblemCode::NotFound);
    }
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_token_that_it_was_opened_with() {
    let service = Service::start().await;
    let made = service.token("ada", Role::Viewer).await;
    let mut stream = TcpStream::connect(service.authority()).await.unwrap();
    let request = format!(
        "GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n",
        made.token
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut head)).await.expect("in time").unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    service.client.revoke_token(&made.info.id).await.unwrap();
    timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.expect("it ends").unwrap();
    service.shutdown().await;
}

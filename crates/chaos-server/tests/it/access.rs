//! Who may call.

use std::sync::Arc;

use chaos_api::{Client, Endpoint, ListQuery, ProblemCode};
use chaos_core::port::Owner;
use chaos_server::{Listen, ServerConfig, StartError, start};
use tempfile::TempDir;

use crate::node::ScriptedNode;
use crate::support::{Service, config, exchange, key, mode, state};

#[tokio::test(flavor = "multi_thread")]
async fn a_write_needs_the_token_and_reading_does_not() {
    let service = Service::start().await;
    for token in ["", "Bearer", "Bearer wrong", "Basic abc", "Bearer  "] {
        for (method, path) in [
            ("POST", "/api/v1/experiments"),
            ("POST", "/api/v1/stop"),
            ("DELETE", "/api/v1/experiments/a"),
            ("PUT", "/nothing"),
        ] {
            let answer = service.send(method, path, &[("authorization", token)]).await;
            assert_eq!(answer.problem().code, ProblemCode::Unauthorized, "{token:?} {method} {path}");
            assert_eq!(answer.header("www-authenticate"), Some("bearer"));
        }
        for path in ["/health", "/ready", "/metrics", "/api/v1/system/health", "/api/v1/experiments"] {
            assert_eq!(service.send("GET", path, &[("authorization", token)]).await.status, 200, "{path}");
        }
    }
    let secret = std::fs::read_to_string(state(&service.folder).join("token")).unwrap();
    assert_eq!(secret.trim(), service.server.token().secret());
    assert_eq!(mode(&state(&service.folder).join("token")), 0o600);
    assert_eq!(mode(&state(&service.folder)), 0o700);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_is_not_answered() {
    let service = Service::start().await;
    let own = format!("http://{}", service.authority());
    for headers in [
        [("host", "evil.example"), ("x", "y")],
        [("host", "127.0.0.1.evil.example:8081"), ("x", "y")],
        [("origin", "http://evil.example"), ("x", "y")],
        [("origin", "http://localhost:1"), ("x", "y")],
        [("origin", "null"), ("x", "y")],
    ] {
        for (method, path) in [("GET", "/health"), ("GET", "/api/v1/experiments"), ("POST", "/api/v1/stop")] {
            let answer = service.send(method, path, &headers).await;
            assert_eq!(answer.problem().code, ProblemCode::Forbidden, "{headers:?} {method} {path}");
        }
    }
    assert_eq!(service.send("GET", "/health", &[("origin", &own)]).await.status, 200);
    let absolute = "GET http://evil.example/health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert_eq!(exchange(service.authority(), absolute.as_bytes()).await.status, 403);
    let nameless = exchange(service.authority(), b"GET /health HTTP/1.0\r\n\r\n").await;
    assert_eq!(nameless.problem().code, ProblemCode::BadRequest);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_others_reach_is_refused() {
    let folder = TempDir::new().unwrap();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let listen = Listen::Tcp(address.parse().unwrap());
        let config = ServerConfig { listen, ..config(state(&folder), Arc::new(ScriptedNode::default())) };
        assert!(matches!(start(config).await, Err(StartError::NotLoopback { .. })), "{address}");
    }
    assert!(!state(&folder).exists(), "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_in_the_file_system_trusts_its_owner() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("socket");
    let make = || ServerConfig {
        listen: Listen::Unix(path.clone()),
        owner: Owner::Command,
        as_server: false,
        ..config(state(&folder), Arc::new(ScriptedNode::default()))
    };
    let server = start(make()).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(server.address, format!("unix:{}", path.display()));
    let client = Client::new(Endpoint::Unix(path.clone())).unwrap();
    assert_eq!(client.list(&ListQuery::default()).await.unwrap(), []);
    let created =
        client.create(&crate::support::document("a", "100ms").into(), &Default::default()).await.unwrap();
    assert_eq!(created.latest.unwrap().header.owner, Owner::Command);
    server.finished_all_runs().await;
    assert!(client.get(&key("a")).await.unwrap().record.exit_code.is_some());
    assert!(!client.live().await.unwrap().server.started_as_server);
    server.shutdown().await;
    assert!(!path.exists());
    // What a killed server leaves is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    start(make()).await.unwrap().shutdown().await;
}

//! Who may call.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use chaos_api::{Client, Endpoint, ListQuery, ProblemCode};
use chaos_core::access::Role;
use chaos_core::port::Owner;
use chaos_server::{Listen, ServerConfig, StartError, start};
use tempfile::TempDir;

use crate::node::ScriptedNode;
use crate::support::{Service, config, exchange, key, mode, state};

#[tokio::test(flavor = "multi_thread")]
async fn a_write_needs_a_token_and_a_wrong_one_opens_nothing() {
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
        for path in ["/health", "/ready", "/metrics", "/api/v1/system/health"] {
            assert_eq!(service.send("GET", path, &[("authorization", token)]).await.status, 200, "{path}");
        }
        // Whoever shows a token that is not taken is told so, also where none is needed.
        for path in ["/api/v1/experiments", "/openapi.json", "/api/v1/lever"] {
            let expected = if token.is_empty() { 200 } else { 401 };
            let answer = service.send("GET", path, &[("authorization", token)]).await;
            assert_eq!(answer.status, expected, "{token:?} {path}");
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
async fn an_address_that_others_reach_is_refused_without_tls() {
    let folder = TempDir::new().unwrap();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let listen = Listen::Tcp(address.parse().unwrap());
        let config = ServerConfig { listen, ..config(state(&folder), Arc::new(ScriptedNode::default())) };
        assert!(matches!(start(config).await, Err(StartError::NotLoopback { .. })), "{address}");
    }
    assert!(!state(&folder).exists(), "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn from_another_address_everything_but_probes_needs_a_token() {
    let Some(address) = own_address() else {
        eprintln!("skipped: this machine has no address but its loopback");
        return;
    };
    let listen = Listen::Tcp(SocketAddr::new(address, 0));
    let change = |config| ServerConfig { listen, insecure_http: true, ..config };
    let service = Service::made(TempDir::new().unwrap(), change).await.unwrap();
    for host in ["", "chaos.example"] {
        let headers = |token: &'static str| {
            let host = if host.is_empty() { service.authority() } else { host };
            [("authorization", token), ("host", host)]
        };
        for path in ["/health", "/ready", "/metrics", "/api/v1/system/health"] {
            assert_eq!(service.send("GET", path, &headers("")).await.status, 200, "{path}");
        }
        for (method, path) in [
            ("GET", "/api/v1/experiments"),
            ("GET", "/openapi.json"),
            ("GET", "/api/v1/lever"),
            ("PUT", "/api/v1/lever"),
            ("GET", "/nothing"),
        ] {
            let answer = service.send(method, path, &headers("")).await;
            assert_eq!(answer.problem().code, ProblemCode::Unauthorized, "{method} {path}");
        }
    }
    assert_eq!(service.client.list(&ListQuery::default()).await.unwrap(), []);
    let foreign = [("origin", "http://evil.example")];
    assert_eq!(service.send("GET", "/health", &foreign).await.problem().code, ProblemCode::Forbidden);
    service.shutdown().await;
}

/// An address of this machine that is not its loopback.
fn own_address() -> Option<IpAddr> {
    let interfaces = nix::ifaddrs::getifaddrs().ok()?;
    interfaces
        .filter_map(|interface| Some(IpAddr::V4(interface.address?.as_sockaddr_in()?.ip())))
        .find(|ip| !ip.is_loopback())
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
    let header = created.latest.unwrap().header;
    assert_eq!((header.owner, header.actor.role), (Owner::Command, Role::Admin));
    assert!(header.actor.name.starts_with("unix:"), "{}", header.actor);
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

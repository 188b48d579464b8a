//! TLS: our own authority, given files, and nothing without it.

use std::path::PathBuf;
use std::sync::Arc;

use chaos_api::{Client, Endpoint, ListQuery};
use chaos_server::tls::{TlsConfig, ca_path};
use chaos_server::{ServerConfig, StartError, start};
use tempfile::TempDir;

use crate::node::ScriptedNode;
use crate::support::{Service, config, exchange, mode, state};

fn own(config: ServerConfig) -> ServerConfig {
    ServerConfig { tls: Some(TlsConfig::OwnAuthority), names: vec!["chaos.example".into()], ..config }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_authority_is_made_once_and_trusted_by_who_has_its_certificate() {
    let service = Service::made(TempDir::new().unwrap(), own).await.unwrap();
    assert!(service.server.address.starts_with("https://127.0.0.1:"), "{}", service.server.address);
    assert_eq!(service.client.list(&ListQuery::default()).await.unwrap(), []);
    service.run("encrypted", "100ms").await;
    let authority = ca_path(&state(&service.folder));
    let pem = std::fs::read(&authority).unwrap();
    assert_eq!(mode(&authority.with_extension("key")), 0o600);
    let port = service.server.address.rsplit(':').next().unwrap().to_owned();
    let by_name: Endpoint = format!("https://localhost:{port}").parse().unwrap();
    Client::new(by_name.clone()).unwrap().with_ca(&pem).unwrap().live().await.unwrap();
    let error = Client::new(by_name).unwrap().live().await.unwrap_err();
    assert!(error.is_unreachable(), "who does not trust it does not talk to it: {error}");

    let plain = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answer = exchange(&format!("127.0.0.1:{port}"), plain).await;
    assert_eq!((answer.status, answer.body.contains("https://")), (400, true), "{answer:?}");
    let http: Endpoint = format!("http://127.0.0.1:{port}").parse().unwrap();
    assert!(Client::new(http).unwrap().live().await.is_err());

    let next = Service::made(service.shutdown().await, own).await.unwrap();
    assert_eq!(std::fs::read(&authority).unwrap(), pem, "the authority stays");
    next.client.live().await.unwrap();
    next.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_files_are_shown_and_defective_ones_are_told() {
    let files = TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let write = |name: &str, text: &str| -> PathBuf {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let certificate = write("certificate.pem", &made.cert.pem());
    let key = write("key.pem", &made.signing_key.serialize_pem());
    let (other_key, empty) = (write("other.pem", &other.signing_key.serialize_pem()), write("empty.pem", ""));
    let with = |certificate: &PathBuf, key: &PathBuf, folder: &TempDir| ServerConfig {
        tls: Some(TlsConfig::Files { certificate: certificate.clone(), key: key.clone() }),
        ..config(state(folder), Arc::new(ScriptedNode::default()))
    };
    let folder = TempDir::new().unwrap();
    for (certificate, key) in [
        (&certificate, &other_key),
        (&empty, &key),
        (&certificate, &empty),
        (&files.path().join("missing"), &key),
    ] {
        let started = start(with(certificate, key, &folder)).await;
        assert!(matches!(started, Err(StartError::Tls(_))), "{}", certificate.display());
    }
    let server = start(with(&certificate, &key, &folder)).await.unwrap();
    let port = server.address.rsplit(':').next().unwrap();
    let endpoint: Endpoint = format!("https://localhost:{port}").parse().unwrap();
    let client = Client::new(endpoint).unwrap().with_ca(made.cert.pem().as_bytes()).unwrap();
    client.live().await.unwrap();
    assert!(!ca_path(&state(&folder)).exists());
    server.shutdown().await;
}

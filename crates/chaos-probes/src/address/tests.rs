//! The rule on addresses, and that it holds for what is dialled.

use std::sync::atomic::{AtomicUsize, Ordering};

use chaos_core::spec::{Probe, parse_value};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::*;
use crate::ProbesConfig;
use crate::check::Check;
use crate::client::Clients;
use crate::measured::{Measured, Outcome};

const REFUSED: [&str; 18] = [
    "169.254.169.254",
    "169.254.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "224.0.0.1",
    "239.255.255.255",
    "255.255.255.255",
    "0.0.0.0",
    "::",
    "fe80::1",
    "febf::1",
    "ff02::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
    "64:ff9b::169.254.169.254",
    "::ffff:100.100.100.200",
];
const ALLOWED: [&str; 9] = [
    "127.0.0.1",
    "::1",
    "10.0.0.1",
    "169.253.255.255",
    "100.100.100.201",
    "fd00:ec2::253",
    "fec0::1",
    "::ffff:127.0.0.1",
    "64:ff9b::8.8.8.8",
];

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn link_local_metadata_and_what_is_no_single_host_are_refused_in_every_spelling() {
    for text in REFUSED {
        assert!(AddressPolicy::NoLinkLocal.objection(address(text)).is_some(), "{text}");
        assert!(AddressPolicy::Any.objection(address(text)).is_none(), "{text}");
    }
    for text in ALLOWED {
        assert_eq!(AddressPolicy::NoLinkLocal.objection(address(text)), None, "{text}");
    }
}

#[test]
fn an_address_in_a_url_is_refused_however_it_is_written() {
    let resolver = Resolver::new(AddressPolicy::NoLinkLocal);
    for host in [
        "169.254.169.254",
        "0xa9fea9fe",
        "2852039166",
        "169.254.43518",
        "[fe80::1]",
        "[::ffff:a9fe:a9fe]",
        "0",
    ] {
        let url = Url::parse(&format!("http://{host}/latest")).expect("a URL");
        assert!(resolver.check(&url).is_err_and(|text| text.starts_with("refused: ")), "{host}");
    }
    for host in ["127.0.0.1", "[::1]", "localhost", "metadata"] {
        let url = Url::parse(&format!("http://{host}/latest")).expect("a URL");
        assert_eq!(resolver.check(&url), Ok(()), "{host}");
    }
}

/// Knows every name, under the addresses of the n-th entry at the n-th look-up and of the last from then on.
fn rebinding(answers: &[&[SocketAddr]]) -> Resolver {
    let answers: Vec<Vec<SocketAddr>> = answers.iter().map(|addresses| addresses.to_vec()).collect();
    let asked = AtomicUsize::new(0);
    let look_up = move |_| {
        let nth = asked.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        let found = answers[nth].clone();
        async move { Ok(found) }.boxed()
    };
    Resolver { policy: AddressPolicy::NoLinkLocal, look_up: Arc::new(look_up) }
}

const METADATA_SERVICE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80);

fn check(resolver: &Resolver, probe: serde_json::Value) -> Check {
    let mut probe = probe;
    probe["name"] = "p".into();
    let probe: Probe = parse_value(probe).expect("a probe");
    Check::prepare(&probe, &Clients::with(resolver.clone()), &ProbesConfig::default())
}

async fn measure(check: &Check) -> Measured {
    check.measure(Instant::now()).await
}

fn is_refused(measured: &Measured) -> bool {
    matches!(&measured.outcome, Outcome::NoData(text) if text.contains("refused: 169.254.169.254 is a link-local"))
}

/// Answers each connection once, with something that both a plain client and one of Prometheus take.
async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let body = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"#;
            let head = format!("connection: close\r\ncontent-length: {}", body.len());
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").as_bytes()).await;
        }
    });
    address
}

fn probes_of(host: &str) -> [serde_json::Value; 4] {
    let url = format!("http://{host}/");
    [
        json!({ "http": { "url": url } }),
        json!({ "load": { "url": url } }),
        json!({ "tcp": { "address": host } }),
        json!({ "prometheus": { "url": url, "query": "up" }, "tolerance": { "value": { "min": 0 } } }),
    ]
}

#[tokio::test]
async fn a_name_of_a_refused_address_is_no_data_for_every_kind_of_probe() {
    for probe in probes_of("metadata.test:80") {
        let measured = measure(&check(&rebinding(&[&[METADATA_SERVICE]]), probe.clone())).await;
        assert!(is_refused(&measured), "{probe}: {measured:?}");
    }
    for probe in probes_of("169.254.169.254:80") {
        let measured = measure(&check(&Resolver::new(AddressPolicy::NoLinkLocal), probe.clone())).await;
        assert!(is_refused(&measured), "{probe}: {measured:?}");
    }
}

#[tokio::test]
async fn a_name_that_is_bound_anew_between_two_measurements_is_refused_at_the_second() {
    let here = server().await;
    for probe in probes_of(&format!("rebound.test:{}", here.port())) {
        // Prometheus is asked two questions, each with a look-up of its own unless the connection is still there.
        let first = if probe["prometheus"].is_null() { 1 } else { 2 };
        let mut answers: Vec<&[SocketAddr]> = vec![std::slice::from_ref(&here); first];
        answers.push(&[METADATA_SERVICE]);
        let check = check(&rebinding(&answers), probe.clone());
        let measured = measure(&check).await;
        assert_eq!(measured.outcome, Outcome::Passed, "{probe}");
        let measured = measure(&check).await;
        assert!(is_refused(&measured), "{probe}: {measured:?}");
    }
}

#[tokio::test]
async fn what_is_refused_of_a_name_is_left_out_and_the_rest_is_dialled() {
    let here = server().await;
    let resolver = rebinding(&[&[METADATA_SERVICE, here]]);
    assert_eq!(resolver.addresses("both.test:1".into()).await.expect("one is left"), [here]);
    let url = format!("http://both.test:{}/", here.port());
    let measured = measure(&check(&resolver, json!({ "http": { "url": url } }))).await;
    assert_eq!(measured.outcome, Outcome::Passed);
}

#[tokio::test]
async fn a_redirect_to_a_refused_address_is_an_answer_and_is_not_followed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("one comes");
        let _ = stream.read(&mut [0; 4096]).await;
        let head = "location: http://169.254.169.254/latest\r\nconnection: close\r\ncontent-length: 0";
        let _ = stream.write_all(format!("HTTP/1.1 302 Found\r\n{head}\r\n\r\n").as_bytes()).await;
    });
    let probe = json!({ "http": { "url": url, "expect": { "status": 302 } } });
    let measured = measure(&check(&Resolver::new(AddressPolicy::NoLinkLocal), probe)).await;
    assert_eq!(measured.outcome, Outcome::Passed);
}

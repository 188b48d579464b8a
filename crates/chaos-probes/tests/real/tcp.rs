//! `tcp` against real sockets.

use serde_json::json;
use tokio::net::TcpListener;

use crate::support::{assert_failed, assert_passed, free_port, once};

#[tokio::test]
async fn an_open_port_passes_by_address_and_by_name() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    assert_passed(&once(json!({ "tcp": { "address": format!("127.0.0.1:{port}") } })).await);
    assert_passed(&once(json!({ "tcp": { "address": format!("localhost:{port}") } })).await);
}

#[tokio::test]
async fn a_closed_port_and_an_unknown_name_fail() {
    let closed = format!("127.0.0.1:{}", free_port());
    assert_failed(&once(json!({ "tcp": { "address": closed } })).await, "Connection refused");
    let unknown = json!({ "tcp": { "address": "no-such-host.invalid:80" }, "timeout": "10s" });
    assert_failed(&once(unknown).await, "cannot resolve the name");
}

#[tokio::test]
async fn a_listener_that_accepts_nothing_more_fails_at_the_timeout() {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let listener = socket.listen(1).expect("it listens");
    let address = listener.local_addr().expect("bound");
    // Fill the backlog: what is over it is not answered by the kernel.
    let mut held = Vec::new();
    let limit = std::time::Duration::from_millis(200);
    while let Ok(Ok(stream)) = tokio::time::timeout(limit, tokio::net::TcpStream::connect(address)).await {
        held.push(stream);
        assert!(held.len() < 64, "the backlog does not fill");
    }
    let sample = once(json!({ "tcp": { "address": address.to_string() }, "timeout": "200ms" })).await;
    assert_failed(&sample, "no connection within 200.0ms");
}

//! The life of an agent's socket, from the upgrade on, over real sockets.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use chaos_core::link::{AgentFrame, Epoch, Frame as _, Hello};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::*;

const LEASE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(20);

/// Nothing but the door.
async fn open(agents: Arc<Agents>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let agents = Arc::clone(&agents);
            let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
                let key = derive_accept_key(request.headers()[header::SEC_WEBSOCKET_KEY].as_bytes());
                let taken = agents.serve(hyper::upgrade::on(&mut request), "somebody".to_owned(), pending());
                let answer = match taken {
                    Err(refusal) => refusal.into_response(),
                    Ok(()) => Response::builder()
                        .status(StatusCode::SWITCHING_PROTOCOLS)
                        .header(header::CONNECTION, "upgrade")
                        .header(header::UPGRADE, "websocket")
                        .header(header::SEC_WEBSOCKET_ACCEPT, key)
                        .body(Body::empty())
                        .expect("an answer"),
                };
                async move { Ok::<_, Infallible>(answer) }
            });
            let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(serving.with_upgrades());
        }
    });
    address
}

/// Connects and says hello; the status of a refusal.
async fn connect(address: SocketAddr, name: &str) -> Result<WebSocketStream<TcpStream>, u16> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let mut socket = match client_async(format!("ws://{address}/"), stream).await {
        Ok((socket, _)) => socket,
        Err(Error::Http(answer)) => return Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    };
    let hello = AgentFrame::Hello(Box::new(Hello {
        introduction: introduce(name, &format!("folder of {name}"), &Limits::default()),
        epoch: Epoch { incarnation: 1, connection: 1 },
        injections: Vec::new(),
    }));
    socket.send(Message::binary(hello.encode().expect("a frame"))).await.expect("sent");
    let welcome = timeout(PATIENCE, socket.next()).await.expect("in time").expect("a frame").expect("read");
    assert!(welcome.is_binary(), "{welcome:?}");
    Ok(socket)
}

#[tokio::test]
async fn a_socket_counts_until_it_is_closed_and_one_too_many_is_refused_before_the_upgrade() {
    let agents = Arc::new(Agents::start(None, Vec::new(), "1", LEASE, 4).await);
    let address = open(Arc::clone(&agents)).await;
    let first = connect(address, "first").await.expect("room");
    let _second = connect(address, "second").await.expect("room");
    assert_eq!(connect(address, "third").await.map(drop), Err(503));
    drop(first);
    let third = async {
        while connect(address, "third").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, third).await.expect("its place is given back");
    agents.end().await;
}

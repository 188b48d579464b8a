//! Frames over WebSockets: in memory for silence and bounds, over loopback for the dialler and TLS.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chaos_core::link::{AgentFrame, FRAME_BYTES_MAX, Frame as _, FrameError, Hello, ServerFrame};
use chaos_core::port::LEASE_DEFAULT;
use futures_util::StreamExt as _;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;

use super::super::dial::{DialError, Dialler, Server, Socket};
use super::super::websocket::{End, Over, Queues, limits, pump};
use super::world::introduction;

type Pumped<In, Out> = (mpsc::Receiver<In>, mpsc::Sender<Out>, tokio::task::JoinHandle<Over>);

fn lease() -> Duration {
    LEASE_DEFAULT
}

fn queues<In, Out>() -> (Queues<In, Out>, mpsc::Receiver<In>, mpsc::Sender<Out>) {
    let ((heard, hears), (tells, told)) = (mpsc::channel(4), mpsc::channel(4));
    (Queues { heard, told, cut: CancellationToken::new() }, hears, tells)
}

async fn agent_end(stream: DuplexStream) -> Pumped<ServerFrame, AgentFrame> {
    let socket = WebSocketStream::from_raw_socket(stream, Role::Client, Some(limits())).await;
    let (queues, hears, tells) = queues();
    let pumping = tokio::spawn(async move { pump(socket, queues, End::Agent, lease, |_| None).await });
    (hears, tells, pumping)
}

async fn server_end<S>(stream: S) -> Pumped<AgentFrame, ServerFrame>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(limits())).await;
    let (queues, hears, tells) = queues();
    let reply = |error: &FrameError| Some(ServerFrame::Refused { reason: error.to_string() });
    let pumping = tokio::spawn(async move { pump(socket, queues, End::Server, lease, reply).await });
    (hears, tells, pumping)
}

fn hello() -> AgentFrame {
    let hello = Hello { introduction: introduction(), epoch: Default::default(), injections: Vec::new() };
    AgentFrame::Hello(Box::new(hello))
}

#[tokio::test(start_paused = true)]
async fn frames_go_both_ways_and_idle_peers_stay_connected() {
    let (one, other) = duplex(1 << 16);
    let (mut from_server, to_server, _agent) = agent_end(one).await;
    let (mut from_agent, to_agent, _server) = server_end(other).await;
    to_server.send(hello()).await.expect("open");
    assert_eq!(from_agent.recv().await, Some(hello()));
    tokio::time::sleep(LEASE_DEFAULT * 10).await;
    let renew = ServerFrame::Renew { runs: Vec::new() };
    to_agent.send(renew.clone()).await.expect("still open");
    assert_eq!(from_server.recv().await, Some(renew));
}

#[tokio::test(start_paused = true)]
async fn whatever_lease_the_server_speaks_of_an_idle_agent_is_heard_six_times_within_it() {
    for lease in [Duration::from_secs(6), Duration::from_secs(60)] {
        let (one, other) = duplex(1 << 16);
        let mut server = WebSocketStream::from_raw_socket(other, Role::Server, Some(limits())).await;
        let socket = WebSocketStream::from_raw_socket(one, Role::Client, Some(limits())).await;
        let (queues, _hears, _tells) = queues::<ServerFrame, AgentFrame>();
        let (tell, told) = tokio::sync::watch::channel(LEASE_DEFAULT);
        let pumping = tokio::spawn(async move {
            let lease = move || *told.borrow();
            pump(socket, queues, End::Agent, lease, |_| None).await
        });
        assert!(server.next().await.is_some(), "the first ping comes at once");
        tell.send_replace(lease);
        assert!(server.next().await.is_some(), "what was begun with the usual lease");
        for _ in 0..5 {
            let begin = tokio::time::Instant::now();
            let heard = server.next().await;
            let said = matches!(heard, Some(Ok(Message::Ping(_))));
            assert!(said && begin.elapsed() <= lease / 6, "{lease:?}: {heard:?}");
        }
        pumping.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_silent_is_given_up_within_half_a_lease() {
    let (one, _silent) = duplex(1 << 16);
    let (_from, _to, agent) = agent_end(one).await;
    let begin = tokio::time::Instant::now();
    assert!(matches!(agent.await.expect("no panic"), Over::Silent));
    // Half a lease of silence, and as long again for a farewell that nobody reads.
    assert!(begin.elapsed() <= LEASE_DEFAULT, "{:?}", begin.elapsed());
    let (one, _silent) = duplex(1 << 16);
    let (_from, _to, server) = server_end(one).await;
    assert!(matches!(server.await.expect("no panic"), Over::Silent));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_what_is_no_frame_is_told_and_left() {
    let (one, other) = duplex(1 << 16);
    let (mut from_server, to_server, _agent) = agent_end(one).await;
    let (_from_agent, _to_agent, server) = server_end(other).await;
    let mut later = introduction();
    later.protocol = 9;
    let hello = Hello { introduction: later, epoch: Default::default(), injections: Vec::new() };
    to_server.send(AgentFrame::Hello(Box::new(hello))).await.expect("open");
    let reason = "the agent speaks version 9 of the protocol, the server version 1".to_owned();
    assert_eq!(from_server.recv().await, Some(ServerFrame::Refused { reason }));
    assert!(matches!(server.await.expect("no panic"), Over::Frame(FrameError::Version { theirs: 9 })));
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_too_large_ends_the_connection_before_it_is_sent() {
    let (one, _other) = duplex(1 << 16);
    let (_from_agent, to_agent, server) = server_end(one).await;
    let large = ServerFrame::Refused { reason: "x".repeat(FRAME_BYTES_MAX) };
    assert!(large.encode().is_err());
    to_agent.send(large).await.expect("open");
    assert!(matches!(server.await.expect("no panic"), Over::Frame(FrameError::TooLarge { .. })));
}

/// Takes one connection and answers its handshake.
async fn listen(tls: Option<TlsAcceptor>) -> (Server, tokio::task::JoinHandle<Option<AgentFrame>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a caller");
        match tls {
            Some(tls) => first_frame(tls.accept(stream).await.ok()?).await,
            None => first_frame(stream).await,
        }
    });
    (format!("{scheme}://localhost:{port}").parse().expect("an address"), served)
}

async fn first_frame<S>(stream: S) -> Option<AgentFrame>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let socket = tokio_tungstenite::accept_async(stream).await.ok()?;
    let (queues, mut hears, _tells) = queues::<AgentFrame, ServerFrame>();
    let _pumping = tokio::spawn(async move { pump(socket, queues, End::Server, lease, |_| None).await });
    hears.recv().await
}

async fn say_hello(socket: Socket) {
    let (queues, _hears, tells) = queues::<ServerFrame, AgentFrame>();
    tells.send(hello()).await.expect("open");
    drop(tells);
    match socket {
        Socket::Plain(socket) => drop(pump(*socket, queues, End::Agent, lease, |_| None).await),
        Socket::Encrypted(socket) => drop(pump(*socket, queues, End::Agent, lease, |_| None).await),
    }
}

struct Authority {
    _folder: tempfile::TempDir,
    certificate: PathBuf,
    acceptor: TlsAcceptor,
}

fn authority() -> Authority {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = folder.path().join("ca.pem");
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a key");
    Authority { _folder: folder, certificate, acceptor: TlsAcceptor::from(Arc::new(config)) }
}

#[tokio::test]
async fn an_agent_dials_and_says_hello_with_and_without_tls() {
    let authority = authority();
    for tls in [None, Some(authority.acceptor.clone())] {
        let (server, served) = listen(tls).await;
        let dialler = Dialler::new(server, Some(&authority.certificate)).expect("a certificate");
        say_hello(dialler.open(Some("token")).await.expect("a connection")).await;
        assert_eq!(served.await.expect("no panic"), Some(hello()), "{dialler:?}");
    }
}

#[tokio::test]
async fn a_server_of_an_authority_that_is_not_trusted_is_left() {
    let (theirs, other) = (authority(), authority());
    let (server, served) = listen(Some(theirs.acceptor.clone())).await;
    let dialler = Dialler::new(server, Some(&other.certificate)).expect("a certificate");
    let Err(error) = dialler.open(Some("token")).await else { panic!("it is not trusted") };
    assert!(matches!(error, DialError::Unreachable { .. }), "{error}");
    assert!(error.to_string().to_lowercase().contains("certificate"), "{error}");
    assert_eq!(served.await.expect("no panic"), None, "the token never left");
}

#[tokio::test]
async fn a_refusal_is_told_with_what_the_server_says() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server: Server = listener.local_addr().expect("an address").to_string().parse().expect("an address");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a caller");
        let mut head = [0; 4096];
        let _ = stream.read(&mut head).await;
        let body = r#"{"detail":"the token is not the one of this server"}"#;
        let answer = format!(
            "HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let _ = stream.write_all(answer.as_bytes()).await;
    });
    let dialler = Dialler::new(server, None).expect("nobody to trust");
    let Err(error) = dialler.open(Some("secret")).await else { panic!("it is refused") };
    let text = error.to_string();
    assert!(
        text.ends_with("takes no agent: 401 Unauthorized the token is not the one of this server"),
        "{text}"
    );
}

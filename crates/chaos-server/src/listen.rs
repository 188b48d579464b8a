//! Connections: who is at the other end, how many at a time, with TLS or without, how long a request head may take.
//!
//! Owns the listener and its connections until they end. It never reads a request.

mod crowd;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, InvalidMessage};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::Peer;
use crate::limits::{CONNECTIONS_MAX, HANDSHAKE_TIMEOUT, HEADER_BYTES_MAX, HEADER_TIMEOUT, UNREAD_TIMEOUT};
use crate::patient::Patient;

use crowd::Crowd;

/// Time after a failed accept, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that wait to be accepted. After a restart every agent connects at the same moment, and whoever finds no
/// room is heard of a second later, when TCP tries again.
const WAITING_CONNECTIONS_MAX: u32 = 4096;

/// What is said to who speaks no TLS where it is needed.
const SPEAKS_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
    this server speaks TLS: use https://\n";

/// A bound listener.
pub(crate) enum Listener {
    Tcp(TcpListener, SocketAddr, Option<TlsAcceptor>),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Binds an address of this machine.
    pub(crate) fn tcp(address: SocketAddr, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // As a listener that is bound in one step does: an address that was in use a moment ago is no hindrance.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(WAITING_CONNECTIONS_MAX)?;
        let address = listener.local_addr()?;
        Ok(Self::Tcp(listener, address, tls))
    }

    /// Binds a socket in the file system, mode 0600. One that nobody listens on any more is replaced.
    pub(crate) fn unix(path: &Path) -> io::Result<Self> {
        if path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket()) {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it"));
            }
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        // Whoever connects before this is asked for the same credentials.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self::Unix(listener, path.to_owned()))
    }

    /// Where it is reached from this machine.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Tcp(_, address, tls) => {
                let scheme = if tls.is_some() { "https" } else { "http" };
                let here = match address.ip() {
                    IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
                    IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
                    ip => ip,
                };
                format!("{scheme}://{}", SocketAddr::new(here, address.port()))
            }
            Self::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }

    /// Serves until `closing`, then lets connections finish what they are answering; the tracker is empty when all
    /// are gone.
    pub(crate) async fn serve(self, router: Router, closing: CancellationToken, connections: TaskTracker) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let crowd = Crowd::default();
        let accepting = async {
            loop {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let connection = Connection { router: router.clone(), closing: closing.clone() };
                match self.accept().await {
                    Ok(Accepted::Tcp(stream, peer, remote, tls)) => {
                        // One address can't take all the places from the others.
                        let Some(guest) = crowd.enter(remote.ip()) else { continue };
                        connections.spawn(async move {
                            match tls {
                                None => connection.serve(Patient::new(stream, UNREAD_TIMEOUT), peer).await,
                                Some(tls) => {
                                    if let Some(stream) = shake_hands(&tls, stream).await {
                                        connection.serve(stream, peer).await;
                                    }
                                }
                            }
                            drop((guest, place));
                        });
                    }
                    Ok(Accepted::Unix(stream, peer)) => {
                        connections.spawn(async move {
                            connection.serve(Patient::new(stream, UNREAD_TIMEOUT), peer).await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        tracing::warn!("a connection could not be accepted: {error}");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = closing.cancelled() => {}
            () = accepting => {}
        }
        if let Self::Unix(_, path) = &self {
            let _ = std::fs::remove_file(path);
        }
    }

    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener, _, tls) => {
                let (stream, remote) = listener.accept().await?;
                stream.set_nodelay(true)?;
                // An address of the fourth version may come in the clothes of the sixth.
                let plain =
                    |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
                let remote = plain(remote);
                let peer = Peer::Tcp { local: plain(stream.local_addr()?), remote };
                Ok(Accepted::Tcp(stream, peer, remote, tls.clone()))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let peer = Peer::Unix { trusted: trusted(stream.peer_cred()?.uid()) };
                Ok(Accepted::Unix(stream, peer))
            }
        }
    }
}

enum Accepted {
    Tcp(TcpStream, Peer, SocketAddr, Option<TlsAcceptor>),
    Unix(tokio::net::UnixStream, Peer),
}

/// Name of a user who may do everything with the state folder anyway: root and ourselves.
fn trusted(uid: u32) -> Option<&'static str> {
    static OURS: OnceLock<String> = OnceLock::new();
    if uid == 0 {
        return Some("root");
    }
    let ours = nix::unistd::geteuid();
    (uid == ours.as_raw()).then(|| {
        let name = || nix::unistd::User::from_uid(ours).ok().flatten().map(|user| user.name);
        OURS.get_or_init(|| name().unwrap_or_else(|| uid.to_string())).as_str()
    })
}

async fn shake_hands(tls: &TlsAcceptor, stream: TcpStream) -> Option<TlsStream<Patient<TcpStream>>> {
    let accept = tls.accept(Patient::new(stream, UNREAD_TIMEOUT)).into_fallible();
    match timeout(HANDSHAKE_TIMEOUT, accept).await.ok()? {
        Ok(stream) => Some(stream),
        Err((error, mut stream)) => {
            tracing::debug!("a TLS handshake failed: {error}");
            let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
            if matches!(cause, Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType))) {
                let _ = timeout(HANDSHAKE_TIMEOUT, stream.write_all(SPEAKS_TLS)).await;
            }
            None
        }
    }
}

struct Connection {
    router: Router,
    closing: CancellationToken,
}

impl Connection {
    /// Serves one connection to its end.
    async fn serve<S>(self, stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = TowerToHyperService::new(self.router);
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            let answer = router.call(request);
            async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_header_size(HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        tokio::select! {
            biased;
            ended = connection.as_mut() => { let _ = ended; }
            () = self.closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }
}

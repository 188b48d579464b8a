//! Connections: who is at the other end, how many at a time, how long a request head may take.
//!
//! Owns the listener and its connections until they end. It never reads a request.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::Peer;
use crate::limits::{CONNECTIONS_MAX, HEADER_BYTES_MAX, HEADER_TIMEOUT, UNREAD_TIMEOUT};
use crate::patient::Patient;

/// Time after a failed accept, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound listener.
pub(crate) enum Listener {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Binds an address of this machine.
    pub(crate) async fn tcp(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self::Tcp(listener, address))
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

    /// Where it is reached.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Tcp(_, address) => format!("http://{address}"),
            Self::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }

    /// Serves until `closing`, then lets connections finish what they are answering; the tracker is empty when all
    /// are gone.
    pub(crate) async fn serve(self, router: Router, closing: CancellationToken, connections: TaskTracker) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let accepting = async {
            loop {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let connection = Connection { router: router.clone(), closing: closing.clone() };
                let task = match self.accept().await {
                    Ok(Accepted::Tcp(stream, peer)) => {
                        connections.spawn(connection.serve(stream, peer, place))
                    }
                    Ok(Accepted::Unix(stream, peer)) => {
                        connections.spawn(connection.serve(stream, peer, place))
                    }
                    Err(error) => {
                        tracing::warn!("a connection could not be accepted: {error}");
                        sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                drop(task);
            }
        };
        tokio::select! {
            () = accepting => {}
            () = closing.cancelled() => {}
        }
        if let Self::Unix(_, path) = &self {
            let _ = std::fs::remove_file(path);
        }
    }

    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener, local) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream, Peer::Tcp { local: *local }))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                let trusted = uid == 0 || uid == nix::unistd::geteuid().as_raw();
                Ok(Accepted::Unix(stream, Peer::Unix { trusted }))
            }
        }
    }
}

enum Accepted {
    Tcp(tokio::net::TcpStream, Peer),
    Unix(tokio::net::UnixStream, Peer),
}

struct Connection {
    router: Router,
    closing: CancellationToken,
}

impl Connection {
    /// Serves one connection; its place is free again when this ends.
    async fn serve<S>(self, stream: S, peer: Peer, _place: tokio::sync::OwnedSemaphorePermit)
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
            .serve_connection(TokioIo::new(Patient::new(stream, UNREAD_TIMEOUT)), service);
        let mut connection = pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => { let _ = ended; }
            () = self.closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }
}

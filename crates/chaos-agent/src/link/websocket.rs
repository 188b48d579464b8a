//! Frames over a WebSocket, at either end: one message a frame, bounded, and a peer that is silent is gone.
//!
//! Owns the pump between a socket and two queues. It knows nothing of what the frames say, and neither dials nor
//! listens.

use std::time::Duration;

use chaos_core::link::{FRAME_BYTES_MAX, Frame, FrameError};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;

/// What a connection has to read into; a frame may be larger.
const READ_BUFFER_BYTES: usize = 4 << 10;
/// What may wait to be written before a writer waits for the peer.
const WRITE_BUFFER_BYTES: usize = 16 << 10;
/// The agent says this many times within a lease that it is there, and hears it answered.
const PINGS_PER_LEASE: u32 = 6;
/// Least time between two pings.
const PING_EVERY_MIN: Duration = Duration::from_millis(10);

/// Limits of a WebSocket that carries frames.
#[must_use]
pub fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(2 * FRAME_BYTES_MAX)
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX))
}

/// Which end this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It says every so often that it is there.
    Agent,
    /// It answers that; the socket does so by itself.
    Server,
}

/// The queues of one end.
#[derive(Debug)]
pub struct Queues<In, Out> {
    /// Takes what the peer says.
    pub heard: mpsc::Sender<In>,
    /// What it is told.
    pub told: mpsc::Receiver<Out>,
    /// Ends the connection.
    pub cut: CancellationToken,
}

/// Why a connection is over.
#[derive(Debug)]
pub enum Over {
    /// Somebody here ended it: it was cut, or a queue was closed.
    Here,
    /// The peer has closed it.
    Closed,
    /// Nothing was heard for half a lease, or nothing could be sent.
    Silent,
    /// The socket failed.
    Socket(Box<Error>),
    /// The peer said what is no frame.
    Frame(FrameError),
}

/// Moves frames both ways until the connection is over. `lease` may change while it lasts. What can't be read may be
/// answered by one frame more, `reply`.
pub async fn pump<S, In, Out>(
    socket: WebSocketStream<S>,
    queues: Queues<In, Out>,
    end: End,
    lease: impl Fn() -> Duration,
    reply: impl Fn(&FrameError) -> Option<Out>,
) -> Over
where
    S: AsyncRead + AsyncWrite + Unpin,
    In: Frame,
    Out: Frame,
{
    let Queues { heard, mut told, cut } = queues;
    let (mut to_peer, mut from_peer) = socket.split();
    // One future for each direction: a peer that does not read must not keep us from reading.
    let over = tokio::select! {
        biased;
        () = cut.cancelled() => Over::Here,
        over = read(&mut from_peer, &heard, &lease) => over,
        over = write(&mut to_peer, &mut told, end, &lease) => over,
    };
    cut.cancel();
    let last = match &over {
        Over::Frame(error) => reply(error),
        // What was said just before the end, such as a refusal or a farewell.
        Over::Here => told.try_recv().ok(),
        _ => None,
    };
    let farewell = async {
        if let Some(bytes) = last.and_then(|frame| frame.encode().ok()) {
            let _ = to_peer.send(Message::binary(bytes)).await;
        }
        let _ = to_peer.close().await;
    };
    // The connection is over either way.
    let _ = timeout(patience(lease()), farewell).await;
    over
}

/// How long silence may last.
fn patience(lease: Duration) -> Duration {
    lease / 2
}

/// Time between two pings; never none, whatever the lease.
fn ping_every(lease: Duration) -> Duration {
    (lease / PINGS_PER_LEASE).max(PING_EVERY_MIN)
}

async fn read<In: Frame>(
    from_peer: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
    heard: &mpsc::Sender<In>,
    lease: &impl Fn() -> Duration,
) -> Over {
    loop {
        let Ok(message) = timeout(patience(lease()), from_peer.next()).await else { return Over::Silent };
        let bytes = match message {
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Text(text))) => text.into(),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            Some(Ok(Message::Close(_))) | None => return Over::Closed,
            Some(Err(error)) => return Over::Socket(Box::new(error)),
        };
        match In::decode(&bytes) {
            Ok(frame) => {
                if heard.send(frame).await.is_err() {
                    return Over::Here;
                }
            }
            Err(error) => return Over::Frame(error),
        }
    }
}

async fn write<Out: Frame>(
    to_peer: &mut (impl Sink<Message, Error = Error> + Unpin),
    told: &mut mpsc::Receiver<Out>,
    end: End,
    lease: &impl Fn() -> Duration,
) -> Over {
    let mut every = ping_every(lease());
    let mut pings = interval(every);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            biased;
            frame = told.recv() => match frame.map(|frame| frame.encode()) {
                Some(Ok(bytes)) => Message::binary(bytes),
                // It would not be taken anyway; the peer finds out on the next connection what it missed.
                Some(Err(error)) => return Over::Frame(error),
                None => return Over::Here,
            },
            _ = pings.tick(), if end == End::Agent => Message::Ping(Vec::new().into()),
        };
        match timeout(patience(lease()), to_peer.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Over::Socket(Box::new(error)),
            Err(_) => return Over::Silent,
        }
        if every != ping_every(lease()) {
            every = ping_every(lease());
            pings = interval_at(Instant::now() + every, every);
            pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
    }
}

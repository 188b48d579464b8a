//! One connection of one host, from its hello to its end.
//!
//! Owns the loop between a transport and the state of the host. A host that does not read is disconnected, not waited
//! for.

use std::sync::Arc;
use std::time::Duration;

use chaos_core::link::{AgentFrame, Epoch, Hello, ServerFrame};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Hub;
use super::host::Host;

/// How long an agent may take to say its hello.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// How long an agent may leave unread what is sent to it.
const UNREAD_FOR: Duration = Duration::from_secs(5);

/// How frames travel between the hub and one agent. Both queues should be short: what waits in them can't be overtaken
/// by an undo.
#[derive(Debug)]
pub struct Transport {
    /// What the agent says.
    pub frames: mpsc::Receiver<AgentFrame>,
    /// What it is told.
    pub orders: mpsc::Sender<ServerFrame>,
    /// Ends the connection, whoever cancels it.
    pub cut: CancellationToken,
}

/// Where an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In this process.
    Here,
    /// On another host, or in another process; it must have a name.
    Elsewhere,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It never said hello.
    Silent,
    /// It was not taken.
    Refused {
        /// Why.
        reason: String,
    },
    /// The link broke.
    Broken {
        /// The host.
        host: String,
    },
    /// The agent was ended, and has undone everything.
    Left {
        /// The host.
        host: String,
    },
}

pub(super) async fn serve(
    hub: &Hub,
    mut transport: Transport,
    place: Place,
    admitted: impl FnOnce() + Send,
) -> Ended {
    let hello = tokio::select! {
        biased;
        () = transport.cut.cancelled() => return Ended::Silent,
        frame = timeout(HELLO_WITHIN, transport.frames.recv()) => match frame {
            Ok(Some(AgentFrame::Hello(hello))) => hello,
            _ => return Ended::Silent,
        },
    };
    let epoch = hello.epoch;
    match admit(hub, *hello, place, &transport.cut) {
        Ok((host, wake)) => {
            admitted();
            hub.changed();
            // Whatever ends this future, the host is told.
            let _connected = Connected { hub, host: &host, epoch };
            converse(&host, epoch, &wake, &mut transport).await;
            let name = host.shown().to_owned();
            if host.said_bye() { Ended::Left { host: name } } else { Ended::Broken { host: name } }
        }
        Err(reason) => {
            let refused = ServerFrame::Refused { reason: reason.clone() };
            let _ = timeout(UNREAD_FOR, transport.orders.send(refused)).await;
            Ended::Refused { reason }
        }
    }
}

fn admit(
    hub: &Hub,
    hello: Hello,
    place: Place,
    cut: &CancellationToken,
) -> Result<(Arc<Host>, Arc<Notify>), String> {
    hello.check(place == Place::Here).map_err(|error| error.to_string())?;
    let host = hub.find_or_add(&hello.introduction.host);
    let host = host.ok_or_else(|| format!("{} hosts are known already", super::HOSTS_MAX))?;
    let wake = host.connected(hello, cut).map_err(|refusal| refusal.to_string())?;
    Ok((host, wake))
}

async fn converse(host: &Host, epoch: Epoch, wake: &Notify, transport: &mut Transport) {
    let mut unread_at = None;
    loop {
        let waits = host.has_frames(epoch);
        let give_up_at = waits.then(|| *unread_at.get_or_insert_with(|| Instant::now() + UNREAD_FOR));
        tokio::select! {
            biased;
            () = transport.cut.cancelled() => return,
            permit = transport.orders.reserve(), if waits => {
                let Ok(permit) = permit else { return };
                if let Some(frame) = host.next_frame(epoch) {
                    permit.send(frame);
                }
                unread_at = None;
            }
            () = wake.notified() => {}
            frame = transport.frames.recv() => match frame {
                Some(frame) => {
                    let bye = frame == AgentFrame::Bye;
                    host.frame(epoch, frame);
                    if bye {
                        return;
                    }
                }
                None => return,
            },
            () = sleep_until(give_up_at.unwrap_or_else(Instant::now)), if waits => return,
        }
    }
}

/// A connection that is served.
struct Connected<'a> {
    hub: &'a Hub,
    host: &'a Host,
    epoch: Epoch,
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.host.disconnected(self.epoch);
        self.hub.changed();
    }
}

//! The agents of other hosts: their WebSockets, and the hub that makes one node of them and of this host.
//!
//! Owns the way from an upgraded connection to the hub, and the agent of this process, which speaks the same protocol
//! over two queues. Who may connect is decided before: by the permission of the operation, like any other call's.

mod door;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chaos_agent::link::websocket::{End, Queues, limits, pump};
use chaos_agent::link::{QUEUE_FRAMES, in_process, introduce};
use chaos_agent::local::Limits;
use chaos_core::link::{FrameError, ServerFrame};
use chaos_core::port::{InjectionReport, Node};
use chaos_core::run::RunId;
use chaos_engine::SystemClock;
use chaos_engine::hub::{Ended, Hub, HubConfig, Place, Transport};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::ApiError;

use door::{Door, Room};

/// How long a run of a server before this one waits for hosts that are not there yet: long enough for every agent that
/// lives to come back, and shorter than the lease of those that have.
const ATTACH_WITHIN: Duration = Duration::from_secs(5);
/// How long the agent of this process may take to be there.
const HERE_WITHIN: Duration = Duration::from_secs(5);

/// Every host, this one among them.
pub(crate) struct Agents {
    pub(crate) hub: Hub,
    door: Door,
    lease: Duration,
    links: TaskTracker,
    ended: CancellationToken,
}

impl Agents {
    /// Puts the node of this process at the end of a link, if there is one, and nobody else yet. `left` is what a sweep
    /// has found; agents of other hosts take at most half of the files that may be open.
    pub(crate) async fn start(
        node: Option<Arc<dyn Node>>,
        left: Vec<InjectionReport>,
        version: &str,
        lease: Duration,
        open_files_max: u64,
    ) -> Self {
        let config = HubConfig { version: version.to_owned(), lease, attach_within: ATTACH_WITHIN };
        let agents = Self {
            hub: Hub::new(config, Arc::new(SystemClock::default())),
            door: Door::new(open_files_max),
            lease,
            links: TaskTracker::new(),
            ended: CancellationToken::new(),
        };
        if let Some(node) = node {
            agents.take_in(node, left).await;
        }
        agents
    }

    async fn take_in(&self, node: Arc<dyn Node>, left: Vec<InjectionReport>) {
        let introduction = introduce("", "this process", &Limits::default());
        let far = in_process(node, introduction, left);
        let transport = Transport { frames: far.frames, orders: far.orders, cut: self.ended.child_token() };
        let hub = self.hub.clone();
        self.links.spawn(async move {
            let ended = hub.serve(transport, Place::Here).await;
            far.cut.cancel();
            tracing::debug!(?ended, "the link to the agent of this process");
        });
        if timeout(HERE_WITHIN, self.hub.here()).await.is_err() {
            tracing::error!("the agent of this process does not answer");
        }
    }

    /// Names the runs that are about to be taken up; whatever else agents hold is undone.
    pub(crate) fn settle(&self, awaited: BTreeSet<RunId>) {
        self.hub.settle(awaited);
    }

    /// Serves an agent over a connection that is about to be upgraded, until `token_over` resolves.
    ///
    /// # Errors
    /// There is no room for it; the connection must not be upgraded.
    pub(crate) fn serve(
        &self,
        upgrade: OnUpgrade,
        caller: String,
        token_over: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ApiError> {
        let Room { place, new } = self.door.enter()?;
        let (hub, lease, cut) = (self.hub.clone(), self.lease, self.ended.child_token());
        self.links.spawn(async move {
            // Given back last: the socket is closed before.
            let _place = place;
            let Ok(upgraded) = upgrade.await else { return };
            let socket =
                WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(limits()));
            let ((heard, frames), (orders, told)) =
                (mpsc::channel(QUEUE_FRAMES), mpsc::channel(QUEUE_FRAMES));
            let queues = Queues { heard, told, cut: cut.clone() };
            let reply = |error: &FrameError| Some(ServerFrame::Refused { reason: error.to_string() });
            let pumping = pump(socket.await, queues, End::Server, move || lease, reply);
            let transport = Transport { frames, orders, cut: cut.clone() };
            let serving = hub.serve_and_tell(transport, Place::Elsewhere, move || drop(new));
            let served = async { tokio::join!(serving, Box::pin(pumping)) };
            let cutting = async {
                token_over.await;
                cut.cancel();
                std::future::pending().await
            };
            let (ended, over) = tokio::select! {
                biased;
                served = served => served,
                never = cutting => never,
            };
            match ended {
                Ended::Left { host } => tracing::info!(%host, "an agent was ended"),
                Ended::Broken { host } => tracing::warn!(%host, ?over, "the link to an agent broke"),
                Ended::Refused { reason } => tracing::warn!(%caller, %reason, "an agent is not taken"),
                Ended::Silent => tracing::warn!(%caller, ?over, "an agent did not say hello"),
            }
        });
        Ok(())
    }

    /// Ends every link, once nothing is held any more.
    pub(crate) async fn end(&self) {
        self.ended.cancel();
        self.links.close();
        self.links.wait().await;
    }
}

#[cfg(test)]
mod tests;

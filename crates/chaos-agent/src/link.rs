//! The agent: a node at the end of a link to a server, in this process or on another host.
//!
//! Owns what happens between frames and the node. What was ordered, what is still to be told and what a broken link
//! means is [`chaos_core::link::AgentEnd`]'s; the node is any [`Node`]. It never listens: it dials out, or shares two
//! queues with a server in the same process.

pub mod config;
mod dial;
mod identity;
pub mod program;
mod secret;
pub mod websocket;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chaos_core::link::{
    AgentEnd, AgentFrame, AgentOutput, Answer, Epoch, Frame, Introduction, PROTOCOL_VERSION, Request,
    ServerFrame, StatedLimits,
};
use chaos_core::port::{InjectOrder, InjectionReport, LEASE_DEFAULT, Node, NodeError, Placed, ReportSink};
use chaos_core::run::{InjectionId, RunId};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::local::{Limits, check_lease};

pub use dial::{CONNECT_PATH, DialError, Dialler, Server, ServerError};
pub use identity::{Identity, IdentityError};
pub use secret::{SecretError, Token};

/// The most frames that wait to be sent.
const OUTBOX_MAX: usize = 100_000;
/// Frames in each queue between an agent and its transport: what waits there can't be overtaken.
pub const QUEUE_FRAMES: usize = 4;

/// How frames travel between an agent and its server.
#[derive(Debug)]
pub struct Transport {
    /// What the server says.
    pub orders: mpsc::Receiver<ServerFrame>,
    /// What it is told.
    pub frames: mpsc::Sender<AgentFrame>,
    /// Ends the connection, whoever cancels it.
    pub cut: CancellationToken,
}

/// The other ends of a [`Transport`].
#[derive(Debug)]
pub struct FarEnd {
    /// What the agent says.
    pub frames: mpsc::Receiver<AgentFrame>,
    /// What it is told.
    pub orders: mpsc::Sender<ServerFrame>,
    /// Ends the connection, whoever cancels it.
    pub cut: CancellationToken,
}

impl Transport {
    /// A transport in memory, and its other ends.
    #[must_use]
    pub fn in_memory() -> (Self, FarEnd) {
        let (told, frames) = mpsc::channel(QUEUE_FRAMES);
        let (orders, heard) = mpsc::channel(QUEUE_FRAMES);
        let cut = CancellationToken::new();
        let near = Self { orders: heard, frames: told, cut: cut.clone() };
        (near, FarEnd { frames, orders, cut })
    }
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The link broke.
    Broken,
    /// The server did not take the agent, or on terms that the agent does not take.
    Refused {
        /// Why.
        reason: String,
    },
}

/// An agent. Clones share everything.
#[derive(Clone)]
pub struct Agent(Arc<Shared>);

struct Shared {
    node: Arc<dyn Node>,
    state: Mutex<State>,
    /// What the latest welcome said; before the first one, what is usual.
    welcome: watch::Sender<Welcomed>,
    /// Something about the injections has changed.
    moved: Notify,
}

/// What a server said when it took the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcomed {
    /// How often any did.
    pub times: u64,
    /// Version of the server; empty before the first time.
    pub version: String,
    /// How long injections outlast silence.
    pub lease: Duration,
}

struct State {
    end: AgentEnd,
    outbox: VecDeque<AgentFrame>,
    wake: Arc<Notify>,
    refused: Option<String>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("open", &self.state().end.open()).finish_non_exhaustive()
    }
}

/// Puts a node of this process at the end of a link in memory, and serves it for as long as that is. `left` is what a
/// sweep found before. Must be called on a runtime.
#[must_use]
pub fn in_process(node: Arc<dyn Node>, introduction: Introduction, left: Vec<InjectionReport>) -> FarEnd {
    let agent = Agent::new(node, introduction, 1, left);
    let (transport, far) = Transport::in_memory();
    tokio::spawn(async move { agent.serve(transport).await });
    far
}

/// Who an agent is: its host's name, the identity of its state folder, and what its node does at most. Looks at the
/// kernel, which takes a few milliseconds.
#[must_use]
pub fn introduce(host: &str, node: &str, limits: &Limits) -> Introduction {
    Introduction {
        protocol: PROTOCOL_VERSION,
        host: host.to_owned(),
        node: node.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        examination: crate::doctor::examine(),
        limits: StatedLimits {
            faults: limits.faults.clone(),
            apps: limits.apps.clone(),
            duration_max: Some(chaos_core::duration::Span(limits.duration_max)),
            commands: limits.commands.keys().cloned().collect(),
        },
    }
}

impl Agent {
    /// An agent without a connection. `incarnation` counts the starts of an agent on its state folder; `left` is what
    /// a sweep found at this one.
    #[must_use]
    pub fn new(
        node: Arc<dyn Node>,
        introduction: Introduction,
        incarnation: u64,
        left: Vec<InjectionReport>,
    ) -> Self {
        let end = AgentEnd::new(introduction, incarnation, left);
        let state = State { end, outbox: VecDeque::new(), wake: Arc::default(), refused: None };
        let welcome = Welcomed { times: 0, version: String::new(), lease: LEASE_DEFAULT };
        Self(Arc::new(Shared {
            node,
            state: Mutex::new(state),
            welcome: watch::channel(welcome).0,
            moved: Notify::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the latest server said that took this agent.
    #[must_use]
    pub fn welcomed(&self) -> watch::Receiver<Welcomed> {
        self.0.welcome.subscribe()
    }

    /// Injections that may still change something.
    #[must_use]
    pub fn open(&self) -> usize {
        self.state().end.open()
    }

    /// Ends that no server has heard.
    #[must_use]
    pub fn unheard(&self) -> usize {
        self.state().end.unheard()
    }

    /// It was told to end.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.state().end.is_ending()
    }

    /// Serves one connection until it ends.
    pub async fn serve(&self, mut transport: Transport) -> Ended {
        let (epoch, wake) = self.begin();
        let _open = Open { agent: self, epoch };
        loop {
            let waits = self.has_frames();
            tokio::select! {
                biased;
                () = transport.cut.cancelled() => break,
                frame = transport.orders.recv() => match frame {
                    Some(frame) => {
                        let mut state = self.state();
                        let outputs = state.end.frame(epoch, frame);
                        self.carry_out(&mut state, epoch, outputs);
                        if let Some(reason) = state.refused.take() {
                            return Ended::Refused { reason };
                        }
                    }
                    None => break,
                },
                permit = transport.frames.reserve(), if waits => match permit {
                    Ok(permit) => {
                        if let Some(frame) = self.state().outbox.pop_front() {
                            permit.send(frame);
                        }
                    }
                    Err(_) => break,
                },
                () = wake.notified() => if self.state().outbox.len() > OUTBOX_MAX {
                    break; // what was in it is told again on the next connection
                },
            }
        }
        Ended::Broken
    }

    fn begin(&self) -> (Epoch, Arc<Notify>) {
        let mut state = self.state();
        state.outbox.clear();
        state.wake = Arc::default();
        state.refused = None;
        let (epoch, outputs) = state.end.connect();
        self.carry_out(&mut state, epoch, outputs);
        (epoch, Arc::clone(&state.wake))
    }

    fn has_frames(&self) -> bool {
        !self.state().outbox.is_empty()
    }

    /// Takes no more orders, undoes everything that is held, and returns when that is proven or given up on, or after
    /// this time: the injections whose undo is not proven, and how many have not said what became of them.
    pub async fn end_everything(&self, within: Duration) -> (Vec<InjectionId>, usize) {
        {
            let mut state = self.state();
            let outputs = state.end.end_everything();
            let epoch = state.end.current().unwrap_or_default();
            self.carry_out(&mut state, epoch, outputs);
        }
        self.until(within, |state| state.end.open() == 0).await;
        let state = self.state();
        (state.end.unproven(), state.end.open())
    }

    /// Says good-bye on the current connection, once the server has heard every end, or after this time.
    pub async fn say_goodbye(&self, within: Duration) {
        let deadline = Instant::now() + within;
        self.until(within, |state| state.end.current().is_none() || state.end.unheard() == 0).await;
        {
            let mut state = self.state();
            let epoch = state.end.current().unwrap_or_default();
            let outputs = state.end.farewell().into_iter().collect();
            self.carry_out(&mut state, epoch, outputs);
        }
        // The server ends the connection when it has read that.
        self.until(deadline.saturating_duration_since(Instant::now()), |state| state.end.current().is_none())
            .await;
    }

    async fn until(&self, within: Duration, is_so: impl Fn(&State) -> bool) {
        let deadline = Instant::now() + within;
        loop {
            let moved = self.0.moved.notified();
            if is_so(&self.state()) || timeout_at(deadline, moved).await.is_err() {
                return;
            }
        }
    }

    /// Does what follows. The node is never called from here, but from tasks: it may be the node that is calling.
    fn carry_out(&self, state: &mut State, epoch: Epoch, outputs: Vec<AgentOutput>) {
        for output in outputs {
            match output {
                AgentOutput::Send(frame) => {
                    state.outbox.push_back(frame);
                    state.wake.notify_one();
                }
                AgentOutput::Ask { request, body } => self.spawn(|agent| agent.answer(epoch, request, *body)),
                AgentOutput::Inject(order) => self.spawn(|agent| agent.hand_over(*order)),
                AgentOutput::Revert { run, injections } => self.spawn(|agent| async move {
                    agent.0.node.revert(&run, injections).await;
                }),
                AgentOutput::TakeUp { run, injections } => self.spawn(|agent| agent.take_up(run, injections)),
                AgentOutput::Renew(run) => self.spawn(|agent| async move { agent.0.node.renew(&run).await }),
                AgentOutput::Welcome { version, lease_ms } => {
                    let lease = Duration::from_millis(lease_ms);
                    match check_lease(lease) {
                        Ok(()) => self.0.welcome.send_modify(|welcomed| {
                            *welcomed = Welcomed { times: welcomed.times + 1, version, lease };
                        }),
                        // Silence is measured by it: such a link is none.
                        Err(reason) => state.refused = Some(format!("the server speaks of {reason}")),
                    }
                }
                AgentOutput::Refused { reason } => state.refused = Some(reason),
            }
        }
        self.0.moved.notify_waiters();
    }

    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, work: impl FnOnce(Self) -> F) {
        tokio::spawn(work(self.clone()));
    }

    fn sink(&self) -> ReportSink {
        let agent = self.clone();
        Arc::new(move |report| {
            let mut state = agent.state();
            let outputs = state.end.reported(report);
            let epoch = state.end.current().unwrap_or_default();
            agent.carry_out(&mut state, epoch, outputs);
        })
    }

    async fn hand_over(self, order: InjectOrder) {
        let run = order.run.clone();
        let ids: Vec<InjectionId> = order.injections.iter().map(|plan| plan.id.clone()).collect();
        let (node, sink) = (Arc::clone(&self.0.node), self.sink());
        // In a task of its own: whatever becomes of it, the orders behind it must not wait for ever.
        let taken = tokio::spawn(async move { node.inject(order, sink).await }).await;
        let result = taken.unwrap_or_else(|error| {
            Err(NodeError::Holder { run: run.clone(), reason: format!("the order was lost: {error}") })
        });
        let mut state = self.state();
        let outputs = state.end.handed_over(&run, &ids, &result);
        let epoch = state.end.current().unwrap_or_default();
        self.carry_out(&mut state, epoch, outputs);
    }

    async fn take_up(self, run: RunId, injections: Vec<InjectionId>) {
        let here = |injection| Placed { injection, host: String::new() };
        let placed = injections.into_iter().map(here).collect();
        self.0.node.attach(&run, placed, self.sink()).await;
    }

    async fn answer(self, epoch: Epoch, request: u64, body: Request) {
        let node = &self.0.node;
        let answer = match &body {
            Request::Inventory(target) => {
                node.inventory(target).await.map(|inventory| Answer::Inventory(Box::new(inventory)))
            }
            Request::Act(action) => node.act(action).await.map(Answer::Evidence),
            Request::Prepare(run) => {
                node.prepare(run).await;
                Ok(Answer::Done)
            }
            Request::Release(run) => {
                node.release(run).await;
                Ok(Answer::Done)
            }
        };
        let answer = answer.and_then(|answer| within_a_frame(request, answer));
        let mut state = self.state();
        let outputs = state.end.answered(epoch, request, answer).into_iter().collect();
        self.carry_out(&mut state, epoch, outputs);
    }
}

/// An answer that fits into a frame, or why it does not.
fn within_a_frame(request: u64, answer: Answer) -> Result<Answer, NodeError> {
    let frame = AgentFrame::Answer { request, answer: Ok(answer) };
    let too_large = frame.encode().err();
    match (too_large, frame) {
        (None, AgentFrame::Answer { answer, .. }) => answer,
        (Some(error), _) => Err(NodeError::Failed { reason: format!("the answer is too long: {error}") }),
        (None, _) => Ok(Answer::Done),
    }
}

/// A connection that is served.
struct Open<'a> {
    agent: &'a Agent,
    epoch: Epoch,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut state = self.agent.state();
        state.end.disconnected(self.epoch);
        state.outbox.clear();
        self.agent.0.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests;

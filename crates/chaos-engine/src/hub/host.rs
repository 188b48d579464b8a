//! One host: the server's end of its links, who hears of what happens there, what waits to be sent.
//!
//! Owns that state behind one lock, which is never held across an await. A sink is called while it is held, so that
//! nobody hears of two changes in the wrong order: sinks do not block, and do not call the hub.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chaos_core::link::{
    AgentFrame, Answer, Epoch, Hello, HostInfo, Introduction, LOCAL_HOST, Refusal, Request, ServerEnd,
    ServerFrame, ServerOutput, concludes,
};
use chaos_core::port::{Clock, InjectOrder, InjectionReport, NodeError, ReportSink};
use chaos_core::run::{InjectionId, RunId};
use jiff::Timestamp;
use tokio::sync::{Notify, broadcast, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::outbox::Outbox;
use super::{HubConfig, MISSED_FOR};

type Answered = Result<Answer, NodeError>;

pub(super) struct Host {
    name: String,
    clock: Arc<dyn Clock>,
    strays: broadcast::Sender<InjectionReport>,
    state: Mutex<State>,
}

struct State {
    end: ServerEnd,
    who: Option<Introduction>,
    since: Timestamp,
    sinks: BTreeMap<InjectionId, ReportSink>,
    waiting: BTreeMap<u64, oneshot::Sender<Answered>>,
    link: Option<Link>,
    lost_at: Option<Instant>,
    said_bye: bool,
}

/// The current connection.
struct Link {
    epoch: Epoch,
    outbox: Outbox,
    wake: Arc<Notify>,
    cut: CancellationToken,
}

impl Host {
    pub(super) fn new(
        name: &str,
        config: &HubConfig,
        clock: Arc<dyn Clock>,
        strays: broadcast::Sender<InjectionReport>,
    ) -> Self {
        let lease_ms = u64::try_from(config.lease.as_millis()).unwrap_or(u64::MAX);
        let state = State {
            end: ServerEnd::new(name, &config.version, lease_ms),
            who: None,
            since: clock.now(),
            sinks: BTreeMap::new(),
            waiting: BTreeMap::new(),
            link: None,
            lost_at: None,
            said_bye: false,
        };
        Self { name: name.to_owned(), clock, strays, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its name, empty for the host of the service.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its name for people.
    pub(super) fn shown(&self) -> &str {
        if self.is_here() { LOCAL_HOST } else { &self.name }
    }

    pub(super) fn is_here(&self) -> bool {
        self.name.is_empty()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.state().end.is_connected()
    }

    /// What is known of it; `None` before it was connected for the first time.
    pub(super) fn info(&self) -> Option<HostInfo> {
        let state = self.state();
        let who = state.who.as_ref()?;
        Some(HostInfo {
            name: self.shown().to_owned(),
            connected: state.end.is_connected(),
            since: state.since,
            version: who.version.clone(),
            examination: who.examination.clone(),
            limits: who.limits.clone(),
            held: state.end.open(),
        })
    }

    /// Since when nothing is expected of it any more.
    pub(super) fn gone_since(&self) -> Option<Instant> {
        let state = self.state();
        state.lost_at.filter(|_| !state.end.is_connected() && state.end.open() == 0)
    }

    /// Why it can't be asked.
    pub(super) fn lost(&self) -> Option<NodeError> {
        let state = self.state();
        if state.end.is_connected() {
            return None;
        }
        let reason = match (state.end.open(), state.said_bye) {
            (0, true) => "its agent was ended".to_owned(),
            (0, false) => "its agent is not connected".to_owned(),
            (open, _) => {
                format!("its agent is not connected, and holds {open} injections or has undone them")
            }
        };
        Some(NodeError::Unreachable { host: self.name.clone(), reason })
    }

    /// Nobody can say what is on it: it holds something, or was lost a moment ago.
    pub(super) fn is_missed(&self) -> bool {
        let state = self.state();
        let lately = state.lost_at.is_some_and(|at| at.elapsed() < MISSED_FOR);
        !state.end.is_connected() && (state.end.open() > 0 || (lately && !state.said_bye))
    }

    /// Injections of this run are open there, and whether they are held is not known.
    pub(super) fn is_awaited(&self, run: &RunId) -> bool {
        let state = self.state();
        !state.end.is_connected() && state.end.has_run(run)
    }

    pub(super) fn held(&self, run: &RunId) -> Vec<InjectionId> {
        self.state().end.held(run)
    }

    /// Takes a connection; its wake-up call.
    pub(super) fn connected(&self, hello: Hello, cut: &CancellationToken) -> Result<Arc<Notify>, Refusal> {
        let mut state = self.state();
        let outputs = state.end.connected(&hello)?;
        let wake = Arc::new(Notify::new());
        let link =
            Link { epoch: hello.epoch, outbox: Outbox::default(), wake: Arc::clone(&wake), cut: cut.clone() };
        if let Some(before) = state.link.replace(link) {
            before.cut.cancel();
        }
        state.who = Some(hello.introduction);
        state.since = self.clock.now();
        state.said_bye = false;
        self.carry_out(&mut state, outputs);
        Ok(wake)
    }

    pub(super) fn disconnected(&self, epoch: Epoch) {
        let mut state = self.state();
        if state.link.as_ref().is_none_or(|link| link.epoch != epoch) {
            return; // a later one has taken its place
        }
        let outputs = state.end.disconnected(epoch);
        state.link = None;
        state.since = self.clock.now();
        state.lost_at = Some(Instant::now());
        self.carry_out(&mut state, outputs);
    }

    pub(super) fn frame(&self, epoch: Epoch, frame: AgentFrame) {
        let mut state = self.state();
        if frame == AgentFrame::Bye {
            state.said_bye |= state.end.current() == Some(epoch);
            return;
        }
        let outputs = state.end.frame(epoch, frame);
        self.carry_out(&mut state, outputs);
    }

    pub(super) fn said_bye(&self) -> bool {
        self.state().said_bye
    }

    /// Something waits to be sent on this connection.
    pub(super) fn has_frames(&self, epoch: Epoch) -> bool {
        let state = self.state();
        state.link.as_ref().is_some_and(|link| link.epoch == epoch && !link.outbox.is_empty())
    }

    /// The next frame of this connection.
    pub(super) fn next_frame(&self, epoch: Epoch) -> Option<ServerFrame> {
        let mut state = self.state();
        state.link.as_mut().filter(|link| link.epoch == epoch)?.outbox.pop()
    }

    pub(super) fn settle(&self, awaited: BTreeSet<RunId>) {
        let mut state = self.state();
        let outputs = state.end.settle(awaited);
        self.carry_out(&mut state, outputs);
    }

    pub(super) fn claimed(&self, run: &RunId) {
        let mut state = self.state();
        let outputs = state.end.claimed(run);
        self.carry_out(&mut state, outputs);
    }

    pub(super) fn order(&self, order: InjectOrder, reports: &ReportSink) {
        let mut state = self.state();
        for plan in &order.injections {
            state.sinks.insert(plan.id.clone(), Arc::clone(reports));
        }
        let outputs = state.end.order(order);
        self.carry_out(&mut state, outputs);
    }

    pub(super) fn attach(&self, run: &RunId, injections: &[InjectionId], reports: &ReportSink) {
        let mut state = self.state();
        for id in injections {
            state.sinks.insert(id.clone(), Arc::clone(reports));
        }
        let outputs = state.end.attach(run, injections);
        self.carry_out(&mut state, outputs);
    }

    pub(super) fn revert(&self, run: &RunId, injections: &BTreeSet<InjectionId>) {
        let mut state = self.state();
        let open = state.end.open_among(injections);
        if open.is_empty() {
            return;
        }
        let outputs = state.end.revert(run, &open);
        self.carry_out(&mut state, outputs);
    }

    pub(super) fn renew(&self, run: &RunId) {
        let mut state = self.state();
        let outputs = state.end.renew(run);
        self.carry_out(&mut state, outputs);
    }

    pub(super) fn release(&self, run: &RunId) {
        let mut state = self.state();
        for id in state.end.release(run) {
            tracing::warn!(host = self.shown(), injection = %id, "the run is over, and its end was not heard of");
            state.sinks.remove(&id);
        }
    }

    /// Asks the agent for something and waits for the answer.
    pub(super) async fn ask(self: &Arc<Self>, body: Request, within: Duration) -> Answered {
        let (tell, told) = oneshot::channel();
        let request = {
            let mut state = self.state();
            let (request, outputs) = state.end.request(body);
            state.waiting.insert(request, tell);
            self.carry_out(&mut state, outputs);
            request
        };
        let _forgotten = Asked { host: Arc::clone(self), request };
        let reason = match timeout(within, told).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(_)) => "the link broke".to_owned(),
            Err(_) => format!("no answer within {} s", within.as_secs()),
        };
        Err(NodeError::Unreachable { host: self.name.clone(), reason })
    }

    /// An answer to another question.
    pub(super) fn misunderstood(&self, answer: &Answer) -> NodeError {
        let kind = match answer {
            Answer::Inventory(_) => "an inventory",
            Answer::Evidence(_) => "evidence",
            Answer::Done => "nothing",
        };
        let reason = format!("its agent answered {kind}, which was not asked for");
        NodeError::Unreachable { host: self.name.clone(), reason }
    }

    fn carry_out(&self, state: &mut State, outputs: Vec<ServerOutput>) {
        for output in outputs {
            match output {
                ServerOutput::Send(frame) => self.send(state, frame),
                ServerOutput::Answer { request, answer } => {
                    if let Some(tell) = state.waiting.remove(&request) {
                        // Whoever asked may have gone.
                        let _ = tell.send(answer);
                    }
                }
                ServerOutput::Report(report) => {
                    let ended = concludes(report.state);
                    let id = &report.injection;
                    let sink = if ended { state.sinks.remove(id) } else { state.sinks.get(id).cloned() };
                    if let Some(sink) = sink {
                        sink(report);
                    }
                }
                ServerOutput::Stray(report) => {
                    tracing::warn!(
                        host = self.shown(), injection = %report.injection, state = %report.state,
                        error = ?report.error, "the end of an injection that no run here waits for"
                    );
                    // Nobody listening is fine.
                    let _ = self.strays.send(report);
                }
            }
        }
    }

    fn send(&self, state: &mut State, frame: ServerFrame) {
        let Some(link) = &mut state.link else { return };
        if !link.outbox.push(frame) {
            tracing::error!(host = self.shown(), "its agent reads too slowly and is disconnected");
            link.cut.cancel();
        }
        link.wake.notify_one();
    }
}

/// A question that somebody waits for: without them it is forgotten.
struct Asked {
    host: Arc<Host>,
    request: u64,
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut state = self.host.state();
        state.waiting.remove(&self.request);
        state.end.forget(self.request);
    }
}

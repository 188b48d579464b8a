//! The server's end of the links to one host: what was ordered there, what is asked, and what a new link means for it.
//!
//! Owns every injection of the host until its end was reported. It survives connections. Each input gives what is to be
//! done, in order; a caller that drops that breaks the promises.
//!
//! ```text
//!            order (connected)            Report: an end
//! unknown ─────────────────────▶ open ─────────────────────▶ told, heard, forgotten
//!    │  attach                    ▲ │   hello: is not named
//!    └────────────────────────────┘ └───────────────────────▶ told: never begun, or no record left
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::frame::{AgentFrame, Answer, Heard, ORDER_CHUNK, Request, SequencedReport, ServerFrame};
use super::hello::{Hello, KNOWN_MAX, by_id, by_run};
use super::{Epoch, concludes, conclusion};
use crate::port::{Evidence, InjectOrder, InjectionReport, NodeError};
use crate::run::{InjectionId, InjectionState, RunId};

/// The most requests that wait for an answer of one host.
const REQUESTS_MAX: usize = 1024;

/// What a server does next.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerOutput {
    /// Send this on the current connection.
    Send(ServerFrame),
    /// A request is answered.
    Answer {
        /// Its number.
        request: u64,
        /// What came of it.
        answer: Result<Answer, NodeError>,
    },
    /// A change, to be told to whoever ordered the injection.
    Report(InjectionReport),
    /// The end of an injection that nobody here ordered, or that was given up on.
    Stray(InjectionReport),
}

/// Why a connection is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is older than the one that there is.
    #[error("a newer connection of this host is there already")]
    Superseded,
    /// Another machine has the name.
    #[error(
        "another agent has the name {host:?}, and {}",
        if *.open == 0 { "is connected".to_owned() } else { format!("holds {} injections", .open) }
    )]
    NameTaken {
        /// The name.
        host: String,
        /// What that agent holds.
        open: usize,
    },
}

/// The server's end.
#[derive(Debug)]
pub struct ServerEnd {
    host: String,
    version: String,
    lease_ms: u64,
    epoch: Epoch,
    connected: bool,
    node: String,
    requests: BTreeSet<u64>,
    next_request: u64,
    injections: BTreeMap<InjectionId, Open>,
    /// What the agent holds and nobody here has asked for yet.
    unclaimed: BTreeMap<InjectionId, Unclaimed>,
    /// The runs of a server before this one that are still to be taken up; `None` when that may be any.
    awaited: Option<BTreeSet<RunId>>,
}

#[derive(Debug)]
struct Open {
    run: RunId,
    /// Number of the last report of this incarnation.
    sequence: u64,
    /// The agent names it, so it is held or its end is told.
    named: bool,
    /// The order was sent by this server, not by one before it.
    ordered: bool,
    revert_requested: bool,
}

#[derive(Debug)]
struct Unclaimed {
    run: RunId,
    state: InjectionState,
    report: Option<SequencedReport>,
    /// Its undo was asked for.
    undoing: bool,
}

impl ServerEnd {
    /// The end for a host that has not connected yet.
    pub fn new(host: impl Into<String>, version: impl Into<String>, lease_ms: u64) -> Self {
        Self {
            host: host.into(),
            version: version.into(),
            lease_ms,
            epoch: Epoch::default(),
            connected: false,
            node: String::new(),
            requests: BTreeSet::new(),
            next_request: 1,
            injections: BTreeMap::new(),
            unclaimed: BTreeMap::new(),
            awaited: None,
        }
    }

    /// There is a connection.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// The current connection.
    pub fn current(&self) -> Option<Epoch> {
        self.connected.then_some(self.epoch)
    }

    /// Injections without an end.
    pub fn open(&self) -> usize {
        self.injections.len()
    }

    /// Those of a run that the agent is known to hold.
    pub fn held(&self, run: &RunId) -> Vec<InjectionId> {
        let held = self.injections.iter().filter(|(_, open)| open.named && open.run == *run);
        held.map(|(id, _)| id.clone()).collect()
    }

    /// Those of these that have no end yet.
    pub fn open_among(&self, injections: &BTreeSet<InjectionId>) -> Vec<InjectionId> {
        self.injections.keys().filter(|id| injections.contains(*id)).cloned().collect()
    }

    /// Injections of this run are open here.
    pub fn has_run(&self, run: &RunId) -> bool {
        self.injections.values().any(|open| open.run == *run)
    }

    /// An agent has said its hello on a new connection. The one before counts no more.
    ///
    /// # Errors
    /// [`Refusal`]: the connection is not taken, and nothing has changed.
    pub fn connected(&mut self, hello: &Hello) -> Result<Vec<ServerOutput>, Refusal> {
        let matters = self.connected || !self.injections.is_empty();
        let known = !self.node.is_empty();
        if matters && known && self.node != hello.introduction.node {
            return Err(Refusal::NameTaken { host: self.host.clone(), open: self.injections.len() });
        }
        if matters && known && hello.epoch <= self.epoch {
            return Err(Refusal::Superseded);
        }
        let mut outputs = self.disconnected(self.epoch);
        let same_process = self.epoch.incarnation == hello.epoch.incarnation;
        self.epoch = hello.epoch;
        self.connected = true;
        self.node.clone_from(&hello.introduction.node);
        outputs.push(ServerOutput::Send(ServerFrame::Welcome {
            version: self.version.clone(),
            lease_ms: self.lease_ms,
        }));
        self.reconcile(hello, same_process, &mut outputs);
        self.take_note(hello);
        self.undo_unclaimed(&mut outputs);
        Ok(outputs)
    }

    /// What the hello says of every open injection, also by not naming it.
    fn reconcile(&mut self, hello: &Hello, same_process: bool, outputs: &mut Vec<ServerOutput>) {
        let known = by_id(&hello.injections);
        let mut ended = Vec::new();
        for (id, open) in &mut self.injections {
            if !same_process {
                open.sequence = 0;
            }
            open.named = known.contains_key(id);
            if !open.named {
                ended.push((id.clone(), never_begun(id, open, same_process)));
            }
        }
        for (id, report) in ended {
            self.injections.remove(&id);
            outputs.push(ServerOutput::Report(report));
        }
        let asked = self.injections.iter().filter(|(_, open)| open.revert_requested);
        for (run, injections) in by_run(asked.map(|(id, open)| (&open.run, id))) {
            let injections = injections.into_iter().collect();
            outputs.push(ServerOutput::Send(ServerFrame::Revert { run, injections }));
        }
        // Somebody is there again: until the next renewal their leases must not end.
        let runs: BTreeSet<RunId> = self.injections.values().map(|open| open.run.clone()).collect();
        if !runs.is_empty() {
            outputs.push(ServerOutput::Send(ServerFrame::Renew { runs: runs.into_iter().collect() }));
        }
    }

    fn take_note(&mut self, hello: &Hello) {
        let others = hello.injections.iter().filter(|known| !self.injections.contains_key(&known.injection));
        self.unclaimed = others
            .map(|known| {
                let (run, state) = (known.run.clone(), known.state);
                (known.injection.clone(), Unclaimed { run, state, report: None, undoing: false })
            })
            .collect();
    }

    /// A connection has ended.
    pub fn disconnected(&mut self, epoch: Epoch) -> Vec<ServerOutput> {
        if epoch != self.epoch || !self.connected {
            return Vec::new();
        }
        self.connected = false;
        self.unclaimed.clear();
        for open in self.injections.values_mut() {
            open.named = false;
        }
        let host = &self.host;
        let lost =
            |request| ServerOutput::Answer { request, answer: Err(unreachable_host(host, "the link broke")) };
        std::mem::take(&mut self.requests).into_iter().map(lost).collect()
    }

    /// A frame has arrived on a connection. One of an earlier connection is dropped.
    pub fn frame(&mut self, epoch: Epoch, frame: AgentFrame) -> Vec<ServerOutput> {
        if epoch != self.epoch || !self.connected {
            return Vec::new();
        }
        match frame {
            AgentFrame::Answer { request, answer } if self.requests.remove(&request) => {
                vec![ServerOutput::Answer { request, answer }]
            }
            AgentFrame::Report(report) => self.reported(*report),
            // A late answer, a second hello; a farewell is the shell's business.
            AgentFrame::Answer { .. } | AgentFrame::Hello(_) | AgentFrame::Bye => Vec::new(),
        }
    }

    fn reported(&mut self, sequenced: SequencedReport) -> Vec<ServerOutput> {
        let id = sequenced.report.injection.clone();
        let Some(open) = self.injections.get_mut(&id) else { return self.reported_unclaimed(sequenced) };
        let mut outputs = Vec::new();
        let state = sequenced.report.state;
        if state.is_final() {
            outputs.push(heard(&sequenced));
        }
        if sequenced.sequence > open.sequence {
            open.sequence = sequenced.sequence;
            if concludes(state) {
                self.injections.remove(&id);
            }
            outputs.push(ServerOutput::Report(sequenced.report));
        }
        outputs
    }

    /// Nobody here waits for it, or nobody does yet.
    fn reported_unclaimed(&mut self, sequenced: SequencedReport) -> Vec<ServerOutput> {
        let (id, state) = (&sequenced.report.injection, sequenced.report.state);
        let awaited = self.unclaimed.get(id).map_or(self.awaited.is_none(), |one| self.is_awaited(&one.run));
        if !awaited && state.is_final() {
            if concludes(state) {
                self.unclaimed.remove(id);
            }
            return vec![heard(&sequenced), ServerOutput::Stray(sequenced.report)];
        }
        let newer = |report: &SequencedReport| report.sequence >= sequenced.sequence;
        if let Some(unclaimed) =
            self.unclaimed.get_mut(id).filter(|one| !one.report.as_ref().is_some_and(newer))
        {
            unclaimed.state = state;
            unclaimed.report = Some(sequenced);
        }
        Vec::new()
    }

    /// Orders injections. Without a connection, or with too many, they are reported as not applied.
    pub fn order(&mut self, order: InjectOrder) -> Vec<ServerOutput> {
        let refusal = if !self.connected {
            Some(unreachable_host(&self.host, "it is not connected").to_string())
        } else if self.injections.len().saturating_add(order.injections.len()) > KNOWN_MAX {
            Some(format!(
                "host {:?} has {} injections, at most {KNOWN_MAX}",
                self.host,
                self.injections.len()
            ))
        } else {
            None
        };
        let mut fresh = Vec::new();
        for plan in order.injections {
            if self.injections.contains_key(&plan.id) {
                continue; // ordered before: an order is never sent again
            }
            if refusal.is_none() {
                let run = order.run.clone();
                let open = Open { run, sequence: 0, named: true, ordered: true, revert_requested: false };
                self.injections.insert(plan.id.clone(), open);
            }
            fresh.push(plan);
        }
        if let Some(refusal) = refusal {
            let state = InjectionState::ApplyFailed;
            let failed = |id| conclusion(id, state, never_reached(), Some(refusal.clone()));
            return fresh.iter().map(|plan| ServerOutput::Report(failed(&plan.id))).collect();
        }
        let part = |injections: &[_]| {
            let (run, owner, lease) = (order.run.clone(), order.owner, order.lease);
            let part = InjectOrder { run, owner, lease, injections: injections.to_vec() };
            ServerOutput::Send(ServerFrame::Inject(Box::new(part)))
        };
        fresh.chunks(ORDER_CHUNK).map(part).collect()
    }

    /// Asks for the undo of injections; of those that are open, at once or at the next connection.
    pub fn revert(&mut self, run: &RunId, injections: &[InjectionId]) -> Vec<ServerOutput> {
        let mut asked = Vec::new();
        for id in injections {
            if let Some(open) = self.injections.get_mut(id) {
                open.revert_requested = true;
                asked.push(id.clone());
            }
        }
        if asked.is_empty() || !self.connected {
            return Vec::new();
        }
        vec![ServerOutput::Send(ServerFrame::Revert { run: run.clone(), injections: asked })]
    }

    /// Prolongs the leases of a run's injections, if there are any here.
    pub fn renew(&self, run: &RunId) -> Vec<ServerOutput> {
        if !self.connected || !self.has_run(run) {
            return Vec::new();
        }
        vec![ServerOutput::Send(ServerFrame::Renew { runs: vec![run.clone()] })]
    }

    /// Takes up injections that a server before this one ordered.
    pub fn attach(&mut self, run: &RunId, injections: &[InjectionId]) -> Vec<ServerOutput> {
        let mut outputs = Vec::new();
        for id in injections {
            if self.injections.contains_key(id) {
                continue;
            }
            let mut open =
                Open { run: run.clone(), sequence: 0, named: false, ordered: false, revert_requested: false };
            let Some(unclaimed) = self.unclaimed.remove(id) else {
                if self.connected {
                    outputs.push(ServerOutput::Report(never_begun(id, &open, false)));
                } else {
                    self.injections.insert(id.clone(), open);
                }
                continue;
            };
            open.named = true;
            open.revert_requested = unclaimed.undoing;
            self.injections.insert(id.clone(), open);
            if let Some(report) = unclaimed.report {
                outputs.extend(self.reported(report));
            }
        }
        outputs.extend(self.renew(run));
        outputs
    }

    /// From now on what an agent holds and nobody here has asked for is undone, unless it is of one of these runs,
    /// which are still to be taken up.
    pub fn settle(&mut self, awaited: BTreeSet<RunId>) -> Vec<ServerOutput> {
        self.awaited = Some(awaited);
        let mut outputs = Vec::new();
        self.undo_unclaimed(&mut outputs);
        outputs
    }

    /// A run was taken up on every host where it had injections, or is over.
    pub fn claimed(&mut self, run: &RunId) -> Vec<ServerOutput> {
        let mut outputs = Vec::new();
        if self.awaited.as_mut().is_some_and(|awaited| awaited.remove(run)) {
            self.undo_unclaimed(&mut outputs);
        }
        outputs
    }

    fn is_awaited(&self, run: &RunId) -> bool {
        self.awaited.as_ref().is_none_or(|awaited| awaited.contains(run))
    }

    fn undo_unclaimed(&mut self, outputs: &mut Vec<ServerOutput>) {
        let mut unclaimed = std::mem::take(&mut self.unclaimed);
        let lost = |one: &&mut Unclaimed| !one.undoing && !self.is_awaited(&one.run);
        let mut told = Vec::new();
        let mut held: Vec<(RunId, InjectionId)> = Vec::new();
        for (id, one) in &mut unclaimed {
            if !lost(&one) {
                continue;
            }
            one.undoing = true;
            told.extend(one.report.take());
            // Of one that has ended the report is heard, now or when it comes.
            if !concludes(one.state) {
                held.push((one.run.clone(), id.clone()));
            }
        }
        self.unclaimed = unclaimed;
        for (run, injections) in by_run(held.iter().map(|(run, id)| (run, id))) {
            let injections = injections.into_iter().collect();
            outputs.push(ServerOutput::Send(ServerFrame::Revert { run, injections }));
        }
        for report in told {
            outputs.extend(self.reported_unclaimed(report));
        }
    }

    /// A run is over: whatever of it has no end yet was given up on. Says what that is.
    pub fn release(&mut self, run: &RunId) -> Vec<InjectionId> {
        let mut given_up = Vec::new();
        self.injections.retain(|id, open| {
            let other = open.run != *run;
            if !other {
                given_up.push(id.clone());
            }
            other
        });
        given_up
    }

    /// Asks the agent for something; the number under which the answer comes, at once without a connection.
    pub fn request(&mut self, body: Request) -> (u64, Vec<ServerOutput>) {
        let request = self.next_request;
        self.next_request += 1;
        let refused = |answer| (request, vec![ServerOutput::Answer { request, answer: Err(answer) }]);
        if !self.connected {
            return refused(unreachable_host(&self.host, "it is not connected"));
        }
        if self.requests.len() >= REQUESTS_MAX {
            let reason = format!("{REQUESTS_MAX} requests wait for an answer");
            return refused(unreachable_host(&self.host, &reason));
        }
        self.requests.insert(request);
        (request, vec![ServerOutput::Send(ServerFrame::Request { request, body: Box::new(body) })])
    }

    /// Nobody waits for this answer any more.
    pub fn forget(&mut self, request: u64) {
        self.requests.remove(&request);
    }
}

fn heard(sequenced: &SequencedReport) -> ServerOutput {
    let SequencedReport { sequence, report } = sequenced;
    let heard = Heard { injection: report.injection.clone(), sequence: *sequence };
    ServerOutput::Send(ServerFrame::Heard { reports: vec![heard] })
}

fn unreachable_host(host: &str, reason: &str) -> NodeError {
    NodeError::Unreachable { host: host.to_owned(), reason: reason.to_owned() }
}

fn never_reached() -> Evidence {
    Evidence::new("link", "never reached the node: nothing was changed")
}

/// What it means that an agent, at the beginning of a connection, does not name an injection that is open here.
fn never_begun(id: &InjectionId, open: &Open, same_process: bool) -> InjectionReport {
    if !(open.ordered && same_process) {
        let none = "none left: never applied, or proven undone";
        return conclusion(
            id,
            InjectionState::Reverted,
            Evidence::new("undo records of the node", none),
            None,
        );
    }
    if open.revert_requested {
        return conclusion(id, InjectionState::Reverted, never_reached(), None);
    }
    let error = "the link broke before the order arrived".to_owned();
    conclusion(id, InjectionState::ApplyFailed, never_reached(), Some(error))
}

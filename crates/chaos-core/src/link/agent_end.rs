//! The agent's end of its links to a server: what it was ordered, what it hands to its node, what it still has to tell.
//!
//! Owns the promises that an injection is handed to the node at most once, never after its undo was asked for, and that
//! its end is told until it was heard. It survives connections. Each input gives what is to be done, in order.
//!
//! ```text
//!             Inject              handed over            an end           Heard
//! unknown ─────────────▶ waiting ─────────────▶ held ─────────────▶ ended ─────▶ remembered
//!    │                      │ Revert                                  ▲           until the next connection
//!    └──────────────────────┴─────────────────────────────────────────┘
//!      Revert: it is never applied
//! ```

use std::collections::{BTreeMap, VecDeque};

use super::frame::{AgentFrame, Answer, Heard, Request, SequencedReport, ServerFrame};
use super::hello::{Hello, Introduction, KNOWN_MAX, KnownInjection, by_run};
use super::{Epoch, concludes, conclusion};
use crate::port::{Evidence, InjectOrder, InjectionReport, NodeError};
use crate::run::{InjectionId, InjectionState, RunId};

/// The most ended injections that are remembered during a connection, so that a repeated or late order finds them.
const REMEMBERED_MAX: usize = 10_000;

/// What an agent does next.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentOutput {
    /// Send this on the current connection.
    Send(AgentFrame),
    /// Ask the node, then call [`AgentEnd::answered`].
    Ask {
        /// Number of the request.
        request: u64,
        /// What is asked for.
        body: Box<Request>,
    },
    /// Hand this order to the node, then call [`AgentEnd::handed_over`].
    Inject(Box<InjectOrder>),
    /// Tell the node to undo these.
    Revert {
        /// The run.
        run: RunId,
        /// Which of its injections.
        injections: Vec<InjectionId>,
    },
    /// Let the node take these up, which another process of the agent could not undo, so that their undo is tried
    /// again.
    TakeUp {
        /// The run.
        run: RunId,
        /// Which of its injections.
        injections: Vec<InjectionId>,
    },
    /// Prolong the lease of this run.
    Renew(RunId),
    /// The server has taken the agent.
    Welcome {
        /// Version of the server.
        version: String,
        /// How long injections outlast silence, in milliseconds.
        lease_ms: u64,
    },
    /// The server has not taken the agent: end the connection.
    Refused {
        /// Why.
        reason: String,
    },
}

/// The agent's end.
#[derive(Debug)]
pub struct AgentEnd {
    introduction: Introduction,
    epoch: Epoch,
    link: Link,
    last_request: u64,
    injections: BTreeMap<InjectionId, Entry>,
    /// Those that were heard, the oldest first.
    remembered: VecDeque<InjectionId>,
    runs: BTreeMap<RunId, Orders>,
    ending: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down,
    /// The hello is said.
    Opening,
    /// The server has taken the agent.
    Open,
}

#[derive(Debug)]
struct Entry {
    run: RunId,
    stage: Stage,
    /// Number of the latest report.
    sequence: u64,
    latest: Option<InjectionReport>,
    /// The latest report is an end, and the server has heard it.
    heard: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its order waits until another of its run is handed over.
    Waiting,
    /// The node is taking its order.
    HandingOver {
        /// Its undo was asked for meanwhile.
        revert: bool,
    },
    /// The node has it.
    Held,
    /// Its undo failed in an agent process before this one; the node does not know it.
    Left,
    /// There is nothing more to come.
    Ended,
}

/// The orders of one run that the node does not have yet: one after the other.
#[derive(Debug, Default)]
struct Orders {
    waiting: Option<Box<InjectOrder>>,
}

impl AgentEnd {
    /// An end without a connection. `incarnation` counts the starts of an agent on its state folder; `left` is what a
    /// sweep found at this one.
    pub fn new(introduction: Introduction, incarnation: u64, left: Vec<InjectionReport>) -> Self {
        let found = left.into_iter().take(KNOWN_MAX).map(|report| {
            let stage = if concludes(report.state) { Stage::Ended } else { Stage::Left };
            let (id, run) = (report.injection.clone(), run_of(&report.injection));
            (id, Entry { run, stage, sequence: 1, latest: Some(report), heard: false })
        });
        Self {
            introduction,
            epoch: Epoch { incarnation, connection: 0 },
            link: Link::Down,
            last_request: 0,
            injections: found.collect(),
            remembered: VecDeque::new(),
            runs: BTreeMap::new(),
            ending: false,
        }
    }

    /// Injections that may still change something: neither ended, nor given up on.
    pub fn open(&self) -> usize {
        let is_open = |entry: &&Entry| entry.stage != Stage::Ended && !entry.is_given_up();
        self.injections.values().filter(is_open).count()
    }

    /// Injections whose undo is not proven.
    pub fn unproven(&self) -> Vec<InjectionId> {
        let unproven = self.injections.iter().filter(|(_, entry)| entry.is_given_up());
        unproven.map(|(id, _)| id.clone()).collect()
    }

    /// Ends that no server has heard.
    pub fn unheard(&self) -> usize {
        let unheard = |entry: &&Entry| entry.is_final() && !entry.heard;
        self.injections.values().filter(unheard).count()
    }

    /// The current connection.
    pub fn current(&self) -> Option<Epoch> {
        (self.link != Link::Down).then_some(self.epoch)
    }

    /// A new connection is there: its number, and what to do on it.
    pub fn connect(&mut self) -> (Epoch, Vec<AgentOutput>) {
        self.epoch.connection += 1;
        self.link = Link::Opening;
        self.last_request = 0;
        // No frame of an earlier connection is read any more, so no order of these can come.
        for id in std::mem::take(&mut self.remembered) {
            self.injections.remove(&id);
        }
        let known = |(id, entry): (&InjectionId, &Entry)| KnownInjection {
            run: entry.run.clone(),
            injection: id.clone(),
            state: entry.latest.as_ref().map_or(InjectionState::Planned, |report| report.state),
        };
        let injections = self.injections.iter().map(known).collect();
        let hello = Hello { introduction: self.introduction.clone(), epoch: self.epoch, injections };
        (self.epoch, vec![AgentOutput::Send(AgentFrame::Hello(Box::new(hello)))])
    }

    /// A connection has ended.
    pub fn disconnected(&mut self, epoch: Epoch) {
        if epoch == self.epoch {
            self.link = Link::Down;
        }
    }

    /// A frame has arrived on a connection. One of an earlier connection is dropped.
    pub fn frame(&mut self, epoch: Epoch, frame: ServerFrame) -> Vec<AgentOutput> {
        if epoch != self.epoch || self.link == Link::Down {
            return Vec::new();
        }
        match frame {
            ServerFrame::Welcome { version, lease_ms } => self.welcomed(version, lease_ms),
            ServerFrame::Refused { reason } => vec![AgentOutput::Refused { reason }],
            ServerFrame::Request { request, body } if request > self.last_request => {
                self.last_request = request;
                vec![AgentOutput::Ask { request, body }]
            }
            ServerFrame::Request { .. } => Vec::new(), // one that was repeated
            ServerFrame::Inject(order) => self.ordered(*order),
            ServerFrame::Revert { run, injections } => self.revert(&run, injections),
            ServerFrame::Renew { runs } => {
                let held = |run: &RunId| self.injections.values().any(|entry| entry.needs_lease(run));
                runs.into_iter().filter(held).map(AgentOutput::Renew).collect()
            }
            ServerFrame::Heard { reports } => {
                reports.iter().for_each(|heard| self.heard(heard));
                Vec::new()
            }
        }
    }

    /// What is told of each injection is told again: the link before may have lost it.
    fn welcomed(&mut self, version: String, lease_ms: u64) -> Vec<AgentOutput> {
        if self.link == Link::Open {
            return Vec::new();
        }
        self.link = Link::Open;
        let mut outputs = vec![AgentOutput::Welcome { version, lease_ms }];
        outputs.extend(self.injections.values().filter(|entry| !entry.heard).filter_map(Entry::told));
        outputs
    }

    fn ordered(&mut self, mut order: InjectOrder) -> Vec<AgentOutput> {
        // What is known was ordered or undone before: it is not begun again.
        order.injections.retain(|plan| !self.injections.contains_key(&plan.id));
        if order.injections.is_empty() {
            return Vec::new();
        }
        let refusal = if self.ending {
            Some("the agent is about to end".to_owned())
        } else if self.injections.len().saturating_add(order.injections.len()) > KNOWN_MAX {
            Some(format!("{} injections are known here, at most {KNOWN_MAX}", self.injections.len()))
        } else {
            None
        };
        let ids: Vec<InjectionId> = order.injections.iter().map(|plan| plan.id.clone()).collect();
        let busy = self.runs.contains_key(&order.run);
        let stage = if busy { Stage::Waiting } else { Stage::HandingOver { revert: false } };
        for id in &ids {
            self.injections.insert(id.clone(), Entry::new(order.run.clone(), stage));
        }
        if let Some(refusal) = refusal {
            return self.end_all(&ids, InjectionState::ApplyFailed, Some(&refusal));
        }
        let orders = self.runs.entry(order.run.clone()).or_default();
        match (&mut orders.waiting, busy) {
            (_, false) => return vec![AgentOutput::Inject(Box::new(order))],
            (Some(waiting), true) => waiting.injections.append(&mut order.injections),
            (waiting @ None, true) => *waiting = Some(Box::new(order)),
        }
        Vec::new()
    }

    /// The node has taken an order of a run, or has refused it.
    pub fn handed_over(
        &mut self,
        run: &RunId,
        injections: &[InjectionId],
        result: &Result<(), NodeError>,
    ) -> Vec<AgentOutput> {
        let mut outputs = Vec::new();
        let mut reverted = Vec::new();
        for id in injections {
            let Some(entry) = self.injections.get_mut(id) else { continue };
            let Stage::HandingOver { revert } = entry.stage else { continue };
            match (result, revert) {
                (Ok(()), _) => {
                    entry.stage = Stage::Held;
                    reverted.extend(revert.then(|| id.clone()));
                }
                (Err(_), true) => outputs.extend(self.end(id, InjectionState::Reverted, None)),
                (Err(error), false) => {
                    outputs.extend(self.end(id, InjectionState::ApplyFailed, Some(error.to_string())));
                }
            }
        }
        if !reverted.is_empty() {
            outputs.push(AgentOutput::Revert { run: run.clone(), injections: reverted });
        }
        outputs.extend(self.next_order(run));
        outputs
    }

    fn next_order(&mut self, run: &RunId) -> Option<AgentOutput> {
        let waiting = self.runs.get_mut(run).and_then(|orders| orders.waiting.take());
        let Some(order) = waiting else {
            self.runs.remove(run);
            return None;
        };
        for plan in &order.injections {
            if let Some(entry) = self.injections.get_mut(&plan.id) {
                entry.stage = Stage::HandingOver { revert: false };
            }
        }
        Some(AgentOutput::Inject(order))
    }

    fn revert(&mut self, run: &RunId, injections: Vec<InjectionId>) -> Vec<AgentOutput> {
        let (mut outputs, mut held, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for id in injections {
            let Some(entry) = self.injections.get_mut(&id) else {
                // Its order is behind this, or was lost. It is never applied.
                if self.injections.len() < KNOWN_MAX {
                    self.injections.insert(id.clone(), Entry::new(run.clone(), Stage::Waiting));
                    outputs.extend(self.end(&id, InjectionState::Reverted, None));
                }
                continue;
            };
            match &mut entry.stage {
                Stage::Waiting => {
                    self.forget_order(&id);
                    outputs.extend(self.end(&id, InjectionState::Reverted, None));
                }
                Stage::HandingOver { revert } => *revert = true,
                Stage::Held => held.push(id),
                stage @ Stage::Left => {
                    *stage = Stage::Held;
                    left.push(id);
                }
                Stage::Ended => {
                    let told = entry.told();
                    outputs.extend(self.told_if_open(told));
                }
            }
        }
        if !held.is_empty() {
            outputs.push(AgentOutput::Revert { run: run.clone(), injections: held });
        }
        if !left.is_empty() {
            outputs.push(AgentOutput::TakeUp { run: run.clone(), injections: left });
        }
        outputs
    }

    fn forget_order(&mut self, id: &InjectionId) {
        let Some(run) = self.injections.get(id).map(|entry| entry.run.clone()) else { return };
        let Some(orders) = self.runs.get_mut(&run) else { return };
        if let Some(waiting) = &mut orders.waiting {
            waiting.injections.retain(|plan| plan.id != *id);
            if waiting.injections.is_empty() {
                orders.waiting = None;
            }
        }
    }

    /// The node reports a change.
    pub fn reported(&mut self, report: InjectionReport) -> Vec<AgentOutput> {
        let Some(entry) = self.injections.get_mut(&report.injection) else { return Vec::new() };
        if entry.stage == Stage::Ended {
            return Vec::new();
        }
        if concludes(report.state) {
            entry.stage = Stage::Ended;
        }
        entry.sequence += 1;
        entry.latest = Some(report);
        entry.heard = false;
        let told = entry.told();
        self.told_if_open(told)
    }

    fn told_if_open(&self, told: Option<AgentOutput>) -> Vec<AgentOutput> {
        // Before the welcome nothing is told: the welcome is followed by all there is to tell.
        told.filter(|_| self.link == Link::Open).into_iter().collect()
    }

    /// Ends an injection that the node never had.
    fn end(&mut self, id: &InjectionId, state: InjectionState, error: Option<String>) -> Vec<AgentOutput> {
        let evidence = Evidence::new("agent", "never given to a fault process: nothing was changed");
        self.reported(conclusion(id, state, evidence, error))
    }

    fn end_all(
        &mut self,
        ids: &[InjectionId],
        state: InjectionState,
        error: Option<&String>,
    ) -> Vec<AgentOutput> {
        ids.iter().flat_map(|id| self.end(id, state, error.cloned())).collect()
    }

    fn heard(&mut self, heard: &Heard) {
        let Some(entry) = self.injections.get_mut(&heard.injection) else { return };
        if entry.sequence != heard.sequence || !entry.is_final() || entry.heard {
            return;
        }
        entry.heard = true;
        if entry.stage != Stage::Ended {
            return;
        }
        entry.latest = None;
        self.remembered.push_back(heard.injection.clone());
        if self.remembered.len() > REMEMBERED_MAX
            && let Some(oldest) = self.remembered.pop_front()
        {
            self.injections.remove(&oldest);
        }
    }

    /// The node has answered a request that came on connection `epoch`.
    pub fn answered(
        &self,
        epoch: Epoch,
        request: u64,
        answer: Result<Answer, NodeError>,
    ) -> Option<AgentOutput> {
        let current = epoch == self.epoch && self.link != Link::Down;
        current.then_some(AgentOutput::Send(AgentFrame::Answer { request, answer }))
    }

    /// The agent is about to end: it takes no more orders, and everything is undone.
    pub fn end_everything(&mut self) -> Vec<AgentOutput> {
        self.ending = true;
        let open = self.injections.iter().filter(|(_, entry)| entry.stage != Stage::Ended);
        let mut outputs = Vec::new();
        for (run, injections) in by_run(open.map(|(id, entry)| (&entry.run, id))) {
            outputs.extend(self.revert(&run, injections.into_iter().collect()));
        }
        outputs
    }

    /// It was told to end.
    pub fn is_ending(&self) -> bool {
        self.ending
    }

    /// The last frame, once everything is undone and told.
    pub fn farewell(&self) -> Option<AgentOutput> {
        (self.link == Link::Open).then_some(AgentOutput::Send(AgentFrame::Bye))
    }
}

impl Entry {
    fn new(run: RunId, stage: Stage) -> Self {
        Self { run, stage, sequence: 0, latest: None, heard: false }
    }

    fn is_final(&self) -> bool {
        self.latest.as_ref().is_some_and(|report| report.state.is_final())
    }

    /// Its undo failed, as often as it was tried.
    fn is_given_up(&self) -> bool {
        self.stage != Stage::Ended && self.is_final()
    }

    fn needs_lease(&self, run: &RunId) -> bool {
        self.stage != Stage::Ended && self.run == *run
    }

    fn told(&self) -> Option<AgentOutput> {
        let report = self.latest.clone()?;
        let sequenced = SequencedReport { sequence: self.sequence, report };
        Some(AgentOutput::Send(AgentFrame::Report(Box::new(sequenced))))
    }
}

/// The run that an injection's id begins with.
pub fn run_of(injection: &InjectionId) -> RunId {
    let run = injection.0.rsplit_once('-').map_or(injection.0.as_str(), |(run, _)| run);
    RunId(run.to_owned())
}

//! A server, an agent, a node and the wires between them, moved by a script. Every promise is checked at each move.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::*;
use super::{id, introduction, order, report, run};
use crate::port::NodeError;

/// One move.
#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    /// The server orders one more injection.
    Order,
    /// The server wants this one undone.
    Revert(usize),
    /// A frame arrives at the agent, whichever place it has on the wire.
    ToAgent(usize),
    /// A frame arrives at the server.
    ToServer(usize),
    /// A frame to the agent is lost.
    Lose(usize),
    /// A frame to the server is lost.
    LoseBack(usize),
    /// A frame to the agent comes twice.
    Repeat(usize),
    /// A frame to the server comes twice.
    RepeatBack(usize),
    /// The node does the next step of one injection.
    Node(usize),
    /// The undo of one injection fails.
    Fail(usize),
    /// The node refuses an order.
    Refuse,
    /// The link breaks, as one end sees it, or the other, or both.
    Break(bool, bool),
    /// The agent connects.
    Connect,
    /// The agent process is killed; the next one undoes what its records say, and may fail in that.
    RestartAgent(bool),
    /// The server process is killed.
    RestartServer,
    /// The server takes up what its journal says.
    TakeUp,
}

pub(super) fn ops() -> impl Strategy<Value = Op> {
    let n = || 0usize..6;
    prop_oneof![
        4 => Just(Op::Order),
        3 => n().prop_map(Op::Revert),
        8 => n().prop_map(Op::ToAgent),
        8 => n().prop_map(Op::ToServer),
        1 => n().prop_map(Op::Lose),
        1 => n().prop_map(Op::LoseBack),
        1 => n().prop_map(Op::Repeat),
        1 => n().prop_map(Op::RepeatBack),
        10 => n().prop_map(Op::Node),
        1 => n().prop_map(Op::Fail),
        1 => Just(Op::Refuse),
        1 => any::<(bool, bool)>().prop_map(|(one, other)| Op::Break(one, other)),
        3 => Just(Op::Connect),
        1 => any::<bool>().prop_map(Op::RestartAgent),
        1 => Just(Op::RestartServer),
        2 => Just(Op::TakeUp),
    ]
}

/// What the node has of an injection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtNode {
    Offered,
    Taken,
    Active,
    Reverting,
    Failed,
    Ended,
}

pub(super) struct World {
    server: ServerEnd,
    agent: AgentEnd,
    /// The latest connection that the agent made.
    epoch: Epoch,
    /// Connections up to this one ended at a server process that is dead.
    dead: Epoch,
    to_agent: Vec<(Epoch, ServerFrame)>,
    to_server: Vec<(Epoch, AgentFrame)>,
    /// The server before this one was killed, and its injections are not taken up yet.
    orphaned: bool,
    node: BTreeMap<InjectionId, AtNode>,
    /// Orders that the node is taking.
    offered: Vec<Vec<InjectionId>>,
    /// Whose undo has reached the agent process that lives.
    undone: BTreeSet<InjectionId>,
    ordered: usize,
    journal: BTreeMap<InjectionId, Vec<InjectionState>>,
}

impl World {
    pub(super) fn new() -> Self {
        let mut server = ServerEnd::new("node-1", "0", 15_000);
        server.settle(BTreeSet::new());
        Self {
            server,
            agent: AgentEnd::new(introduction("node-1"), 1, Vec::new()),
            epoch: Epoch { incarnation: 1, connection: 0 },
            dead: Epoch::default(),
            to_agent: Vec::new(),
            to_server: Vec::new(),
            orphaned: false,
            node: BTreeMap::new(),
            offered: Vec::new(),
            undone: BTreeSet::new(),
            ordered: 0,
            journal: BTreeMap::new(),
        }
        .connected()
    }

    fn connected(mut self) -> Self {
        self.act(Op::Connect);
        self.act(Op::ToServer(0));
        self.act(Op::ToAgent(0));
        self
    }

    pub(super) fn act(&mut self, op: Op) {
        match op {
            Op::Order if !self.orphaned => self.order(),
            Op::Revert(number) if !self.orphaned && number < self.ordered => {
                let outputs = self.server.revert(&run(), &[id(number)]);
                self.server_does(outputs);
            }
            Op::ToAgent(place) => self.deliver_to_agent(place),
            Op::ToServer(place) => self.deliver_to_server(place),
            Op::Lose(place) => drop(take(&mut self.to_agent, place)),
            Op::LoseBack(place) => drop(take(&mut self.to_server, place)),
            Op::Repeat(place) => repeat(&mut self.to_agent, place),
            Op::RepeatBack(place) => repeat(&mut self.to_server, place),
            Op::Node(number) => self.node_moves(number),
            Op::Fail(number) => self.undo_fails(number),
            Op::Refuse => self.hand_over(true),
            Op::Break(one, other) => self.break_link(one, other),
            Op::Connect => self.connect(),
            Op::RestartAgent(fails) => self.restart_agent(fails),
            Op::RestartServer => {
                self.server = ServerEnd::new("node-1", "0", 15_000);
                self.server.settle(BTreeSet::from([run()]));
                self.orphaned = true;
                self.dead = self.epoch;
            }
            Op::TakeUp => self.take_up(),
            Op::Order | Op::Revert(_) => {}
        }
    }

    fn order(&mut self) {
        let outputs = self.server.order(order([self.ordered]));
        self.ordered += 1;
        self.server_does(outputs);
    }

    fn connect(&mut self) {
        let (epoch, outputs) = self.agent.connect();
        self.epoch = epoch;
        self.agent_does(outputs);
    }

    fn break_link(&mut self, seen_by_server: bool, seen_by_agent: bool) {
        let epoch = self.epoch;
        if seen_by_agent {
            self.agent.disconnected(epoch);
        }
        if seen_by_server {
            let outputs = self.server.disconnected(epoch);
            self.server_does(outputs);
        }
    }

    fn deliver_to_agent(&mut self, place: usize) {
        let Some((epoch, frame)) = take(&mut self.to_agent, place) else { return };
        if let ServerFrame::Revert { injections, .. } = &frame
            && self.agent.current() == Some(epoch)
        {
            self.undone.extend(injections.iter().cloned());
        }
        let outputs = self.agent.frame(epoch, frame);
        self.agent_does(outputs);
    }

    fn deliver_to_server(&mut self, place: usize) {
        let Some((epoch, frame)) = take(&mut self.to_server, place) else { return };
        if epoch <= self.dead {
            return;
        }
        let outputs = match frame {
            AgentFrame::Hello(hello) => self.server.connected(&hello).unwrap_or_default(),
            frame => self.server.frame(epoch, frame),
        };
        self.server_does(outputs);
    }

    fn server_does(&mut self, outputs: Vec<ServerOutput>) {
        for output in outputs {
            match output {
                ServerOutput::Send(frame) => {
                    let epoch = self.server.current().expect("nothing is sent without a connection");
                    self.to_agent.push((epoch, frame));
                }
                ServerOutput::Report(report) => self.journalled(&report),
                ServerOutput::Stray(_) | ServerOutput::Answer { .. } => {}
            }
        }
    }

    fn journalled(&mut self, report: &InjectionReport) {
        let told = self.journal.entry(report.injection.clone()).or_default();
        assert!(!told.iter().any(|state| concludes(*state)), "{told:?}, then {}", report.state);
        told.push(report.state);
        if concludes(report.state) {
            let at_node = self.node.get(&report.injection);
            assert!(
                matches!(at_node, None | Some(AtNode::Ended)),
                "{} is told as {} while the node has it {at_node:?}",
                report.injection,
                report.state
            );
        }
    }

    fn agent_does(&mut self, outputs: Vec<AgentOutput>) {
        for output in outputs {
            match output {
                AgentOutput::Send(frame) => self.to_server.push((self.epoch, frame)),
                AgentOutput::Inject(order) => {
                    let ids: Vec<_> = order.injections.iter().map(|plan| plan.id.clone()).collect();
                    for id in &ids {
                        assert!(!self.undone.contains(id), "{id} is applied after its undo");
                        assert!(self.node.insert(id.clone(), AtNode::Offered).is_none(), "{id} twice");
                        let told =
                            self.journal.get(id).is_some_and(|told| told.iter().any(|one| concludes(*one)));
                        assert!(!told, "{id} is applied after its end was told");
                    }
                    self.offered.push(ids);
                }
                AgentOutput::Revert { injections, .. } | AgentOutput::TakeUp { injections, .. } => {
                    for id in injections {
                        let at_node = self.node.get_mut(&id).expect("the node has it");
                        assert_ne!(
                            *at_node,
                            AtNode::Offered,
                            "the node can't undo what it does not have yet"
                        );
                        if *at_node != AtNode::Ended {
                            *at_node = AtNode::Reverting;
                        }
                    }
                }
                AgentOutput::Ask { .. }
                | AgentOutput::Renew(_)
                | AgentOutput::Welcome { .. }
                | AgentOutput::Refused { .. } => {}
            }
        }
    }

    fn node_moves(&mut self, number: usize) {
        match self.node.get(&id(number)).copied() {
            Some(AtNode::Offered) => self.hand_over(false),
            Some(AtNode::Taken) => self.node_reports(number, AtNode::Active, InjectionState::Active),
            Some(AtNode::Reverting) => self.node_reports(number, AtNode::Ended, InjectionState::Reverted),
            Some(AtNode::Active | AtNode::Failed | AtNode::Ended) | None => {}
        }
    }

    fn undo_fails(&mut self, number: usize) {
        if self.node.get(&id(number)) == Some(&AtNode::Reverting) {
            self.node_reports(number, AtNode::Failed, InjectionState::RevertFailed);
        }
    }

    fn node_reports(&mut self, number: usize, becomes: AtNode, state: InjectionState) {
        self.node.insert(id(number), becomes);
        let outputs = self.agent.reported(report(number, state));
        self.agent_does(outputs);
    }

    fn hand_over(&mut self, refused: bool) {
        if self.offered.is_empty() {
            return;
        }
        let ids = self.offered.remove(0);
        for id in &ids {
            self.node.insert(id.clone(), if refused { AtNode::Ended } else { AtNode::Taken });
        }
        let result = if refused { Err(NodeError::Refused { reason: "no".into() }) } else { Ok(()) };
        let outputs = self.agent.handed_over(&run(), &ids, &result);
        self.agent_does(outputs);
    }

    fn restart_agent(&mut self, fails: bool) {
        self.offered.clear();
        let mut left = Vec::new();
        for (injection, at_node) in &mut self.node {
            let (state, becomes) = match at_node {
                AtNode::Ended => continue,
                // Its order had not reached a fault process.
                AtNode::Offered => {
                    *at_node = AtNode::Ended;
                    continue;
                }
                _ if fails => (InjectionState::RevertFailed, AtNode::Failed),
                _ => (InjectionState::Reverted, AtNode::Ended),
            };
            *at_node = becomes;
            left.push(conclusion(injection, state, Evidence::new("sweep", "found"), None));
        }
        self.epoch = Epoch { incarnation: self.epoch.incarnation + 1, connection: 0 };
        self.agent = AgentEnd::new(introduction("node-1"), self.epoch.incarnation, left);
        self.undone.clear();
        // Nobody reads what was sent to it; what it sent itself may still arrive.
        self.to_agent.clear();
    }

    fn take_up(&mut self) {
        if !self.orphaned {
            return;
        }
        self.orphaned = false;
        let open = self.without_end();
        let mut outputs = self.server.attach(&run(), &open);
        outputs.extend(self.server.claimed(&run()));
        self.server_does(outputs);
    }

    fn without_end(&self) -> Vec<InjectionId> {
        let ended = |id: &InjectionId| {
            self.journal.get(id).is_some_and(|told| told.iter().any(|state| concludes(*state)))
        };
        (0..self.ordered).map(id).filter(|id| !ended(id)).collect()
    }

    /// The link is good from now on, everything is to be undone, and every undo succeeds.
    pub(super) fn settle_everything(&mut self) {
        self.take_up();
        self.break_link(true, true);
        self.connect();
        for _ in 0..4 {
            let open = self.without_end();
            let outputs = self.server.revert(&run(), &open);
            self.server_does(outputs);
            while !(self.to_agent.is_empty() && self.to_server.is_empty() && self.offered.is_empty()) {
                self.deliver_to_server(0);
                self.deliver_to_agent(0);
                self.hand_over(false);
                (0..self.ordered).for_each(|number| self.node_moves(number));
            }
        }
    }

    /// Every injection has exactly one end; that there is no second was checked when it was told.
    pub(super) fn check_ends(&self) {
        assert_eq!(self.without_end(), [], "no end was told: {:?}", self.journal);
        assert_eq!(self.agent.open() + self.agent.unheard(), 0);
        assert_eq!(self.server.open(), 0);
    }
}

fn take<T>(wire: &mut Vec<T>, place: usize) -> Option<T> {
    (!wire.is_empty()).then(|| wire.remove(place.min(wire.len() - 1)))
}

fn repeat<T: Clone>(wire: &mut Vec<T>, place: usize) {
    if let Some(frame) = wire.get(place.min(wire.len().saturating_sub(1))).cloned() {
        wire.push(frame);
    }
}

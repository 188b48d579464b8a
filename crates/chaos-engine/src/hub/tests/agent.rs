//! An agent whose node obeys at once, in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use chaos_core::link::{
    AgentEnd, AgentFrame, AgentOutput, Answer, Examination, Introduction, PROTOCOL_VERSION, Request,
    StatedLimits,
};
use chaos_core::port::{Evidence, InjectionReport};
use chaos_core::run::{InjectionId, InjectionState};
use chaos_core::target::{Instance, Inventory, ProcessRef};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::super::{Ended, Hub, Place, Transport};

pub(super) fn instance(number: i32) -> Instance {
    let process = ProcessRef { pid: number, start_time: 1 };
    Instance {
        id: format!("app/{number}"),
        host: String::new(),
        process,
        processes: vec![process],
        command: "app".into(),
        ready: true,
        managed: true,
        ports: Vec::new(),
        network_namespace: 1,
        shares_host_network: true,
        own_cgroup: None,
    }
}

/// An agent; it survives its connections.
pub(super) struct Agent {
    pub(super) end: Arc<Mutex<AgentEnd>>,
    name: String,
}

/// A connection of an agent.
pub(super) struct Connection {
    pub(super) cut: CancellationToken,
    agent: JoinHandle<()>,
    hub: JoinHandle<Ended>,
}

impl Connection {
    /// Breaks it.
    pub(super) async fn cut(self) -> Ended {
        self.cut.cancel();
        self.agent.await.expect("no panic");
        self.hub.await.expect("no panic")
    }

    /// How it ended by itself.
    pub(super) async fn ended(self) -> Ended {
        self.hub.await.expect("no panic")
    }
}

impl Agent {
    pub(super) fn new(name: &str, left: Vec<InjectionReport>) -> Self {
        Self::started(name, "machine", 1, left)
    }

    pub(super) fn started(name: &str, node: &str, incarnation: u64, left: Vec<InjectionReport>) -> Self {
        let introduction = Introduction {
            protocol: PROTOCOL_VERSION,
            host: name.into(),
            node: node.into(),
            version: "0".into(),
            examination: Examination::default(),
            limits: StatedLimits::default(),
        };
        let end = AgentEnd::new(introduction, incarnation, left);
        Self { end: Arc::new(Mutex::new(end)), name: name.into() }
    }

    /// Connects and obeys until the link breaks.
    pub(super) async fn connect(&self, hub: &Hub) -> Connection {
        let (to_hub, frames) = mpsc::channel(4);
        let (orders, from_hub) = mpsc::channel(4);
        let cut = CancellationToken::new();
        let place = if self.name.is_empty() { Place::Here } else { Place::Elsewhere };
        let transport = Transport { frames, orders, cut: cut.clone() };
        let serving = hub.clone();
        let hub = tokio::spawn(async move { serving.serve(transport, place).await });
        let (tell, taken) = tokio::sync::oneshot::channel();
        let loop_ = obey(Arc::clone(&self.end), from_hub, to_hub, cut.clone(), tell);
        let agent = tokio::spawn(loop_);
        let _ = taken.await;
        Connection { cut, agent, hub }
    }

    /// Says hello and then reads nothing.
    pub(super) async fn connect_deaf(&self, hub: &Hub) -> (JoinHandle<Ended>, mpsc::Sender<AgentFrame>) {
        let (to_hub, frames) = mpsc::channel(4);
        let (orders, from_hub) = mpsc::channel(1);
        let cut = CancellationToken::new();
        let serving = hub.clone();
        let transport = Transport { frames, orders, cut };
        let ended = tokio::spawn(async move {
            let _unread = from_hub;
            serving.serve(transport, Place::Elsewhere).await
        });
        for output in self.end.lock().await.connect().1 {
            let AgentOutput::Send(frame) = output else { continue };
            to_hub.send(frame).await.expect("taken");
        }
        while hub.connected() == 0 {
            tokio::task::yield_now().await;
        }
        (ended, to_hub)
    }
}

async fn obey(
    end: Arc<Mutex<AgentEnd>>,
    mut from_hub: mpsc::Receiver<chaos_core::link::ServerFrame>,
    to_hub: mpsc::Sender<AgentFrame>,
    cut: CancellationToken,
    taken: tokio::sync::oneshot::Sender<()>,
) {
    let mut end = end.lock().await;
    let mut taken = Some(taken);
    let (epoch, outputs) = end.connect();
    let mut todo = VecDeque::from(outputs);
    loop {
        while let Some(output) = todo.pop_front() {
            match output {
                AgentOutput::Send(frame) => {
                    tokio::select! {
                        biased;
                        () = cut.cancelled() => return end.disconnected(epoch),
                        sent = to_hub.send(frame) => if sent.is_err() { return end.disconnected(epoch) },
                    }
                }
                AgentOutput::Ask { request, body } => {
                    todo.extend(end.answered(epoch, request, Ok(answer(&body))));
                }
                AgentOutput::Inject(order) => {
                    let ids: Vec<_> = order.injections.iter().map(|plan| plan.id.clone()).collect();
                    todo.extend(end.handed_over(&order.run, &ids, &Ok(())));
                    for id in &ids {
                        todo.extend(end.reported(report(id, InjectionState::Active)));
                    }
                }
                AgentOutput::Revert { injections, .. } | AgentOutput::TakeUp { injections, .. } => {
                    for id in &injections {
                        todo.extend(end.reported(report(id, InjectionState::Reverted)));
                    }
                }
                AgentOutput::Welcome { .. } => drop(taken.take()),
                AgentOutput::Renew(_) | AgentOutput::Refused { .. } => {}
            }
        }
        let frame = tokio::select! {
            biased;
            () = cut.cancelled() => None,
            frame = from_hub.recv() => frame,
        };
        let Some(frame) = frame else { return end.disconnected(epoch) };
        todo.extend(end.frame(epoch, frame));
    }
}

fn answer(body: &Request) -> Answer {
    match body {
        Request::Inventory(_) => {
            let instances = (1..=6).map(instance).collect();
            Answer::Inventory(Box::new(Inventory { instances, ..Inventory::default() }))
        }
        Request::Act(_) => Answer::Evidence(vec![Evidence::new("test", "done")]),
        Request::Prepare(_) | Request::Release(_) => Answer::Done,
    }
}

pub(super) fn report(id: &InjectionId, state: InjectionState) -> InjectionReport {
    let evidence = vec![Evidence::new("test", state.to_string())];
    InjectionReport { injection: id.clone(), state, evidence, error: None, took_ms: 0.0 }
}

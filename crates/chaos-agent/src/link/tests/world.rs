//! A node that does what the test says, and a server's end without a server.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chaos_core::link::{
    AgentFrame, Answer, Epoch, Examination, Hello, Introduction, PROTOCOL_VERSION, Request, ServerEnd,
    ServerOutput, StatedLimits,
};
use chaos_core::port::{
    Evidence, InjectOrder, InjectionPlan, InjectionReport, Node, NodeAction, NodeError, Owner, Placed,
    ReportSink,
};
use chaos_core::run::{InjectionId, InjectionState, RunId};
use chaos_core::spec::{Fault, ProcessPause, Target};
use chaos_core::target::{Instance, Inventory, ProcessRef};
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::{Agent, Ended, FarEnd, Transport};

pub(super) fn run() -> RunId {
    RunId("r".into())
}

pub(super) fn id(number: usize) -> InjectionId {
    InjectionId::of(&run(), number)
}

fn number(id: &InjectionId) -> &str {
    id.0.rsplit('-').next().expect("a number")
}

pub(super) fn instance() -> Instance {
    let process = ProcessRef { pid: 7, start_time: 1 };
    Instance {
        id: "app/7".into(),
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

pub(super) fn order(numbers: impl IntoIterator<Item = usize>) -> InjectOrder {
    let plan = |number| InjectionPlan {
        id: id(number),
        fault: Fault::ProcessPause(ProcessPause {}),
        instance: instance(),
        duration: Duration::from_secs(30),
    };
    InjectOrder {
        run: run(),
        owner: Owner::Server,
        lease: Duration::from_secs(15),
        injections: numbers.into_iter().map(plan).collect(),
    }
}

pub(super) fn restart() -> NodeAction {
    NodeAction::Restart(Box::new(instance()))
}

pub(super) fn report(number: usize, state: InjectionState) -> InjectionReport {
    let evidence = vec![Evidence::new("test", state.to_string())];
    InjectionReport { injection: id(number), state, evidence, error: None, took_ms: 0.0 }
}

pub(super) fn introduction() -> Introduction {
    Introduction {
        protocol: PROTOCOL_VERSION,
        host: "node-1".into(),
        node: "machine".into(),
        version: "0".into(),
        examination: Examination::default(),
        limits: StatedLimits::default(),
    }
}

/// Faults are active at once and undone at once.
pub(super) struct ScriptedNode {
    log: Mutex<Vec<String>>,
    refusal: Mutex<Option<String>>,
    sinks: Mutex<BTreeMap<InjectionId, ReportSink>>,
    open: watch::Sender<bool>,
}

/// Orders wait until it is dropped.
pub(super) struct Gate(watch::Sender<bool>);

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

impl Default for ScriptedNode {
    fn default() -> Self {
        let open = watch::channel(true).0;
        Self { log: Mutex::default(), refusal: Mutex::default(), sinks: Mutex::default(), open }
    }
}

impl ScriptedNode {
    pub(super) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub(super) fn refuse(&self, reason: &str) {
        *self.refusal.lock().unwrap() = Some(reason.into());
    }

    pub(super) fn hold_orders(&self) -> Gate {
        self.open.send_replace(false);
        Gate(self.open.clone())
    }

    /// An injection ends by itself.
    pub(super) fn ends(&self, number: usize) {
        self.tell(&id(number), InjectionState::Reverted);
    }

    fn write(&self, what: &str, ids: impl IntoIterator<Item = InjectionId>) {
        let numbers: Vec<_> = ids.into_iter().map(|id| number(&id).to_owned()).collect();
        self.log.lock().unwrap().push(format!("{what} {}", numbers.join(" ")));
    }

    fn tell(&self, id: &InjectionId, state: InjectionState) {
        let sink = self.sinks.lock().unwrap().get(id).cloned();
        if let Some(sink) = sink {
            sink(report(number(id).parse().expect("a number"), state));
        }
    }

    fn refusal(&self) -> Result<(), NodeError> {
        let refusal = self.refusal.lock().unwrap().clone();
        refusal.map_or(Ok(()), |reason| Err(NodeError::Refused { reason }))
    }
}

impl Node for ScriptedNode {
    fn inventory<'a>(&'a self, _: &'a Target) -> BoxFuture<'a, Result<Inventory, NodeError>> {
        Box::pin(async { Ok(Inventory { apps: vec!["app".into()], ..Inventory::default() }) })
    }

    fn inject(&self, order: InjectOrder, reports: ReportSink) -> BoxFuture<'_, Result<(), NodeError>> {
        let ids: Vec<_> = order.injections.iter().map(|plan| plan.id.clone()).collect();
        Box::pin(async move {
            self.write("inject", ids.clone());
            self.refusal()?;
            let _ = self.open.subscribe().wait_for(|open| *open).await;
            for id in &ids {
                self.sinks.lock().unwrap().insert(id.clone(), Arc::clone(&reports));
                self.tell(id, InjectionState::Active);
            }
            Ok(())
        })
    }

    fn renew<'a>(&'a self, _: &'a RunId) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    fn revert<'a>(&'a self, _: &'a RunId, injections: Vec<InjectionId>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.write("revert", injections.clone());
            injections.iter().for_each(|id| self.tell(id, InjectionState::Reverted));
        })
    }

    fn attach<'a>(
        &'a self,
        _: &'a RunId,
        injections: Vec<Placed>,
        reports: ReportSink,
    ) -> BoxFuture<'a, Vec<InjectionId>> {
        Box::pin(async move {
            self.write("attach", injections.iter().map(|placed| placed.injection.clone()));
            for Placed { injection, .. } in injections {
                self.sinks.lock().unwrap().insert(injection.clone(), Arc::clone(&reports));
                self.tell(&injection, InjectionState::Reverted);
            }
            Vec::new()
        })
    }

    fn act<'a>(&'a self, _: &'a NodeAction) -> BoxFuture<'a, Result<Vec<Evidence>, NodeError>> {
        Box::pin(async { self.refusal().map(|()| Vec::new()) })
    }
}

/// An agent and a server's end that the test moves.
pub(super) struct Scene {
    pub(super) node: Arc<ScriptedNode>,
    pub(super) agent: Agent,
    server: ServerEnd,
    link: Option<(FarEnd, JoinHandle<Ended>)>,
    epoch: Epoch,
    heard: VecDeque<ServerOutput>,
}

impl Scene {
    pub(super) fn unconnected(left: Vec<InjectionReport>) -> Self {
        let node = Arc::new(ScriptedNode::default());
        let agent = Agent::new(Arc::clone(&node) as _, introduction(), 1, left);
        let mut server = ServerEnd::new("node-1", "0", 15_000);
        server.settle(BTreeSet::new());
        Self { node, agent, server, link: None, epoch: Epoch::default(), heard: VecDeque::new() }
    }

    pub(super) async fn connected() -> Self {
        Self::after(Vec::new()).await
    }

    pub(super) async fn after(left: Vec<InjectionReport>) -> Self {
        let mut scene = Self::unconnected(left);
        scene.connect().await;
        scene
    }

    pub(super) async fn connect(&mut self) {
        self.dial();
        let hello = self.hello().await;
        self.epoch = hello.epoch;
        let outputs = self.server.connected(&hello).expect("taken");
        self.send(outputs).await;
    }

    pub(super) fn dial(&mut self) {
        let (near, far) = Transport::in_memory();
        let agent = self.agent.clone();
        let serving = tokio::spawn(async move { agent.serve(near).await });
        self.link = Some((far, serving));
    }

    pub(super) async fn hello(&mut self) -> Hello {
        match self.frame().await {
            AgentFrame::Hello(hello) => *hello,
            other => panic!("{other:?}"),
        }
    }

    async fn frame(&mut self) -> AgentFrame {
        let (far, _) = self.link.as_mut().expect("a link");
        timeout(Duration::from_secs(60), far.frames.recv()).await.expect("a frame").expect("a link")
    }

    pub(super) async fn send(&mut self, outputs: Vec<ServerOutput>) {
        for output in outputs {
            match output {
                ServerOutput::Send(frame) => {
                    let (far, _) = self.link.as_ref().expect("a link");
                    far.orders.send(frame).await.expect("the agent reads");
                }
                other => self.heard.push_back(other),
            }
        }
    }

    pub(super) async fn order(&mut self, order: InjectOrder) {
        let outputs = self.server.order(order);
        self.send(outputs).await;
    }

    pub(super) async fn revert(&mut self, ids: &[InjectionId]) {
        let outputs = self.server.revert(&run(), ids);
        self.send(outputs).await;
    }

    async fn next(&mut self) -> ServerOutput {
        loop {
            if let Some(output) = self.heard.pop_front() {
                return output;
            }
            let frame = self.frame().await;
            let outputs = self.server.frame(self.epoch, frame);
            self.send(outputs).await;
        }
    }

    pub(super) async fn report(&mut self) -> InjectionReport {
        match self.next().await {
            ServerOutput::Report(report) => report,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn told(&mut self, count: usize) -> Vec<(InjectionId, InjectionState)> {
        let mut told = Vec::new();
        for _ in 0..count {
            let report = self.report().await;
            told.push((report.injection, report.state));
        }
        told
    }

    /// The next end that nobody waits for.
    pub(super) async fn strays(&mut self) -> Vec<(InjectionId, InjectionState)> {
        match self.next().await {
            ServerOutput::Stray(report) => vec![(report.injection, report.state)],
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn ask(&mut self, body: Request) -> Result<Answer, NodeError> {
        let (asked, outputs) = self.server.request(body);
        self.send(outputs).await;
        match self.next().await {
            ServerOutput::Answer { request, answer } if request == asked => answer,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn until_goodbye(&mut self) {
        while self.frame().await != AgentFrame::Bye {}
        self.cut().await;
    }

    /// Breaks the link.
    pub(super) async fn cut(&mut self) -> Ended {
        let outputs = self.server.disconnected(self.epoch);
        self.heard.extend(outputs);
        let (far, serving) = self.link.take().expect("a link");
        far.cut.cancel();
        serving.await.expect("no panic")
    }

    pub(super) async fn ended(&mut self) -> Ended {
        let (_far, serving) = self.link.take().expect("a link");
        timeout(Duration::from_secs(60), serving).await.expect("an end").expect("no panic")
    }

    /// Lets every task go as far as it can. The clock stands still, so it only moves on when all of them wait.
    pub(super) async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

//! Many agents in this process: each speaks the real protocol over a real socket, and imagines its processes.
//!
//! Owns their connections and what they imagine: a fault is there at once, and gone at once. It never measures.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use chaos_agent::link::websocket::{End, Queues, limits, pump};
use chaos_agent::link::{Agent, CONNECT_PATH, Transport};
use chaos_core::link::{Examination, Introduction, PROTOCOL_VERSION, StatedLimits};
use chaos_core::port::{
    Evidence, InjectOrder, InjectionReport, Node, NodeAction, NodeError, Placed, ReportSink,
};
use chaos_core::run::{InjectionId, InjectionState, RunId};
use chaos_core::spec::{FaultKind, Target};
use chaos_core::target::{Instance, Inventory, ProcessRef};
use futures_util::future::BoxFuture;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};

/// The app that every one of these hosts has.
pub(crate) const APP: &str = "imagined";
/// Time between two attempts to connect.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Agents that connect again whenever their link breaks; they end with this value.
pub(crate) struct Fleet {
    _agents: JoinSet<()>,
}

impl Fleet {
    /// So many, each with so many instances.
    pub(crate) fn start(hosts: usize, instances: usize, server: SocketAddr, token: &str) -> Self {
        let mut agents = JoinSet::new();
        for host in 0..hosts {
            let agent = Agent::new(Arc::new(Imagined::new(instances)), introduce(host), 1, Vec::new());
            let token = token.to_owned();
            agents.spawn(async move {
                loop {
                    // Nobody there, or not any more: a server that was killed comes back.
                    let _ = Box::pin(connect(&agent, server, &token)).await;
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            });
        }
        Self { _agents: agents }
    }
}

/// What the n-th host is called.
pub(crate) fn name(host: usize) -> String {
    format!("host-{host}")
}

fn introduce(host: usize) -> Introduction {
    Introduction {
        protocol: PROTOCOL_VERSION,
        host: name(host),
        node: format!("{host:016x}"),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        examination: Examination::default(),
        limits: StatedLimits { faults: FaultKind::ALL.to_vec(), ..StatedLimits::default() },
    }
}

/// Serves one connection until it ends.
async fn connect(agent: &Agent, server: SocketAddr, token: &str) -> Result<()> {
    let mut request = format!("ws://{server}{CONNECT_PATH}").into_client_request()?;
    let value = HeaderValue::from_str(&format!("Bearer {token}")).context("a token")?;
    request.headers_mut().insert(header::AUTHORIZATION, value);
    let stream = TcpStream::connect(server).await.context("connect")?;
    stream.set_nodelay(true)?;
    let (socket, _) = client_async_with_config(request, stream, Some(limits())).await.context("handshake")?;
    let (near, far) = Transport::in_memory();
    let queues = Queues { heard: far.orders, told: far.frames, cut: far.cut };
    let welcomed = agent.welcomed();
    let lease = move || welcomed.borrow().lease;
    tokio::join!(agent.serve(near), pump(socket, queues, End::Agent, lease, |_| None));
    Ok(())
}

/// A node without a host.
struct Imagined {
    instances: usize,
    held: Mutex<BTreeMap<InjectionId, ReportSink>>,
}

impl Imagined {
    fn new(instances: usize) -> Self {
        Self { instances, held: Mutex::default() }
    }

    fn inventory(&self) -> Inventory {
        let instance = |number: usize| {
            let process = ProcessRef { pid: i32::try_from(number + 2).unwrap_or(i32::MAX), start_time: 1 };
            Instance {
                id: format!("{APP}/{}", process.pid),
                host: String::new(),
                process,
                processes: vec![process],
                command: APP.to_owned(),
                ready: true,
                managed: true,
                ports: Vec::new(),
                network_namespace: 1,
                shares_host_network: true,
                own_cgroup: None,
            }
        };
        let instances = (0..self.instances).map(instance).collect();
        Inventory { instances, apps: vec![APP.to_owned()], ..Inventory::default() }
    }
}

fn report(injection: InjectionId, state: InjectionState) -> InjectionReport {
    let evidence = vec![Evidence::new("imagination", state.to_string())];
    InjectionReport { injection, state, evidence, error: None, took_ms: 0.0 }
}

impl Node for Imagined {
    fn inventory<'a>(&'a self, _: &'a Target) -> BoxFuture<'a, Result<Inventory, NodeError>> {
        Box::pin(async { Ok(Self::inventory(self)) })
    }

    fn inject(&self, order: InjectOrder, reports: ReportSink) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(async move {
            for plan in order.injections {
                let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                held.insert(plan.id.clone(), Arc::clone(&reports));
                drop(held);
                reports(report(plan.id, InjectionState::Active));
            }
            Ok(())
        })
    }

    fn renew<'a>(&'a self, _: &'a RunId) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    fn revert<'a>(&'a self, _: &'a RunId, injections: Vec<InjectionId>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            for id in injections {
                let sink = self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                if let Some(sink) = sink {
                    sink(report(id, InjectionState::Reverted));
                }
            }
        })
    }

    fn attach<'a>(&'a self, _: &'a RunId, _: Vec<Placed>, _: ReportSink) -> BoxFuture<'a, Vec<InjectionId>> {
        Box::pin(async { Vec::new() })
    }

    fn act<'a>(&'a self, _: &'a NodeAction) -> BoxFuture<'a, Result<Vec<Evidence>, NodeError>> {
        Box::pin(async { Err(NodeError::Refused { reason: "there is nothing to act on".to_owned() }) })
    }
}

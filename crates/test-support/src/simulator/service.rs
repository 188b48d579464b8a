//! Services and agents that start, die and start again: the shipping engine, hub, agent and node, put together as the
//! programs do it.
//!
//! Owns the order of each start. It decides nothing.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chaos_agent::link::{Agent, Transport};
use chaos_agent::local::{LocalConfig, LocalNode};
use chaos_agent::sweep;
use chaos_core::link::{Examination, Introduction, PROTOCOL_VERSION, StatedLimits};
use chaos_core::port::InjectionReport;
use chaos_core::spec::FaultKind;
use chaos_engine::hub::{Hub, HubConfig, Place};
use chaos_engine::{Engine, Limits, Ports};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::disk::{Disk, SimStore};
use super::host::SimHost;
use super::network;
use super::ports::{Decided, SimClock, SimSignals, Watched};
use super::universe::{Actor, Universe};

/// How long a fault outlasts silence here.
pub(super) const LEASE: Duration = Duration::from_secs(3);

/// One start of the service.
pub(super) struct Service {
    pub(super) actor: Arc<Actor>,
    pub(super) engine: Engine,
    pub(super) hub: Hub,
}

/// What outlives every service and agent, and who runs now.
#[derive(Clone)]
pub(super) struct World {
    pub(super) universe: Universe,
    pub(super) disk: Disk,
    pub(super) decided: Arc<Decided>,
    pub(super) clock: Arc<SimClock>,
    pub(super) silent: Arc<AtomicBool>,
    service: Arc<Mutex<Option<Arc<Service>>>>,
    agents: Arc<Mutex<std::collections::BTreeMap<String, RunningAgent>>>,
    /// Names of the machines with an agent of their own.
    pub(super) hosts: Vec<String>,
    /// The service has an agent in its own process.
    pub(super) has_local: bool,
}

#[derive(Clone)]
struct RunningAgent {
    actor: Arc<Actor>,
    /// Cut it, and the agent dials again a little later.
    link: CancellationToken,
    /// While set, no link comes up.
    dark: Arc<AtomicBool>,
}

impl World {
    pub(super) fn new(universe: Universe, hosts: Vec<String>, has_local: bool) -> Self {
        let clock = Arc::new(SimClock { universe: universe.clone(), jumped_ms: AtomicI64::new(0) });
        Self {
            universe,
            disk: Disk::default(),
            decided: Arc::default(),
            clock,
            silent: Arc::default(),
            service: Arc::default(),
            agents: Arc::default(),
            hosts,
            has_local,
        }
    }

    /// The service, when one runs.
    pub(super) fn service(&self) -> Option<Arc<Service>> {
        let service = self.service.lock().unwrap_or_else(PoisonError::into_inner).clone();
        service.filter(|service| !service.actor.is_dead())
    }

    fn agent(&self, host: &str) -> Option<RunningAgent> {
        let agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        agents.get(host).filter(|agent| !agent.actor.is_dead()).cloned()
    }

    /// Starts the service, unless it runs.
    pub(super) async fn start_service(&self) {
        if self.service().is_some() {
            return;
        }
        let universe = self.universe.clone();
        let actor = universe.start("", "server");
        let hub = Hub::new(
            HubConfig {
                version: "0".to_owned(),
                lease: LEASE,
                attach_within: LEASE + Duration::from_secs(2),
            },
            Arc::clone(&self.clock) as _,
        );
        let node = Watched {
            universe: universe.clone(),
            actor: Arc::clone(&actor),
            disk: self.disk.clone(),
            hub: hub.clone(),
            active: Arc::default(),
            ordered: AtomicU64::new(0),
        };
        let signals = Arc::new(SimSignals { silent: Arc::clone(&self.silent) });
        let store =
            SimStore { universe: universe.clone(), actor: Arc::clone(&actor), disk: self.disk.clone() };
        let ports = Ports {
            node: Arc::new(node),
            prober: Arc::clone(&signals) as _,
            signals,
            store: Arc::new(store),
            governance: Arc::clone(&self.decided) as _,
            clock: Arc::clone(&self.clock) as _,
        };
        let engine = Engine::new(ports, Limits { lease: LEASE, ..Limits::default() });
        if self.has_local {
            self.start_local(&actor, &hub);
        }
        let unfinished = self.disk.unfinished();
        hub.settle(unfinished.iter().map(|run| run.header.run.clone()).collect());
        if !universe.broken.forgets_runs {
            for run in unfinished {
                if let Err(error) = engine.adopt(run.header, &run.records).await {
                    universe.breach(format!("2: a run is not taken up: {error}"));
                }
            }
        }
        let service = Arc::new(Service { actor, engine, hub });
        *self.service.lock().unwrap_or_else(PoisonError::into_inner) = Some(service);
    }

    /// The agent in the process of the service.
    fn start_local(&self, actor: &Arc<Actor>, hub: &Hub) {
        let (agent, _) = self.new_agent("", actor);
        let (near, far) = Transport::in_memory();
        let transport = chaos_engine::hub::Transport { frames: far.frames, orders: far.orders, cut: far.cut };
        let (hub, dead) = (hub.clone(), actor.killed.clone());
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = dead.cancelled() => {}
                _ = hub.serve(transport, Place::Here) => {}
            }
        });
        let dead = actor.killed.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = dead.cancelled() => {}
                _ = agent.serve(near) => {}
            }
        });
    }

    /// A node and its end of the link, after a sweep.
    fn new_agent(&self, host: &str, actor: &Arc<Actor>) -> (Agent, Arc<LocalNode>) {
        let machine =
            SimHost { universe: self.universe.clone(), name: host.to_owned(), actor: Arc::clone(actor) };
        let left = if self.universe.broken.sweeps_nothing {
            Vec::new()
        } else {
            sweep::recover_on(&machine, true).unwrap_or_default()
        };
        let incarnation = {
            let (now, mut inside) = (self.universe.now(), self.universe.inside());
            let known = inside.machines.entry(host.to_owned()).or_default();
            known.incarnations += 1;
            known.agent = Some((actor.process, now));
            known.incarnations
        };
        let node = Arc::new(LocalNode::on(Arc::new(machine), LocalConfig::new("/simulated")));
        let agent = Agent::new(Arc::clone(&node) as _, introduction(host), incarnation, without_lost(left));
        (agent, node)
    }

    /// Starts the agent of a machine, unless it runs.
    pub(super) fn start_agent(&self, host: &str) {
        if self.agent(host).is_some() {
            return;
        }
        let actor = self.universe.start(host, &format!("agent {host}"));
        let (agent, node) = self.new_agent(host, &actor);
        let running =
            RunningAgent { actor: Arc::clone(&actor), link: CancellationToken::new(), dark: Arc::default() };
        self.agents.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned(), running.clone());
        let (world, host) = (self.clone(), host.to_owned());
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = actor.killed.cancelled() => {}
                () = world.dial(&host, agent, node, &running) => {}
            }
        });
    }

    /// Dials again and again.
    async fn dial(&self, host: &str, agent: Agent, node: Arc<LocalNode>, running: &RunningAgent) {
        let mut agent = agent;
        loop {
            sleep(self.universe.milliseconds(20, 250)).await;
            let dark = running.dark.load(std::sync::atomic::Ordering::SeqCst);
            let Some(service) = self.service().filter(|_| !dark) else { continue };
            let (near, far) = Transport::in_memory();
            let cut = CancellationToken::new();
            self.remember_link(host, cut.clone());
            let transport = network::carry(&self.universe, host, far, &cut);
            let (hub, dead) = (service.hub.clone(), service.actor.killed.clone());
            let link = cut.clone();
            tokio::spawn(async move {
                tokio::select! {
                    biased;
                    () = dead.cancelled() => link.cancel(),
                    _ = hub.serve(transport, Place::Elsewhere) => {}
                }
            });
            let ended = agent.serve(near).await;
            self.universe.note(format!("link of {host} ended: {ended:?}"));
            cut.cancel();
            if self.universe.broken.forgets_at_reconnect {
                agent = Agent::new(
                    Arc::clone(&node) as _,
                    introduction(host),
                    self.next_incarnation(host),
                    Vec::new(),
                );
            }
        }
    }

    fn next_incarnation(&self, host: &str) -> u64 {
        let mut inside = self.universe.inside();
        let known = inside.machines.entry(host.to_owned()).or_default();
        known.incarnations += 1;
        known.incarnations
    }

    fn remember_link(&self, host: &str, cut: CancellationToken) {
        if let Some(agent) = self.agents.lock().unwrap_or_else(PoisonError::into_inner).get_mut(host) {
            agent.link = cut;
        }
    }

    pub(super) fn kill_service(&self) {
        if let Some(service) = self.service() {
            self.universe.kill("", &service.actor);
        }
    }

    pub(super) fn kill_agent(&self, host: &str) {
        if let Some(agent) = self.agent(host) {
            self.universe.kill(host, &agent.actor);
            agent.link.cancel();
        }
    }

    /// Cuts a link for a while.
    pub(super) fn cut(&self, host: &str, length: Duration) {
        let Some(agent) = self.agent(host) else { return };
        self.universe.note(format!("cut the link of {host} for {length:?}"));
        self.universe.disturb();
        agent.dark.store(true, std::sync::atomic::Ordering::SeqCst);
        agent.link.cancel();
        tokio::spawn(async move {
            sleep(length).await;
            agent.dark.store(false, std::sync::atomic::Ordering::SeqCst);
        });
    }

    /// An agent runs on that machine.
    pub(super) fn has_agent(&self, host: &str) -> bool {
        if host.is_empty() { self.has_local && self.service().is_some() } else { self.agent(host).is_some() }
    }
}

fn introduction(host: &str) -> Introduction {
    Introduction {
        protocol: PROTOCOL_VERSION,
        host: host.to_owned(),
        node: format!("node-of-{host}"),
        version: "0".to_owned(),
        examination: Examination::default(),
        limits: StatedLimits { faults: FaultKind::ALL.to_vec(), ..StatedLimits::default() },
    }
}

/// What a sweep says of an injection without an id is for people.
fn without_lost(reports: Vec<InjectionReport>) -> Vec<InjectionReport> {
    reports.into_iter().filter(|report| !report.injection.0.is_empty()).collect()
}

//! Every host as one node: agents of other hosts, and that of this one, over the same protocol.
//!
//! Owns which hosts there are, what each was ordered, and who hears of it. What a link may lose is settled by
//! [`chaos_core::link::ServerEnd`]; how frames travel is the transport's business. It never waits for a host but where
//! it asked one, and then for a bounded time.
//!
//! Instances of other hosts have the host's name and an id that begins with it, `node-1:app/4711`; those of the host of
//! the service keep theirs.

mod connection;
mod host;
mod merge;
mod outbox;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chaos_core::link::{Answer, HostInfo, LOCAL_HOST, Request};
use chaos_core::port::{
    Clock, Evidence, InjectOrder, InjectionPlan, InjectionReport, Node, NodeAction, NodeError, Placed,
    ReportSink,
};
use chaos_core::run::{InjectionId, InjectionState, RunId};
use chaos_core::spec::Target;
use chaos_core::target::{Instance, Inventory};
use futures_util::future::{BoxFuture, join_all};
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep_until};

use self::host::Host;

pub use connection::{Ended, Place, Transport};

/// The most hosts that are known at a time.
pub const HOSTS_MAX: usize = 10_000;
/// How long a host may take to answer what matches a target.
pub const INVENTORY_WITHIN: Duration = Duration::from_secs(5);
/// How long a host may take to help a target back: longer than a command there may take.
pub const ACT_WITHIN: Duration = Duration::from_secs(60);
/// Names of hosts in the message that none has a certain one.
const NAMES_SHOWN: usize = 40;
/// How long this host may take to prepare a run, or to clear that away.
const PREPARE_WITHIN: Duration = Duration::from_secs(2);
/// How long a host that was lost is missed: until then nobody can say what is on it.
pub const MISSED_FOR: Duration = Duration::from_secs(60);

/// Ends that nobody here waited for and that are kept for whoever listens to them.
const STRAYS_MAX: usize = 1024;

/// What is the same for every host.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// The version that agents are told.
    pub version: String,
    /// How long injections outlast silence: what the engine orders with.
    pub lease: Duration,
    /// How long [`Node::attach`] waits for hosts that are not connected.
    pub attach_within: Duration,
}

/// Every host. Clones share everything.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

struct Shared {
    config: HubConfig,
    clock: Arc<dyn Clock>,
    hosts: Mutex<BTreeMap<String, Arc<Host>>>,
    /// Runs of a server before this one that are still to be taken up; `None` when that may be any.
    awaited: Mutex<Option<BTreeSet<RunId>>>,
    /// Changes when a host connects or is lost.
    changes: watch::Sender<u64>,
    strays: broadcast::Sender<InjectionReport>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("hosts", &self.all().len()).finish_non_exhaustive()
    }
}

impl Hub {
    /// A hub without hosts.
    pub fn new(config: HubConfig, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared {
            config,
            clock,
            hosts: Mutex::default(),
            awaited: Mutex::new(None),
            changes: watch::channel(0).0,
            strays: broadcast::channel(STRAYS_MAX).0,
        }))
    }

    /// Names the runs of a server before this one that [`Node::attach`] will take up, or [`Node::release`] end. From
    /// now on whatever else an agent holds and nobody here has asked for is undone. To be called once, before those
    /// runs are adopted; until then everything is left alone.
    pub fn settle(&self, awaited: BTreeSet<RunId>) {
        // A host that is added from here on is told by whoever adds it.
        *self.awaited() = Some(awaited.clone());
        for host in self.all() {
            host.settle(awaited.clone());
        }
    }

    fn awaited(&self) -> MutexGuard<'_, Option<BTreeSet<RunId>>> {
        self.0.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run of a server before this one was taken up, or is over.
    fn claimed(&self, run: &RunId) {
        let awaited = self.awaited().as_mut().is_some_and(|awaited| awaited.remove(run));
        if awaited {
            self.all().iter().for_each(|host| host.claimed(run));
        }
    }

    /// From now on the ends of injections that no run waits for: one that was given up on, and is undone after all.
    pub fn strays(&self) -> broadcast::Receiver<InjectionReport> {
        self.0.strays.subscribe()
    }

    /// Every host that is known, by name.
    pub fn hosts(&self) -> Vec<HostInfo> {
        self.all().iter().filter_map(|host| host.info()).collect()
    }

    /// How many hosts are connected, this one left out.
    pub fn connected(&self) -> usize {
        self.all().iter().filter(|host| !host.is_here() && host.is_connected()).count()
    }

    /// Resolves when the host of the service is connected.
    pub async fn here(&self) {
        let mut changes = self.0.changes.subscribe();
        while !self.find("").is_some_and(|host| host.is_connected()) {
            // The sender lives as long as this hub.
            let _ = changes.changed().await;
        }
    }

    /// Serves one connection until it ends.
    pub async fn serve(&self, transport: Transport, place: Place) -> Ended {
        connection::serve(self, transport, place, || {}).await
    }

    /// The same; `admitted` is called once its hello was taken.
    pub async fn serve_and_tell(
        &self,
        transport: Transport,
        place: Place,
        admitted: impl FnOnce() + Send,
    ) -> Ended {
        connection::serve(self, transport, place, admitted).await
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Host>>> {
        self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<Arc<Host>> {
        self.table().values().cloned().collect()
    }

    fn find(&self, name: &str) -> Option<Arc<Host>> {
        self.table().get(name).cloned()
    }

    /// The host of that name, made known when it is not; `None` when there are too many.
    fn find_or_add(&self, name: &str) -> Option<Arc<Host>> {
        let mut hosts = self.table();
        if let Some(host) = hosts.get(name) {
            return Some(Arc::clone(host));
        }
        if hosts.len() >= HOSTS_MAX {
            let idle = hosts.values().filter_map(|host| Some((host.gone_since()?, host.name().to_owned())));
            let oldest = idle.min()?.1;
            hosts.remove(&oldest);
        }
        let host =
            Arc::new(Host::new(name, &self.0.config, Arc::clone(&self.0.clock), self.0.strays.clone()));
        if let Some(awaited) = &*self.awaited() {
            host.settle(awaited.clone());
        }
        hosts.insert(name.to_owned(), Arc::clone(&host));
        Some(host)
    }

    fn changed(&self) {
        self.0.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The hosts that a target is looked for on. One that may have something, and can't be asked, is an error: no data
    /// is not the same as nothing there.
    fn asked(&self, target: &Target) -> Result<Vec<Arc<Host>>, NodeError> {
        let hosts = self.table();
        let failed = |reason: String| NodeError::Inventory { target: merge::in_words(target), reason };
        let mut asked = Vec::new();
        for name in target.hosts.iter().collect::<BTreeSet<_>>() {
            let known = || hosts.values().map(|host| host.shown().to_owned()).take(NAMES_SHOWN).collect();
            let host = hosts
                .get(if name == LOCAL_HOST { "" } else { name })
                .ok_or_else(|| NodeError::UnknownHost { host: name.clone(), known: known() })?;
            if let Some(lost) = host.lost() {
                return Err(lost);
            }
            asked.push(Arc::clone(host));
        }
        if target.hosts.is_empty() {
            for host in hosts.values() {
                match host.lost() {
                    None => asked.push(Arc::clone(host)),
                    Some(lost) if host.is_missed() => return Err(lost),
                    Some(_) => {}
                }
            }
        }
        if asked.is_empty() {
            return Err(failed("no host is connected".to_owned()));
        }
        Ok(asked)
    }

    async fn inventory_of_all(&self, target: &Target) -> Result<Inventory, NodeError> {
        let hosts = self.asked(target)?;
        let wanted = Target { hosts: Vec::new(), ..target.clone() };
        let ask = |host: &Arc<Host>| {
            let (host, body) = (Arc::clone(host), Request::Inventory(wanted.clone()));
            async move {
                match host.ask(body, INVENTORY_WITHIN).await? {
                    Answer::Inventory(inventory) => Ok((host.name().to_owned(), *inventory)),
                    other => Err(host.misunderstood(&other)),
                }
            }
        };
        let found =
            join_all(hosts.iter().map(ask)).await.into_iter().collect::<Result<Vec<_>, NodeError>>()?;
        merge::merge(found).map_err(|reason| NodeError::Inventory { target: merge::in_words(target), reason })
    }

    fn order(&self, order: InjectOrder, reports: &ReportSink) {
        let mut by_host: BTreeMap<String, Vec<InjectionPlan>> = BTreeMap::new();
        for mut plan in order.injections {
            let host = merge::at_home(&mut plan.instance);
            by_host.entry(host).or_default().push(plan);
        }
        for (name, injections) in by_host {
            let part =
                InjectOrder { run: order.run.clone(), owner: order.owner, lease: order.lease, injections };
            match self.find(&name) {
                Some(host) => host.order(part, reports),
                None => part.injections.iter().for_each(|plan| reports(unknown_host(&plan.id, &name))),
            }
        }
    }

    async fn take_up(&self, run: &RunId, injections: Vec<Placed>, reports: ReportSink) -> Vec<InjectionId> {
        let mut by_host: BTreeMap<String, Vec<InjectionId>> = BTreeMap::new();
        for Placed { injection, host } in injections {
            by_host.entry(host).or_default().push(injection);
        }
        let mut hosts = Vec::new();
        for (name, ids) in by_host {
            match self.find_or_add(&name) {
                Some(host) => {
                    host.attach(run, &ids, &reports);
                    hosts.push(host);
                }
                None => ids.iter().for_each(|id| reports(unproven(id, &name))),
            }
        }
        self.claimed(run);
        let deadline = Instant::now() + self.0.config.attach_within;
        let mut changes = self.0.changes.subscribe();
        while hosts.iter().any(|host| host.is_awaited(run)) {
            tokio::select! {
                biased;
                _ = changes.changed() => {}
                () = sleep_until(deadline) => break,
            }
        }
        hosts.iter().flat_map(|host| host.held(run)).collect()
    }

    async fn action(&self, action: &NodeAction) -> Result<Vec<Evidence>, NodeError> {
        let (name, body) = match action {
            NodeAction::Restart(instance) => {
                let mut instance: Instance = (**instance).clone();
                let name = merge::at_home(&mut instance);
                (name, NodeAction::Restart(Box::new(instance)))
            }
            NodeAction::Command { host, name } => {
                let command = NodeAction::Command { host: String::new(), name: name.clone() };
                (host.clone(), command)
            }
        };
        let host = self.find(&name).ok_or_else(|| NodeError::Unreachable {
            host: name.clone(),
            reason: "no host of that name is known".to_owned(),
        })?;
        match host.ask(Request::Act(body), ACT_WITHIN).await? {
            Answer::Evidence(evidence) => Ok(evidence),
            other => Err(host.misunderstood(&other)),
        }
    }

    /// The agent in this process is the only one for which it is worth to prepare a run: what that saves there is less
    /// than what a link takes, and every host would have to.
    async fn ask_here(&self, body: Request) {
        if let Some(host) = self.find("") {
            // What can't be prepared is done with the order, which says why it can't.
            let _ = host.ask(body, PREPARE_WITHIN).await;
        }
    }
}

impl Node for Hub {
    fn inventory<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Inventory, NodeError>> {
        Box::pin(self.inventory_of_all(target))
    }

    fn prepare<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, ()> {
        Box::pin(self.ask_here(Request::Prepare(run.clone())))
    }

    fn release<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.all().iter().for_each(|host| host.release(run));
            self.claimed(run);
            self.ask_here(Request::Release(run.clone())).await;
        })
    }

    fn inject(&self, order: InjectOrder, reports: ReportSink) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(async move {
            self.order(order, &reports);
            Ok(())
        })
    }

    fn renew<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, ()> {
        Box::pin(async move { self.all().iter().for_each(|host| host.renew(run)) })
    }

    fn revert<'a>(&'a self, run: &'a RunId, injections: Vec<InjectionId>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let injections: BTreeSet<InjectionId> = injections.into_iter().collect();
            self.all().iter().for_each(|host| host.revert(run, &injections));
        })
    }

    fn attach<'a>(
        &'a self,
        run: &'a RunId,
        injections: Vec<Placed>,
        reports: ReportSink,
    ) -> BoxFuture<'a, Vec<InjectionId>> {
        Box::pin(self.take_up(run, injections, reports))
    }

    fn act<'a>(&'a self, action: &'a NodeAction) -> BoxFuture<'a, Result<Vec<Evidence>, NodeError>> {
        Box::pin(self.action(action))
    }
}

fn unknown_host(injection: &InjectionId, host: &str) -> InjectionReport {
    InjectionReport {
        injection: injection.clone(),
        state: InjectionState::ApplyFailed,
        evidence: vec![Evidence::new("hub", "never reached the node: nothing was changed")],
        error: Some(format!("no host {host:?} is known")),
        took_ms: 0.0,
    }
}

fn unproven(injection: &InjectionId, host: &str) -> InjectionReport {
    InjectionReport {
        injection: injection.clone(),
        state: InjectionState::RevertFailed,
        evidence: Vec::new(),
        error: Some(format!("host {host:?} can't be asked: {HOSTS_MAX} others are known")),
        took_ms: 0.0,
    }
}

#[cfg(test)]
mod tests;

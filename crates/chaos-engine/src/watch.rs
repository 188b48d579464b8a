//! What is looked at again and again while faults are active and until recovery: health, and the gates that may change.
//!
//! Owns these loops. What a look means for the run is the state machine's.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chaos_core::duration::Span;
use chaos_core::journal::RunHeader;
use chaos_core::run::{Event, RunState};
use chaos_core::safety::Decision;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::engine::{Ports, RunSnapshot};
use crate::facts;
use crate::health::{Readiness, health};

/// Time between two times that the gates are asked during a run.
const GUARDS_EVERY: Duration = Duration::from_secs(1);

/// Everything that a watch needs of its run.
pub(crate) struct Watched {
    pub(crate) ports: Ports,
    pub(crate) header: Arc<RunHeader>,
    pub(crate) samples: mpsc::Sender<Event>,
    pub(crate) snapshots: watch::Receiver<RunSnapshot>,
    /// Ids of the instances that matched before the start.
    pub(crate) before: Arc<BTreeSet<String>>,
    /// The fewest ports that any of them listened on.
    pub(crate) ports_min: usize,
    /// How readiness is judged once everything is undone; `None` while something is broken.
    pub(crate) recovering: Option<Readiness>,
}

impl Watched {
    /// Watches until the set is dropped.
    pub(crate) fn start(self, every: Span) -> JoinSet<()> {
        let mut watch = JoinSet::new();
        if self.recovering.is_none() {
            let (ports, header) = (self.ports.clone(), Arc::clone(&self.header));
            watch.spawn(guard(ports, header, self.samples.clone()));
        }
        watch.spawn(self.health(every));
        watch
    }

    async fn health(self, every: Span) {
        let target = &self.header.experiment.spec.target;
        // The gates have just looked; recovery is looked for at once.
        let first = if self.recovering.is_some() { Duration::ZERO } else { every.0 };
        let mut ticks = ticks(first, every.0);
        loop {
            ticks.tick().await;
            let inventory = self.ports.node.inventory(target).await.map_err(|error| error.to_string());
            let readiness = self.recovering.clone().unwrap_or_else(|| {
                Readiness::Untouched(untouched(&self.before, &self.snapshots.borrow().state))
            });
            let health = health(&self.ports, inventory.as_ref().map_err(Clone::clone), &readiness).await;
            let ready = inventory.as_ref().map_or(0, |inventory| inventory.ready_with_ports(self.ports_min));
            if self.samples.send(Event::Health { health, ready }).await.is_err() {
                return;
            }
        }
    }
}

/// Asks the gates that may change. What still stands as it stood is not told again.
async fn guard(ports: Ports, header: Arc<RunHeader>, samples: mpsc::Sender<Event>) {
    let mut ticks = ticks(GUARDS_EVERY, GUARDS_EVERY);
    let mut told: Vec<bool> = Vec::new();
    loop {
        ticks.tick().await;
        let decisions = facts::guard(&ports, &header).await;
        let standing: Vec<bool> = decisions.iter().map(|decision| decision.passed).collect();
        if standing == told && decisions.iter().all(|decision: &Decision| decision.passed) {
            continue;
        }
        told = standing;
        if samples.send(Event::Guarded(decisions)).await.is_err() {
            return;
        }
    }
}

fn ticks(first: Duration, every: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + first, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Ids of the instances that were there before and are not selected.
fn untouched(before: &BTreeSet<String>, state: &RunState) -> BTreeSet<String> {
    let selected: BTreeSet<&str> = state.selected_instances().collect();
    before.iter().filter(|id| !selected.contains(id.as_str())).cloned().collect()
}

//! What follows from a step: each effect is begun here, and what comes of it goes back to the driver as an event.
//!
//! Owns no state of its own, and never moves the run on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chaos_core::duration::Span;
use chaos_core::port::{Evidence, InjectOrder, InjectionPlan, InjectionReport, ReportSink};
use chaos_core::run::{Effect, Event, InjectionId, InjectionState, Phase, STEPWISE_TIMEOUT, Timer};
use chaos_core::spec::{ProbePhase, RevertMode};
use chaos_core::target::Instance;
use tokio::time::sleep;

use super::Driver;
use crate::errands::{draw_again, help};
use crate::health::Readiness;
use crate::measure::Measurement;
use crate::preflight::resolve;
use crate::watch::Watched;

/// The holder keeps a fault this much longer than the engine's own timer, so that one of them ends it, not a race.
const DURATION_MARGIN: Duration = Duration::from_secs(1);
impl Driver {
    pub(super) async fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::Resolve => self.resolve(),
            Effect::Measure { phase, once } => self.measure(phase, once),
            Effect::StopMeasuring => self.stop_measuring(),
            Effect::WatchHealth { every } => self.watch_health(every),
            Effect::SetTimer { timer, after } => self.set_timer(timer, after),
            Effect::Inject(ids) => self.inject(&ids).await,
            Effect::Revert(ids) => self.revert(ids).await,
            Effect::Redraw { item, draw } => self.redraw(item, draw),
            Effect::Act { action } => self.act(action),
            Effect::Finish => {
                self.measurement = None;
                self.ending.clear();
                self.health = None;
                self.tasks.shutdown().await;
                self.ports.node.release(&self.header.run).await;
            }
        }
    }

    pub(super) fn resolve(&mut self) {
        let (ports, header, events) = (self.ports.clone(), Arc::clone(&self.header), self.events.clone());
        let claims = Arc::clone(&self.claims);
        self.tasks.spawn(async move {
            let resolved = resolve(&ports, &header, &claims, true);
            let (resolved, ()) = tokio::join!(resolved, ports.node.prepare(&header.run));
            let event = match resolved {
                Ok(resolution) => Event::Resolved(Box::new(resolution)),
                Err(failure) => Event::Failed(failure),
            };
            let _ = events.send(event);
        });
    }

    fn stop_measuring(&mut self) {
        if let Some(measurement) = self.measurement.take() {
            measurement.stop().cancel();
            self.ending.push(measurement);
        }
    }

    fn measure(&mut self, phase: ProbePhase, once: bool) {
        self.stop_measuring();
        let measurement = Measurement::start(&self.ports, &self.header, phase, once, &self.samples);
        if once {
            let (ended, events) = (measurement.ended(), self.samples.clone());
            self.tasks.spawn(async move {
                ended.await;
                let _ = events.send(Event::BaselineEnded).await; // behind the last sample, in the same queue
            });
        }
        self.measurement = Some(measurement);
    }

    fn set_timer(&mut self, timer: Timer, after: Span) {
        let baseline = self
            .measurement
            .as_ref()
            .filter(|_| timer == Timer::Baseline)
            .map(|one| (one.stop(), one.ended()));
        let (events, samples) = (self.events.clone(), self.samples.clone());
        self.tasks.spawn(async move {
            sleep(after.0).await;
            if let Some((stop, ended)) = baseline {
                stop.cancel();
                ended.await;
                let _ = samples.send(Event::BaselineEnded).await;
            } else {
                let _ = events.send(Event::Elapsed(timer));
            }
        });
    }

    fn watch_health(&mut self, every: Span) {
        let ports_min = self.state.ports_min;
        let recovering = (self.state.phase == Phase::Recovering)
            .then_some(Readiness::AsBefore { ready: self.state.ready_before, ports_min });
        let watched = Watched {
            ports: self.ports.clone(),
            header: Arc::clone(&self.header),
            samples: self.samples.clone(),
            snapshots: self.snapshots.subscribe(),
            before: Arc::clone(&self.before),
            ports_min,
            recovering,
        };
        self.health = Some(watched.start(every));
    }

    async fn inject(&mut self, ids: &[InjectionId]) {
        let spec = &self.header.experiment.spec;
        let left = self.state.active_ms.map_or(spec.duration.0, |active| {
            (Duration::from_millis(active) + spec.duration.0)
                .saturating_sub(Duration::from_millis(self.elapsed_ms()))
        });
        let margin = match spec.revert {
            RevertMode::AtOnce => DURATION_MARGIN,
            RevertMode::Stepwise => DURATION_MARGIN + STEPWISE_TIMEOUT,
        };
        let injections: Vec<InjectionPlan> = self
            .state
            .injections
            .iter()
            .filter(|injection| ids.contains(&injection.id))
            .map(|injection| {
                let item = &spec.faults[injection.item];
                let duration = item.duration.map_or(left, |own| own.0.min(left)) + margin;
                let (fault, instance) = (item.fault.clone(), injection.instance.clone());
                InjectionPlan { id: injection.id.clone(), fault, instance, duration }
            })
            .collect();
        self.ordered.extend(ids.iter().cloned());
        let reports = self.reports();
        let order = InjectOrder {
            run: self.header.run.clone(),
            owner: self.header.owner,
            lease: self.limits.lease,
            injections,
        };
        if let Err(error) = self.ports.node.inject(order, reports).await {
            for id in ids {
                self.report(id, InjectionState::ApplyFailed, Some(error.to_string()));
            }
        }
    }

    /// Where nodes report to.
    pub(super) fn reports(&self) -> ReportSink {
        let events = self.events.clone();
        Arc::new(move |report| {
            let _ = events.send(Event::Injection(report));
        })
    }

    async fn revert(&mut self, ids: Vec<InjectionId>) {
        for id in self.revert_ordered(ids).await {
            self.report(&id, InjectionState::Reverted, None);
        }
    }

    /// Tells the node to undo what it was told to do, and gives back the others.
    pub(super) async fn revert_ordered(&self, ids: Vec<InjectionId>) -> Vec<InjectionId> {
        let (ordered, never): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| self.ordered.contains(id));
        if !ordered.is_empty() {
            self.ports.node.revert(&self.header.run, ordered).await;
        }
        never
    }

    /// Reports what this side knows of an injection that never reached the node.
    fn report(&self, id: &InjectionId, state: InjectionState, error: Option<String>) {
        let evidence = vec![Evidence::new("engine", "never reached the node: nothing was changed")];
        let report = InjectionReport { injection: id.clone(), state, evidence, error, took_ms: 0.0 };
        let _ = self.events.send(Event::Injection(report));
    }

    fn act(&mut self, action: usize) {
        let (ports, header, events) = (self.ports.clone(), Arc::clone(&self.header), self.events.clone());
        let hit: BTreeMap<String, Instance> = self
            .state
            .injections
            .iter()
            .map(|injection| (injection.instance.id.clone(), injection.instance.clone()))
            .collect();
        self.tasks.spawn(async move {
            let outcome = help(&ports, &header, action, hit.into_values().collect()).await;
            let _ = events.send(Event::Acted(outcome));
        });
    }

    fn redraw(&mut self, item: usize, draw: u32) {
        let (ports, header, events) = (self.ports.clone(), Arc::clone(&self.header), self.events.clone());
        let claims = Arc::clone(&self.claims);
        let hit: BTreeSet<String> =
            self.state.unfinished().map(|injection| injection.instance.id.clone()).collect();
        self.tasks.spawn(async move {
            let chosen = match draw_again(&ports, &header, &claims, &hit, draw).await {
                Ok(chosen) => chosen,
                Err(failure) => {
                    tracing::warn!(run = %header.run, "draw {draw} of fault {item} is skipped: {failure:?}");
                    Vec::new()
                }
            };
            let _ = events.send(Event::Redrawn { item, chosen });
        });
    }
}

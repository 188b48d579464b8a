//! Metrics under the names of contract §5.
//!
//! Owns the registry. What is counted comes from the engine's bus ([`feed`]); what is a state of now is read when
//! Prometheus asks.

pub(crate) mod feed;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chaos_core::journal::RunSummary;
use chaos_core::run::{InjectionState, Status};
use chaos_core::safety::Gate;
use chaos_core::spec::{ExperimentKey, FaultKind};
use chaos_engine::RunSnapshot;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::limits::PROBE_SERIES_MAX;

/// Media type of the text.
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// `reason` of a run that health ended.
const RUNNING_HEALTH: &str = "running_health";
/// `reason` of a run that another gate ended which is also asked during a run.
const RUNNING_GUARD: &str = "running_guardrail";
/// `reason` of a run whose steady state did not hold before the start.
const BASELINE: &str = "baseline";

type Ratio = Gauge<f64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TypeAndStatus {
    r#type: String,
    status: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Type {
    r#type: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ProbeLabels {
    experiment: String,
    probe: String,
}

/// Upper bounds of a histogram, in seconds.
#[derive(Clone, Copy)]
struct Buckets(&'static [f64]);

/// From a millisecond: how fast faults come and go.
const FAST: Buckets =
    Buckets(&[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]);
/// From a tenth of a second to an hour: how long things last.
const SLOW: Buckets =
    Buckets(&[0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

type Histograms = Family<Type, Histogram, Buckets>;

pub(crate) struct Metrics {
    registry: Registry,
    experiments: Family<TypeAndStatus, Counter>,
    experiment_duration: Histograms,
    health_score: Ratio,
    threshold_violations: Family<Reason, Counter>,
    active_faults: Family<Type, Gauge>,
    fault_inject: Histograms,
    fault_revert: Histograms,
    emergency_stop: Histogram,
    revert_failures: Family<Type, Counter>,
    probe_success: Family<ProbeLabels, Ratio>,
    probe_series: Mutex<BTreeSet<ProbeLabels>>,
    recovery: Histograms,
    detection: Histograms,
    lever_engaged: Gauge,
    agents_connected: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            experiments: Family::default(),
            experiment_duration: Family::new_with_constructor(SLOW),
            health_score: Ratio::default(),
            threshold_violations: Family::default(),
            active_faults: Family::default(),
            fault_inject: Family::new_with_constructor(FAST),
            fault_revert: Family::new_with_constructor(FAST),
            emergency_stop: Histogram::new(FAST.0.iter().copied()),
            revert_failures: Family::default(),
            probe_success: Family::default(),
            probe_series: Mutex::default(),
            recovery: Family::new_with_constructor(SLOW),
            detection: Family::new_with_constructor(SLOW),
            lever_engaged: Gauge::default(),
            agents_connected: Gauge::default(),
        };
        metrics.register();
        metrics.begin_at_zero();
        metrics
    }

    /// The library adds `_total` to counters by itself.
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("chaos_experiments", "Runs that ended", self.experiments.clone());
        registry.register(
            "chaos_experiment_duration_seconds",
            "From acceptance to the end of a run",
            self.experiment_duration.clone(),
        );
        registry.register(
            "system_health_score",
            "Health score, 0 to 1; NaN: unknown",
            self.health_score.clone(),
        );
        registry.register(
            "safety_threshold_violations",
            "Starts refused and runs ended by a guardrail",
            self.threshold_violations.clone(),
        );
        registry.register("chaos_active_faults", "Faults that are proven active", self.active_faults.clone());
        registry.register(
            "chaos_fault_inject_seconds",
            "From the order to the proof that a fault acts",
            self.fault_inject.clone(),
        );
        registry.register(
            "chaos_fault_revert_seconds",
            "From the request to the proof that a fault is undone",
            self.fault_revert.clone(),
        );
        registry.register(
            "chaos_emergency_stop_seconds",
            "From a stop to the last proof of undo, for each run",
            self.emergency_stop.clone(),
        );
        registry.register(
            "chaos_revert_failures",
            "Faults whose undo is not proven",
            self.revert_failures.clone(),
        );
        registry.register(
            "chaos_probe_success_ratio",
            "Share of measurements that passed in the latest phase of the latest run",
            self.probe_success.clone(),
        );
        registry.register("chaos_recovery_seconds", "From the undo to steady state", self.recovery.clone());
        registry.register(
            "chaos_detection_seconds",
            "From the first active fault to the first measurement that did not pass",
            self.detection.clone(),
        );
        registry.register(
            "chaos_safety_lever_engaged",
            "Whether the safety lever is engaged (1), so that nothing runs",
            self.lever_engaged.clone(),
        );
        registry.register(
            "chaos_agents_connected",
            "Hosts whose agents are connected, the host of the service left out",
            self.agents_connected.clone(),
        );
    }

    /// A rate needs a zero to begin with, so what can be counted is there before it happens.
    fn begin_at_zero(&self) {
        for kind in FaultKind::ALL {
            for status in
                [Status::Completed, Status::Stopped, Status::Blocked, Status::Cancelled, Status::Error]
            {
                let labels = TypeAndStatus { r#type: kind.to_string(), status: status.to_string() };
                drop(self.experiments.get_or_create(&labels));
            }
            drop(self.revert_failures.get_or_create(&of_type(kind)));
            drop(self.active_faults.get_or_create(&of_type(kind)));
            for family in [&self.experiment_duration, &self.fault_inject, &self.fault_revert, &self.recovery]
            {
                drop(family.get_or_create(&of_type(kind)));
            }
            drop(self.detection.get_or_create(&of_type(kind)));
        }
        for reason in Gate::ALL.map(Gate::name).into_iter().chain([RUNNING_HEALTH, RUNNING_GUARD, BASELINE]) {
            drop(self.threshold_violations.get_or_create(&Reason { reason: reason.to_owned() }));
        }
    }

    /// The text that Prometheus reads, with what is true now.
    pub(crate) fn encode(
        &self,
        active: &[RunSnapshot],
        score: Option<f64>,
        lever_engaged: bool,
        agents_connected: usize,
    ) -> Result<String, fmt::Error> {
        self.agents_connected.set(i64::try_from(agents_connected).unwrap_or(i64::MAX));
        self.lever_engaged.set(i64::from(lever_engaged));
        self.health_score.set(score.unwrap_or(f64::NAN));
        for kind in FaultKind::ALL {
            let count: usize = active.iter().map(|snapshot| count_active(snapshot, kind)).sum();
            self.active_faults.get_or_create(&of_type(kind)).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// A stop took so long.
    pub(crate) fn stopped(&self, took: Duration) {
        self.emergency_stop.observe(took.as_secs_f64());
    }

    /// An experiment is gone.
    pub(crate) fn forget(&self, key: &ExperimentKey) {
        let experiment = experiment_label(key);
        let mut series = self.probe_series();
        series.retain(|labels| labels.experiment != experiment || !self.probe_success.remove(labels));
    }

    fn finished(&self, summary: &RunSummary) {
        let labels = TypeAndStatus { r#type: summary.kind.clone(), status: summary.status.to_string() };
        self.experiments.get_or_create(&labels).inc();
        let kind = Type { r#type: summary.kind.clone() };
        self.experiment_duration.get_or_create(&kind).observe(summary.duration_seconds);
        if let Some(seconds) = summary.recovery_seconds {
            self.recovery.get_or_create(&kind).observe(seconds);
        }
        if let Some(seconds) = summary.detection_seconds {
            self.detection.get_or_create(&kind).observe(seconds);
        }
    }

    fn violated(&self, reason: &str) {
        self.threshold_violations.get_or_create(&Reason { reason: reason.to_owned() }).inc();
    }

    fn injection(&self, kind: FaultKind, state: InjectionState, took_ms: f64) {
        let seconds = took_ms / 1000.0;
        match state {
            InjectionState::Active => self.fault_inject.get_or_create(&of_type(kind)).observe(seconds),
            InjectionState::Reverted => self.fault_revert.get_or_create(&of_type(kind)).observe(seconds),
            InjectionState::RevertFailed => drop(self.revert_failures.get_or_create(&of_type(kind)).inc()),
            _ => {}
        }
    }

    fn probed(&self, key: &ExperimentKey, probe: &str, success: f64) {
        let labels = ProbeLabels { experiment: experiment_label(key), probe: probe.to_owned() };
        let mut series = self.probe_series();
        if series.len() >= PROBE_SERIES_MAX && !series.contains(&labels) {
            series.clear();
            self.probe_success.clear();
        }
        self.probe_success.get_or_create(&labels).set(success);
        series.insert(labels);
    }

    /// What is in the family of probes, which can't be asked.
    fn probe_series(&self) -> MutexGuard<'_, BTreeSet<ProbeLabels>> {
        self.probe_series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name alone in the usual namespace.
fn experiment_label(key: &ExperimentKey) -> String {
    if key.namespace == "default" { key.name.clone() } else { key.to_string() }
}

fn of_type(kind: FaultKind) -> Type {
    Type { r#type: kind.name().to_owned() }
}

fn count_active(snapshot: &RunSnapshot, kind: FaultKind) -> usize {
    let faults = &snapshot.header.experiment.spec.faults;
    let injections = snapshot.state.injections.iter();
    injections
        .filter(|one| one.state == InjectionState::Active)
        .filter(|one| faults.get(one.item).is_some_and(|item| item.fault.kind() == kind))
        .count()
}

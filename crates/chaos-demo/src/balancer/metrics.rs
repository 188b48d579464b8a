//! Owns the metrics of the balancer. It never keeps state that the fleet has: that is read when scraped.

use std::{sync::atomic::AtomicU64, time::Duration};

use axum::http::StatusCode;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::fleet::Fleet;
use crate::breaker::State;

type FloatGauge = Gauge<f64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Replica {
    replica: u16,
}

/// What `/metrics` shows.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Code, Counter>,
    duration: Histogram,
    pub(super) retries: Counter,
    pub(super) retries_denied: Counter,
    in_rotation: Gauge,
    up: Family<Replica, Gauge>,
    breaker: Family<Replica, Gauge>,
    restarts: Family<Replica, Gauge>,
    queue_depth: Family<Replica, Gauge>,
    queue_wait: Family<Replica, FloatGauge>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 1.0];
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            duration: Histogram::new(buckets),
            retries: Counter::default(),
            retries_denied: Counter::default(),
            in_rotation: Gauge::default(),
            up: Family::default(),
            breaker: Family::default(),
            restarts: Family::default(),
            queue_depth: Family::default(),
            queue_wait: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("http_requests", "Requests for work by status code", self.requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "Time to answer a request for work",
            Unit::Seconds,
            self.duration.clone(),
        );
        registry.register("retries", "Attempts beyond the first", self.retries.clone());
        registry.register("retries_denied", "Retries the budget forbade", self.retries_denied.clone());
        registry.register("replicas_in_rotation", "Replicas that get requests", self.in_rotation.clone());
        registry.register("up", "1 while the replica is in rotation", self.up.clone());
        registry.register("circuit_breaker_state", "0 closed, 1 half open, 2 open", self.breaker.clone());
        registry.register("replica_restarts", "Times the replica was started again", self.restarts.clone());
        registry.register("worker_queue_depth", "Jobs waiting in the replica", self.queue_depth.clone());
        registry.register_with_unit(
            "worker_queue_wait",
            "Wait of the replica's latest job",
            Unit::Seconds,
            self.queue_wait.clone(),
        );
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Counts one answered request.
    pub(super) fn request(&self, code: StatusCode, took: Duration) {
        self.requests.get_or_create(&Code { code: code.as_u16() }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// Reads the fleet into the gauges.
    pub(super) fn refresh(&self, fleet: &Fleet) {
        let mut in_rotation = 0;
        for slot in fleet.slots() {
            let info = slot.info();
            let label = Replica { replica: info.index };
            in_rotation += i64::from(info.in_rotation);
            self.up.get_or_create(&label).set(info.in_rotation.into());
            self.breaker.get_or_create(&label).set(match info.breaker {
                State::Closed => 0,
                State::HalfOpen => 1,
                State::Open => 2,
            });
            self.restarts.get_or_create(&label).set(info.restarts.into());
            let (depth, wait) = slot.queue();
            self.queue_depth.get_or_create(&label).set(i64::try_from(depth).unwrap_or(i64::MAX));
            self.queue_wait.get_or_create(&label).set(wait.as_secs_f64());
        }
        self.in_rotation.set(in_rotation);
    }
}

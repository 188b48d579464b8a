//! What the engine of a service works with: the configured Prometheus, probes with the rights of their owner, rules.
//!
//! Owns the choice of each from the configuration. It starts nothing.

use std::sync::Arc;

use chaos_core::port::{Node, Owner, SignalSource};
use chaos_core::safety::{AlertMatch, AlertReading, Known, Signal};
use chaos_engine::{Ports, SystemClock};
use chaos_probes::{AddressPolicy, CommandPolicy, Probes, ProbesConfig, PrometheusSignals, SignalsError};
use chaos_store::SqlStore;
use futures_util::future::{BoxFuture, FutureExt};

use crate::config::FileConfig;
use crate::governance::Rules;
use crate::lever::LeverState;

use super::ServerConfig;

/// What the engine works with.
pub(super) fn ports(
    config: &ServerConfig,
    node: Arc<dyn Node>,
    store: &Arc<SqlStore>,
    lever: &Arc<LeverState>,
    prometheus: Option<Arc<PrometheusSignals>>,
) -> Ports {
    // A command line measures with the rights of its user, a server with fewer than its own.
    let (commands, addresses) = match (config.owner, &config.config.probes) {
        (Owner::Command, _) => (CommandPolicy::Any, AddressPolicy::Any),
        (Owner::Server, rights) => (
            CommandPolicy::Allow(rights.commands.clone()),
            if rights.link_local { AddressPolicy::Any } else { AddressPolicy::NoLinkLocal },
        ),
    };
    let probes = ProbesConfig {
        prometheus: config.config.safety.prometheus.clone(),
        commands,
        addresses,
        ..ProbesConfig::default()
    };
    let rules =
        Rules { policy: config.config.safety.policy(), lever: Arc::clone(lever), store: Arc::clone(store) };
    Ports {
        node,
        prober: Arc::new(Probes::new(probes)),
        signals: match prometheus {
            Some(signals) => signals,
            None => Arc::new(NoPrometheus),
        },
        store: Arc::clone(store) as _,
        governance: Arc::new(rules),
        clock: Arc::new(SystemClock::default()),
    }
}

/// What reads the configured signals and answers the gates; `None` without a Prometheus.
pub(super) fn prometheus(config: &FileConfig) -> Result<Option<Arc<PrometheusSignals>>, SignalsError> {
    let make = |url: &String| {
        PrometheusSignals::new(url, config.target_app(), config.safety.signals.clone()).map(Arc::new)
    };
    config.safety.prometheus.as_ref().map(make).transpose()
}

/// No Prometheus is configured: readiness alone is the health, and nothing else is known.
struct NoPrometheus;

impl NoPrometheus {
    fn error() -> String {
        "no Prometheus is configured (safety.prometheus)".to_owned()
    }
}

impl SignalSource for NoPrometheus {
    fn signals(&self) -> BoxFuture<'_, Vec<Signal>> {
        async { Vec::new() }.boxed()
    }

    fn query<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Known<Option<f64>>> {
        async { Err(Self::error()) }.boxed()
    }

    fn alerts<'a>(&'a self, labels: &'a AlertMatch) -> BoxFuture<'a, AlertReading> {
        let labels: Vec<String> = labels.0.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        let labels = labels.join(", ");
        async { AlertReading { labels, rules: None, firing: Vec::new(), error: Some(Self::error()) } }.boxed()
    }
}

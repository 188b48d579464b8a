//! Measurements of the outside world: probes of five kinds on a fixed schedule, health signals by PromQL, and what gates
//! ask of Prometheus.
//!
//! Owns how something is measured and when, and what probes may reach and start. It never judges a phase (that is
//! `chaos_core::run`'s) and never changes what it measures. What could not be measured is no data, never a pass.

mod address;
mod breaker;
mod check;
mod client;
mod command;
#[doc(hidden)]
pub mod foreign;
mod http;
mod jitter;
mod load;
mod measured;
mod prometheus;
mod scheduler;
mod scrub;
mod signals;
mod sum;
mod tcp;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chaos_core::port::Prober;
use chaos_core::run::ProbeSample;
use chaos_core::spec::{Probe, ProbePhase};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

pub use address::AddressPolicy;
pub use breaker::{Breaker, BreakerState, OPEN_FOR, OPENS_AFTER};
pub use client::BODY_BYTES_MAX;
pub use command::{COMMANDS_IN_FLIGHT_MAX, CommandPolicy, STDOUT_BYTES_MAX};
pub use jitter::StartJitter;
pub use load::LOAD_IN_FLIGHT_MAX;
pub use prometheus::{FIRING_MAX, RULES_BYTES_MAX, SAMPLE_AGE_MAX};
pub use scheduler::MEASUREMENTS_IN_FLIGHT_MAX;
pub use signals::{PrometheusSignals, SIGNAL_TIMEOUT, SIGNALS_MAX, SignalConfig, SignalsError};

use crate::check::Check;
use crate::client::Clients;
use crate::jitter::Jitter;
use crate::scheduler::Plan;

/// What probes take from the configuration. By default they start no program and reach no address that is link-local or
/// of a cloud's metadata service: whoever may write a document would otherwise have the rights of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbesConfig {
    /// Base URL of the Prometheus that is asked when a probe names none.
    pub prometheus: Option<String>,
    /// The oldest sample of a Prometheus that is data.
    pub sample_age_max: Duration,
    /// Programs that they may start.
    pub commands: CommandPolicy,
    /// Addresses that they may reach.
    pub addresses: AddressPolicy,
}

impl Default for ProbesConfig {
    fn default() -> Self {
        Self {
            prometheus: None,
            sample_age_max: SAMPLE_AGE_MAX,
            commands: CommandPolicy::default(),
            addresses: AddressPolicy::default(),
        }
    }
}

/// Measures probes: `http`, `tcp`, `command`, `prometheus` and `load`.
///
/// Needs a tokio runtime with time and I/O; one with several threads keeps the schedule better.
#[derive(Debug)]
pub struct Probes {
    config: ProbesConfig,
    clients: Clients,
    jitter: Arc<Jitter>,
    watches: AtomicU32,
}

impl Probes {
    /// Makes nothing yet: connections and certificates are loaded with the first probe that needs them.
    pub fn new(config: ProbesConfig) -> Self {
        let clients = Clients::new(config.addresses);
        Self { config, clients, jitter: Arc::default(), watches: AtomicU32::new(0) }
    }

    /// How late measurements started, over all that this value has made so far.
    pub fn start_jitter(&self) -> StartJitter {
        self.jitter.so_far()
    }
}

impl Prober for Probes {
    /// See [`Prober::watch`]. At `stop` no further measurement starts, what is complete is handed over at once, and
    /// those in flight are awaited (each at most for its timeout) and handed over in a last sample, so that every
    /// start is counted. With `once`, `stop` is not asked. Dropping the future abandons what is in flight: connections
    /// are closed, programs killed, nothing more is counted.
    fn watch<'a>(
        &'a self,
        probe: &'a Probe,
        phase: ProbePhase,
        once: bool,
        stop: BoxFuture<'a, ()>,
        sink: &'a (dyn Fn(ProbeSample) + Send + Sync),
    ) -> BoxFuture<'a, ()> {
        let check = Check::prepare(probe, &self.clients, &self.config);
        let plan = Plan::of(probe, phase, once, self.watches.fetch_add(1, Ordering::Relaxed));
        let hand_over = move |sum: &mut sum::Sum| {
            if let Some(sample) = sum.take(&probe.name, phase) {
                sink(sample);
            }
        };
        scheduler::run(plan, Arc::new(check), Arc::clone(&self.jitter), stop, hand_over).boxed()
    }
}

//! The scenarios of the demo: what each is called, what to look at, what it should show.
//!
//! Owns the fitting of the documents in `examples/demo` to the service that was started. It never runs one.

use chaos_core::run::Verdict;
use chaos_core::spec::{Experiment, Fault, HostTarget, PortRange, ProcessMatch, parse_documents};
use chaos_demo::Handle;
use clap::ValueEnum;

use crate::exit::Failure;

/// Where the documents expect the service.
const DOCUMENTED_URL: &str = "http://127.0.0.1:8080";

/// One scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Scenario {
    /// Half of the replicas are killed
    PodResilience,
    /// One replica is starved of CPU and memory
    ResourceLimits,
    /// One replica answers nobody while its health check passes
    CircuitBreaker,
    /// Nothing is killed while the service is not well
    SafetyBlock,
}

impl Scenario {
    /// Its name on the command line.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Its headline.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::PodResilience => "== pod resilience: half of the replicas are killed",
            Self::ResourceLimits => "== resource limits: one replica is starved of CPU and memory",
            Self::CircuitBreaker => {
                "== circuit breaker: one replica answers nobody, and its health check passes"
            }
            Self::SafetyBlock => {
                "== safety block: half of the replicas are frozen, and somebody wants to kill one more"
            }
        }
    }

    /// What to look at.
    pub(super) fn look_at(self) -> &'static str {
        match self {
            Self::PodResilience => {
                "look at: `load chaos`, hardly a request fails; `recovered after`, the supervisor's work"
            }
            Self::ResourceLimits => "look at: the latency of `load` before and during; the others take over",
            Self::CircuitBreaker => {
                "look at: `load chaos`, a few slow requests until the circuit opens, then none"
            }
            Self::SafetyBlock => {
                "look at: the verdict `blocked`, with the score and the signal to blame; nothing is touched"
            }
        }
    }

    /// The verdict when everything works as it should.
    pub(super) fn expected(self) -> Verdict {
        match self {
            Self::SafetyBlock => Verdict::Blocked,
            _ => Verdict::Held,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::PodResilience => include_str!("../../../../../examples/demo/pod-resilience.yaml"),
            Self::ResourceLimits => include_str!("../../../../../examples/demo/resource-limits.yaml"),
            Self::CircuitBreaker => include_str!("../../../../../examples/demo/circuit-breaker.yaml"),
            Self::SafetyBlock => include_str!("../../../../../examples/demo/safety-block.yaml"),
        }
    }

    /// Its documents, fitted to `app`: its addresses, and its own processes should another of that name be running.
    pub(super) fn documents(self, app: &Handle) -> Result<Vec<Experiment>, Failure> {
        let source = format!("scenario {}", self.name());
        let mut documents =
            parse_documents(self.text()).map_err(|errors| Failure::Document { source, errors })?;
        for document in &mut documents {
            let mark = app.family().map(str::to_owned);
            document.spec.target.host = Some(HostTarget::Process(ProcessMatch {
                name: Some(chaos_demo::NAME.to_owned()),
                cmdline: mark,
                ..ProcessMatch::default()
            }));
            for probe in &mut document.spec.probes {
                let http = probe.http.as_mut().map(|http| &mut http.url);
                for url in http.into_iter().chain(probe.load.as_mut().map(|load| &mut load.url)) {
                    *url = url.replacen(DOCUMENTED_URL, &app.base_url, 1);
                }
            }
            for item in &mut document.spec.faults {
                if let Fault::NetworkPartition(partition) = &mut item.fault {
                    let port = |port| PortRange { first: port, last: port };
                    partition.ports = app.replicas.iter().map(|replica| port(replica.port)).collect();
                }
            }
        }
        Ok(documents)
    }
}

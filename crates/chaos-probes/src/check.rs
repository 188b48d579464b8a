//! The kinds of probe: how each is prepared, how many of it may be in flight, and which file measures it.
//!
//! Owns the list. A probe that can't be prepared, or is refused here, is measured all the same and gives no data each
//! time, so that its schedule and its verdict are those of any other.

use std::time::Duration;

use chaos_core::spec::{Bounds, Probe, ProbeCheck};
use tokio::time::Instant;

use crate::ProbesConfig;
use crate::client::Clients;
use crate::command::CommandCheck;
use crate::http::HttpCheck;
use crate::load::LoadCheck;
use crate::measured::Measured;
use crate::prometheus::PrometheusCheck;
use crate::tcp::TcpCheck;

/// A probe made ready to be measured many times.
#[derive(Debug)]
pub(crate) struct Check {
    kind: Kind,
    timeout: Duration,
    bounds: Option<Bounds>,
}

#[derive(Debug)]
enum Kind {
    Http(HttpCheck),
    Tcp(TcpCheck),
    Command(CommandCheck),
    Prometheus(PrometheusCheck),
    Load(LoadCheck),
    /// It can't be measured: why.
    Unable(String),
}

impl Check {
    pub(crate) fn prepare(probe: &Probe, clients: &Clients, config: &ProbesConfig) -> Self {
        let kind = match probe.check() {
            Some(ProbeCheck::Http(http)) => HttpCheck::new(http, clients).map(Kind::Http),
            Some(ProbeCheck::Tcp(tcp)) => Ok(Kind::Tcp(TcpCheck::new(tcp, clients.resolver()))),
            Some(ProbeCheck::Command(command)) => {
                CommandCheck::new(command, &config.commands).map(Kind::Command)
            }
            Some(ProbeCheck::Prometheus(query)) => {
                PrometheusCheck::new(query, clients, config).map(Kind::Prometheus)
            }
            Some(ProbeCheck::Load(load)) => LoadCheck::new(load, clients).map(Kind::Load),
            None => Err("the probe has not exactly one check".to_owned()),
        };
        Self {
            kind: kind.unwrap_or_else(Kind::Unable),
            timeout: probe.timeout.0,
            bounds: probe.tolerance.value,
        }
    }

    /// Measures once; takes the timeout at most. `due` is when it was scheduled to start.
    pub(crate) async fn measure(&self, due: Instant) -> Measured {
        let measured = match &self.kind {
            Kind::Http(check) => check.measure(Instant::now(), self.timeout).await,
            Kind::Tcp(check) => check.measure(self.timeout).await,
            Kind::Command(check) => check.measure(self.timeout).await,
            Kind::Prometheus(check) => check.measure(self.timeout).await,
            Kind::Load(check) => check.measure(due, self.timeout).await,
            Kind::Unable(reason) => Measured::no_data(reason.clone()),
        };
        measured.within(self.bounds.as_ref())
    }
}

//! `prometheus`: one instant query that gives one value; and the client for it and for alerting rules.
//!
//! Owns the probe. Whatever is not exactly one finite value of fresh data (nothing, several series, NaN, an error, a
//! late answer) is no data: a Prometheus that doesn't know must never look like a target that is well, or like one that
//! is not.

mod answer;
mod rules;
mod source;

use std::time::Duration;

use chaos_core::spec::PrometheusProbe;
use tokio::time::Instant;

use crate::ProbesConfig;
use crate::client::Clients;
use crate::measured::Measured;

pub(crate) use answer::{QueryError, one_value};
pub use rules::FIRING_MAX;
pub(crate) use rules::{ALERT_NAME, reading};
pub(crate) use source::{LATELY, Prometheus, unless_old};
pub use source::{RULES_BYTES_MAX, SAMPLE_AGE_MAX};

/// A query to be asked many times.
#[derive(Debug)]
pub(crate) struct PrometheusCheck {
    prometheus: Prometheus,
    query: String,
}

impl PrometheusCheck {
    pub(crate) fn new(
        probe: &PrometheusProbe,
        clients: &Clients,
        config: &ProbesConfig,
    ) -> Result<Self, String> {
        let base = probe
            .url
            .as_deref()
            .or(config.prometheus.as_deref())
            .ok_or("no Prometheus is named, neither here nor in the configuration")?;
        let prometheus = Prometheus::new(base, clients)?.with_sample_age_max(config.sample_age_max);
        Ok(Self { prometheus, query: probe.query.clone() })
    }

    /// Asks; the value is judged by the probe's bounds afterwards.
    pub(crate) async fn measure(&self, limit: Duration) -> Measured {
        let begin = Instant::now();
        match self.prometheus.fresh_value(&self.query, limit).await {
            Ok(value) => Measured::passed(begin.elapsed()).with_value(Some(value)),
            Err(error) => Measured::no_data(error.to_string()),
        }
    }
}

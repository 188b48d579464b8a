//! Health signals by PromQL: one value each, between 0 (bad) and 1 (good).
//!
//! Owns the configured signals, their source and its circuit breaker. What can't be read is a signal without a value
//! and with the reason, so that the score is unknown; it is never left out and never assumed.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chaos_core::port::SignalSource;
use chaos_core::safety::Signal;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::breaker::{Breaker, BreakerState};
use crate::client::Clients;
use crate::prometheus::{Prometheus, QueryError};

/// The longest that reading the signals takes.
pub const SIGNAL_TIMEOUT: Duration = Duration::from_secs(2);
/// The most signals of one source; they are asked at one time.
pub const SIGNALS_MAX: usize = 64;

/// A health signal as configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignalConfig {
    /// Name, unique among the signals.
    pub name: String,
    /// PromQL that gives one value.
    pub query: String,
    /// The value that is as good as it gets: 1.
    pub good: f64,
    /// The value that is as bad as it gets: 0. Above or below `good`.
    pub bad: f64,
    /// Weight in the mean, above 0.
    #[serde(default = "default_weight")]
    pub weight: f64,
    /// At 0 it makes the whole score 0.
    #[serde(default)]
    pub critical: bool,
}

fn default_weight() -> f64 {
    1.0
}

/// Why signals can't be read as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignalsError {
    /// The source can't be asked.
    #[error("cannot read signals from the configured Prometheus: {reason}")]
    Source {
        /// The cause.
        reason: String,
    },
    /// More than [`SIGNALS_MAX`].
    #[error("{found} signals, at most {SIGNALS_MAX} are read")]
    TooMany {
        /// How many there are.
        found: usize,
    },
    /// A signal makes no sense.
    #[error("signal {name:?}: {reason}")]
    Signal {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl SignalConfig {
    fn problem(&self) -> Option<&'static str> {
        if self.name.trim().is_empty() {
            Some("the name is empty")
        } else if self.query.trim().is_empty() {
            Some("the query is empty")
        } else if !self.good.is_finite() || !self.bad.is_finite() {
            Some("good and bad must be finite numbers")
        } else if self.good == self.bad {
            Some("good and bad are equal, so there is nothing between them")
        } else if !self.weight.is_finite() || self.weight <= 0.0 {
            Some("the weight must be above 0")
        } else {
            None
        }
    }
}

/// The configured signals of one Prometheus.
#[derive(Debug)]
pub struct PrometheusSignals {
    prometheus: Prometheus,
    signals: Vec<SignalConfig>,
    breaker: Mutex<Breaker>,
    begin: Instant,
}

impl PrometheusSignals {
    /// Reads `signals` from the Prometheus at the base URL `prometheus`.
    ///
    /// # Errors
    /// A URL that can't be asked, or a signal that makes no sense.
    pub fn new(prometheus: &str, signals: Vec<SignalConfig>) -> Result<Self, SignalsError> {
        if signals.len() > SIGNALS_MAX {
            return Err(SignalsError::TooMany { found: signals.len() });
        }
        let mut names = BTreeSet::new();
        for signal in &signals {
            let twice = (!names.insert(signal.name.as_str())).then_some("the name stands twice");
            if let Some(reason) = twice.or_else(|| signal.problem()) {
                return Err(SignalsError::Signal { name: signal.name.clone(), reason: reason.to_owned() });
            }
        }
        let prometheus = Prometheus::new(prometheus, &Clients::default())
            .map_err(|reason| SignalsError::Source { reason })?;
        Ok(Self { prometheus, signals, breaker: Mutex::default(), begin: Instant::now() })
    }

    /// What the circuit breaker of the source is doing. An answer without a value (no series, NaN, a refused query) is
    /// an answer; the breaker counts rounds in which nothing was answered.
    pub fn breaker(&self) -> BreakerState {
        self.lock().state()
    }

    /// The source, without credentials.
    pub fn source(&self) -> &str {
        self.prometheus.name()
    }

    fn lock(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self) -> Vec<Signal> {
        if self.signals.is_empty() {
            return Vec::new();
        }
        if !self.lock().admit(self.begin.elapsed()) {
            let error =
                QueryError::NoAnswer("circuit open: the source failed repeatedly and is left alone".into());
            return self.signals.iter().map(|config| self.signal(config, Err(error.clone()))).collect();
        }
        let answers =
            join_all(self.signals.iter().map(|config| self.prometheus.value(&config.query, SIGNAL_TIMEOUT)))
                .await;
        let answered = answers.iter().any(|answer| !matches!(answer, Err(QueryError::NoAnswer(_))));
        self.lock().record(answered, self.begin.elapsed());
        self.signals.iter().zip(answers).map(|(config, answer)| self.signal(config, answer)).collect()
    }

    fn signal(&self, config: &SignalConfig, answer: Result<f64, QueryError>) -> Signal {
        let (value, error) = match answer {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Signal {
            name: config.name.clone(),
            value,
            score: value.and_then(|value| Signal::between(value, config.good, config.bad)),
            weight: config.weight,
            critical: config.critical,
            source: self.prometheus.name().to_owned(),
            at: Timestamp::now(),
            error,
            not_evaluated: false,
        }
    }
}

impl SignalSource for PrometheusSignals {
    fn signals(&self) -> BoxFuture<'_, Vec<Signal>> {
        self.read().boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: serde_json::Value) -> Result<SignalConfig, serde_json::Error> {
        let mut value = serde_json::json!({ "name": "up", "query": "up", "good": 1, "bad": 0.5 });
        if let (Some(base), Some(change)) = (value.as_object_mut(), change.as_object()) {
            base.extend(change.clone());
        }
        serde_json::from_value(value)
    }

    #[test]
    fn a_signal_needs_two_bounds_that_differ_and_a_weight() {
        let plain = config(serde_json::json!({})).expect("valid");
        assert_eq!((plain.weight, plain.critical, plain.problem()), (1.0, false, None));
        for bad in [
            serde_json::json!({ "bad": 1 }),
            serde_json::json!({ "weight": 0 }),
            serde_json::json!({ "weight": -1 }),
            serde_json::json!({ "query": " " }),
            serde_json::json!({ "name": "" }),
        ] {
            let signal = config(bad.clone()).expect("valid shape");
            assert!(PrometheusSignals::new("http://localhost:9090", vec![signal]).is_err(), "{bad}");
        }
        assert!(config(serde_json::json!({ "treshold": 1 })).is_err(), "an unknown field");
    }

    #[test]
    fn a_name_stands_once_and_the_source_is_http() {
        let plain = config(serde_json::json!({})).expect("valid");
        let twice = PrometheusSignals::new("http://localhost:9090", vec![plain.clone(), plain]);
        assert!(twice.is_err_and(|error| error.to_string().contains("twice")));
        assert!(PrometheusSignals::new("ftp://localhost", Vec::new()).is_err());
        assert!(PrometheusSignals::new("localhost", Vec::new()).is_err());
    }
}

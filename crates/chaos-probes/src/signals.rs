//! What is asked of a configured Prometheus: health signals by PromQL, and whatever gates want to know.
//!
//! Owns the signals, their source and its circuit breaker. What can't be read is a signal without a value and with the
//! reason, so that the score is unknown; it is never left out and never assumed. Where none are declared there are
//! [defaults](defaults): one of them whose series were not there within the last hour does not apply.

mod defaults;

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chaos_core::port::SignalSource;
use chaos_core::safety::{AlertMatch, AlertReading, Known, Signal};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join, join_all};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::AddressPolicy;
use crate::breaker::{Breaker, BreakerState};
use crate::client::Clients;
use crate::prometheus::{ALERT_NAME, LATELY, Prometheus, QueryError, reading, unless_old};
use crate::scrub::scrub;

/// The longest that one reading of the signals, one query or one look at the alerts takes.
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

/// A signal that is read.
#[derive(Debug)]
struct Watched {
    config: SignalConfig,
    /// Without these series it does not apply; a declared signal always does.
    series: Option<String>,
}

/// What was found for a signal.
enum Found {
    Value(f64),
    /// It does not apply: why.
    Absent(String),
}

/// One Prometheus: its signals, and answers to the questions of gates.
#[derive(Debug)]
pub struct PrometheusSignals {
    prometheus: Prometheus,
    signals: Vec<Watched>,
    breaker: Mutex<Breaker>,
    begin: Instant,
}

impl PrometheusSignals {
    /// Asks the Prometheus at the base URL `prometheus`, and reads `signals` from it. Without any it reads the defaults of
    /// `app`, which is the `job` that Prometheus scrapes it as: the share of its targets that are up, and, once there are
    /// `http_requests_total` with a `code` and `http_request_duration_seconds_bucket`, the share of requests that fail
    /// and the 95th percentile of their latency.
    ///
    /// # Errors
    /// A URL that can't be asked, or a signal that makes no sense.
    pub fn new(prometheus: &str, app: &str, signals: Vec<SignalConfig>) -> Result<Self, SignalsError> {
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
        // Whoever configures a service may name any address.
        let prometheus = Prometheus::new(prometheus, &Clients::new(AddressPolicy::Any))
            .map_err(|reason| SignalsError::Source { reason })?;
        let signals = if signals.is_empty() {
            defaults::signals(app)
                .into_iter()
                .map(|default| Watched { config: default.config, series: Some(default.series) })
                .collect()
        } else {
            signals.into_iter().map(|config| Watched { config, series: None }).collect()
        };
        Ok(Self { prometheus, signals, breaker: Mutex::default(), begin: Instant::now() })
    }

    /// Takes samples up to this age for data, instead of [`crate::SAMPLE_AGE_MAX`].
    #[must_use]
    pub fn with_sample_age_max(self, sample_age_max: Duration) -> Self {
        Self { prometheus: self.prometheus.with_sample_age_max(sample_age_max), ..self }
    }

    /// What the circuit breaker of the source is doing. An answer without a value (no series, NaN, a refused query) is
    /// an answer; the breaker counts readings, queries and looks at the alerts in which nothing was answered.
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

    /// Asks, unless the breaker is open, and tells the breaker whether it was answered.
    async fn unless_open<T>(
        &self,
        ask: impl Future<Output = T>,
        is_answered: impl Fn(&T) -> bool,
    ) -> Result<T, QueryError> {
        let asked = self.begin.elapsed();
        if !self.lock().admit(asked) {
            let text = "circuit open: the source failed repeatedly and is left alone";
            return Err(QueryError::NoAnswer(text.to_owned()));
        }
        let answer = ask.await;
        self.lock().record(is_answered(&answer), asked, self.begin.elapsed());
        Ok(answer)
    }

    async fn read(&self) -> Vec<Signal> {
        let ask = join_all(self.signals.iter().map(|signal| self.find(signal)));
        let ask = join(ask, self.prometheus.check_fresh(SIGNAL_TIMEOUT));
        match self.unless_open(ask, |(found, _)| found.iter().any(is_answer)).await {
            Ok((found, fresh)) => {
                let found = found.into_iter().map(|one| match one {
                    Ok(Found::Absent(why)) => Ok(Found::Absent(why)),
                    other => unless_old(other, &fresh),
                });
                let signals = self.signals.iter().zip(found);
                signals.map(|(signal, found)| self.signal(&signal.config, found)).collect()
            }
            Err(error) => {
                self.signals.iter().map(|signal| self.signal(&signal.config, Err(error.clone()))).collect()
            }
        }
    }

    async fn find(&self, signal: &Watched) -> Result<Found, QueryError> {
        let begin = Instant::now();
        let value = self.prometheus.value(&signal.config.query, SIGNAL_TIMEOUT).await;
        let (Err(QueryError::NoData(_)), Some(series)) = (&value, &signal.series) else {
            return value.map(Found::Value);
        };
        let left = SIGNAL_TIMEOUT.saturating_sub(begin.elapsed());
        if self.prometheus.has_lately(series, left).await? {
            return value.map(Found::Value);
        }
        Ok(Found::Absent(format!("there was no {series} within {LATELY}")))
    }

    fn signal(&self, config: &SignalConfig, found: Result<Found, QueryError>) -> Signal {
        let not_evaluated = matches!(found, Ok(Found::Absent(_)));
        let (value, error) = match found {
            Ok(Found::Value(value)) => (Some(value), None),
            Ok(Found::Absent(why)) => (None, Some(why)),
            Err(error) => (None, Some(scrub(&error.to_string()))),
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
            not_evaluated,
        }
    }

    async fn ask(&self, query: &str) -> Known<Option<f64>> {
        let ask = self.prometheus.fresh_value(query, SIGNAL_TIMEOUT);
        match self.unless_open(ask, is_answer).await.flatten() {
            Ok(value) => Ok(Some(value)),
            Err(QueryError::NoData(_)) => Ok(None),
            Err(error) => Err(scrub(&error.to_string())),
        }
    }

    async fn look(&self, wanted: &AlertMatch) -> AlertReading {
        let name = wanted.0.get(ALERT_NAME).map(String::as_str);
        let ask = self.prometheus.fresh_rules(name, SIGNAL_TIMEOUT);
        let told = self.unless_open(ask, is_answer).await.flatten();
        let mut reading = reading(wanted, told.map_err(|error| error.to_string()));
        reading.error = reading.error.map(|error| scrub(&error));
        reading
    }
}

/// Did it answer, whatever it said?
fn is_answer<T>(answer: &Result<T, QueryError>) -> bool {
    !matches!(answer, Err(QueryError::NoAnswer(_)))
}

impl SignalSource for PrometheusSignals {
    fn signals(&self) -> BoxFuture<'_, Vec<Signal>> {
        self.read().boxed()
    }

    /// See [`SignalSource::query`]. No series and what is no number (NaN, infinite) are no data; several series, a refused
    /// query, data that is too old and a source that does not answer are errors.
    fn query<'a>(&'a self, query: &'a str) -> BoxFuture<'a, Known<Option<f64>>> {
        self.ask(query).boxed()
    }

    /// See [`SignalSource::alerts`]. Rules and what fires come from one answer, so they can't disagree. A rule that could
    /// be the alert and can't be evaluated is an error.
    fn alerts<'a>(&'a self, labels: &'a AlertMatch) -> BoxFuture<'a, AlertReading> {
        self.look(labels).boxed()
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
            assert!(PrometheusSignals::new("http://localhost:9090", "a", vec![signal]).is_err(), "{bad}");
        }
        assert!(config(serde_json::json!({ "treshold": 1 })).is_err(), "an unknown field");
    }

    #[test]
    fn a_name_stands_once_and_the_source_is_http() {
        let plain = config(serde_json::json!({})).expect("valid");
        let twice = PrometheusSignals::new("http://localhost:9090", "a", vec![plain.clone(), plain]);
        assert!(twice.is_err_and(|error| error.to_string().contains("twice")));
        assert!(PrometheusSignals::new("ftp://localhost", "a", Vec::new()).is_err());
        assert!(PrometheusSignals::new("localhost", "a", Vec::new()).is_err());
    }
}

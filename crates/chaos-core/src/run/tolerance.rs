//! Samples of probes, their sum over a phase, and whether that is within tolerance.
//!
//! Owns the judgement. No data is never a pass.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::{LatencyTolerance, Probe, ProbePhase};

/// Measurements of one probe in about a second, summed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeSample {
    /// Name of the probe.
    pub probe: String,
    /// Phase in which they were made.
    pub phase: ProbePhase,
    /// Measurements that are complete.
    pub measured: u64,
    /// Those that met the expectation.
    pub passed: u64,
    /// Those that gave no data to judge by.
    pub no_data: u64,
    /// The latest value, of probes that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Latencies, as counts of equal rounded values, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latency: Vec<LatencyCount>,
    /// What was wrong with the first that did not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// So many measurements took so long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatencyCount {
    /// Milliseconds.
    pub ms: f64,
    /// How many.
    pub count: u64,
}

/// All samples of one probe in one phase.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tally {
    /// Measurements that are complete.
    pub measured: u64,
    /// Those that met the expectation.
    pub passed: u64,
    /// Those that gave no data.
    pub no_data: u64,
    /// The latest value.
    pub value: Option<f64>,
    /// Latencies, ascending.
    pub latency: Vec<LatencyCount>,
    /// What was wrong with the first that did not pass.
    pub problem: Option<String>,
    /// Measurements of the latest sample that did not pass: recovery needs none.
    pub latest_missed: u64,
}

impl Tally {
    /// Adds a sample. A sum that a damaged journal makes too large stays at its bound.
    pub fn add(&mut self, sample: &ProbeSample) {
        self.measured = self.measured.saturating_add(sample.measured);
        self.passed = self.passed.saturating_add(sample.passed);
        self.no_data = self.no_data.saturating_add(sample.no_data);
        self.value = sample.value.or(self.value);
        if self.problem.is_none() {
            self.problem.clone_from(&sample.problem);
        }
        self.latest_missed = sample.measured - sample.passed.min(sample.measured);
        for one in &sample.latency {
            match self.latency.binary_search_by(|have| have.ms.total_cmp(&one.ms)) {
                Ok(at) => self.latency[at].count = self.latency[at].count.saturating_add(one.count),
                Err(at) => self.latency.insert(at, *one),
            }
        }
    }

    /// The share that passed, of those with data; `None` without any.
    pub fn success(&self) -> Option<f64> {
        let with_data = self.measured - self.no_data.min(self.measured);
        (with_data > 0).then(|| self.passed as f64 / with_data as f64)
    }

    /// The smallest latency in milliseconds that at least `share` (0..=1) of the measurements don't exceed.
    pub fn latency_quantile(&self, share: f64) -> Option<f64> {
        let total = self.latency.iter().fold(0_u64, |sum, one| sum.saturating_add(one.count));
        let rank = ((share * total as f64).ceil() as u64).max(1);
        let mut seen = 0_u64;
        self.latency.iter().find_map(|one| {
            seen = seen.saturating_add(one.count);
            (seen >= rank).then_some(one.ms)
        })
    }
}

/// Whether a probe is within tolerance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// Within tolerance.
    Within,
    /// Beyond tolerance: how.
    Beyond(String),
    /// Too little data to say either: why.
    NoData(String),
}

/// Judges everything that a probe measured in a phase.
pub fn judge(probe: &Probe, tally: &Tally) -> Judgement {
    let problem = || tally.problem.as_deref().map(|text| format!("; first: {text}")).unwrap_or_default();
    let Some(success) = tally.success() else {
        return Judgement::NoData(format!(
            "{} of {} measurements without data{}",
            tally.no_data,
            tally.measured,
            problem()
        ));
    };
    let wanted = probe.tolerance.success.map_or(1.0, |percent| percent.ratio());
    if success < wanted {
        return Judgement::Beyond(format!(
            "{} of {} passed ({:.2}%), tolerance {:.2}%{}",
            tally.passed,
            tally.measured - tally.no_data,
            success * 100.0,
            wanted * 100.0,
            problem()
        ));
    }
    if let Some(text) = probe.tolerance.latency.and_then(|bounds| too_slow(&bounds, tally)) {
        return Judgement::Beyond(text);
    }
    if (tally.passed as f64) < wanted * tally.measured as f64 {
        return Judgement::NoData(format!(
            "{} of {} measurements without data{}",
            tally.no_data,
            tally.measured,
            problem()
        ));
    }
    Judgement::Within
}

fn too_slow(bounds: &LatencyTolerance, tally: &Tally) -> Option<String> {
    [("p50", 0.50, bounds.p50), ("p95", 0.95, bounds.p95), ("p99", 0.99, bounds.p99)].into_iter().find_map(
        |(name, share, bound)| {
            let (bound, measured) = (bound?, tally.latency_quantile(share)?);
            (measured > bound.0.as_secs_f64() * 1000.0)
                .then(|| format!("{name} latency {measured:.1}ms, tolerance {bound}"))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::parse_value;

    fn probe(tolerance: serde_json::Value) -> Probe {
        parse_value(
            serde_json::json!({ "name": "p", "tcp": { "address": "localhost:1" }, "tolerance": tolerance }),
        )
        .expect("valid")
    }

    fn tally(measured: u64, passed: u64, no_data: u64) -> Tally {
        Tally { measured, passed, no_data, ..Tally::default() }
    }

    #[test]
    fn no_data_is_never_a_pass() {
        let any = probe(serde_json::json!({ "success": "50%" }));
        assert!(matches!(judge(&any, &tally(0, 0, 0)), Judgement::NoData(_)));
        assert!(matches!(judge(&any, &tally(4, 0, 4)), Judgement::NoData(_)));
        assert!(matches!(judge(&any, &tally(10, 4, 6)), Judgement::NoData(_)));
        assert_eq!(judge(&any, &tally(10, 5, 5)), Judgement::Within);
        assert!(matches!(judge(&any, &tally(10, 4, 0)), Judgement::Beyond(_)));
    }

    #[test]
    fn without_a_tolerance_every_measurement_must_pass() {
        let strict = probe(serde_json::json!({}));
        assert_eq!(judge(&strict, &tally(100, 100, 0)), Judgement::Within);
        assert!(matches!(judge(&strict, &tally(100, 99, 0)), Judgement::Beyond(_)));
    }

    #[test]
    fn counts_that_no_run_can_have_are_judged_without_an_overflow() {
        let strict = probe(serde_json::json!({ "latency": { "p50": "1ms" } }));
        let sample = ProbeSample {
            probe: "p".into(),
            phase: ProbePhase::Chaos,
            measured: u64::MAX,
            passed: u64::MAX,
            no_data: 1,
            value: None,
            latency: vec![
                LatencyCount { ms: 1.0, count: u64::MAX },
                LatencyCount { ms: 2.0, count: u64::MAX },
            ],
            problem: None,
        };
        let mut sum = Tally::default();
        sum.add(&sample);
        sum.add(&sample);
        assert_eq!((sum.measured, sum.passed, sum.no_data), (u64::MAX, u64::MAX, 2));
        assert_eq!(judge(&strict, &sum), Judgement::Within);
        assert!(matches!(judge(&strict, &tally(1, 0, 2)), Judgement::NoData(_)));
    }

    #[test]
    fn latency_is_judged_over_the_whole_phase() {
        let fast = probe(serde_json::json!({ "latency": { "p95": "100ms" } }));
        let mut sum = Tally::default();
        for (ms, count) in [(10.0, 94), (500.0, 6)] {
            sum.add(&ProbeSample {
                probe: "p".into(),
                phase: ProbePhase::Chaos,
                measured: count,
                passed: count,
                no_data: 0,
                value: None,
                latency: vec![LatencyCount { ms, count }],
                problem: None,
            });
        }
        assert_eq!(sum.latency_quantile(0.94), Some(10.0));
        assert_eq!(judge(&fast, &sum), Judgement::Beyond("p95 latency 500.0ms, tolerance 100ms".into()));
    }
}

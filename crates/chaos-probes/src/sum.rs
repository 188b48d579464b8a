//! Measurements of about a second, summed into one sample.
//!
//! Owns the counts and the latency histogram. It never reads a clock: whoever measures decides when a second is over.

use std::time::Duration;

use chaos_core::run::{LatencyCount, ProbeSample};
use chaos_core::spec::ProbePhase;
use hdrhistogram::Histogram;

use crate::measured::{Measured, Outcome};
use crate::scrub::scrub;

/// Resolution of recorded latencies: finer than any timer here, coarse enough that equal ones fall together.
const TICK: Duration = Duration::from_micros(10);
/// Ticks in a millisecond.
const TICKS_PER_MS: f64 = 100.0;
/// The longest latency that is told from longer ones: it bounds the histogram, far above any timeout.
const LATENCY_MAX: Duration = Duration::from_secs(3600);
/// Digits that the histogram keeps of a latency, over its whole range.
const LATENCY_DIGITS: u8 = 3;

/// How the measurements of a sum came out, all together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// There are none.
    Nothing,
    /// Every one passed.
    Passed,
    /// None passed.
    Missed,
    /// Some passed.
    Both,
}

/// What was measured since the last sample.
#[derive(Debug)]
pub(crate) struct Sum {
    measured: u64,
    passed: u64,
    no_data: u64,
    value: Option<f64>,
    /// `None` only if the histogram could not be made, which these constants rule out.
    latency: Option<Histogram<u32>>,
    problem: Option<String>,
}

impl Sum {
    pub(crate) fn new() -> Self {
        Self {
            measured: 0,
            passed: 0,
            no_data: 0,
            value: None,
            latency: Histogram::new(LATENCY_DIGITS).ok(),
            problem: None,
        }
    }

    /// Adds one measurement.
    pub(crate) fn add(&mut self, measured: Measured) {
        self.measured += 1;
        self.value = measured.value.or(self.value);
        if let (Some(latency), Some(histogram)) = (measured.latency, &mut self.latency) {
            // It grows by itself, and can't refuse what is bounded.
            let _ = histogram.record(ticks(latency));
        }
        let problem = match measured.outcome {
            Outcome::Passed => {
                self.passed += 1;
                return;
            }
            Outcome::Failed(problem) => problem,
            Outcome::NoData(reason) => {
                self.no_data += 1;
                reason
            }
        };
        self.problem.get_or_insert_with(|| scrub(&problem));
    }

    /// How what was added since the last sample came out.
    pub(crate) fn mix(&self) -> Mix {
        match (self.measured, self.passed) {
            (0, _) => Mix::Nothing,
            (measured, passed) if passed == measured => Mix::Passed,
            (_, 0) => Mix::Missed,
            _ => Mix::Both,
        }
    }

    /// The sample of what was added since the last call; `None` when that is nothing.
    pub(crate) fn take(&mut self, probe: &str, phase: ProbePhase) -> Option<ProbeSample> {
        if self.measured == 0 {
            return None;
        }
        let latency = self.latency.as_ref().map(counts).unwrap_or_default();
        if let Some(histogram) = &mut self.latency {
            histogram.reset();
        }
        Some(ProbeSample {
            probe: probe.to_owned(),
            phase,
            measured: std::mem::take(&mut self.measured),
            passed: std::mem::take(&mut self.passed),
            no_data: std::mem::take(&mut self.no_data),
            value: self.value.take(),
            latency,
            problem: self.problem.take(),
        })
    }
}

/// Rounded up, so that nothing took no time.
fn ticks(latency: Duration) -> u64 {
    let latency = latency.min(LATENCY_MAX);
    u64::try_from(latency.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX)
}

fn counts(histogram: &Histogram<u32>) -> Vec<LatencyCount> {
    histogram
        .iter_recorded()
        .map(|step| LatencyCount {
            ms: step.value_iterated_to() as f64 / TICKS_PER_MS,
            count: u64::from(step.count_at_value()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(micros: u64) -> Measured {
        Measured::passed(Duration::from_micros(micros))
    }

    #[test]
    fn measurements_become_one_sample_and_the_next_starts_empty() {
        let mut sum = Sum::new();
        for measured in [
            passed(1_234),
            passed(1_239),
            passed(90_000),
            Measured::failed("first"),
            Measured::no_data("second"),
        ] {
            sum.add(measured);
        }
        assert_eq!(sum.mix(), Mix::Both);
        let sample = sum.take("p", ProbePhase::Chaos).expect("five were added");
        assert_eq!((sample.measured, sample.passed, sample.no_data), (5, 3, 1));
        assert_eq!(sample.problem.as_deref(), Some("first"));
        assert_eq!(
            sample.latency,
            [LatencyCount { ms: 1.24, count: 2 }, LatencyCount { ms: 90.07, count: 1 }],
            "three digits, the upper end of each class"
        );
        assert_eq!((sum.take("p", ProbePhase::Chaos), sum.mix()), (None, Mix::Nothing));
        sum.add(Measured::no_data("http://a:s3cr3t@b"));
        assert_eq!(sum.mix(), Mix::Missed);
        let sample = sum.take("p", ProbePhase::Chaos).expect("one was added");
        assert_eq!(sample.problem.as_deref(), Some("http://REDACTED@b"));
    }

    #[test]
    fn equal_latencies_fall_together_across_samples_of_any_range() {
        let class = |also: u64| {
            let mut sum = Sum::new();
            sum.add(passed(250_000));
            sum.add(passed(also));
            let latency = sum.take("p", ProbePhase::Chaos).expect("two").latency;
            latency.iter().find(|one| one.ms > 249.0 && one.ms < 251.0).expect("recorded").ms
        };
        assert_eq!(class(10).to_bits(), class(3_600_000_000).to_bits());
    }
}

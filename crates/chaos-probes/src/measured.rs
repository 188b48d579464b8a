//! What one measurement found.
//!
//! Owns the three outcomes and the comparison of a value with its bounds. It never sums.

use std::time::Duration;

use chaos_core::spec::Bounds;

/// The most characters of a text that comes from outside and goes into a problem.
const QUOTE_CHARS_MAX: usize = 160;

/// How one measurement came out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// It met the expectation.
    Passed,
    /// It did not: how.
    Failed(String),
    /// It could not be judged: why.
    NoData(String),
}

/// One measurement.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measured {
    pub(crate) outcome: Outcome,
    /// The value that was read, of probes that read one.
    pub(crate) value: Option<f64>,
    /// How long it took; absent when nothing was sent, or nothing came back before the connection broke. A timeout has
    /// one: leaving it out would make a slow phase look fast.
    pub(crate) latency: Option<Duration>,
}

impl Measured {
    pub(crate) fn passed(latency: Duration) -> Self {
        Self { outcome: Outcome::Passed, value: None, latency: Some(latency) }
    }

    pub(crate) fn failed(problem: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed(problem.into()), value: None, latency: None }
    }

    pub(crate) fn no_data(reason: impl Into<String>) -> Self {
        Self { outcome: Outcome::NoData(reason.into()), value: None, latency: None }
    }

    pub(crate) fn took(self, latency: Duration) -> Self {
        Self { latency: Some(latency), ..self }
    }

    pub(crate) fn with_value(self, value: Option<f64>) -> Self {
        Self { value, ..self }
    }

    /// Fails a passed measurement whose value is out of `bounds`; without a value there is nothing to judge by.
    pub(crate) fn within(self, bounds: Option<&Bounds>) -> Self {
        let Some(bounds) = bounds.filter(|_| self.outcome == Outcome::Passed) else {
            return self;
        };
        let outcome = match self.value {
            None => Outcome::NoData("it has no value to compare with tolerance.value".to_owned()),
            Some(value) if bounds.contain(value) => Outcome::Passed,
            Some(value) => Outcome::Failed(match (bounds.min, bounds.max) {
                (Some(min), _) if value < min => format!("value {value} is below {min}"),
                (_, Some(max)) if value > max => format!("value {value} is above {max}"),
                _ => format!("value {value} is out of bounds"),
            }),
        };
        Self { outcome, ..self }
    }
}

/// A text from outside, short enough for a report.
pub(crate) fn shortened(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(QUOTE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Milliseconds for people.
pub(crate) fn milliseconds(duration: Duration) -> String {
    format!("{:.1}ms", duration.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_judged_by_its_bounds_and_no_value_is_no_data() {
        let bounds = Bounds { min: Some(1.0), max: Some(2.0) };
        let judged = |value| Measured::passed(Duration::ZERO).with_value(value).within(Some(&bounds)).outcome;
        assert_eq!(judged(Some(1.0)), Outcome::Passed);
        assert_eq!(judged(Some(0.5)), Outcome::Failed("value 0.5 is below 1".into()));
        assert_eq!(judged(Some(2.5)), Outcome::Failed("value 2.5 is above 2".into()));
        assert!(matches!(judged(None), Outcome::NoData(_)));
    }

    #[test]
    fn a_failure_stays_one_whatever_the_value() {
        let bounds = Bounds { min: Some(1.0), max: None };
        let failed = Measured::failed("status 500").with_value(Some(5.0)).within(Some(&bounds));
        assert_eq!(failed.outcome, Outcome::Failed("status 500".into()));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shortened(" short "), "short");
        assert_eq!(shortened(&"ä".repeat(500)).chars().count(), QUOTE_CHARS_MAX + 1);
    }
}

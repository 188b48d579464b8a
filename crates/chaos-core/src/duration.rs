//! Lengths of time as people write them: `30s`, `1m30s`, `500ms`, or a bare integer of seconds.
//!
//! Owns the text form. It never reads a clock.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::units::TextOrNumber;

/// A length of time of at most [`Span::MAX`], with microsecond resolution in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Duration);

impl Span {
    /// The longest that any document may ask for: seven days.
    pub const MAX: Span = Span(Duration::from_secs(7 * 24 * 3600));

    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many milliseconds.
    pub const fn milliseconds(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// Reads `30s`, `1h5m`, `500ms`, `1.5s` or a bare number of seconds; `None` when it is neither or longer than
    /// [`Span::MAX`].
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(seconds) = text.parse::<f64>() {
            return Self::from_seconds(seconds);
        }
        let (mut rest, mut total) = (text, 0.0);
        while !rest.is_empty() {
            let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let number: f64 = rest[..number_end].parse().ok()?;
            rest = &rest[number_end..];
            let unit_end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            total += number * unit_seconds(&rest[..unit_end])?;
            rest = &rest[unit_end..];
        }
        if text.is_empty() { None } else { Self::from_seconds(total) }
    }

    fn from_seconds(seconds: f64) -> Option<Self> {
        let span = Duration::try_from_secs_f64(seconds).ok().map(|d| Self(round_to_microseconds(d)))?;
        (span <= Self::MAX).then_some(span)
    }
}

fn round_to_microseconds(duration: Duration) -> Duration {
    Duration::from_micros((duration.as_nanos().div_ceil(1000)) as u64)
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    })
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let microseconds = self.0.as_micros();
        let (milliseconds, fraction) = (microseconds / 1000, microseconds % 1000);
        if fraction > 0 {
            let digits = format!("{fraction:03}");
            return write!(f, "{milliseconds}.{}ms", digits.trim_end_matches('0'));
        }
        if !milliseconds.is_multiple_of(1000) {
            return write!(f, "{milliseconds}ms");
        }
        let seconds = self.0.as_secs();
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        match (hours, minutes, seconds) {
            (0, 0, s) => write!(f, "{s}s"),
            (0, m, 0) => write!(f, "{m}m"),
            (0, m, s) => write!(f, "{m}m{s}s"),
            (h, 0, 0) => write!(f, "{h}h"),
            (h, m, 0) => write!(f, "{h}h{m}m"),
            (h, m, s) => write!(f, "{h}h{m}m{s}s"),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrNumber {
            expected: "a duration of at most 7d, such as 30s, 1m30s, 500ms or a number of seconds",
            text: Self::parse,
            number: Self::from_seconds,
        })
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A length of time: `30s`, `1m30s`, `500ms`, or a number of seconds; at most 7 days.",
            "anyOf": [
                { "type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$|^[0-9]+(\.[0-9]+)?$" },
                { "type": "number", "minimum": 0, "maximum": 604_800 },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, milliseconds) in [
            ("30s", 30_000),
            ("30", 30_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1.5s", 1_500),
            ("1h5m", 3_900_000),
            ("0s", 0),
            ("7d", 604_800_000),
        ] {
            assert_eq!(Span::parse(text), Some(Span::milliseconds(milliseconds)), "{text}");
        }
        for text in ["", "s", "-1s", "5 s", "8d", "1y", "NaN", "1s2", "1e99", "10 apples"] {
            assert_eq!(Span::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_printed_reads_back_the_same() {
        for milliseconds in [0, 1, 999, 1_000, 59_000, 60_000, 61_000, 3_600_000, 3_661_000, 7_200_500] {
            let span = Span::milliseconds(milliseconds);
            assert_eq!(Span::parse(&span.to_string()), Some(span));
        }
        for (text, printed) in [
            ("0.5ms", "0.5ms"),
            ("0.000001", "0.001ms"),
            ("1.50025s", "1500.25ms"),
            ("604799.999999", "604799999.999ms"),
        ] {
            let span = Span::parse(text);
            assert_eq!(span.map(|span| span.to_string()).as_deref(), Some(printed));
            assert_eq!(Span::parse(printed), span, "{text}");
        }
    }
}

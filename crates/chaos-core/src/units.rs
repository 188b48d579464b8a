//! Numbers with a unit as people write them: shares and byte sizes.
//!
//! Owns their text forms. It never knows what a share is of.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A share above 0 % and up to 100 %; written `50%`, or a bare number of percent.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Percent(f64);

impl Percent {
    /// `None` unless `0 < value <= 100`.
    pub fn new(value: f64) -> Option<Self> {
        (value > 0.0 && value <= 100.0).then_some(Self(value))
    }

    /// In percent, `0 < value <= 100`.
    pub fn value(self) -> f64 {
        self.0
    }

    /// As a ratio, `0 < ratio <= 1`.
    pub fn ratio(self) -> f64 {
        self.0 / 100.0
    }

    /// That share of `whole`, rounded down; a share that is whole but for the last bits of a float counts as whole.
    pub fn of(self, whole: usize) -> usize {
        (self.0 * whole as f64 / 100.0 + 1e-9).floor() as usize
    }

    /// Reads `50%` or `50`.
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.trim().strip_suffix('%').unwrap_or(text.trim());
        number.trim_end().parse().ok().and_then(Self::new)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrNumber {
            expected: "a share above 0% and up to 100%, such as 50%",
            text: Self::parse,
            number: Self::new,
        })
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A share above 0 and up to 100 percent: `50%`, or the bare number.",
            "anyOf": [
                { "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*%?$" },
                { "type": "number", "exclusiveMinimum": 0, "maximum": 100 },
            ],
        })
    }
}

/// A number of bytes; written `64Mi`, `1.5Gi`, `500M` or a bare integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

const BYTE_UNITS: [(&str, u64); 12] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("k", 1_000),
    ("K", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
];

impl Bytes {
    /// Reads `64Mi`, `1.5Gi`, `500M`, `4096`; `None` when it is no size above zero.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let unit = unit.trim();
        let factor = match unit {
            "" | "B" => 1,
            unit => BYTE_UNITS.iter().find(|(name, _)| *name == unit)?.1,
        };
        let bytes = number.parse::<f64>().ok()? * factor as f64;
        (bytes >= 1.0 && bytes < u64::MAX as f64).then_some(Self(bytes as u64))
    }

    /// A whole number above zero; `None` for what is none, or is larger than can be written.
    pub(crate) fn from_number(number: f64) -> Option<Self> {
        (number >= 1.0 && number < u64::MAX as f64 && number.fract() == 0.0).then_some(Self(number as u64))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, factor) in [("Ti", 1u64 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)] {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{}{name}", self.0 / factor);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrNumber {
            expected: "a size in bytes, such as 64Mi, 1.5Gi or 1048576",
            text: Self::parse,
            number: Self::from_number,
        })
    }
}

impl JsonSchema for Bytes {
    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A size in bytes: `64Mi`, `1.5Gi`, `500M`, or a bare integer.",
            "anyOf": [
                { "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*(B|Ki|Mi|Gi|Ti|KiB|MiB|GiB|k|K|M|G|T)?$" },
                { "type": "integer", "minimum": 1 },
            ],
        })
    }
}

/// A visitor for values that people write as text or as a bare number.
pub(crate) struct TextOrNumber<T> {
    pub(crate) expected: &'static str,
    pub(crate) text: fn(&str) -> Option<T>,
    pub(crate) number: fn(f64) -> Option<T>,
}

impl<T> Visitor<'_> for TextOrNumber<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.text)(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        (self.number)(number as f64).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        (self.number)(number as f64).ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        (self.number)(number).ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_binary_and_decimal_units() {
        for (text, bytes) in
            [("64Mi", Some(64 << 20)), ("1.5Gi", Some(3 << 29)), ("500M", Some(500_000_000)), ("7", Some(7))]
        {
            assert_eq!(Bytes::parse(text).map(|b| b.0), bytes, "{text}");
        }
        for text in ["", "0", "-1", "5 parsecs", "1e3", "Mi"] {
            assert_eq!(Bytes::parse(text), None, "{text}");
        }
    }

    #[test]
    fn shares_outside_the_range_are_refused() {
        for text in ["0%", "101%", "-5%", "NaN%", "inf", "%", "a%"] {
            assert_eq!(Percent::parse(text), None, "{text}");
        }
        assert_eq!(Percent::parse("33%").map(|p| p.of(3)), Some(0));
        assert_eq!(Percent::parse("29%").map(|p| p.of(100)), Some(29));
    }
}

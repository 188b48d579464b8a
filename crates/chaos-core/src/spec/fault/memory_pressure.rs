//! `memory_pressure`: memory is taken away from an instance.
//!
//! Owns its parameters. It never allocates any.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{FaultInfo, FaultKind, Parameter, Undo};
use crate::spec::DocumentError;
use crate::units::{Bytes, Percent, TextOrNumber};

pub(super) const INFO: FaultInfo = FaultInfo {
    kind: FaultKind::MemoryPressure,
    summary: "Holds touched memory inside the instance's cgroup when it has one of its own, else on the host.",
    proof: "the worker's resident memory grows, charged to the victim's cgroup",
    undo: Undo::KernelAtOnce,
    needs: "write access to the victim's cgroup when it has one of its own",
    parameters: &[
        Parameter {
            name: "size",
            values: "bytes, or a share",
            default: "80%",
            summary: "bytes to hold; a share fills up to that much of the memory limit, counting what is used",
        },
        Parameter {
            name: "rate",
            values: "bytes per second",
            default: "as fast as it goes",
            summary: "how fast it grows",
        },
        Parameter {
            name: "oom",
            values: "self, victim",
            default: "self",
            summary: "whom the kernel ends first when memory runs out: our worker, or whom it would choose",
        },
    ],
};

/// Parameters of `memory_pressure`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemoryPressure {
    /// How much to hold.
    #[serde(default)]
    pub size: MemorySize,
    /// Bytes per second; absent: as fast as it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Bytes>,
    /// Whom the kernel ends first when memory runs out.
    #[serde(default)]
    pub oom: OomVictim,
}

/// Bytes, or a share of the limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MemorySize {
    /// So many bytes.
    Bytes(Bytes),
    /// Up to that share of the limit, counting what is used already.
    Share(Percent),
}

impl MemorySize {
    fn parse(text: &str) -> Option<Self> {
        if text.trim().ends_with('%') {
            return Percent::parse(text).map(Self::Share);
        }
        Bytes::parse(text).map(Self::Bytes)
    }
}

impl Default for MemorySize {
    fn default() -> Self {
        Self::Share(Percent::new(80.0).unwrap_or_else(|| unreachable!("80 is a percentage")))
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => bytes.fmt(f),
            Self::Share(share) => share.fmt(f),
        }
    }
}

impl Serialize for MemorySize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MemorySize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrNumber {
            expected: "a size such as 64Mi, or a share of the limit such as 80%",
            text: Self::parse,
            number: |number| Bytes::from_number(number).map(Self::Bytes),
        })
    }
}

impl JsonSchema for MemorySize {
    fn schema_name() -> Cow<'static, str> {
        "MemorySize".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Bytes (`64Mi`), or a share of the memory limit (`80%`).",
            "anyOf": [ { "type": "string" }, { "type": "integer", "minimum": 1 } ],
        })
    }
}

/// Whom the kernel ends first when memory runs out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OomVictim {
    /// Our worker.
    #[default]
    #[serde(rename = "self")]
    Worker,
    /// Whom the kernel would choose without us.
    Victim,
}

/// The slowest growth that makes sense, so that a run ends: one page a second.
const RATE_MIN: Bytes = Bytes(4096);

impl MemoryPressure {
    pub(super) fn validate(&self, path: &str) -> Result<(), DocumentError> {
        match self.rate {
            Some(rate) if rate < RATE_MIN => Err(DocumentError::at(format!("{path}.rate"), "too slow")
                .value(rate)
                .expected(format!("at least {RATE_MIN} a second"))),
            _ => Ok(()),
        }
    }
}

//! What an experiment hits, as written: exactly one platform key, and how many of what matches.
//!
//! Owns the shape of `spec.target`. Matching is the node's work, choosing is [`crate::target::select`]'s.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::units::{Percent, TextOrNumber};

/// `spec.target`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// Processes of the node that the agent runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostTarget>,
    /// Names of the hosts that are looked at, as `chaos targets` shows them; every connected one when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Pods or nodes of a cluster; refused by a build that has no cluster support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub kubernetes: Option<serde_json::Value>,
    /// How many of what matches: `one`, `all`, `3`, `50%`, `<=30%`.
    #[serde(default)]
    pub select: Select,
    /// Seed of the choice; drawn and recorded when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// One way to name processes of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum HostTarget {
    /// A unit, a container, or processes by this name: executable, argv[0] or cgroup.
    App(String),
    /// Processes that match every given field.
    Process(ProcessMatch),
    /// A systemd unit, with or without `.service`.
    Unit(String),
    /// A container by id (at least 8 hex digits of it).
    Container(String),
    /// A cgroup by its path below the hierarchy's root.
    Cgroup(String),
    /// One process.
    Pid(i32),
}

/// Fields of `host.process`; at least one is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProcessMatch {
    /// File name of the executable, or of argv[0].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A part of the command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<String>,
    /// Name or number of the user it runs as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A port that it listens on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl fmt::Display for HostTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App(name) => write!(f, "app {name:?}"),
            Self::Unit(name) => write!(f, "unit {name:?}"),
            Self::Container(id) => write!(f, "container {id:?}"),
            Self::Cgroup(path) => write!(f, "cgroup {path:?}"),
            Self::Pid(pid) => write!(f, "pid {pid}"),
            Self::Process(process) => {
                let mut parts = Vec::new();
                parts.extend(process.name.as_ref().map(|name| format!("name {name:?}")));
                parts.extend(process.cmdline.as_ref().map(|text| format!("cmdline {text:?}")));
                parts.extend(process.user.as_ref().map(|user| format!("user {user:?}")));
                parts.extend(process.port.map(|port| format!("port {port}")));
                write!(f, "process with {}", parts.join(", "))
            }
        }
    }
}

/// How many of what matches are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Select {
    /// One.
    #[default]
    One,
    /// Every one.
    All,
    /// Exactly so many.
    Count(u32),
    /// That share, rounded down, at least one.
    Percent(Percent),
    /// A random number from one up to that share.
    UpToPercent(Percent),
}

impl Select {
    /// Reads `one`, `all`, `3`, `50%`, `<=30%`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        match text {
            "one" => return Some(Self::One),
            "all" => return Some(Self::All),
            _ => {}
        }
        if let Some(share) = text.strip_prefix("<=") {
            return share.ends_with('%').then(|| Percent::parse(share)).flatten().map(Self::UpToPercent);
        }
        if text.ends_with('%') {
            return Percent::parse(text).map(Self::Percent);
        }
        text.parse().ok().filter(|count| *count > 0).map(Self::Count)
    }

    fn from_number(number: f64) -> Option<Self> {
        (number >= 1.0 && number <= f64::from(u32::MAX) && number.fract() == 0.0)
            .then_some(Self::Count(number as u32))
    }
}

impl fmt::Display for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One => f.write_str("one"),
            Self::All => f.write_str("all"),
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}"),
            Self::UpToPercent(percent) => write!(f, "<={percent}"),
        }
    }
}

impl Serialize for Select {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Select {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrNumber {
            expected: "one, all, a count of at least 1, a share such as 50% (above 0%, up to 100%), or <=30%",
            text: Self::parse,
            number: Self::from_number,
        })
    }
}

impl JsonSchema for Select {
    fn schema_name() -> Cow<'static, str> {
        "Select".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How many of what matches: `one`, `all`, a count, a share such as `50%` (rounded down, at least one), or a random number up to a share, `<=30%`.",
            "anyOf": [
                { "type": "string", "pattern": r"^(one|all|[1-9][0-9]*|(<=)?[0-9]+(\.[0-9]+)?%)$" },
                { "type": "integer", "minimum": 1 },
            ],
        })
    }
}

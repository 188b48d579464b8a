//! `network_partition`: packets to and from an instance are dropped.
//!
//! Owns its parameters. It never speaks to a kernel.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{FaultInfo, FaultKind, Parameter, Undo};
use crate::spec::DocumentError;
use crate::units::TextOrNumber;

pub(super) const INFO: FaultInfo = FaultInfo {
    kind: FaultKind::NetworkPartition,
    summary: "Drops packets to and from the chosen instances, IPv4 and IPv6, old and new connections alike.",
    proof: "a packet sent from the victim's side is dropped and counted by our rule",
    undo: Undo::KernelWithinLease,
    needs: "CAP_NET_ADMIN in the victim's network namespace, nf_tables in the kernel",
    parameters: &[
        Parameter {
            name: "direction",
            values: "in, out, both",
            default: "both",
            summary: "which packets are dropped, seen from the instance",
        },
        Parameter {
            name: "peers",
            values: "list of addresses or CIDR blocks",
            default: "everybody",
            summary: "only traffic with these",
        },
        Parameter {
            name: "ports",
            values: "list of ports or ranges such as 8000-8100",
            default: "every port and protocol",
            summary: "only TCP and UDP traffic with one of these ports on either end",
        },
    ],
};

/// Parameters of `network_partition`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkPartition {
    /// Which packets, seen from the instance.
    #[serde(default)]
    pub direction: Direction,
    /// Only traffic with these; empty: everybody. At most 1000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Peer>,
    /// Only traffic with one of these ports on either end; empty: everything. At most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortRange>,
}

/// Which packets are dropped, seen from the instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// What it receives.
    In,
    /// What it sends.
    Out,
    /// Both.
    #[default]
    Both,
}

/// An address block in CIDR form; a bare address is a block of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// First address of the block: bits behind the prefix are zero.
    pub address: IpAddr,
    /// Leading bits that must match.
    pub prefix: u8,
}

impl Peer {
    /// Reads `192.0.2.7`, `192.0.2.0/24`, `2001:db8::/32`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix): (IpAddr, _) = match text.trim().split_once('/') {
            Some((address, prefix)) => (address.parse().ok()?, Some(prefix.parse::<u8>().ok()?)),
            None => (text.trim().parse().ok()?, None),
        };
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(bits);
        (prefix <= bits).then(|| Self { address: masked(address, prefix), prefix })
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Serialize for Peer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Peer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextOrNumber {
            expected: "an IP address or a CIDR block such as 192.0.2.0/24 (names are not resolved)",
            text: Self::parse,
            number: |_| None,
        })
    }
}

impl JsonSchema for Peer {
    fn schema_name() -> Cow<'static, str> {
        "Peer".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "An IP address or CIDR block, IPv4 or IPv6." })
    }
}

/// Ports `first..=last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// First port, at least 1.
    pub first: u16,
    /// Last port, not below the first.
    pub last: u16,
}

impl PortRange {
    /// Reads `8080` or `8000-8100`.
    pub fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.trim().split_once('-').unwrap_or((text.trim(), text.trim()));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first >= 1 && first <= last).then_some(Self { first, last })
    }

    fn from_number(number: f64) -> Option<Self> {
        let port = number as u16;
        (port >= 1 && f64::from(port) == number).then_some(Self { first: port, last: port })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl Serialize for PortRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PortRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrNumber {
            expected: "a port from 1 to 65535, or a range such as 8000-8100",
            text: Self::parse,
            number: Self::from_number,
        })
    }
}

impl JsonSchema for PortRange {
    fn schema_name() -> Cow<'static, str> {
        "PortRange".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A port, or a range such as `8000-8100`.",
            "anyOf": [
                { "type": "string", "pattern": "^[0-9]+(-[0-9]+)?$" },
                { "type": "integer", "minimum": 1, "maximum": 65535 },
            ],
        })
    }
}

const PEERS_MAX: usize = 1000;
const PORTS_MAX: usize = 100;

impl NetworkPartition {
    pub(super) fn validate(&self, path: &str) -> Result<(), DocumentError> {
        for (field, len, max) in
            [("peers", self.peers.len(), PEERS_MAX), ("ports", self.ports.len(), PORTS_MAX)]
        {
            if len > max {
                return Err(DocumentError::at(format!("{path}.{field}"), "too many")
                    .value(len)
                    .expected(format!("at most {max}")));
            }
        }
        Ok(())
    }
}

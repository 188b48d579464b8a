//! From addresses, ports and sockets to the keys of set elements.
//!
//! Owns how a key is laid out and that ranges are disjoint. It never decides which set a key goes to.

use std::net::IpAddr;

use super::Family;
use crate::sys::nft::spec::{Cidr, Connection, Listener, PortRange, Protocol};

/// A range of keys, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Range {
    /// The lower end, each field padded to four bytes.
    pub(in super::super) first: Vec<u8>,
    /// The upper end.
    pub(in super::super) last: Vec<u8>,
}

/// A key of several fields, each padded to four bytes as in the kernel's registers.
pub(super) fn key(fields: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    for field in fields {
        bytes.extend_from_slice(field);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    // A key of one field is stored at its own length.
    if let [only] = fields {
        bytes.truncate(only.len());
    }
    bytes
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// A mapped address is IPv4 on the wire, and the unspecified address means all of them.
pub(super) fn canonical_listener(listener: &Listener) -> Listener {
    let address = listener.address.map(|address| address.to_canonical());
    Listener { address: address.filter(|address| !address.is_unspecified()), ..*listener }
}

pub(super) fn listener_key(listener: &Listener) -> Vec<u8> {
    let (protocol, port) = ([listener.protocol.number()], listener.port.to_be_bytes());
    match listener.address {
        None => key(&[&protocol, &port]),
        Some(address) => key(&[&protocol, &octets(address), &port]),
    }
}

pub(super) fn connection_key(connection: &Connection) -> Vec<u8> {
    let address = |address: IpAddr| octets(address.to_canonical());
    key(&[
        &[connection.protocol.number()],
        &address(connection.local.ip()),
        &connection.local.port().to_be_bytes(),
        &address(connection.remote.ip()),
        &connection.remote.port().to_be_bytes(),
    ])
}

/// Disjoint ranges, as interval sets refuse overlaps.
pub(super) fn peer_ranges(peers: &[Cidr], family: Family) -> Vec<Range> {
    let number = |address: IpAddr| match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let bytes = |value: u128| match family {
        Family::V4 => value.to_be_bytes()[12..].to_vec(),
        Family::V6 => value.to_be_bytes().to_vec(),
    };
    let chosen = peers.iter().filter(|peer| Family::of(peer.first()) == family);
    merged(chosen.map(|peer| (number(peer.first()), number(peer.last()))).collect())
        .into_iter()
        .map(|(first, last)| Range { first: bytes(first), last: bytes(last) })
        .collect()
}

/// Every protocol with ports times every disjoint port range.
pub(super) fn port_ranges(ports: &[PortRange]) -> Vec<Range> {
    let ranges = merged(ports.iter().map(|range| (range.first().into(), range.last().into())).collect());
    let end = |protocol: Protocol, port: u128| {
        let port = u16::try_from(port).unwrap_or(u16::MAX);
        key(&[&[protocol.number()], &port.to_be_bytes()])
    };
    let of = |protocol: Protocol| {
        ranges
            .iter()
            .map(move |(first, last)| Range { first: end(protocol, *first), last: end(protocol, *last) })
    };
    Protocol::ALL.into_iter().flat_map(of).collect()
}

/// Sorts inclusive ranges and joins those that overlap or touch.
pub(super) fn merged(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            Some(previous) if first <= previous.1.saturating_add(1) => previous.1 = previous.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

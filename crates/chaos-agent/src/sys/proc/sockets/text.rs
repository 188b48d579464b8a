//! The socket tables below `/proc/<pid>/net` as text: for namespaces that this process may not enter, and kernels
//! that don't list sockets over netlink. It never says whose socket one is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::read_text;
use super::{Entry, Protocol};
use crate::sys::SysError;

/// Largest socket table of one network namespace that is read, in bytes (about 200,000 connections).
const SOCKET_TABLE_BYTES_MAX: usize = 32 << 20;

/// All sockets of the namespace that a process is in; none when the process has ended.
///
/// # Errors
/// A table can't be read.
pub(super) fn tables(pid: i32) -> Result<Vec<(Protocol, Entry)>, SysError> {
    let tables =
        [("tcp", Protocol::Tcp), ("tcp6", Protocol::Tcp), ("udp", Protocol::Udp), ("udp6", Protocol::Udp)];
    let mut found = Vec::new();
    for (name, protocol) in tables {
        let text = match read_text(format!("/proc/{pid}/net/{name}").as_ref(), SOCKET_TABLE_BYTES_MAX) {
            Ok(text) => text,
            // The process ended, or this kernel has no IPv6.
            Err(error) if error.is_gone() => continue,
            Err(error) => return Err(error),
        };
        found.extend(parse(&text).map(|entry| (protocol, entry)));
    }
    Ok(found)
}

/// The sockets of one table, below its heading.
pub(super) fn parse(text: &str) -> impl Iterator<Item = Entry> {
    text.lines().skip(1).filter_map(parse_line)
}

fn parse_line(line: &str) -> Option<Entry> {
    // Most lines of a busy host are of connections that nobody holds any more.
    if line.contains(" 06 00000000:00000000 03:") {
        return None;
    }
    let mut fields = line.split_ascii_whitespace();
    let local = parse_address(fields.nth(1)?)?;
    let remote = parse_address(fields.next()?)?;
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    // tx:rx, timer, retransmits, uid, timeout come before the inode.
    let inode = fields.nth(5)?.parse().ok()?;
    Some(Entry { local, remote, state, inode })
}

/// The kernel prints each 32-bit word of an address in the byte order of the machine.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |index: usize| {
        u32::from_str_radix(address.get(index * 8..index * 8 + 8)?, 16).ok().map(u32::to_ne_bytes)
    };
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0_u8; 16];
            for index in 0..4 {
                bytes.get_mut(index * 4..index * 4 + 4)?.copy_from_slice(&word(index)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_socket_tables_are_read_in_both_address_families() {
        let four = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 x";
        let entry = parse_line(four).expect("a line of tcp");
        assert_eq!((entry.local, entry.state, entry.inode), ("127.0.0.1:8080".parse().unwrap(), 10, 12345));
        let six = "   1: 00000000000000000000000001000000:0050 0000000000000000FFFF00000100007F:C000 01 00000000:00000000 00:00000000 00000000  0  0 77 1 x";
        let entry = parse_line(six).expect("a line of tcp6");
        assert_eq!(entry.local, "[::1]:80".parse().unwrap());
        assert_eq!(super::super::canonical(entry.remote), "127.0.0.1:49152".parse().unwrap());
        assert!(parse_line("rubbish").is_none());
    }
}

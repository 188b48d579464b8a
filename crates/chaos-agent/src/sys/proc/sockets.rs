//! The sockets of processes: which ports they listen on and which connections they hold, read from the
//! network namespace of each process and matched by socket inode. It reads only.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::SysError;
use super::read_text;

/// Largest socket table of one network namespace that is read, in bytes (about 200,000 connections).
pub const SOCKET_TABLE_BYTES_MAX: usize = 32 << 20;
/// Most file descriptors of one process that are looked at.
pub const DESCRIPTORS_MAX: usize = 1 << 20;

const ESTABLISHED: u8 = 1;
const TCP_LISTEN: u8 = 10;
/// The kernel shows an unconnected UDP socket with the number of `TCP_CLOSE`.
const UDP_UNCONNECTED: u8 = 7;

/// Transport protocol of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A socket that accepts: a TCP listener or an unconnected, bound UDP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Bound address and port. `::` usually accepts IPv4 too.
    pub address: SocketAddr,
}

/// A connection; IPv4 carried by an IPv6 socket is shown as IPv4, as it is on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Connection {
    /// TCP or UDP (connected).
    pub protocol: Protocol,
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
}

/// What a group of processes listens on and is connected to, sorted, without duplicates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sockets {
    /// Listening sockets.
    pub listening: Vec<Listener>,
    /// Established connections.
    pub established: Vec<Connection>,
}

/// One line of a socket table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    local: SocketAddr,
    remote: SocketAddr,
    state: u8,
    inode: u64,
}

/// The sockets of a group of processes. Processes that are gone are passed over.
///
/// # Errors
/// The descriptors or the socket table of a living process can't be read.
pub fn sockets(pids: &[i32]) -> Result<Sockets, SysError> {
    sockets_of_groups([pids]).map(|[found]| found)
}

/// The sockets of several groups of processes, with one look at each table, which may be large.
///
/// # Errors
/// As [`sockets`].
pub fn sockets_of_groups<const N: usize>(groups: [&[i32]; N]) -> Result<[Sockets; N], SysError> {
    // One table serves all processes of a network namespace.
    let mut namespaces: BTreeMap<u64, (i32, [BTreeSet<u64>; N])> = BTreeMap::new();
    for (group, pid) in
        groups.iter().enumerate().flat_map(|(group, pids)| pids.iter().map(move |pid| (group, *pid)))
    {
        let inodes = match socket_inodes(pid) {
            Ok(inodes) if inodes.is_empty() => continue,
            Ok(inodes) => inodes,
            Err(error) if error.is_gone() => continue,
            Err(error) => return Err(error),
        };
        match super::namespace_inode(pid, "net") {
            Ok(namespace) => {
                let (_, wanted) =
                    namespaces.entry(namespace).or_insert_with(|| (pid, [(); N].map(|()| BTreeSet::new())));
                wanted.get_mut(group).into_iter().for_each(|wanted| wanted.extend(&inodes));
            }
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(error),
        }
    }
    let mut found = [(); N].map(|()| Sockets::default());
    for (pid, wanted) in namespaces.values() {
        collect(*pid, wanted, &mut found)?;
    }
    for found in &mut found {
        found.listening.sort_unstable();
        found.listening.dedup();
        found.established.sort_unstable();
        found.established.dedup();
    }
    Ok(found)
}

fn collect<const N: usize>(
    pid: i32,
    wanted: &[BTreeSet<u64>; N],
    found: &mut [Sockets; N],
) -> Result<(), SysError> {
    let tables =
        [("tcp", Protocol::Tcp), ("tcp6", Protocol::Tcp), ("udp", Protocol::Udp), ("udp6", Protocol::Udp)];
    for (name, protocol) in tables {
        let text = match read_text(format!("/proc/{pid}/net/{name}").as_ref(), SOCKET_TABLE_BYTES_MAX) {
            Ok(text) => text,
            // The process ended, or this kernel has no IPv6.
            Err(error) if error.is_gone() => continue,
            Err(error) => return Err(error),
        };
        for entry in text.lines().skip(1).filter_map(parse_line) {
            let groups = found.iter_mut().zip(wanted).filter(|(_, wanted)| wanted.contains(&entry.inode));
            groups.for_each(|(found, _)| found.add(protocol, &entry));
        }
    }
    Ok(())
}

impl Sockets {
    fn add(&mut self, protocol: Protocol, entry: &Entry) {
        match (protocol, entry.state) {
            (Protocol::Tcp, TCP_LISTEN) | (Protocol::Udp, UDP_UNCONNECTED) => {
                self.listening.push(Listener { protocol, address: entry.local });
            }
            // Also on the way in or out: a connection that is being made or half closed carries data.
            (Protocol::Tcp, _) | (_, ESTABLISHED) if entry.remote.port() != 0 => {
                let (local, remote) = (canonical(entry.local), canonical(entry.remote));
                self.established.push(Connection { protocol, local, remote });
            }
            _ => {}
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The inodes of the sockets that a process holds.
///
/// # Errors
/// The process is gone or its descriptors can't be read.
pub fn socket_inodes(pid: i32) -> Result<BTreeSet<u64>, SysError> {
    let directory = format!("/proc/{pid}/fd");
    let failed = |source| SysError::io(format!("listing the descriptors of process {pid}"), source);
    let mut inodes = BTreeSet::new();
    for entry in std::fs::read_dir(directory).map_err(failed)?.take(DESCRIPTORS_MAX) {
        // A descriptor closed meanwhile is no error.
        let Ok(link) = entry.and_then(|entry| std::fs::read_link(entry.path())) else { continue };
        let inode: Option<u64> = link
            .to_str()
            .and_then(|text| text.strip_prefix("socket:["))
            .and_then(|text| text.strip_suffix(']'))
            .and_then(|number| number.parse().ok());
        inodes.extend(inode);
    }
    Ok(inodes)
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
        assert_eq!(canonical(entry.remote), "127.0.0.1:49152".parse().unwrap());
        assert!(parse_line("rubbish").is_none());
    }

    #[test]
    fn the_listeners_and_connections_of_this_process_are_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(local).unwrap();
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let found = sockets(&[pid]).unwrap();
        assert!(found.listening.contains(&Listener { protocol: Protocol::Tcp, address: local }));
        let bound = udp.local_addr().unwrap();
        assert!(found.listening.contains(&Listener { protocol: Protocol::Udp, address: bound }));
        assert!(found.established.contains(&Connection {
            protocol: Protocol::Tcp,
            local: client.local_addr().unwrap(),
            remote: local
        }));
    }
}

//! The sockets of processes: which ports they listen on and which connections they hold, read from the
//! network namespace of each process and matched by socket inode. It reads only.

mod diag;
mod table;
mod text;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;

use super::super::SysError;
use super::super::namespace::{Kind, Namespace};

pub use table::SocketTable;

/// Most file descriptors of one process that are looked at.
pub const DESCRIPTORS_MAX: usize = 1 << 20;

const ESTABLISHED: u8 = 1;
const TCP_TIME_WAIT: u8 = 6;
const TCP_CLOSED: u8 = 7;
const TCP_LISTEN: u8 = 10;
/// Bound, neither listening nor connecting.
const TCP_BOUND: u8 = 13;
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

/// One socket of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    local: SocketAddr,
    remote: SocketAddr,
    state: u8,
    inode: u64,
}

/// Which sockets are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum States {
    /// Only what accepts: cheap, however many connections there are.
    Listening,
    /// That and connections, which takes a walk over all of the host.
    Open,
}

impl States {
    /// One bit for each state of the kernel.
    fn mask(self, protocol: Protocol) -> u32 {
        match (self, protocol) {
            (Self::Listening, Protocol::Tcp) => 1 << TCP_LISTEN,
            (Self::Listening, Protocol::Udp) => 1 << UDP_UNCONNECTED,
            // What only waits for its time to be over belongs to nobody, and what is not connected is not cut.
            (Self::Open, Protocol::Tcp) => !(1 << TCP_TIME_WAIT | 1 << TCP_CLOSED | 1 << TCP_BOUND) & 0x1fff,
            (Self::Open, Protocol::Udp) => 1 << UDP_UNCONNECTED | 1 << ESTABLISHED,
        }
    }
}

impl Protocol {
    /// The number in the IP header.
    fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// The sockets of a group of processes. Processes that are gone are passed over.
///
/// # Errors
/// The descriptors or the socket table of a living process can't be read.
pub fn sockets(pids: &[i32]) -> Result<Sockets, SysError> {
    look(&[pids], States::Open).swap_remove(0)
}

/// The sockets of several groups of processes, with one look at each table, which may be large.
///
/// # Errors
/// As [`sockets`].
pub fn sockets_of_groups<const N: usize>(groups: [&[i32]; N]) -> Result<[Sockets; N], SysError> {
    let mut found = look(&groups, States::Open).into_iter();
    let mut all = [(); N].map(|()| Sockets::default());
    for slot in &mut all {
        *slot = found.next().unwrap_or_else(|| Ok(Sockets::default()))?;
    }
    Ok(all)
}

/// What each of several groups of processes listens on, with one look at each table of listeners. A group of which
/// something can't be read fails alone.
pub fn listeners_of_groups(groups: &[&[i32]]) -> Vec<Result<Vec<Listener>, SysError>> {
    look(groups, States::Listening).into_iter().map(|found| found.map(|sockets| sockets.listening)).collect()
}

/// The sockets that groups hold in one network namespace: their inodes, each with the groups that hold it.
struct Wanted {
    /// A process that is in the namespace.
    pid: i32,
    holders: HashMap<u64, Vec<usize>>,
}

fn look(groups: &[&[i32]], states: States) -> Vec<Result<Sockets, SysError>> {
    let mut found: Vec<Result<Sockets, SysError>> = groups.iter().map(|_| Ok(Sockets::default())).collect();
    // One table serves all processes of a network namespace.
    let mut namespaces: BTreeMap<u64, Wanted> = BTreeMap::new();
    for (group, (pids, outcome)) in groups.iter().zip(&mut found).enumerate() {
        for pid in *pids {
            match held_by(*pid) {
                Ok(None) => {}
                Ok(Some((namespace, inodes))) => {
                    let wanted = Wanted { pid: *pid, holders: HashMap::new() };
                    let wanted = namespaces.entry(namespace).or_insert(wanted);
                    for inode in inodes {
                        let holders = wanted.holders.entry(inode).or_default();
                        // A group comes in one piece, so it is the last one if it is there.
                        if holders.last() != Some(&group) {
                            holders.push(group);
                        }
                    }
                }
                Err(error) => *outcome = Err(error),
            }
        }
    }
    for (namespace, wanted) in &namespaces {
        collect(*namespace, wanted, states, &mut found);
    }
    found.iter_mut().flatten().for_each(Sockets::sort);
    found
}

/// The network namespace of a process and the sockets that it holds; none when it is gone or holds none.
fn held_by(pid: i32) -> Result<Option<(u64, BTreeSet<u64>)>, SysError> {
    let held = socket_inodes(pid).and_then(|inodes| match inodes.is_empty() {
        true => Ok(None),
        false => super::namespace_inode(pid, "net").map(|namespace| Some((namespace, inodes))),
    });
    held.or_else(|error| if error.is_gone() { Ok(None) } else { Err(error) })
}

fn collect(namespace: u64, wanted: &Wanted, states: States, found: &mut [Result<Sockets, SysError>]) {
    let entries = match listed(namespace, wanted.pid, states) {
        Ok(entries) => entries,
        Err(error) => {
            // One failure that all of them share; an error can't be copied, its words can.
            let failed = || SysError::NotProven {
                attempted: format!("listing the sockets of process {}", wanted.pid),
                observed: error.to_string(),
            };
            for group in wanted.holders.values().flatten() {
                found.get_mut(*group).into_iter().for_each(|found| *found = Err(failed()));
            }
            return;
        }
    };
    for (protocol, entry) in entries {
        for group in wanted.holders.get(&entry.inode).into_iter().flatten() {
            if let Some(Ok(found)) = found.get_mut(*group) {
                found.add(protocol, &entry);
            }
        }
    }
}

/// All sockets of a namespace that a process is in, asked from the kernel inside of it where this process may go
/// there, else read from the text tables that it shows.
fn listed(namespace: u64, pid: i32, states: States) -> Result<Vec<(Protocol, Entry)>, SysError> {
    let own = super::namespace_inode(super::super::own_pid(), "net").is_ok_and(|own| own == namespace);
    let answered = if own {
        diag::dump(states).ok()
    } else {
        let there = Namespace::of_pid(pid, Kind::Network).ok().filter(|there| there.inode() == namespace);
        there.and_then(|there| there.on_a_thread_inside(|| diag::dump(states)).ok()?.ok())
    };
    answered.map_or_else(|| text::tables(pid), Ok)
}

impl Sockets {
    fn sort(&mut self) {
        self.listening.sort_unstable();
        self.listening.dedup();
        self.established.sort_unstable();
        self.established.dedup();
    }

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

/// The sockets in a datagram of the kernel's listing: this end, the other end, state, inode.
pub(crate) fn in_answer(datagram: &[u8]) -> Vec<(SocketAddr, SocketAddr, u8, u64)> {
    let mut found = Vec::new();
    // How it ended is for whoever asked a kernel.
    let _ = diag::take(datagram, &mut |entry| found.push(entry.parts()));
    found
}

/// The sockets in a text table, as [`in_answer`].
pub(crate) fn in_table(text: &str) -> Vec<(SocketAddr, SocketAddr, u8, u64)> {
    text::parse(text).map(|entry| entry.parts()).collect()
}

impl Entry {
    fn parts(self) -> (SocketAddr, SocketAddr, u8, u64) {
        (self.local, self.remote, self.state, self.inode)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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

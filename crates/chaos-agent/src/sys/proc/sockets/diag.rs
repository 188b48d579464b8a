//! Sockets of a network namespace as the kernel lists them over netlink (`NETLINK_SOCK_DIAG`): unlike the text tables
//! below `/proc`, only in the states that are asked for, and listeners without a walk over all connections.
//!
//! Owns the two structures of that protocol. It never says whose socket one is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::{Entry, Protocol, States};
use crate::sys::nft::wire;

/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// `TCPDIAG_GETSOCK`, the older question: it knows no families, so one walk over all connections answers for both.
const TCP_OF_ALL_FAMILIES: u16 = 18;
/// Bytes of a `struct nlmsghdr` with a `struct inet_diag_req`.
const OLDER_REQUEST_BYTES: u8 = 76;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST_AND_DUMP: u16 = 0x301;
/// Bytes of a `struct nlmsghdr` with a `struct inet_diag_req_v2`.
const REQUEST_BYTES: u8 = 72;
/// Bytes of the `struct inet_diag_sockid` in it, all zero for a dump.
const SOCKET_ID_BYTES: usize = 48;
/// Room for one datagram of answers; the kernel never makes larger ones.
const RECEIVE_BYTES: usize = 64 * 1024;
/// How long an answer is waited for, in milliseconds; the kernel makes it while it is asked.
const ANSWER_TIMEOUT_MS: i64 = 2_000;
const FAMILIES: [AddressFamily; 2] = [AddressFamily::Inet, AddressFamily::Inet6];

/// The sockets of the calling thread's network namespace.
///
/// # Errors
/// This kernel does not answer such questions, or not to this process.
pub(super) fn dump(states: States) -> Result<Vec<(Protocol, Entry)>, Errno> {
    let fd = open()?;
    let mut found = Vec::new();
    let mut buffer = vec![0; RECEIVE_BYTES];
    let (tcp, udp) = (states.mask(Protocol::Tcp), states.mask(Protocol::Udp));
    send(&fd, &older_request(tcp))?;
    if receive(&fd, &mut buffer, |entry| found.push((Protocol::Tcp, entry))).is_err() {
        found.clear();
        by_family(&fd, &mut buffer, Protocol::Tcp, tcp, &mut found)?;
    }
    by_family(&fd, &mut buffer, Protocol::Udp, udp, &mut found)?;
    Ok(found)
}

fn by_family(
    fd: &OwnedFd,
    buffer: &mut [u8],
    protocol: Protocol,
    states: u32,
    found: &mut Vec<(Protocol, Entry)>,
) -> Result<(), Errno> {
    for family in FAMILIES {
        send(fd, &request(protocol, family, states))?;
        match receive(fd, buffer, |entry| found.push((protocol, entry))) {
            // A kernel without IPv6.
            Err(Errno::ENOENT | Errno::EAFNOSUPPORT) if family == AddressFamily::Inet6 => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

fn open() -> Result<OwnedFd, Errno> {
    let fd = socket::socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    socket::setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::milliseconds(ANSWER_TIMEOUT_MS))?;
    // A connected netlink socket takes no messages from other processes.
    socket::connect(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    Ok(fd)
}

fn send(fd: &OwnedFd, request: &[u8]) -> Result<(), Errno> {
    loop {
        match socket::send(fd.as_raw_fd(), request, MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            outcome => return outcome.map(drop),
        }
    }
}

/// The header of a dump; sequence number and port are zero, as one question at a time is open on a socket.
fn header(kind: u16, length: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(usize::from(length));
    bytes.extend(u32::from(length).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(REQUEST_AND_DUMP.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes
}

fn older_request(states: u32) -> Vec<u8> {
    let mut bytes = header(TCP_OF_ALL_FAMILIES, OLDER_REQUEST_BYTES);
    bytes.extend([0; 4 + SOCKET_ID_BYTES]);
    bytes.extend(states.to_ne_bytes());
    // Tables, which the kernel does not look at.
    bytes.extend([0; 4]);
    bytes
}

fn request(protocol: Protocol, family: AddressFamily, states: u32) -> Vec<u8> {
    let (family, transport) = (if family == AddressFamily::Inet { 2 } else { 10 }, protocol.number());
    let mut bytes = header(BY_FAMILY, REQUEST_BYTES);
    bytes.extend([family, transport, 0, 0]);
    bytes.extend(states.to_ne_bytes());
    bytes.extend([0; SOCKET_ID_BYTES]);
    bytes
}

fn receive(fd: &OwnedFd, buffer: &mut [u8], mut each: impl FnMut(Entry)) -> Result<(), Errno> {
    loop {
        let length = match socket::recv(fd.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC) {
            Err(Errno::EINTR) => continue,
            outcome => outcome?,
        };
        let Some(datagram) = buffer.get(..length) else { return Err(Errno::EMSGSIZE) };
        if take(datagram, &mut each)? == Dump::Over {
            return Ok(());
        }
    }
}

/// Whether more datagrams follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dump {
    GoesOn,
    Over,
}

/// Takes the sockets out of one datagram of a dump.
pub(super) fn take(datagram: &[u8], each: &mut impl FnMut(Entry)) -> Result<Dump, Errno> {
    for message in wire::messages(datagram) {
        match message.kind {
            DONE if message.error_code() == 0 => return Ok(Dump::Over),
            // A dump that this kernel can't make ends with its reason.
            DONE | ERROR => return Err(Errno::from_raw(message.error_code().saturating_neg())),
            BY_FAMILY | TCP_OF_ALL_FAMILIES => read(message.body).into_iter().for_each(&mut *each),
            _ => {}
        }
    }
    Ok(Dump::GoesOn)
}

/// Reads a `struct inet_diag_msg`: family, state, two bytes of timers, ports and addresses in network order, then
/// interface, cookie, timer, queues and owner (36 bytes in all), then the inode.
fn read(body: &[u8]) -> Option<Entry> {
    let port = |at: usize| body.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
    let ip = |at: usize| {
        let bytes = body.get(at..)?;
        match *body.first()? {
            2 => bytes.first_chunk::<4>().map(|bytes| IpAddr::V4(Ipv4Addr::from(*bytes))),
            10 => bytes.first_chunk::<16>().map(|bytes| IpAddr::V6(Ipv6Addr::from(*bytes))),
            _ => None,
        }
    };
    Some(Entry {
        state: *body.get(1)?,
        local: SocketAddr::new(ip(8)?, port(4)?),
        remote: SocketAddr::new(ip(24)?, port(6)?),
        inode: u64::from(u32::from_ne_bytes(*body.get(68..)?.first_chunk()?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_laid_out_as_the_kernel_headers_say() {
        let bytes = request(Protocol::Tcp, AddressFamily::Inet6, 1 << 10);
        assert_eq!(bytes.len(), usize::from(REQUEST_BYTES));
        assert_eq!(bytes[..4], 72_u32.to_ne_bytes());
        assert_eq!(bytes[16..20], [10, 6, 0, 0]);
        assert_eq!(bytes[20..24], 1024_u32.to_ne_bytes());
        let older = older_request(1 << 10);
        assert_eq!(
            (older.len(), &older[68..72]),
            (usize::from(OLDER_REQUEST_BYTES), &1024_u32.to_ne_bytes()[..])
        );
    }

    #[test]
    fn one_question_for_all_families_is_answered_as_one_for_each() {
        let six = std::net::TcpListener::bind("[::1]:0").unwrap();
        let four = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (fd, mut buffer) = (open().unwrap(), vec![0; RECEIVE_BYTES]);
        let wanted = [six.local_addr().unwrap(), four.local_addr().unwrap()];
        let mut older = Vec::new();
        send(&fd, &older_request(States::Listening.mask(Protocol::Tcp))).unwrap();
        receive(&fd, &mut buffer, |entry| older.push((Protocol::Tcp, entry))).unwrap();
        let mut newer = Vec::new();
        by_family(&fd, &mut buffer, Protocol::Tcp, 1 << super::super::TCP_LISTEN, &mut newer).unwrap();
        for local in wanted {
            let of =
                |list: &[(Protocol, Entry)]| list.iter().find(|(_, entry)| entry.local == local).copied();
            assert!(of(&older).is_some() && of(&older) == of(&newer), "{local}");
        }
    }

    #[test]
    fn an_answer_that_is_cut_short_is_passed_over() {
        let mut body = vec![0; 72];
        body[..8].copy_from_slice(&[2, 10, 0, 0, 0x1f, 0x90, 0, 0]);
        body[8..12].copy_from_slice(&[127, 0, 0, 1]);
        body[68..].copy_from_slice(&77_u32.to_ne_bytes());
        let entry = read(&body).unwrap();
        assert_eq!((entry.local, entry.inode), ("127.0.0.1:8080".parse().unwrap(), 77));
        for length in 0..body.len() {
            assert!(read(&body[..length]).is_none());
        }
    }

    #[test]
    fn the_kernel_lists_what_its_text_tables_list() {
        let listener = std::net::TcpListener::bind("[::]:0").unwrap();
        let client =
            std::net::TcpStream::connect(("127.0.0.1", listener.local_addr().unwrap().port())).unwrap();
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let listening = dump(States::Listening).unwrap();
        let all = dump(States::Open).unwrap();
        let has = |list: &[(Protocol, Entry)], local| list.iter().any(|(_, entry)| entry.local == local);
        assert!(
            has(&listening, listener.local_addr().unwrap()) && has(&listening, udp.local_addr().unwrap())
        );
        let client = client.local_addr().unwrap();
        assert!(has(&all, client) && !has(&listening, client), "a connection is no listener");
        let text = super::super::text::tables(crate::sys::own_pid()).unwrap();
        for local in [listener.local_addr().unwrap(), udp.local_addr().unwrap(), client] {
            let of =
                |list: &[(Protocol, Entry)]| list.iter().find(|(_, entry)| entry.local == local).copied();
            assert_eq!(of(&text), of(&all), "{local}");
        }
    }
}

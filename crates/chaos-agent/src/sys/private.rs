//! A user and network namespace of our own, in which a plain user may do to its own processes what root may do to all.
//!
//! Owns the way in. There is no way back: the whole process stays inside.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, socket,
};
use nix::unistd::{getgid, getuid};

use super::SysError;

/// Loopback is the first link of every network namespace.
const LOOPBACK_INDEX: i32 = 1;

/// Moves this process into a new user namespace, as its root, and a new network namespace with loopback up. To be
/// called before any thread is started.
///
/// # Errors
/// When the kernel does not let this user have one, or a thread runs already.
pub fn enter_private_namespaces() -> Result<(), SysError> {
    let (user, group) = (getuid(), getgid());
    let attempted = "enter a user and network namespace of our own";
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
        .map_err(|error| SysError::io(attempted, error))?;
    for (file, text) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {user} 1")),
        ("/proc/self/gid_map", format!("0 {group} 1")),
    ] {
        std::fs::write(file, text).map_err(|error| SysError::io(format!("write {file}"), error))?;
    }
    loopback_up().map_err(|error| SysError::io("set loopback up", error))
}

/// `RTM_NEWLINK` with `IFF_UP` for loopback, as in rtnetlink(7).
fn loopback_up() -> Result<(), nix::Error> {
    let route: OwnedFd =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    bind(route.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    let mut message = Vec::with_capacity(32);
    message.extend_from_slice(&32u32.to_ne_bytes()); // nlmsg_len
    message.extend_from_slice(&(libc::RTM_NEWLINK).to_ne_bytes());
    message.extend_from_slice(&((libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16).to_ne_bytes());
    message.extend_from_slice(&[0; 8]); // nlmsg_seq, nlmsg_pid
    message.extend_from_slice(&[0; 4]); // ifi_family, padding, ifi_type
    message.extend_from_slice(&LOOPBACK_INDEX.to_ne_bytes());
    message.extend_from_slice(&(libc::IFF_UP as u32).to_ne_bytes()); // ifi_flags
    message.extend_from_slice(&(libc::IFF_UP as u32).to_ne_bytes()); // ifi_change
    sendto(route.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0u8; 128];
    let length = recv(route.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let code =
        answer.get(16..20).filter(|_| length >= 20).map(|b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
    match code {
        Some(0) => Ok(()),
        Some(negative) => Err(nix::Error::from_raw(-negative)),
        None => Err(nix::Error::EBADMSG),
    }
}

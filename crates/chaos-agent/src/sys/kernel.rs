//! What this kernel and this user can do, tried rather than guessed, for `doctor`. Each probe undoes itself.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use super::cgroup::{Hierarchies, Layout};
use super::pidfd::PidFd;

/// One ability and what was seen of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Short name, e.g. `nf_tables`.
    pub name: &'static str,
    /// It works here, for this user.
    pub available: bool,
    /// What was seen, or why it does not work.
    pub detail: String,
}

/// Tries everything that faults rely on. Takes a few milliseconds.
#[must_use]
pub fn features() -> Vec<Feature> {
    vec![pidfd(), ptrace(), nf_tables(), user_namespaces(), cgroups()]
}

/// Release of the running kernel, e.g. `6.12.5`.
#[must_use]
pub fn release() -> String {
    nix::sys::utsname::uname().map(|names| names.release().to_string_lossy().into_owned()).unwrap_or_default()
}

fn feature(name: &'static str, result: Result<String, String>) -> Feature {
    let available = result.is_ok();
    let (Ok(detail) | Err(detail)) = result;
    Feature { name, available, detail }
}

/// Process descriptors.
#[must_use]
pub fn pidfd() -> Feature {
    let opened = PidFd::open_pid(super::own_pid());
    feature("pidfd", opened.map(|_| "works".to_owned()).map_err(|error| error.to_string()))
}

/// Seizing a process by ptrace, tried on a child of our own.
#[must_use]
pub fn ptrace() -> Feature {
    // SAFETY: the child calls only pause and _exit, which are safe after a fork of a threaded process.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: see above; PDEATHSIG makes sure that the child can't outlive this probe.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            libc::pause();
            libc::_exit(0);
        }
    }
    if pid < 0 {
        return feature("ptrace", Err(format!("a child can't be forked: {}", Errno::last())));
    }
    // SAFETY: SEIZE takes integers only.
    let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0_usize, 0_usize) };
    let result = if seized == 0 { Ok("works".to_owned()) } else { Err(Errno::last().to_string()) };
    // SAFETY: ends and reaps the child made above, which nobody else waits for.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL);
    }
    feature("ptrace", result)
}

/// Making a user namespace, tried in a child.
#[must_use]
pub fn user_namespaces() -> Feature {
    // SAFETY: the child calls only unshare and _exit, which are safe after a fork of a threaded process.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: see above; the namespace ends with the child.
        unsafe {
            let made = libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET);
            libc::_exit(if made == 0 { 0 } else { *libc::__errno_location() });
        }
    }
    if pid < 0 {
        return feature("user_namespaces", Err(format!("a child can't be forked: {}", Errno::last())));
    }
    let mut status = 0;
    // SAFETY: status is a live integer, and the child was made above.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    let result = match (waited == pid && libc::WIFEXITED(status)).then(|| libc::WEXITSTATUS(status)) {
        Some(0) => Ok("a user and a network namespace can be made".to_owned()),
        Some(errno) => Err(Errno::from_raw(errno).to_string()),
        None => Err("the probe did not end as it should".to_owned()),
    };
    feature("user_namespaces", result)
}

/// nftables: asks the kernel for its ruleset generation, which needs the module and `CAP_NET_ADMIN`.
#[must_use]
pub fn nf_tables() -> Feature {
    let detail = "answers on netlink".to_owned();
    feature("nf_tables", ask_nf_tables().map(|()| detail).map_err(|errno| errno.to_string()))
}

/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN`.
const NFT_GET_GENERATION: u16 = (10 << 8) | 16;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;

fn ask_nf_tables() -> Result<(), Errno> {
    // SAFETY: socket takes integers; the descriptor that it returns is owned by nobody else.
    let socket = unsafe {
        let raw =
            libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_NETFILTER);
        Errno::result(raw).map(|raw| OwnedFd::from_raw_fd(raw))?
    };
    let timeout = nix::sys::time::TimeVal::new(1, 0);
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::ReceiveTimeout, &timeout)?;
    // nlmsghdr (length, type, flags, sequence, port) and nfgenmsg (family, version, resource).
    let mut request = [0_u8; 20];
    for (at, bytes) in [
        (0, &20_u32.to_ne_bytes()[..]),
        (4, &NFT_GET_GENERATION.to_ne_bytes()[..]),
        (6, &NLM_F_REQUEST.to_ne_bytes()[..]),
    ] {
        if let Some(place) = request.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
    nix::sys::socket::send(socket.as_raw_fd(), &request, nix::sys::socket::MsgFlags::empty())?;
    let mut answer = [0_u8; 512];
    let length =
        nix::sys::socket::recv(socket.as_raw_fd(), &mut answer, nix::sys::socket::MsgFlags::empty())?;
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let code = answer.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, code) {
        (Some(NLMSG_ERROR), Some(code)) if length >= 20 && code != 0 => Err(Errno::from_raw(-code)),
        _ => Ok(()),
    }
}

/// Which control groups are mounted.
#[must_use]
pub fn cgroups() -> Feature {
    let result = match Hierarchies::detect().map(|hierarchies| hierarchies.layout()) {
        Ok(Layout::None) => Err("none is mounted".to_owned()),
        Ok(Layout::V1) => Ok("version 1".to_owned()),
        Ok(Layout::V2) => Ok("version 2".to_owned()),
        Ok(Layout::Hybrid) => Ok("version 1 with a version 2 tree".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    feature("cgroups", result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_says_what_was_seen() {
        for feature in features() {
            eprintln!("{} {} {}", feature.name, feature.available, feature.detail);
            assert!(!feature.detail.is_empty());
        }
        assert!(pidfd().available && !release().is_empty());
    }
}

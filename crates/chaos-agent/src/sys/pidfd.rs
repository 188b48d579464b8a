//! Process descriptors: a victim is opened by identity once, and everything later goes to that very process.
//! A reused pid is never hit.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Identity, SysError, proc};

/// A process held by descriptor.
#[derive(Debug)]
pub struct PidFd {
    descriptor: OwnedFd,
    identity: Identity,
}

impl PidFd {
    /// Opens the process of that identity.
    ///
    /// # Errors
    /// It is gone, its pid was reused, or this kernel has no pidfds (before 5.3).
    pub fn open(identity: Identity) -> Result<Self, SysError> {
        let pid = identity.pid;
        // SAFETY: pidfd_open takes two integers and no pointer.
        let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if opened < 0 {
            let error = SysError::last_os(format!("opening a descriptor of process {pid}"));
            return Err(if error.is_gone() { SysError::Gone { pid } } else { error });
        }
        let raw = i32::try_from(opened)
            .map_err(|_| SysError::Malformed { path: "pidfd_open".into(), what: opened.to_string() })?;
        // SAFETY: the kernel has just returned this descriptor to us, and nobody else owns it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(raw) };
        let held = Self { descriptor, identity };
        // Read after the descriptor exists: if the start time is right now, and the process has not ended,
        // then the descriptor is of that process and can never become another's.
        let stat = proc::stat(pid)?;
        if stat.start_time != identity.start_time {
            return Err(SysError::Replaced { expected: identity });
        }
        if stat.is_dead() && !held.is_alive() {
            return Err(SysError::Gone { pid });
        }
        Ok(held)
    }

    /// Opens whatever process has this pid now. For processes that the caller has just made.
    ///
    /// # Errors
    /// As [`PidFd::open`].
    pub fn open_pid(pid: i32) -> Result<Self, SysError> {
        Self::open(proc::identity(pid)?)
    }

    /// The process that is held.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Sends a signal by number (0 only checks). Real-time signals work too.
    ///
    /// # Errors
    /// The process has ended and was reaped, the signal does not exist, or it is not permitted.
    pub fn send_signal(&self, signal: i32) -> Result<(), SysError> {
        let pid = self.identity.pid;
        let null: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: a null siginfo is allowed and means the same as kill(2); the descriptor is ours and open.
        let sent = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.descriptor.as_raw_fd(), signal, null, 0)
        };
        if sent == 0 {
            return Ok(());
        }
        let attempted = format!("sending signal {signal} to process {pid}");
        match nix::errno::Errno::last() {
            nix::errno::Errno::ESRCH => Err(SysError::Gone { pid }),
            nix::errno::Errno::EPERM => Err(SysError::NotPermitted { attempted, needs: Some("CAP_KILL") }),
            errno => Err(SysError::io(attempted, errno)),
        }
    }

    /// Waits until the process has ended (all of its threads); true when it has within the time.
    ///
    /// # Errors
    /// The kernel refuses to poll.
    pub fn wait_exit(&self, timeout: Duration) -> Result<bool, SysError> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up, so that the last part of a millisecond does not become a busy loop.
            let milliseconds = i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
            let mut polled = [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)];
            let wait = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
            match poll(&mut polled, wait) {
                Ok(0) if left.is_zero() => return Ok(false),
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(errno) => {
                    return Err(SysError::io(format!("waiting for process {}", self.identity.pid), errno));
                }
            }
        }
    }

    /// True while the process runs; a zombie is dead.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        matches!(self.wait_exit(Duration::ZERO), Ok(false))
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Child;
    use super::*;

    #[test]
    fn a_process_is_signalled_and_seen_to_end_before_it_is_reaped() {
        let child = Child::sleeping();
        let held = PidFd::open(child.identity()).unwrap();
        assert!(held.is_alive());
        assert!(!held.wait_exit(Duration::from_millis(5)).unwrap());
        held.send_signal(libc::SIGKILL).unwrap();
        assert!(held.wait_exit(Duration::from_secs(5)).unwrap());
        assert!(!held.is_alive(), "a zombie is dead");
        assert!(matches!(PidFd::open(child.identity()), Err(SysError::Gone { .. })));
    }

    #[test]
    fn a_reused_pid_is_refused() {
        let child = Child::sleeping();
        let mut other = child.identity();
        other.start_time -= 1;
        assert!(matches!(PidFd::open(other), Err(SysError::Replaced { .. })));
    }

    #[test]
    fn a_process_that_was_reaped_is_gone() {
        let mut child = Child::sleeping();
        let held = PidFd::open(child.identity()).unwrap();
        child.end();
        assert!(matches!(held.send_signal(libc::SIGTERM), Err(SysError::Gone { .. })));
        assert!(matches!(PidFd::open(child.identity()), Err(SysError::Gone { .. })));
    }
}

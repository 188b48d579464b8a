//! Ties between a process and its parent. It starts and ends nothing.

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::Signal;

use super::SysError;

/// Asks the kernel to send `signal` to this process when the thread that forked it ends, and makes sure that
/// the parent had not ended before the request: a parent that is not `expected_parent` any more is an error.
///
/// # Errors
/// The kernel refuses, or the parent is gone already.
pub fn parent_death_signal(signal: Signal, expected_parent: i32) -> Result<(), SysError> {
    prctl::set_pdeathsig(signal).map_err(|errno| SysError::io("setting the parent death signal", errno))?;
    if nix::unistd::getppid().as_raw() != expected_parent {
        return Err(SysError::Gone { pid: expected_parent });
    }
    Ok(())
}

/// Makes this process the one that orphans below it are given to.
///
/// # Errors
/// The kernel refuses.
pub fn become_subreaper() -> Result<(), SysError> {
    prctl::set_child_subreaper(true).map_err(|errno| SysError::io("becoming a subreaper", errno))
}

/// Whether a child or a traced process of this one has changed in a way that nobody has waited for yet.
pub(crate) fn has_news_of_children() -> bool {
    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
    let any = WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::__WALL;
    let looking = WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    !matches!(waitid(Id::All, any | looking), Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD))
}

/// Closes every descriptor but the standard three: whatever a parent leaked into this process. Only for the very
/// start of a program, before it has opened anything.
///
/// # Errors
/// The kernel is older than 5.9.
pub(crate) fn close_leaked_descriptors() -> Result<(), SysError> {
    // SAFETY: integers only; nothing in this program owns a descriptor yet, so none is closed under its owner.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0) };
    if closed == 0 { Ok(()) } else { Err(SysError::last_os("closing inherited descriptors")) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::in_single_threaded_process;
    use super::*;

    #[test]
    fn a_parent_that_has_ended_already_is_noticed() {
        let parent = super::super::own_pid();
        in_single_threaded_process(move || {
            parent_death_signal(Signal::SIGKILL, parent).map_err(|error| error.to_string())?;
            match parent_death_signal(Signal::SIGKILL, parent + 1) {
                Err(SysError::Gone { .. }) => become_subreaper().map_err(|error| error.to_string()),
                other => Err(format!("{other:?}")),
            }
        });
    }
}

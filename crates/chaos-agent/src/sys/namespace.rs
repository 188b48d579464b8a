//! Entering namespaces of other processes. A thread that enters a mount or user namespace is bound to be
//! single; that is the caller's to arrange (a fault process has one thread).

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sched::{CloneFlags, setns};

use super::pidfd::PidFd;
use super::{Identity, SysError, proc};

/// A kind of namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Network.
    Network,
    /// Mounts.
    Mount,
    /// Pids; only children of the caller are in it.
    Pid,
    /// System V IPC and POSIX queues.
    Ipc,
    /// Host name.
    Uts,
    /// Users.
    User,
}

impl Kind {
    /// Name under `/proc/<pid>/ns`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Mount => "mnt",
            Self::Pid => "pid",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::User => "user",
        }
    }

    fn flag(self) -> CloneFlags {
        match self {
            Self::Network => CloneFlags::CLONE_NEWNET,
            Self::Mount => CloneFlags::CLONE_NEWNS,
            Self::Pid => CloneFlags::CLONE_NEWPID,
            Self::Ipc => CloneFlags::CLONE_NEWIPC,
            Self::Uts => CloneFlags::CLONE_NEWUTS,
            Self::User => CloneFlags::CLONE_NEWUSER,
        }
    }
}

/// A namespace held open, so that it can be entered, and left again, even when its processes end.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    kind: Kind,
    inode: u64,
}

impl Namespace {
    /// Opens the namespace of a process, checking its identity after the file is held.
    ///
    /// # Errors
    /// The process is gone, was replaced, or belongs to somebody else.
    pub fn of(process: Identity, kind: Kind) -> Result<Self, SysError> {
        let opened = Self::open(&format!("/proc/{}/ns/{}", process.pid, kind.name()), kind);
        // Same order as for a pidfd: what was opened is the victim's if the victim is still there now.
        drop(PidFd::open(process)?);
        opened
    }

    /// Opens the namespace that a pid is in now: for reading only, as the pid may be another process' by then. Compare
    /// [`Namespace::inode`] with what is expected.
    ///
    /// # Errors
    /// The process is gone or belongs to somebody else.
    pub fn of_pid(pid: i32, kind: Kind) -> Result<Self, SysError> {
        Self::open(&format!("/proc/{pid}/ns/{}", kind.name()), kind)
    }

    /// Opens the namespace that the calling thread is in, to come back to.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn current(kind: Kind) -> Result<Self, SysError> {
        Self::open(&format!("/proc/thread-self/ns/{}", kind.name()), kind)
    }

    fn open(path: &str, kind: Kind) -> Result<Self, SysError> {
        use std::os::unix::fs::MetadataExt;
        let failed = |source| SysError::io(format!("opening namespace {path}"), source);
        let file = File::open(path).map_err(failed)?;
        let inode = file.metadata().map_err(failed)?.ino();
        Ok(Self { file, kind, inode })
    }

    /// What identifies it.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Puts the calling thread into it; being there already is fine.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn enter(&self) -> Result<(), SysError> {
        let own = proc::namespace_inode(super::own_pid(), self.kind.name()).ok();
        // Entering one's own user namespace is refused by the kernel, though nothing would change.
        if self.kind == Kind::User && own == Some(self.inode) {
            return Ok(());
        }
        let attempted = || format!("entering {} namespace {}", self.kind.name(), self.inode);
        setns(&self.file, self.kind.flag()).map_err(|errno| match errno {
            nix::errno::Errno::EPERM => {
                SysError::NotPermitted { attempted: attempted(), needs: Some("CAP_SYS_ADMIN") }
            }
            errno => SysError::io(attempted(), errno),
        })
    }

    /// Runs `body` inside, on a short-lived thread that has ended when this returns, so that the calling thread never
    /// leaves its place.
    ///
    /// # Errors
    /// Entering was refused, or no thread could be started; the body did not run then.
    pub fn on_a_thread_inside<T: Send>(&self, body: impl FnOnce() -> T + Send) -> Result<T, SysError> {
        std::thread::scope(|scope| {
            let enter = || self.enter().map(|()| body());
            let thread = std::thread::Builder::new().spawn_scoped(scope, enter);
            let thread =
                thread.map_err(|source| SysError::io("starting a thread for a namespace", source))?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs `body` inside and comes back. When coming back fails the thread must not go on: the error says so.
    ///
    /// # Errors
    /// Entering or coming back was refused; the body ran only if entering worked.
    pub fn within<T>(&self, body: impl FnOnce() -> T) -> Result<T, SysError> {
        let back = Self::current(self.kind)?;
        self.enter()?;
        let result = body();
        back.enter()?;
        Ok(result)
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::super::capability::{Capability, has};
    use super::super::testing::{Child, eventually};
    use super::*;

    #[test]
    fn a_thread_goes_into_a_network_namespace_and_comes_back() {
        if !has(Capability::SysAdmin) {
            eprintln!("skipped: entering a namespace needs CAP_SYS_ADMIN");
            return;
        }
        let child = Child::start("unshare", &["--net", "sleep", "300"]);
        let home = Namespace::current(Kind::Network).unwrap();
        eventually("the child has its own network", || {
            proc::namespace_inode(child.pid(), "net").is_ok_and(|inode| inode != home.inode())
        });
        let there = Namespace::of(child.identity(), Kind::Network).unwrap();
        let seen = there.within(|| Namespace::current(Kind::Network).unwrap().inode()).unwrap();
        assert_eq!(seen, there.inode());
        assert_eq!(Namespace::current(Kind::Network).unwrap().inode(), home.inode());
    }
}

//! Kills a fault process at its n-th step: it is run under ptrace and killed as it enters or leaves a system call.
//!
//! Owns the tracing and what counts as a step. Only system calls that change something count: between two that only
//! read, a kill can't make a difference. It never changes what the traced program does.

use std::collections::BTreeSet;
use std::process::Child;

use anyhow::{Context, Result};
use chaos_agent::holder;
use chaos_agent::sys::pidfd::PidFd;
use chaos_agent::sys::proc;
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// When and whom to kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// At which stop, counted from 1: where it leaves `execve`, then two for each call, its entry and its exit.
    pub at: u32,
    /// The owner of the fault process as well, in the same moment.
    pub owner_too: bool,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Traced {
    /// Stops at steps that were seen, up to the kill.
    pub stops: u32,
    /// The name of the call at which it was killed, if it was.
    pub killed_at: Option<String>,
}

/// Runs `owner`, which must not have started anything yet, until it and its fault process have ended. `begin` lets it
/// go.
///
/// # Errors
/// It can't be traced.
pub fn run(owner: &mut Child, kill: Kill, begin: impl FnOnce(&mut Child) -> Result<()>) -> Result<Traced> {
    let pid = Pid::from_raw(i32::try_from(owner.id())?);
    let held = PidFd::open_pid(pid.as_raw())?;
    let options = Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC;
    ptrace::seize(pid, options).context("tracing a node")?;
    begin(owner)?;
    let mut tracer = Tracer { owner: held, kill, traced: Traced::default(), holder: None, inside: false };
    let mut alive = BTreeSet::from([pid]);
    while !alive.is_empty() {
        match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) => {
                alive.remove(&pid);
            }
            Ok(status) => {
                alive.extend(status.pid());
                tracer.go_on(status)?;
            }
            Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => break,
            Err(errno) => return Err(errno).context("waiting for traced processes"),
        }
    }
    Ok(tracer.traced)
}

struct Tracer {
    owner: PidFd,
    kill: Kill,
    traced: Traced,
    holder: Option<Pid>,
    /// The fault process is inside of a system call.
    inside: bool,
}

impl Tracer {
    fn go_on(&mut self, status: WaitStatus) -> Result<()> {
        let resumed = match status {
            WaitStatus::PtraceEvent(pid, _, event) => {
                if event == ptrace::Event::PTRACE_EVENT_EXEC as i32 && is_holder(pid) {
                    self.holder = Some(pid);
                    // It stands inside of `execve`; the next stop is where it leaves it.
                    self.inside = true;
                    // Its workers are not traced.
                    ptrace::setoptions(pid, Options::PTRACE_O_TRACESYSGOOD)
                        .context("following a fault process")?;
                }
                self.resume(pid, None)
            }
            WaitStatus::PtraceSyscall(pid) => {
                self.inside = !self.inside;
                self.step(pid)
            }
            WaitStatus::Stopped(pid, signal) => self.resume(pid, Some(signal)),
            _ => Ok(()),
        };
        // One that was killed meanwhile has nothing to go on with.
        match resumed {
            Err(Errno::ESRCH) | Ok(()) => Ok(()),
            Err(errno) => Err(errno).context("going on with a traced process"),
        }
    }

    fn resume(&self, pid: Pid, signal: Option<Signal>) -> nix::Result<()> {
        if self.holder == Some(pid) { ptrace::syscall(pid, signal) } else { ptrace::cont(pid, signal) }
    }

    /// The fault process stands at the entry or the exit of a system call.
    fn step(&mut self, pid: Pid) -> nix::Result<()> {
        let call = call_of(pid)?;
        if call.changes {
            self.traced.stops += 1;
            if self.traced.stops == self.kill.at {
                let side = if self.inside { "entering" } else { "leaving" };
                self.traced.killed_at = Some(format!("{side} system call {}", call.name));
                return self.strike(pid);
            }
        }
        self.resume(pid, None)
    }

    fn strike(&self, pid: Pid) -> nix::Result<()> {
        if self.kill.owner_too {
            // One that has ended already is as dead as it gets.
            let _ = self.owner.send_signal(libc::SIGKILL);
        }
        // Stopped and traced by us: the number can't be another's.
        nix::sys::signal::kill(pid, Signal::SIGKILL)
    }
}

fn is_holder(pid: Pid) -> bool {
    proc::command_line(pid.as_raw()).is_ok_and(|line| line.first().is_some_and(|name| name == holder::NAME))
}

/// A system call as far as it matters here.
struct Call {
    name: String,
    changes: bool,
}

/// Calls that only read, or concern nobody but the caller's own memory and clock.
#[cfg(target_arch = "x86_64")]
const QUIET: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_readv,
    libc::SYS_stat,
    libc::SYS_fstat,
    libc::SYS_lstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getrandom,
    libc::SYS_getsockopt,
    libc::SYS_getsockname,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_fcntl,
    libc::SYS_futex,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_uname,
    libc::SYS_prlimit64,
    libc::SYS_close,
];

#[cfg(target_arch = "x86_64")]
fn call_of(pid: Pid) -> nix::Result<Call> {
    let registers = ptrace::getregs(pid)?;
    let number = registers.orig_rax.cast_signed();
    let writing = libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT;
    let opens_to_read = number == libc::SYS_openat && registers.rdx & u64::from(writing.cast_unsigned()) == 0;
    Ok(Call { name: number.to_string(), changes: !opens_to_read && !QUIET.contains(&number) })
}

/// Elsewhere every call is a step.
#[cfg(not(target_arch = "x86_64"))]
fn call_of(_: Pid) -> nix::Result<Call> {
    Ok(Call { name: "of a kind that is not read here".to_owned(), changes: true })
}

//! Disposable workers: forked children that burn CPU time or hold memory, and die with their parent. Killing
//! one is its whole undo. What the work is lives in [`job`]; here are birth, measuring and death.

mod job;
pub mod shared;

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

pub use job::{CpuLoad, MemoryHold};

use self::shared::{SharedState, State};
use super::cgroup::{CgroupPaths, Hierarchies, UNIFIED};
use super::pidfd::PidFd;
use super::{Identity, SysError, proc};

/// How long the birth of a worker may take.
pub const START_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a killed worker may take to be gone when its handle is dropped.
pub const DROP_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest name that the kernel shows for a task, in bytes.
const NAME_BYTES_MAX: usize = 15;

/// What a worker does until it is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Job {
    /// Burns a share of one core.
    Cpu(CpuLoad),
    /// Holds memory.
    Memory(MemoryHold),
}

/// How a worker is born.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Shown by `ps`, at most 15 bytes count for the task name.
    pub name: String,
    /// Cgroups to be in before the first unit of work: the paths of the victim and the controllers to join.
    pub cgroups: Option<(CgroupPaths, Vec<String>)>,
    /// `oom_score_adj`; lowering it below the parent's needs `CAP_SYS_RESOURCE`.
    pub oom_score_adj: Option<i32>,
}

/// A running worker, owned by its parent; dropping it kills, reaps and forgets it.
#[derive(Debug)]
pub struct Worker {
    process: PidFd,
    shared: SharedState,
    /// It shares the CPU quota of a victim.
    in_foreign_cpu: bool,
    reaped: bool,
}

impl Worker {
    /// Forks a worker, waits until it has its name, its cgroups and its OOM score, and lets it work.
    ///
    /// # Errors
    /// This process has more than one thread, a parameter is out of range, or a step was refused; then no
    /// worker is left.
    pub fn start(job: Job, options: &WorkerOptions) -> Result<Self, SysError> {
        check(&job)?;
        let threads = proc::threads(super::own_pid())?.len();
        if threads != 1 {
            return Err(SysError::NotSingleThreaded { threads });
        }
        let shared = SharedState::new()?;
        let (gate, opener) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)
            .map_err(|errno| SysError::io("making the pipe of a worker", errno))?;
        let parent = super::own_pid();
        // SAFETY: this process has one thread (checked above), so the child's copy of memory and locks is
        // consistent, and the child never returns from `run`.
        let forked = unsafe { libc::fork() };
        match forked {
            -1 => Err(SysError::last_os("forking a worker")),
            0 => run(job, &options.name, parent, &gate, &shared),
            pid => {
                drop(gate);
                let process = match PidFd::open_pid(pid) {
                    Ok(process) => process,
                    Err(error) => {
                        // The gate's writing end closes with this scope: the child reads its end and exits.
                        drop(opener);
                        let _ = waitpid(Pid::from_raw(pid), None);
                        return Err(error);
                    }
                };
                let mut worker = Self { process, shared, in_foreign_cpu: false, reaped: false };
                worker.admit(options)?;
                worker.open_gate(&opener)?;
                Ok(worker)
            }
        }
    }

    /// Done by the parent while the child waits at its gate: errors stay typed, and no work comes first.
    fn admit(&mut self, options: &WorkerOptions) -> Result<(), SysError> {
        let pid = self.process.identity().pid;
        if let Some((paths, controllers)) = &options.cgroups {
            let names: Vec<&str> = controllers.iter().map(String::as_str).collect();
            self.in_foreign_cpu = names.iter().any(|name| matches!(*name, "cpu" | UNIFIED));
            Hierarchies::detect()?.join(pid, paths, &names)?;
        }
        if let Some(score) = options.oom_score_adj {
            set_oom_score(pid, score)?;
        }
        Ok(())
    }

    fn open_gate(&self, opener: &OwnedFd) -> Result<(), SysError> {
        let pid = self.process.identity().pid;
        nix::unistd::write(opener, &[1])
            .map_err(|errno| SysError::io(format!("letting worker {pid} start"), errno))?;
        let started = Instant::now();
        loop {
            match self.shared.state() {
                State::Working => return Ok(()),
                State::Failed(errno) => {
                    return Err(SysError::io(format!("starting the work of worker {pid}"), errno));
                }
                State::Starting if !self.is_alive() => return Err(SysError::Gone { pid }),
                State::Starting if started.elapsed() > START_TIMEOUT => {
                    let attempted = format!("starting worker {pid}");
                    return Err(SysError::Timeout { attempted, waited: START_TIMEOUT });
                }
                State::Starting => std::thread::sleep(Duration::from_micros(50)),
            }
        }
    }

    /// Pid and start time.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.process.identity()
    }

    /// Its descriptor, readable when it has ended.
    #[must_use]
    pub fn process(&self) -> &PidFd {
        &self.process
    }

    /// True while it runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    /// CPU time it has used so far.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu_time(&self) -> Result<Duration, SysError> {
        proc::process_cpu_time(self.identity().pid)
    }

    /// Its resident memory in bytes.
    ///
    /// # Errors
    /// It has ended.
    pub fn resident_bytes(&self) -> Result<u64, SysError> {
        proc::status(self.identity().pid).map(|status| status.resident_bytes)
    }

    /// Its resident memory that it shares with nobody, in bytes, counted exactly. Takes time with the size.
    ///
    /// # Errors
    /// It has ended, or this kernel keeps no such count.
    pub fn private_bytes(&self) -> Result<u64, SysError> {
        proc::private_bytes(self.identity().pid)
    }

    /// Bytes of memory it has touched so far, by its own count.
    #[must_use]
    pub fn touched_bytes(&self) -> u64 {
        self.shared.touched_bytes()
    }

    /// Kills it, reaps it and proves that it is gone. May be called again.
    ///
    /// # Errors
    /// It is not gone within `timeout`.
    pub fn stop(&mut self, timeout: Duration) -> Result<(), SysError> {
        let identity = self.identity();
        if !self.reaped {
            self.leave_foreign_cpu();
            match self.process.send_signal(libc::SIGKILL) {
                Ok(()) | Err(SysError::Gone { .. }) => {}
                Err(error) => return Err(error),
            }
            let attempted = format!("ending worker {}", identity.pid);
            if !self.process.wait_exit(timeout)? {
                return Err(SysError::Timeout { attempted, waited: timeout });
            }
            match waitpid(Pid::from_raw(identity.pid), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => {
                    return Err(SysError::NotProven { attempted, observed: "it can't be reaped".to_owned() });
                }
                Ok(_) | Err(Errno::ECHILD) => self.reaped = true,
                Err(errno) => return Err(SysError::io(attempted, errno)),
            }
        }
        if proc::runs(identity) {
            let attempted = format!("ending worker {}", identity.pid);
            return Err(SysError::NotProven { attempted, observed: "it still runs".to_owned() });
        }
        Ok(())
    }
}

impl Worker {
    /// Dying takes CPU time too (memory is given back page by page), and under a used-up quota it would have
    /// to wait for the next period. Best effort: without it the end is only slower.
    fn leave_foreign_cpu(&mut self) {
        if std::mem::take(&mut self.in_foreign_cpu) {
            let moved = proc::cgroups(super::own_pid())
                .and_then(|own| Hierarchies::detect()?.join(self.identity().pid, &own, &["cpu"]));
            if let Err(error) = moved {
                tracing::debug!(%error, "a worker stays in the cgroup of its victim until it ends");
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Err(error) = self.stop(DROP_TIMEOUT) {
            tracing::error!(%error, "a worker could not be ended");
        }
    }
}

fn check(job: &Job) -> Result<(), SysError> {
    match job {
        Job::Cpu(CpuLoad { share }) if !(*share > 0.0 && *share <= 1.0) => Err(SysError::InvalidParameter {
            name: "share",
            value: share.to_string(),
            expected: "a share of one core above 0 and at most 1",
        }),
        Job::Memory(MemoryHold { bytes: 0, .. }) => Err(SysError::InvalidParameter {
            name: "bytes",
            value: "0".to_owned(),
            expected: "at least one byte",
        }),
        Job::Memory(MemoryHold { bytes_per_second: Some(0), .. }) => Err(SysError::InvalidParameter {
            name: "bytes_per_second",
            value: "0".to_owned(),
            expected: "at least one byte per second",
        }),
        Job::Cpu(_) | Job::Memory(_) => Ok(()),
    }
}

/// Sets how gladly the OOM killer takes a process (-1000 never … 1000 first).
///
/// # Errors
/// Lowering it needs `CAP_SYS_RESOURCE`; or the process is gone.
pub fn set_oom_score(pid: i32, score: i32) -> Result<(), SysError> {
    let path = PathBuf::from(format!("/proc/{pid}/oom_score_adj"));
    let attempted = format!("setting oom_score_adj of process {pid} to {score}");
    std::fs::write(&path, score.to_string()).map_err(|source| match source.kind() {
        std::io::ErrorKind::PermissionDenied => {
            SysError::NotPermitted { attempted, needs: Some("CAP_SYS_RESOURCE") }
        }
        std::io::ErrorKind::NotFound => SysError::Gone { pid },
        _ => SysError::io(attempted, source),
    })
}

/// The life of the child. It allocates and locks as little as it can and never returns.
fn run(job: Job, name: &str, parent: i32, gate: &OwnedFd, shared: &SharedState) -> ! {
    let ready = prepare(name, parent, gate.as_raw_fd());
    let mut byte = [0_u8; 1];
    // No byte: the parent gave up or died. Either way nothing must be done.
    let open = ready
        && loop {
            match nix::unistd::read(gate, &mut byte) {
                Ok(1) => break true,
                Err(Errno::EINTR) => {}
                _ => break false,
            }
        };
    if open {
        job::work(job, shared);
    }
    // SAFETY: ends the child without running anything that belongs to the parent.
    unsafe { libc::_exit(i32::from(!open)) }
}

/// Ties the child to its parent and strips what it inherited: signals, descriptors, name.
fn prepare(name: &str, parent: i32, gate: i32) -> bool {
    if super::supervision::parent_death_signal(nix::sys::signal::Signal::SIGKILL, parent).is_err() {
        return false;
    }
    reset_signals();
    // A terminal's ^C is for the parent, which then ends its workers itself.
    let _ = nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0));
    close_inherited(gate);
    set_title(name);
    // Sleeps end when they should, not 50 µs later.
    let _ = nix::sys::prctl::set_timerslack(1);
    true
}

fn reset_signals() {
    for signal in 1..=64 {
        if matches!(signal, libc::SIGKILL | libc::SIGSTOP) {
            continue;
        }
        // SAFETY: sets the default action; no handler of ours is installed in the child.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let none = nix::sys::signal::SigSet::empty();
    let _ = nix::sys::signal::sigprocmask(nix::sys::signal::SigmaskHow::SIG_SETMASK, Some(&none), None);
}

/// Everything but the gate is closed, and the standard streams lead nowhere, so that nobody who reads the
/// parent's output waits for a worker.
fn close_inherited(gate: i32) {
    // SAFETY: plain descriptor calls on numbers; nothing in the child uses any of them afterwards but `gate`.
    unsafe {
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        if null >= 0 {
            for stream in 0..3 {
                if gate != stream {
                    libc::dup2(null, stream);
                }
            }
        }
        let gate = u32::try_from(gate).unwrap_or(3);
        if gate > 3 {
            libc::syscall(libc::SYS_close_range, 3_u32, gate - 1, 0);
        }
        libc::syscall(libc::SYS_close_range, gate.max(2) + 1, u32::MAX, 0);
    }
}

/// Names the task and overwrites the arguments, so that `ps` shows a worker as what it is.
fn set_title(name: &str) {
    let short: String = name.chars().take(NAME_BYTES_MAX).collect();
    if let Ok(text) = std::ffi::CString::new(short) {
        let _ = nix::sys::prctl::set_name(&text);
    }
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
    let Some(fields) = stat.rfind(')').and_then(|end| stat.get(end + 1..)) else { return };
    let word = |index: usize| fields.split_ascii_whitespace().nth(index)?.parse::<usize>().ok();
    // arg_start and arg_end are fields 48 and 49; the state is field 3.
    let (Some(start), Some(end)) = (word(45), word(46)) else { return };
    if start == 0 || end <= start + 1 {
        return;
    }
    let room = end - start;
    let title = name.as_bytes();
    let length = title.len().min(room - 1);
    // SAFETY: the kernel says that [start, end) holds this process' own arguments, on its own stack, writable;
    // in the child nobody reads them any more, and the title ends before their last byte.
    unsafe {
        let target = std::ptr::with_exposed_provenance_mut::<u8>(start);
        std::ptr::write_bytes(target, 0, room);
        std::ptr::copy_nonoverlapping(title.as_ptr(), target, length);
    }
}

#[cfg(test)]
mod tests;

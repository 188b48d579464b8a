//! Holding a process still by ptrace: every thread is seized and interrupted, proven stopped, and let go
//! again as it was found. The kernel lets everything go by itself when the tracer dies.
//!
//! It never eats a signal: a signal that is met on the way into the stop is handed to the thread before the
//! thread is stopped again, so none is in our hands if we die; what arrives later waits in the kernel.
//! All calls for one victim must come from the thread that seized it, which is why [`Pause`] is not `Send`.

pub mod group;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::pidfd::PidFd;
use super::{Identity, SysError, proc};

/// Most scans for new threads before the pause is given up.
const SCANS_MAX: usize = 1000;
/// Time between the two readings that prove that no CPU time is used.
const PROOF_INTERVAL: Duration = Duration::from_millis(1);
/// How long an undone attempt waits for threads that do not stop.
const UNDO_WAIT: Duration = Duration::from_millis(200);
/// How long a victim that a signal had stopped may take to be stopped by it again.
const RESTOP_WAIT: Duration = Duration::from_millis(100);
/// `PTRACE_EVENT_STOP` in the upper half of a wait status.
const EVENT_STOP: i32 = 128;

/// What is known of one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thread {
    /// Seized and interrupted, stop not seen yet.
    Stopping,
    /// In a stop that was waited for.
    Stopped,
}

/// What a [`Pause::pump`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Every thread is in its stop.
    Stopped,
    /// The victim has ended while it was held.
    Gone,
}

/// How the victim was after it was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// Not traced and not stopped.
    Running,
    /// Not traced, and stopped by a signal: as it was found, or by one that came while it was held.
    StoppedBySignal,
    /// The victim has ended.
    Gone,
}

/// A victim that is held still.
#[derive(Debug)]
pub struct Pause {
    victim: PidFd,
    threads: BTreeMap<i32, Thread>,
    was_stopped: bool,
    let_go: bool,
    /// The kernel ties a tracee to the thread that seized it.
    not_send: PhantomData<*const ()>,
}

impl Pause {
    /// Seizes and stops every thread of the victim within `timeout`.
    ///
    /// # Errors
    /// The victim is gone, traced already, not ours to trace, or a thread does not stop in time (one that
    /// waits in the kernel for a disk or for the child of a `vfork`). What was stopped is let go first; a
    /// thread that never stopped stays seized, though running, until this process ends.
    pub fn seize(identity: Identity, timeout: Duration) -> Result<Self, SysError> {
        let victim = PidFd::open(identity)?;
        let was_stopped = proc::stat(identity.pid)?.state == 'T';
        let mut pause =
            Self { victim, threads: BTreeMap::new(), was_stopped, let_go: false, not_send: PhantomData };
        let deadline = Instant::now() + timeout;
        match pause.stop_all(deadline, timeout) {
            Ok(()) => Ok(pause),
            Err(error) => {
                let gone = !pause.victim.is_alive();
                pause.let_go(Instant::now() + UNDO_WAIT);
                Err(if gone { SysError::Gone { pid: identity.pid } } else { error })
            }
        }
    }

    /// The victim.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.victim.identity()
    }

    /// The victim's descriptor, readable when the victim has ended.
    #[must_use]
    pub fn victim(&self) -> &PidFd {
        &self.victim
    }

    /// True when a stop signal held the victim before the pause: it will be so again afterwards.
    #[must_use]
    pub fn was_stopped(&self) -> bool {
        self.was_stopped
    }

    fn stop_all(&mut self, deadline: Instant, timeout: Duration) -> Result<(), SysError> {
        let pid = self.identity().pid;
        for _ in 0..SCANS_MAX {
            let mut found_new = false;
            for tid in proc::threads(pid)? {
                if !self.threads.contains_key(&tid) {
                    found_new |= self.seize_thread(tid)?;
                }
            }
            // Only threads of the victim can make new ones: once a scan that began with all of them
            // stopped finds nothing new, there is nothing new.
            if !found_new && self.all_stopped() && !self.threads.is_empty() {
                return Ok(());
            }
            self.await_stops(deadline, timeout)?;
        }
        Err(self.not_stopped(timeout))
    }

    fn seize_thread(&mut self, tid: i32) -> Result<bool, SysError> {
        match ptrace(libc::PTRACE_SEIZE, tid, 0) {
            Ok(()) => {}
            // The thread ended between the scan and now.
            Err(Errno::ESRCH) => return Ok(false),
            Err(Errno::EPERM) => return self.refused(tid),
            Err(errno) => return Err(SysError::io(format!("seizing thread {tid}"), errno)),
        }
        self.threads.insert(tid, Thread::Stopping);
        match ptrace(libc::PTRACE_INTERRUPT, tid, 0) {
            Ok(()) | Err(Errno::ESRCH) => Ok(true),
            Err(errno) => Err(SysError::io(format!("interrupting thread {tid}"), errno)),
        }
    }

    /// The kernel answers EPERM for "traced already", "not yours" and "already dead" alike.
    fn refused(&self, tid: i32) -> Result<bool, SysError> {
        let pid = self.identity().pid;
        let Ok(stat) = proc::thread_stat(pid, tid) else { return Ok(false) };
        if stat.is_dead() {
            return if tid == pid && !self.victim.is_alive() {
                Err(SysError::Gone { pid })
            } else {
                Ok(false)
            };
        }
        let tracer = proc::thread_tracer(pid, tid);
        if tracer != 0 {
            // The kernel names the tracing thread; people know its process.
            let tracer = proc::status(tracer).map_or(tracer, |status| status.process);
            return Err(SysError::AlreadyTraced { pid, tracer });
        }
        let attempted = format!("tracing process {pid}");
        Err(SysError::NotPermitted { attempted, needs: Some("CAP_SYS_PTRACE") })
    }

    fn all_stopped(&self) -> bool {
        self.threads.values().all(|thread| *thread == Thread::Stopped)
    }

    fn await_stops(&mut self, deadline: Instant, timeout: Duration) -> Result<(), SysError> {
        let mut nap = Duration::from_micros(20);
        loop {
            self.collect()?;
            if self.all_stopped() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(self.not_stopped(timeout));
            }
            std::thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(1));
        }
    }

    fn not_stopped(&self, waited: Duration) -> SysError {
        let running: Vec<String> = self
            .threads
            .iter()
            .filter(|(_, thread)| **thread == Thread::Stopping)
            .map(|(tid, _)| tid.to_string())
            .collect();
        let attempted = format!(
            "stopping process {} (threads still running: {})",
            self.identity().pid,
            running.join(" ")
        );
        SysError::Timeout { attempted, waited }
    }

    /// Takes every report the kernel has of the threads.
    fn collect(&mut self) -> Result<(), SysError> {
        let tids: Vec<i32> = self.threads.keys().copied().collect();
        for tid in tids {
            while let Some(status) = wait_thread(tid)? {
                match status {
                    Report::Ended => {
                        self.threads.remove(&tid);
                        break;
                    }
                    Report::Vanished => {
                        self.threads.remove(&tid);
                        // A thread that called exec goes on under the number of its process.
                        if let Some(leader) = self.threads.get_mut(&self.victim.identity().pid) {
                            *leader = Thread::Stopping;
                        }
                        break;
                    }
                    Report::Stopped { signal: None } => {
                        self.threads.insert(tid, Thread::Stopped);
                    }
                    Report::Stopped { signal: Some(signal) } => {
                        // Interrupt first: the thread takes the signal (a handler's frame is laid, or it
                        // dies) and stops again before it runs one instruction of its own.
                        self.threads.insert(tid, Thread::Stopping);
                        let _ = ptrace(libc::PTRACE_INTERRUPT, tid, 0);
                        let _ = ptrace(libc::PTRACE_CONT, tid, signal);
                    }
                }
            }
        }
        Ok(())
    }

    /// To be called on SIGCHLD while the victim is held: takes what the kernel reports, keeps every thread
    /// stopped, and tells whether the victim has ended. Never blocks.
    ///
    /// # Errors
    /// The kernel refuses to report.
    pub fn pump(&mut self) -> Result<Held, SysError> {
        self.collect()?;
        if self.threads.is_empty() || !self.victim.is_alive() {
            return Ok(Held::Gone);
        }
        Ok(Held::Stopped)
    }

    /// Proves from the kernel's books that the victim is held: every thread is in a tracing stop and none
    /// used any CPU time between two readings.
    ///
    /// # Errors
    /// A thread is not stopped, is not ours, or used CPU time; or the victim is gone.
    pub fn prove_stopped(&self) -> Result<(), SysError> {
        let pid = self.identity().pid;
        let before = self.reading()?;
        std::thread::sleep(PROOF_INTERVAL);
        let after = self.reading()?;
        if before == after {
            return Ok(());
        }
        let attempted = format!("stopping process {pid}");
        Err(SysError::NotProven { attempted, observed: "its CPU time or its threads changed".to_owned() })
    }

    fn reading(&self) -> Result<BTreeMap<i32, Duration>, SysError> {
        let pid = self.identity().pid;
        if !self.victim.is_alive() {
            return Err(SysError::Gone { pid });
        }
        let mut reading = BTreeMap::new();
        for tid in proc::threads(pid)? {
            let stat = proc::thread_stat(pid, tid)?;
            if stat.is_dead() {
                continue;
            }
            if stat.state != 't' {
                let attempted = format!("stopping process {pid}");
                let observed = format!("thread {tid} is in state {}", stat.state);
                return Err(SysError::NotProven { attempted, observed });
            }
            reading.insert(tid, proc::thread_cpu_time(pid, tid)?);
        }
        Ok(reading)
    }

    /// Lets the victim go and proves it, within `timeout`. A victim that a signal had stopped stays stopped.
    /// May be called again; the second time only proves.
    ///
    /// # Errors
    /// A thread is still traced or in a tracing stop after that time.
    pub fn resume(&mut self, timeout: Duration) -> Result<Resumed, SysError> {
        let begun = Instant::now();
        let deadline = begun + timeout;
        self.let_go(deadline);
        let mut nap = Duration::from_micros(20);
        loop {
            let observed = match self.seen_after() {
                // It falls back into its stop a moment after it is let go, unless somebody has sent SIGCONT.
                Ok(Resumed::Running) if self.was_stopped && begun.elapsed() < RESTOP_WAIT => {
                    "not stopped again yet".to_owned()
                }
                Ok(resumed) => return Ok(resumed),
                Err(observed) => observed,
            };
            if Instant::now() >= deadline {
                let attempted = format!("letting process {} go", self.identity().pid);
                return Err(SysError::NotProven { attempted, observed });
            }
            std::thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(1));
        }
    }

    /// How the victim is now, or why it is not free yet.
    fn seen_after(&self) -> Result<Resumed, String> {
        let pid = self.identity().pid;
        if !self.victim.is_alive() {
            return Ok(Resumed::Gone);
        }
        let mut stopped = false;
        for tid in proc::threads(pid).map_err(|error| error.to_string())? {
            // A thread that ended meanwhile is free.
            let Ok(stat) = proc::thread_stat(pid, tid) else { continue };
            let tracer = proc::thread_tracer(pid, tid);
            if tracer == nix::unistd::gettid().as_raw() || (stat.state == 't' && tracer == 0) {
                return Err(format!("thread {tid} is traced by process {tracer}, in state {}", stat.state));
            }
            stopped |= stat.state == 'T';
        }
        Ok(if stopped { Resumed::StoppedBySignal } else { Resumed::Running })
    }

    fn let_go(&mut self, deadline: Instant) {
        if self.let_go {
            return;
        }
        loop {
            let tids: Vec<i32> = self.threads.keys().copied().collect();
            for tid in tids {
                // Only a stopped thread can be detached; one in a group stop is put back into it by the kernel.
                if ptrace(libc::PTRACE_DETACH, tid, 0).is_ok() {
                    self.threads.remove(&tid);
                } else {
                    // One that runs, whyever, has to stop once more to be let go.
                    let _ = ptrace(libc::PTRACE_INTERRUPT, tid, 0);
                }
            }
            // What is left has ended or is on its way into a stop: take its report, then try again.
            if self.collect().is_err() || self.threads.is_empty() || Instant::now() >= deadline {
                break;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        self.let_go = self.threads.is_empty();
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.let_go(Instant::now() + UNDO_WAIT);
    }
}

/// What the kernel reported of one thread.
enum Report {
    /// It has ended.
    Ended,
    /// It is not a tracee any more: it called exec and took the number of its process.
    Vanished,
    /// It is stopped: by us or by a group stop (`None`), or before it takes this signal.
    Stopped { signal: Option<i32> },
}

fn wait_thread(tid: i32) -> Result<Option<Report>, SysError> {
    let mut status = 0;
    // SAFETY: status is a live, writable integer for the time of the call.
    let waited = unsafe { libc::waitpid(tid, &raw mut status, libc::WNOHANG | libc::__WALL) };
    if waited == 0 {
        return Ok(None);
    }
    if waited < 0 {
        return match Errno::last() {
            Errno::ECHILD => Ok(Some(Report::Vanished)),
            Errno::EINTR => Ok(None),
            errno => Err(SysError::io(format!("waiting for thread {tid}"), errno)),
        };
    }
    if !libc::WIFSTOPPED(status) {
        return Ok(Some(Report::Ended));
    }
    let signal = (status >> 16 != EVENT_STOP).then(|| libc::WSTOPSIG(status));
    Ok(Some(Report::Stopped { signal }))
}

fn ptrace(request: libc::c_uint, tid: i32, data: i32) -> Result<(), Errno> {
    let data = usize::try_from(data).unwrap_or(0);
    let address: usize = 0;
    // SAFETY: SEIZE, INTERRUPT, CONT and DETACH take integers only and write nothing to our memory.
    let result = unsafe { libc::ptrace(request, tid, address, data) };
    if result == -1 { Err(Errno::last()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;

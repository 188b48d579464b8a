//! What a fault process does to the world and reads from it, as one trait; and the real one: this kernel, this disk.
//!
//! Owns the seam below [`super::session`]. Everything a session does goes through here or through the bytes that its
//! shell carries, so a simulation that implements [`World`] runs the very code that ships.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chaos_core::port::InjectionPlan;
use chaos_core::target::ProcessRef;

use super::monotonic;
use crate::faults::{self, Injector, Readings, Surroundings};
use crate::sys::pidfd::PidFd;
use crate::sys::{SysError, own_pid, proc};
use crate::undo::{UndoLog, UndoRecords};

/// The world of one fault process.
pub trait World {
    /// Where its undo records are.
    type Records: UndoRecords;
    /// How it makes a fault.
    type Injector: Injector + ?Sized;
    /// A process that it keeps an eye on.
    type Process: HeldProcess;

    /// Time since an arbitrary start, which never jumps and is the same for the node and its fault processes.
    fn now(&self) -> Duration;

    /// Wall clock in milliseconds since 1970; it is only written down, for people.
    fn unix_ms(&self) -> u64;

    /// Which process this is.
    ///
    /// # Errors
    /// It can't tell.
    fn own_identity(&self) -> Result<ProcessRef, SysError>;

    /// The undo records of a state folder. A folder that can't be made shows when the first record can't be written.
    fn undo_records(&self, state: &Path) -> Self::Records;

    /// Who carries out a plan. Nothing is changed and nothing can fail yet.
    fn injector(&self, plan: &InjectionPlan, surroundings: &Surroundings) -> Box<Self::Injector>;

    /// Takes hold of a process, so that its end is noticed and no later one of its number is taken for it.
    ///
    /// # Errors
    /// It has ended, its number was given to another, or the kernel refuses.
    fn hold(&self, process: ProcessRef) -> Result<Self::Process, SysError>;

    /// Whether a process runs that is not held.
    fn is_running(&self, process: ProcessRef) -> bool;
}

/// A process that is held by more than its number.
pub trait HeldProcess {
    /// True while it runs.
    fn is_alive(&self) -> bool;

    /// What becomes readable when it ends; none where there are no descriptors, and then whoever drives the session
    /// says that something has changed.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl HeldProcess for PidFd {
    fn is_alive(&self) -> bool {
        Self::is_alive(self)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }
}

/// The host that this process runs on.
#[derive(Debug, Clone, Default)]
pub(super) struct ThisHost {
    readings: Readings,
}

impl World for ThisHost {
    type Records = UndoLog;
    type Injector = dyn Injector;
    type Process = PidFd;

    fn now(&self) -> Duration {
        monotonic()
    }

    fn unix_ms(&self) -> u64 {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
    }

    fn own_identity(&self) -> Result<ProcessRef, SysError> {
        proc::identity(own_pid())
    }

    fn undo_records(&self, state: &Path) -> UndoLog {
        let log = UndoLog::new(state);
        let _ = log.prepare();
        log
    }

    fn injector(&self, plan: &InjectionPlan, surroundings: &Surroundings) -> Box<dyn Injector> {
        faults::injector_among(plan, surroundings, &self.readings)
    }

    fn hold(&self, process: ProcessRef) -> Result<PidFd, SysError> {
        PidFd::open(process)
    }

    fn is_running(&self, process: ProcessRef) -> bool {
        proc::runs(process)
    }
}

//! The remains on the host that this process runs on: `/proc`, pidfds, a folder of records, our table.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use chaos_core::port::Evidence;
use chaos_core::target::ProcessRef;

use super::Remains;
use crate::faults::{self, FaultError};
use crate::holder::monotonic;
use crate::sys::nft::NftSocket;
use crate::sys::pidfd::PidFd;
use crate::sys::{SysError, capability, proc};
use crate::undo::{UndoLog, UndoRecord, UndoRecords};

/// How long living fault processes may take to undo everything when they are asked to.
const FORCED_WITHIN: Duration = Duration::from_secs(10);
/// How long a fault process that is being killed may take to be dead.
const DEATH_WITHIN: Duration = Duration::from_secs(2);
/// The bit of SIGKILL in a set of pending signals.
const SIGKILL_BIT: u64 = 1 << (libc::SIGKILL - 1);

/// This host, with the records below one state folder.
#[derive(Debug)]
pub(crate) struct ThisHost {
    log: UndoLog,
}

impl ThisHost {
    pub(crate) fn new(state: &Path) -> Self {
        Self { log: UndoLog::new(state) }
    }
}

impl Remains for ThisHost {
    fn now(&self) -> Duration {
        monotonic()
    }

    fn records(&self) -> &dyn UndoRecords {
        &self.log
    }

    fn is_at_work(&self, holder: ProcessRef) -> bool {
        let held = match PidFd::open(holder) {
            Ok(held) => held,
            Err(error) => return may_be_at_work(&error),
        };
        let exiting = proc::stat(holder.pid).is_ok_and(|stat| stat.is_exiting());
        let killed = proc::status(holder.pid).is_ok_and(|status| status.pending_signals & SIGKILL_BIT != 0);
        let dies = exiting || killed;
        !(dies && held.wait_exit(DEATH_WITHIN).unwrap_or(false)) && held.is_alive()
    }

    fn is_taken(&self, pid: i32) -> bool {
        proc::identity(pid).is_ok()
    }

    fn end(&self, holders: &[ProcessRef]) {
        let held: Vec<PidFd> = holders.iter().filter_map(|holder| PidFd::open(*holder).ok()).collect();
        for holder in &held {
            let _ = holder.send_signal(libc::SIGTERM);
        }
        let deadline = monotonic() + FORCED_WITHIN;
        for holder in &held {
            let _ = holder.wait_exit(deadline.saturating_sub(monotonic()));
        }
        // One that is stopped or stuck hears no request. What it held ends with it, or is undone from its record.
        let deaf: Vec<&PidFd> = held.iter().filter(|holder| holder.is_alive()).collect();
        for holder in &deaf {
            let _ = holder.send_signal(libc::SIGKILL);
        }
        let deadline = monotonic() + DEATH_WITHIN;
        for holder in deaf {
            let _ = holder.wait_exit(deadline.saturating_sub(monotonic()));
        }
    }

    fn undo(&self, record: &UndoRecord) -> Result<Vec<Evidence>, FaultError> {
        faults::undo_from_record(record)
    }

    /// Rules of the dead whose elements have all expired drop nothing, and an empty table does nothing either: both
    /// are only removed so that the host looks as it was. What has a record is its fault process' or is told with it.
    fn remove_inert(&self, _recorded: &BTreeSet<String>) {
        if !capability::has(capability::Capability::NetAdmin) {
            return;
        }
        let Ok(mut socket) = NftSocket::open() else { return };
        // Best effort: what stays does nothing and is tried again at the next start.
        let _ = socket.remove_inert(None);
        let _ = socket.remove_table_if_empty();
    }
}

/// Whether a process may still do its work that could not be held. Only one that is gone, or whose number is another's,
/// does not: where descriptors have run out nothing is known of it.
fn may_be_at_work(error: &SysError) -> bool {
    !error.is_gone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_process_that_can_not_be_looked_at_is_not_taken_for_dead() {
        let process = ProcessRef { pid: 7, start_time: 1 };
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM] {
            let error = SysError::io("opening", std::io::Error::from_raw_os_error(errno));
            assert!(may_be_at_work(&error), "{error}");
        }
        for error in [SysError::Gone { pid: 7 }, SysError::Replaced { expected: process }] {
            assert!(!may_be_at_work(&error), "{error}");
        }
    }
}

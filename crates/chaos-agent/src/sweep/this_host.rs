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
use crate::sys::{capability, proc};
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
        let Ok(held) = PidFd::open(holder) else { return false };
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

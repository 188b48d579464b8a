//! What a dead fault process left is undone here, from its records: at the next start, by `chaos recover`, and by
//! the node that saw it die.
//!
//! Owns the judgement of a record: alive, told, to be undone, damaged. It never touches what a living fault process
//! still holds, and never drops a record whose undo is not proven.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use chaos_core::port::{Evidence, InjectionReport};
use chaos_core::run::{InjectionId, InjectionState};
use chaos_core::target::ProcessRef;

use crate::faults;
use crate::holder::monotonic;
use crate::sys::nft::NftSocket;
use crate::sys::pidfd::PidFd;
use crate::sys::{capability, proc};
use crate::undo::{UndoError, UndoLog, UndoRecord};

/// How long a living fault process may take to undo everything when it is asked to.
const FORCED_WITHIN: Duration = Duration::from_secs(10);

/// How long a fault process that is being killed may take to be dead.
const DEATH_WITHIN: Duration = Duration::from_secs(2);
/// The bit of SIGKILL in a set of pending signals.
const SIGKILL_BIT: u64 = 1 << (libc::SIGKILL - 1);

/// Undoes whatever dead fault processes left below a state folder, proves it and reports it: one report for each
/// record, in the order of their ids. Records of living fault processes are left alone, or with `force` those
/// processes are asked to end first. Afterwards whatever is inert in our table in this network namespace is removed, and
/// the table when it is empty.
///
/// # Errors
/// The records can't be listed.
pub fn recover(state: &Path, force: bool) -> Result<Vec<InjectionReport>, UndoError> {
    let log = UndoLog::new(state);
    if force {
        end_holders(&log)?;
    }
    let mut reports = Vec::new();
    for (path, record) in log.all()? {
        match record {
            Ok(record) if is_alive(record.holder) => {}
            Ok(record) => reports.push(settle(&log, record)),
            Err(error) => reports.push(damaged(&log, &path, &error)),
        }
    }
    // Best effort: what can't be removed now does nothing and is tried again at the next start.
    let _ = log.discard_unfinished(|writer| proc::identity(writer).is_err());
    let kept =
        log.all()?.into_iter().filter_map(|(path, _)| Some(path.file_stem()?.to_string_lossy().into_owned()));
    remove_inert(&kept.collect());
    Ok(reports)
}

/// Settles one record whose holder is dead: what it says of the end is told, what is not proven undone is undone.
pub(crate) fn settle(log: &UndoLog, mut record: UndoRecord) -> InjectionReport {
    let begun = monotonic();
    let told = record.outcome.take().filter(|outcome| outcome.state != InjectionState::RevertFailed);
    let (state, evidence, error) = match told {
        Some(outcome) => (outcome.state, outcome.evidence, outcome.error),
        None => match faults::undo_from_record(&record) {
            Ok(evidence) => {
                let error = "the fault process ended before its time; undone from its record".to_owned();
                (InjectionState::Reverted, evidence, Some(error))
            }
            Err(error) => (InjectionState::RevertFailed, Vec::new(), Some(error.to_string())),
        },
    };
    let mut report = report(record.injection.clone(), state, evidence, error);
    report.took_ms = (monotonic().saturating_sub(begun)).as_secs_f64() * 1000.0;
    if state != InjectionState::RevertFailed
        && let Err(error) = log.remove(&record.injection)
    {
        report.error = Some(format!("undone, but its record can't be removed: {error}"));
    }
    report
}

/// A record that can't be read may be of a fault that is still there: it is told as loudly as one, and kept.
fn damaged(log: &UndoLog, path: &Path, error: &UndoError) -> InjectionReport {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let kept = match log.set_aside(path) {
        Ok(aside) => format!("kept as {}", aside.display()),
        Err(error) => format!("still there: {error}"),
    };
    report(InjectionId(name), InjectionState::RevertFailed, Vec::new(), Some(format!("{error}; {kept}")))
}

fn report(
    injection: InjectionId,
    state: InjectionState,
    evidence: Vec<Evidence>,
    error: Option<String>,
) -> InjectionReport {
    InjectionReport { injection, state, evidence, error, took_ms: 0.0 }
}

/// Whether a fault process still does its work. One that is being killed does not, and is waited for: until it is
/// dead the kernel holds what it held.
fn is_alive(holder: ProcessRef) -> bool {
    let Ok(held) = PidFd::open(holder) else { return false };
    let exiting = proc::stat(holder.pid).is_ok_and(|stat| stat.is_exiting());
    let killed = proc::status(holder.pid).is_ok_and(|status| status.pending_signals & SIGKILL_BIT != 0);
    let dies = exiting || killed;
    !(dies && held.wait_exit(DEATH_WITHIN).unwrap_or(false)) && held.is_alive()
}

/// Asks every living fault process to undo everything, and waits until it has.
fn end_holders(log: &UndoLog) -> Result<(), UndoError> {
    let records = log.all()?.into_iter().filter_map(|(_, record)| record.ok());
    let mut holders: Vec<_> = records.map(|record| record.holder).collect();
    holders.sort_unstable();
    holders.dedup();
    let held: Vec<PidFd> = holders.into_iter().filter_map(|holder| PidFd::open(holder).ok()).collect();
    for holder in &held {
        let _ = holder.send_signal(libc::SIGTERM);
    }
    let deadline = monotonic() + FORCED_WITHIN;
    for holder in &held {
        // One that does not end keeps its records, which are then left alone.
        let _ = holder.wait_exit(deadline.saturating_sub(monotonic()));
    }
    Ok(())
}

/// Rules of the dead whose elements have all expired drop nothing, and an empty table does nothing either: both are
/// only removed so that the host looks as it was. What has a record is its fault process' or is told with it.
fn remove_inert(recorded: &BTreeSet<String>) {
    if !capability::has(capability::Capability::NetAdmin) {
        return;
    }
    let Ok(mut socket) = NftSocket::open() else { return };
    for name in socket.list().unwrap_or_default() {
        if !recorded.contains(name.as_str()) {
            // Best effort: what stays does nothing and is tried again at the next start.
            let _ = socket.remove_expired(&name);
        }
    }
    let _ = socket.remove_table_if_empty();
}

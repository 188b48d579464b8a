//! What a dead fault process left is undone here, from its records: at the next start, by `chaos recover`, and by
//! the node that saw it die.
//!
//! Owns the judgement of a record: alive, told, to be undone, damaged. It never touches what a living fault process
//! still holds, and never drops a record whose undo is not proven. The host it works on is behind [`Remains`].

mod this_host;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use chaos_core::port::{Evidence, InjectionReport};
use chaos_core::run::{InjectionId, InjectionState};
use chaos_core::target::ProcessRef;

use crate::faults::FaultError;
use crate::undo::{UndoError, UndoRecord, UndoRecords};

pub(crate) use this_host::ThisHost;

/// A host on which fault processes may have left something: what a sweep reads there, and does there.
pub trait Remains {
    /// Time since an arbitrary start, which never jumps.
    fn now(&self) -> Duration;

    /// The undo records.
    fn records(&self) -> &dyn UndoRecords;

    /// Whether a fault process still does its work. One that is being killed does not, and is waited for: until it is
    /// dead, what it held is held.
    fn is_at_work(&self, holder: ProcessRef) -> bool;

    /// Whether any process has this number now.
    fn is_taken(&self, pid: i32) -> bool;

    /// Asks these fault processes to undo everything and to end, and waits a bounded time until they have. One that does
    /// not is killed, which the kernel may put off.
    fn end(&self, holders: &[ProcessRef]);

    /// Undoes what a record says, and proves it; waits a bounded time.
    ///
    /// # Errors
    /// Something is left.
    fn undo(&self, record: &UndoRecord) -> Result<Vec<Evidence>, FaultError>;

    /// Removes, as far as it can, what does nothing any more and belongs to none of these injections.
    fn remove_inert(&self, recorded: &BTreeSet<String>);
}

/// What a node knows of an injection whose fault process says nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing: another process ordered it, and its fault process never spoke with this one.
    Nothing,
    /// It was ordered, and never said to be active.
    Ordered,
    /// It was proven active.
    Active,
    /// Its undo failed, as often as its fault process tried.
    GivenUp,
}

/// Undoes whatever dead fault processes left below a state folder, proves it and reports it: one report for each
/// record, in the order of their ids. Records of living fault processes are left alone, or with `force` those
/// processes are asked to end first, and killed when they don't. Afterwards whatever is inert in our table in this network namespace is removed, and
/// the table when it is empty.
///
/// # Errors
/// The records can't be listed.
pub fn recover(state: &Path, force: bool) -> Result<Vec<InjectionReport>, UndoError> {
    recover_on(&ThisHost::new(state), force)
}

/// As [`recover`], on any host.
///
/// # Errors
/// The records can't be listed.
pub fn recover_on(host: &dyn Remains, force: bool) -> Result<Vec<InjectionReport>, UndoError> {
    let records = host.records();
    if force {
        let holders: BTreeSet<ProcessRef> =
            records.all()?.into_iter().filter_map(|(_, record)| Some(record.ok()?.holder)).collect();
        // One that does not end keeps its records, which are then left alone.
        host.end(&holders.into_iter().collect::<Vec<_>>());
    }
    let mut reports = Vec::new();
    for (path, record) in records.all()? {
        match record {
            // It was told to end and has not: whoever hears of no record takes the undo for proven.
            Ok(record) if host.is_at_work(record.holder) => {
                reports.extend(force.then(|| still_at_work(&record)))
            }
            Ok(record) => reports.push(settle(host, record)),
            Err(error) => reports.push(damaged(records, &path, &error)),
        }
    }
    // Best effort: what can't be removed now does nothing and is tried again at the next start.
    let _ = records.discard_unfinished(&|writer| !host.is_taken(writer));
    let name = |path: &Path| Some(path.file_stem()?.to_string_lossy().into_owned());
    let kept = records.all()?.into_iter().filter_map(|(path, _)| name(&path));
    host.remove_inert(&kept.collect());
    Ok(reports)
}

/// How an injection ended that its fault process says nothing more about: what the record says is told, what is not
/// proven undone is undone. A fault process of a node before this one is asked to end first; what it does not let go of in
/// time stays with it, for it would write the record again that an undo from here has removed.
pub fn settle_left(host: &dyn Remains, id: &InjectionId, known: Known) -> InjectionReport {
    let mut found = host.records().read(id);
    if let (Known::Nothing, Ok(Some(record))) = (known, &found)
        && host.is_at_work(record.holder)
    {
        // It works for a process that is gone, and nobody else can speak with it.
        host.end(&[record.holder]);
        found = host.records().read(id);
    }
    match found {
        Ok(Some(record))
            if known == Known::Nothing && record.outcome.is_none() && host.is_at_work(record.holder) =>
        {
            still_at_work(&record)
        }
        Ok(Some(record)) => {
            let mut report = settle(host, record);
            let never_acted = known == Known::Ordered && report.error.is_some();
            if report.state == InjectionState::Reverted && never_acted {
                report.state = InjectionState::ApplyFailed;
            }
            report
        }
        Ok(None) => without_record(id.clone(), known),
        Err(error) => report(id.clone(), InjectionState::RevertFailed, Vec::new(), Some(error.to_string())),
    }
}

/// Removes what a fault process has not cleared away that was killed between its last word and its end.
///
/// # Errors
/// Something is still there, and does no harm.
pub(crate) fn clear_away(
    records: &dyn UndoRecords,
    writer: ProcessRef,
    told: &[InjectionId],
) -> Result<(), UndoError> {
    let discarded = records.discard_unfinished(&|pid| pid == writer.pid);
    let removed = told.iter().try_for_each(|id| records.remove(id));
    discarded.and(removed)
}

/// Settles one record whose holder is dead or has given up: what it says of the end is told, what is not proven undone
/// is undone.
fn settle(host: &dyn Remains, mut record: UndoRecord) -> InjectionReport {
    let begun = host.now();
    let outcome = record.outcome.take();
    let given_up = outcome.is_some();
    let told = outcome.filter(|outcome| outcome.state != InjectionState::RevertFailed);
    let (state, evidence, error) = match told {
        Some(outcome) => (outcome.state, outcome.evidence, outcome.error),
        None => match host.undo(&record) {
            Ok(evidence) if given_up => (InjectionState::Reverted, evidence, None),
            Ok(evidence) => {
                let error = "the fault process ended before its time; undone from its record".to_owned();
                (InjectionState::Reverted, evidence, Some(error))
            }
            Err(error) => (InjectionState::RevertFailed, Vec::new(), Some(error.to_string())),
        },
    };
    let mut report = report(record.injection.clone(), state, evidence, error);
    report.took_ms = host.now().saturating_sub(begun).as_secs_f64() * 1000.0;
    if state != InjectionState::RevertFailed
        && let Err(error) = host.records().remove(&record.injection)
    {
        report.error = Some(format!("undone, but its record can't be removed: {error}"));
    }
    report
}

/// No record means that nothing was ever changed, or that somebody has proven the undo.
fn without_record(id: InjectionId, known: Known) -> InjectionReport {
    let ended = || Some("the fault process was ended".to_owned());
    let (state, observed, error) = match known {
        Known::Ordered => (InjectionState::ApplyFailed, "none: nothing was changed", ended()),
        Known::Active => (InjectionState::Reverted, "none: undone by another hand", ended()),
        Known::GivenUp => (InjectionState::Reverted, "none: undone by another hand", None),
        Known::Nothing => (InjectionState::Reverted, "none: never applied, or proven undone", None),
    };
    report(id, state, vec![Evidence::new("undo records", observed)], error)
}

fn still_at_work(record: &UndoRecord) -> InjectionReport {
    let error = format!("fault process {} was told to undo it and has not ended yet", record.holder.pid);
    report(record.injection.clone(), InjectionState::RevertFailed, Vec::new(), Some(error))
}

/// A record that can't be read may be of a fault that is still there: it is told as loudly as one, and kept.
fn damaged(records: &dyn UndoRecords, path: &Path, error: &UndoError) -> InjectionReport {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let kept = match records.set_aside(path) {
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

#[cfg(test)]
mod tests;

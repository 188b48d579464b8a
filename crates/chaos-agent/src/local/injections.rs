//! Every injection that this node answers for: in which state it is, and who hears of it.
//!
//! Owns the list of those without a final report and of those whose undo failed, and a memory of how the latest others
//! ended. It never speaks with a fault process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chaos_core::port::{InjectionReport, ReportSink};
use chaos_core::run::{InjectionId, InjectionState, RunId};
use chaos_core::target::ProcessRef;

use crate::sweep::Known;

/// How many ends are remembered for an owner that comes back.
const ENDS_KEPT_MAX: usize = 4096;

/// The list. Reports are handed on while it is locked, so that whoever takes up an injection hears all that follows
/// and nothing is told to two: a sink must not block, and must not call the node.
#[derive(Default)]
pub(super) struct Injections(Mutex<List>);

#[derive(Default)]
struct List {
    entries: BTreeMap<RunId, BTreeMap<InjectionId, Entry>>,
    /// The latest final reports, the oldest first. An undo that failed is none: it may be tried again.
    ends: VecDeque<InjectionReport>,
}

struct Entry {
    /// The fault process that was to carry it out.
    holder: Option<ProcessRef>,
    sink: ReportSink,
    state: InjectionState,
    was_active: bool,
    /// Its fault process was asked to undo it.
    asked_back: bool,
}

/// What came of taking up an injection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TakenUp {
    /// It is held, or being undone already: reports follow.
    Held,
    /// It has ended, and that was told again.
    Ended,
    /// Nobody works on it: it is to be settled from its record.
    Left(Known),
}

impl Entry {
    fn new(holder: Option<ProcessRef>, sink: ReportSink) -> Self {
        Self { holder, sink, state: InjectionState::Planned, was_active: false, asked_back: false }
    }

    fn known(&self) -> Known {
        if self.was_active { Known::Active } else { Known::Ordered }
    }

    /// What is known once its undo failed: only its own fault process says that it has given up.
    fn known_unproven(&self) -> Known {
        if self.holder.is_some() { Known::GivenUp } else { Known::Nothing }
    }
}

impl List {
    fn open(&self, run: &RunId, holder: ProcessRef) -> impl Iterator<Item = (&InjectionId, &Entry)> {
        let of_run = self.entries.get(run).into_iter().flatten();
        of_run.filter(move |(_, entry)| entry.holder == Some(holder) && !entry.state.is_final())
    }
}

impl Injections {
    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list().entries.values().map(BTreeMap::len).sum()
    }

    /// Takes on injections if `handed_over` says that `holder` has the order; says so too. None of them is reported
    /// before this returns.
    pub(super) fn take_on(
        &self,
        run: &RunId,
        holder: ProcessRef,
        ids: &[InjectionId],
        sink: &ReportSink,
        handed_over: impl FnOnce() -> bool,
    ) -> bool {
        let mut list = self.list();
        let taken = handed_over();
        if taken {
            let entries = list.entries.entry(run.clone()).or_default();
            for id in ids {
                match entries.get_mut(id).filter(|entry| !entry.state.is_final()) {
                    // An order that comes twice is one order.
                    Some(entry) => entry.sink = Arc::clone(sink),
                    None => drop(entries.insert(id.clone(), Entry::new(Some(holder), Arc::clone(sink)))),
                }
            }
        }
        taken
    }

    /// Hands a report to whoever is to hear of its injection.
    pub(super) fn hand_on(&self, run: &RunId, report: InjectionReport) {
        let mut list = self.list();
        let List { entries, ends } = &mut *list;
        let Some(of_run) = entries.get_mut(run) else { return };
        let Some(entry) = of_run.get_mut(&report.injection) else { return };
        entry.state = report.state;
        entry.was_active |= report.state == InjectionState::Active;
        let sink = Arc::clone(&entry.sink);
        if report.state.is_final() && report.state != InjectionState::RevertFailed {
            of_run.remove(&report.injection);
            if of_run.is_empty() {
                entries.remove(run);
            }
            if ends.len() >= ENDS_KEPT_MAX {
                ends.pop_front();
            }
            ends.push_back(report.clone());
        }
        sink(report);
    }

    /// Every one, with its state: those that are held, and those whose undo failed.
    pub(super) fn all(&self) -> Vec<(RunId, InjectionId, InjectionState)> {
        let list = self.list();
        let of_run = |(run, entries): (&RunId, &BTreeMap<InjectionId, Entry>)| {
            let one = |(id, entry): (&InjectionId, &Entry)| (run.clone(), id.clone(), entry.state);
            entries.iter().map(one).collect::<Vec<_>>()
        };
        list.entries.iter().flat_map(of_run).collect()
    }

    /// True while a fault process has injections that are not final.
    pub(super) fn any_open(&self, run: &RunId, holder: ProcessRef) -> bool {
        self.list().open(run, holder).next().is_some()
    }

    /// Notes that fault processes are asked to undo these of a run, or all of them.
    pub(super) fn ask_back(&self, run: &RunId, ids: Option<&[InjectionId]>) {
        let mut list = self.list();
        for (id, entry) in list.entries.get_mut(run).into_iter().flatten() {
            entry.asked_back |= ids.is_none_or(|ids| ids.contains(id));
        }
    }

    /// True while a fault process has not brought to an end what it was asked to undo.
    pub(super) fn any_asked_back(&self, run: &RunId, holder: ProcessRef) -> bool {
        self.list().open(run, holder).any(|(_, entry)| entry.asked_back)
    }

    /// What a fault process has not brought to an end.
    pub(super) fn left_by(&self, run: &RunId, holder: ProcessRef) -> Vec<(InjectionId, Known)> {
        self.list().open(run, holder).map(|(id, entry)| (id.clone(), entry.known())).collect()
    }

    /// Those of these whose undo failed; from now on they count as being undone.
    pub(super) fn take_given_up(&self, run: &RunId, ids: &[InjectionId]) -> Vec<(InjectionId, Known)> {
        let mut list = self.list();
        let Some(entries) = list.entries.get_mut(run) else { return Vec::new() };
        let mut taken = Vec::new();
        for id in ids {
            if let Some(entry) = entries.get_mut(id).filter(|entry| entry.state.is_final()) {
                entry.state = InjectionState::Reverting;
                taken.push((id.clone(), entry.known_unproven()));
            }
        }
        taken
    }

    /// Lets `sink` hear of an injection from now on, instead of whoever heard of it.
    pub(super) fn take_up(&self, run: &RunId, id: &InjectionId, sink: &ReportSink) -> TakenUp {
        let mut list = self.list();
        let List { entries, ends } = &mut *list;
        if let Some(entry) = entries.get_mut(run).and_then(|entries| entries.get_mut(id)) {
            entry.sink = Arc::clone(sink);
            if !entry.state.is_final() {
                return TakenUp::Held;
            }
            entry.state = InjectionState::Reverting;
            return TakenUp::Left(entry.known_unproven());
        }
        if let Some(end) = ends.iter().find(|end| end.injection == *id) {
            sink(end.clone());
            return TakenUp::Ended;
        }
        entries.entry(run.clone()).or_default().insert(id.clone(), Entry::new(None, Arc::clone(sink)));
        TakenUp::Left(Known::Nothing)
    }
}

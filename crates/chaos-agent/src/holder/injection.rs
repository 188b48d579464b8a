//! The life of one injection inside the fault process.
//!
//! ```text
//! Queued ─record─▶ Applying ─done─▶ Proving ─proof─▶ Active ─┐
//!    │                 │               │               │     │ deadline, request, lost, target gone
//!    │                 └────────error──┴───────────────┴──▶ Reverting ─proof─▶ Final
//!    └─refused, target gone, request────────────────────────────────────────────▲
//! ```
//! Owns this machine and the order "record, change, proof, report". It never waits: every call does one step and
//! says when it wants the next.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use chaos_core::port::{Evidence, InjectionPlan, InjectionReport, Owner};
use chaos_core::run::{InjectionState, RunId};
use chaos_core::spec::FaultKind;
use chaos_core::target::ProcessRef;

use super::monotonic;
use super::wire::Inject;
use crate::faults::{self, FaultError, Held, Injector, Step, Surroundings};
use crate::sys::pidfd::PidFd;
use crate::undo::{Outcome, UndoData, UndoError, UndoLog, UndoRecord};

/// How long an applied fault may take to show.
const PROOF_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two looks for a proof.
const PROOF_EVERY: Duration = Duration::from_micros(300);
/// How often an undo is tried.
const UNDO_ATTEMPTS_MAX: u32 = 9;
/// How the error of a fault begins that somebody else ended, in the report of [`InjectionState::Reverted`]; no other
/// error begins so.
const LOST: &str = "lost: ";
/// Time after the first undo that failed; doubled each time.
const UNDO_BACKOFF: Duration = Duration::from_millis(10);

/// What every injection of a run shares.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) run: RunId,
    pub(super) owner: Owner,
    pub(super) holder: ProcessRef,
    pub(super) log: UndoLog,
    pub(super) surroundings: Surroundings,
}

pub(super) struct Injection {
    plan: InjectionPlan,
    ordered_at: Duration,
    injector: Box<dyn Injector>,
    victim: Option<PidFd>,
    record: Option<UndoRecord>,
    stage: Stage,
    due: Duration,
}

enum Stage {
    Queued,
    Applying,
    Proving {
        give_up: Duration,
    },
    Active {
        until: Duration,
    },
    Reverting {
        ending: Ending,
        requested_at: Duration,
        attempts: u32,
    },
    Final(Outcome),
    /// Final, and either heard by the parent or written down.
    Settled,
}

/// What will be reported when the undo is proven.
enum Ending {
    /// It was to end.
    Due,
    /// Somebody else ended it before its time.
    Lost(String),
    /// It is still there and can't be kept going.
    Broken(String),
    /// The target ended.
    TargetGone,
    /// It could not be made.
    Failed(String),
}

type Reports = Vec<InjectionReport>;

impl Injection {
    pub(super) fn new(order: Inject, surroundings: &Surroundings) -> Self {
        let injector = faults::injector(&order.plan, surroundings);
        Self {
            plan: order.plan,
            ordered_at: order.ordered_at,
            injector,
            victim: None,
            record: None,
            stage: Stage::Queued,
            due: Duration::ZERO,
        }
    }

    pub(super) fn id(&self) -> &chaos_core::run::InjectionId {
        &self.plan.id
    }

    /// When the next step is wanted; none when there is nothing more to do.
    pub(super) fn due(&self) -> Option<Duration> {
        match self.stage {
            Stage::Final(_) | Stage::Settled => None,
            _ => Some(self.due),
        }
    }

    /// What goes first among those that are due: an undo before everything, a new one last.
    pub(super) fn urgency(&self) -> u8 {
        match self.stage {
            Stage::Reverting { .. } => 0,
            Stage::Active { .. } => 1,
            Stage::Proving { .. } => 2,
            Stage::Applying => 3,
            _ => 4,
        }
    }

    pub(super) fn is_final(&self) -> bool {
        matches!(self.stage, Stage::Final(_) | Stage::Settled)
    }

    pub(super) fn is_settled(&self) -> bool {
        matches!(self.stage, Stage::Settled)
    }

    /// Something about its target or its means may have changed.
    pub(super) fn poke(&mut self) {
        self.due = Duration::ZERO;
    }

    /// What wakes it up before its time.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match self.stage {
            Stage::Applying | Stage::Proving { .. } | Stage::Active { .. } => {
                let mut descriptors = self.injector.descriptors();
                // The end of the target is what a kill waits for: it says itself whom it watches.
                let victim = self.victim.iter().filter(|_| self.kind() != FaultKind::PodKill);
                descriptors.extend(victim.map(AsFd::as_fd));
                descriptors
            }
            _ => Vec::new(),
        }
    }

    fn kind(&self) -> FaultKind {
        self.plan.fault.kind()
    }

    /// Does one step.
    pub(super) fn advance(&mut self, shared: &Shared, reports: &mut Reports) {
        match self.stage {
            Stage::Queued => self.begin(shared, reports),
            Stage::Applying => self.apply(shared, reports),
            Stage::Proving { give_up } => self.prove(give_up, reports),
            Stage::Active { until } => self.hold(until, shared, reports),
            Stage::Reverting { .. } => self.undo(shared, reports),
            Stage::Final(_) | Stage::Settled => {}
        }
    }

    /// Ends it, from whatever it is doing. What has ended already stays as it is.
    pub(super) fn revert(&mut self, requested_at: Duration, reports: &mut Reports) {
        match self.stage {
            Stage::Queued => {
                let evidence = vec![Evidence::new("fault process", "it was never applied")];
                self.finish(InjectionState::Reverted, evidence, None, requested_at, reports);
            }
            Stage::Applying | Stage::Proving { .. } | Stage::Active { .. } => {
                self.end(Ending::Due, requested_at, reports);
            }
            Stage::Reverting { .. } | Stage::Final(_) | Stage::Settled => {}
        }
    }

    /// The parent knows how it ended: the record goes, unless something is left.
    pub(super) fn heard(&mut self, shared: &Shared) {
        if let Stage::Final(outcome) = &self.stage {
            if outcome.state != InjectionState::RevertFailed {
                // One that can't be removed is found by the next start, which proves again and tells again.
                let _ = shared.log.remove(&self.plan.id);
            }
            self.stage = Stage::Settled;
        }
    }

    /// Nobody listens: how it ended goes to the disk.
    pub(super) fn unheard(&mut self, shared: &Shared) {
        if let Stage::Final(outcome) = std::mem::replace(&mut self.stage, Stage::Settled)
            && let Some(record) = &mut self.record
        {
            record.outcome = Some(outcome);
            // Without it the next start undoes what is undone already, and says so.
            let _ = shared.log.write(record);
        }
    }

    fn begin(&mut self, shared: &Shared, reports: &mut Reports) {
        match self.plan_and_record(shared) {
            Ok(()) => {
                self.stage = Stage::Applying;
                self.due = Duration::ZERO;
                reports.push(self.report(InjectionState::Applying, Vec::new(), None, self.ordered_at));
            }
            Err(error) => {
                let gone = self.victim_has_ended();
                let state = if gone { InjectionState::TargetGone } else { InjectionState::ApplyFailed };
                let evidence = vec![Evidence::new("fault process", "nothing was changed")];
                self.finish(state, evidence, Some(error), self.ordered_at, reports);
            }
        }
    }

    /// Everything before the first change. An error means that there was none.
    fn plan_and_record(&mut self, shared: &Shared) -> Result<(), String> {
        let instance = &self.plan.instance;
        let mut processes = std::iter::once(&instance.process).chain(&instance.processes);
        let own = |process: &&ProcessRef| {
            process.pid == 1 || **process == shared.holder || shared.surroundings.registered.contains(process)
        };
        if let Some(own) = processes.find(own) {
            return Err(format!("refused: process {} is protected", own.pid));
        }
        self.victim = Some(PidFd::open(instance.process).map_err(|error| error.to_string())?);
        let data = self.injector.plan().map_err(|error| error.to_string())?;
        let record = UndoRecord::new(&shared.run, &self.plan, shared.owner, shared.holder, data);
        shared.log.write(&record).map_err(|error| error.to_string())?;
        self.record = Some(record);
        Ok(())
    }

    fn extend_record(&mut self, data: UndoData, shared: &Shared) -> Result<(), UndoError> {
        let Some(record) = &mut self.record else { return Ok(()) };
        record.data = data;
        shared.log.write(record)
    }

    fn apply(&mut self, shared: &Shared, reports: &mut Reports) {
        let outcome = match self.injector.apply() {
            Ok(Step::Record(data)) => {
                self.extend_record(data, shared).map(|()| Duration::ZERO).map_err(|error| error.to_string())
            }
            Ok(Step::Again(after)) => Ok(after),
            Ok(Step::Done) => {
                self.stage = Stage::Proving { give_up: monotonic() + PROOF_TIMEOUT };
                Ok(Duration::ZERO)
            }
            Err(error) => Err(error.to_string()),
        };
        match outcome {
            Ok(after) => self.due = monotonic().saturating_add(after),
            Err(error) => self.end(Ending::Failed(error), monotonic(), reports),
        }
    }

    fn prove(&mut self, give_up: Duration, reports: &mut Reports) {
        let now = monotonic();
        match self.injector.prove_active() {
            Ok(Some(evidence)) => {
                reports.push(self.report(InjectionState::Active, evidence, None, self.ordered_at));
                // A kill is over when it is done: what follows is observation.
                let stays =
                    if self.kind() == FaultKind::PodKill { Duration::ZERO } else { self.plan.duration };
                let until = monotonic().saturating_add(stays);
                self.stage = Stage::Active { until };
                self.due = Duration::ZERO;
            }
            Ok(None) if now < give_up => self.due = now + PROOF_EVERY,
            Ok(None) => {
                let waited = PROOF_TIMEOUT.as_millis();
                self.end(Ending::Failed(format!("no effect was seen within {waited} ms")), now, reports);
            }
            Err(error) => self.end(Ending::Failed(error.to_string()), now, reports),
        }
    }

    fn hold(&mut self, until: Duration, shared: &Shared, reports: &mut Reports) {
        let now = monotonic();
        if self.kind() != FaultKind::PodKill && self.victim_has_ended() {
            return self.end(Ending::TargetGone, now, reports);
        }
        if now >= until {
            return self.end(Ending::Due, until, reports);
        }
        let held = match self.injector.hold() {
            Ok(Held::For(time)) => Ok(time),
            Ok(Held::Record(data)) => self
                .extend_record(data, shared)
                .map(|()| Duration::ZERO)
                .map_err(|error| Ending::Broken(error.to_string())),
            Ok(Held::Lost(reason)) => Err(Ending::Lost(reason)),
            Err(error) => Err(Ending::Broken(error.to_string())),
        };
        match held {
            Ok(time) => self.due = monotonic().saturating_add(time).min(until),
            Err(ending) => self.end(ending, now, reports),
        }
    }

    fn end(&mut self, ending: Ending, requested_at: Duration, reports: &mut Reports) {
        let ending = match ending {
            // Whatever failed on a target that has ended failed because of that.
            Ending::Failed(_) | Ending::Lost(_) | Ending::Broken(_) if self.victim_has_ended() => {
                Ending::TargetGone
            }
            ending => ending,
        };
        self.stage = Stage::Reverting { ending, requested_at, attempts: 0 };
        self.due = Duration::ZERO;
        reports.push(self.report(InjectionState::Reverting, Vec::new(), None, requested_at));
    }

    fn undo(&mut self, shared: &Shared, reports: &mut Reports) {
        let proof = self.injector.undo().and_then(|()| self.injector.prove_reverted());
        let Stage::Reverting { ending, requested_at, attempts } = &mut self.stage else { return };
        let requested_at = *requested_at;
        match proof {
            Ok(mut evidence) => {
                let (state, error) = match std::mem::replace(ending, Ending::Due) {
                    Ending::Due => (InjectionState::Reverted, None),
                    // The beginning of these words is what a lost fault is known by.
                    Ending::Lost(reason) => (InjectionState::Reverted, Some(format!("{LOST}{reason}"))),
                    Ending::Broken(reason) => {
                        (InjectionState::Reverted, Some(format!("ended before its time: {reason}")))
                    }
                    Ending::TargetGone => (InjectionState::TargetGone, None),
                    Ending::Failed(error) => (InjectionState::ApplyFailed, Some(error)),
                };
                if state == InjectionState::TargetGone {
                    let source = format!("pidfd of {}", self.plan.instance.process.pid);
                    evidence.push(Evidence::new(source, "exited"));
                }
                self.finish(state, evidence, error, requested_at, reports);
            }
            Err(_) if *attempts + 1 < UNDO_ATTEMPTS_MAX => {
                self.due = monotonic() + UNDO_BACKOFF * 2_u32.pow(*attempts);
                *attempts += 1;
            }
            Err(error) => self.give_up(&error, requested_at, shared, reports),
        }
    }

    fn give_up(
        &mut self,
        error: &FaultError,
        requested_at: Duration,
        shared: &Shared,
        reports: &mut Reports,
    ) {
        self.finish(InjectionState::RevertFailed, Vec::new(), Some(error.to_string()), requested_at, reports);
        if let (Stage::Final(outcome), Some(record)) = (&self.stage, &mut self.record) {
            record.outcome = Some(outcome.clone());
            let _ = shared.log.write(record);
        }
    }

    fn victim_has_ended(&self) -> bool {
        match &self.victim {
            Some(victim) => !victim.is_alive(),
            None => !crate::sys::proc::runs(self.plan.instance.process),
        }
    }

    fn finish(
        &mut self,
        state: InjectionState,
        evidence: Vec<Evidence>,
        error: Option<String>,
        since: Duration,
        reports: &mut Reports,
    ) {
        reports.push(self.report(state, evidence.clone(), error.clone(), since));
        self.stage = Stage::Final(Outcome { state, evidence, error });
    }

    fn report(
        &self,
        state: InjectionState,
        evidence: Vec<Evidence>,
        error: Option<String>,
        since: Duration,
    ) -> InjectionReport {
        let took = monotonic().saturating_sub(since);
        let injection = self.plan.id.clone();
        InjectionReport { injection, state, evidence, error, took_ms: took.as_secs_f64() * 1000.0 }
    }
}

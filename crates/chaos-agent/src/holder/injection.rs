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

use std::os::fd::BorrowedFd;
use std::time::Duration;

use chaos_core::port::{Evidence, InjectionPlan, InjectionReport, Owner};
use chaos_core::run::{InjectionState, RunId};
use chaos_core::spec::FaultKind;
use chaos_core::target::ProcessRef;

use super::wire::Inject;
use super::world::{HeldProcess, World};
use crate::faults::{FaultError, Held, Injector, Step, Surroundings};
use crate::undo::{Outcome, UndoData, UndoError, UndoRecord, UndoRecords};

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
pub(super) struct Shared<W: World> {
    pub(super) run: RunId,
    pub(super) owner: Owner,
    pub(super) holder: ProcessRef,
    pub(super) records: W::Records,
    pub(super) surroundings: Surroundings,
}

/// What an injection works with when it is its turn, and what it has to say afterwards.
pub(super) struct Turn<'a, W: World> {
    pub(super) world: &'a W,
    pub(super) shared: &'a Shared<W>,
    pub(super) reports: Vec<InjectionReport>,
}

pub(super) struct Injection<W: World> {
    plan: InjectionPlan,
    ordered_at: Duration,
    injector: Box<W::Injector>,
    victim: Option<W::Process>,
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
    /// Final, heard by the parent, and undone: its record goes as soon as nothing is more urgent.
    Heard,
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

impl<'a, W: World> Turn<'a, W> {
    pub(super) fn new(world: &'a W, shared: &'a Shared<W>) -> Self {
        Self { world, shared, reports: Vec::new() }
    }
}

impl<W: World> Injection<W> {
    pub(super) fn new(order: Inject, world: &W, surroundings: &Surroundings) -> Self {
        let injector = world.injector(&order.plan, surroundings);
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
            Stage::Final(_) | Stage::Heard | Stage::Settled => None,
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
        matches!(self.stage, Stage::Final(_) | Stage::Heard | Stage::Settled)
    }

    /// It was proven to act, and is held.
    pub(super) fn is_active(&self) -> bool {
        matches!(self.stage, Stage::Active { .. })
    }

    /// Its record is not needed any more.
    pub(super) fn is_heard(&self) -> bool {
        matches!(self.stage, Stage::Heard)
    }

    /// Its undo is the next thing to be done.
    pub(super) fn is_to_be_undone(&self, now: Duration) -> bool {
        matches!(self.stage, Stage::Reverting { .. }) && self.due <= now
    }

    pub(super) fn is_settled(&self) -> bool {
        matches!(self.stage, Stage::Settled)
    }

    /// Something about its target or its means may have changed. An undo that failed waits all the same: its attempts
    /// are few.
    pub(super) fn look_again(&mut self) {
        if !matches!(self.stage, Stage::Reverting { .. }) {
            self.due = Duration::ZERO;
        }
    }

    /// What wakes it up before its time.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match self.stage {
            Stage::Applying | Stage::Proving { .. } | Stage::Active { .. } => {
                let mut descriptors = self.injector.descriptors();
                // The end of the target is what a kill waits for: it says itself whom it watches.
                let victim = self.victim.iter().filter(|_| self.kind() != FaultKind::PodKill);
                descriptors.extend(victim.filter_map(HeldProcess::descriptor));
                descriptors
            }
            _ => Vec::new(),
        }
    }

    fn kind(&self) -> FaultKind {
        self.plan.fault.kind()
    }

    /// Does one step.
    pub(super) fn advance(&mut self, turn: &mut Turn<'_, W>) {
        match self.stage {
            Stage::Queued => self.begin(turn),
            Stage::Applying => self.apply(turn),
            Stage::Proving { give_up } => self.prove(give_up, turn),
            Stage::Active { until } => self.hold(until, turn),
            Stage::Reverting { .. } => self.undo(turn),
            Stage::Final(_) | Stage::Heard | Stage::Settled => {}
        }
    }

    /// Ends it, from whatever it is doing. What has ended already stays as it is.
    pub(super) fn revert(&mut self, requested_at: Duration, turn: &mut Turn<'_, W>) {
        match self.stage {
            Stage::Queued => {
                let evidence = vec![Evidence::new("fault process", "it was never applied")];
                self.finish(InjectionState::Reverted, evidence, None, requested_at, turn);
            }
            Stage::Applying | Stage::Proving { .. } | Stage::Active { .. } => {
                self.end(Ending::Due, requested_at, turn);
            }
            Stage::Reverting { .. } | Stage::Final(_) | Stage::Heard | Stage::Settled => {}
        }
    }

    /// The parent knows how it ended: the record may go, unless something is left.
    pub(super) fn heard(&mut self) {
        if let Stage::Final(outcome) = &self.stage {
            let failed = outcome.state == InjectionState::RevertFailed;
            self.stage = if failed { Stage::Settled } else { Stage::Heard };
        }
    }

    /// Its record is removed.
    pub(super) fn forgotten(&mut self) {
        self.stage = Stage::Settled;
    }

    /// Nobody listens: how it ended goes to the disk. That an undo is given up on is there since then, and whoever read
    /// it may have removed the record with an undo of its own.
    pub(super) fn unheard(&mut self, shared: &Shared<W>) {
        let Stage::Final(outcome) = &self.stage else { return };
        let is_written = outcome.state == InjectionState::RevertFailed;
        if let Some(record) = self.record.as_mut().filter(|_| !is_written) {
            record.outcome = Some(outcome.clone());
            // Without it the next start undoes what is undone already, and says so.
            let _ = shared.records.write(record);
        }
        self.stage = Stage::Settled;
    }

    fn begin(&mut self, turn: &mut Turn<'_, W>) {
        match self.plan_and_record(turn) {
            Ok(()) => {
                self.stage = Stage::Applying;
                self.due = Duration::ZERO;
                self.report(InjectionState::Applying, Vec::new(), None, self.ordered_at, turn);
            }
            Err(error) => {
                let gone = self.victim_has_ended(turn.world);
                let state = if gone { InjectionState::TargetGone } else { InjectionState::ApplyFailed };
                let evidence = vec![Evidence::new("fault process", "nothing was changed")];
                self.finish(state, evidence, Some(error), self.ordered_at, turn);
            }
        }
    }

    /// Everything before the first change. An error means that there was none.
    fn plan_and_record(&mut self, turn: &Turn<'_, W>) -> Result<(), String> {
        let (world, shared, instance) = (turn.world, turn.shared, &self.plan.instance);
        let mut processes = std::iter::once(&instance.process).chain(&instance.processes);
        let own = |process: &&ProcessRef| {
            process.pid == 1 || **process == shared.holder || shared.surroundings.registered.contains(process)
        };
        if let Some(own) = processes.find(own) {
            return Err(format!("refused: process {} is protected", own.pid));
        }
        self.victim = Some(world.hold(instance.process).map_err(|error| error.to_string())?);
        let data = self.injector.plan().map_err(|error| error.to_string())?;
        let (run, now_unix_ms) = (&shared.run, world.unix_ms());
        let record = UndoRecord::new(run, &self.plan, shared.owner, shared.holder, data, now_unix_ms);
        shared.records.write(&record).map_err(|error| error.to_string())?;
        self.record = Some(record);
        Ok(())
    }

    fn extend_record(&mut self, data: UndoData, shared: &Shared<W>) -> Result<(), UndoError> {
        let Some(record) = &mut self.record else { return Ok(()) };
        record.data = data;
        shared.records.write(record)
    }

    fn apply(&mut self, turn: &mut Turn<'_, W>) {
        let outcome = match self.injector.apply() {
            Ok(Step::Record(data)) => self
                .extend_record(data, turn.shared)
                .map(|()| Duration::ZERO)
                .map_err(|error| error.to_string()),
            Ok(Step::Again(after)) => Ok(after),
            Ok(Step::Done) => {
                self.stage = Stage::Proving { give_up: turn.world.now() + PROOF_TIMEOUT };
                Ok(Duration::ZERO)
            }
            Err(error) => Err(error.to_string()),
        };
        match outcome {
            Ok(after) => self.due = turn.world.now().saturating_add(after),
            Err(error) => self.end(Ending::Failed(error), turn.world.now(), turn),
        }
    }

    fn prove(&mut self, give_up: Duration, turn: &mut Turn<'_, W>) {
        let now = turn.world.now();
        match self.injector.prove_active() {
            Ok(Some(evidence)) => {
                self.report(InjectionState::Active, evidence, None, self.ordered_at, turn);
                // A kill is over when it is done: what follows is observation.
                let stays =
                    if self.kind() == FaultKind::PodKill { Duration::ZERO } else { self.plan.duration };
                let until = turn.world.now().saturating_add(stays);
                self.stage = Stage::Active { until };
                self.due = Duration::ZERO;
            }
            Ok(None) if now < give_up => self.due = now + PROOF_EVERY,
            Ok(None) => {
                let waited = PROOF_TIMEOUT.as_millis();
                self.end(Ending::Failed(format!("no effect was seen within {waited} ms")), now, turn);
            }
            Err(error) => self.end(Ending::Failed(error.to_string()), now, turn),
        }
    }

    fn hold(&mut self, until: Duration, turn: &mut Turn<'_, W>) {
        let now = turn.world.now();
        if self.kind() != FaultKind::PodKill && self.victim_has_ended(turn.world) {
            return self.end(Ending::TargetGone, now, turn);
        }
        if now >= until {
            return self.end(Ending::Due, until, turn);
        }
        let held = match self.injector.hold() {
            Ok(Held::For(time)) => Ok(time),
            Ok(Held::Record(data)) => self
                .extend_record(data, turn.shared)
                .map(|()| Duration::ZERO)
                .map_err(|error| Ending::Broken(error.to_string())),
            Ok(Held::Lost(reason)) => Err(Ending::Lost(reason)),
            Err(error) => Err(Ending::Broken(error.to_string())),
        };
        match held {
            Ok(time) => self.due = turn.world.now().saturating_add(time).min(until),
            Err(ending) => self.end(ending, now, turn),
        }
    }

    fn end(&mut self, ending: Ending, requested_at: Duration, turn: &mut Turn<'_, W>) {
        let ending = match ending {
            // Whatever failed on a target that has ended failed because of that.
            Ending::Failed(_) | Ending::Lost(_) | Ending::Broken(_) if self.victim_has_ended(turn.world) => {
                Ending::TargetGone
            }
            ending => ending,
        };
        self.stage = Stage::Reverting { ending, requested_at, attempts: 0 };
        self.due = Duration::ZERO;
        self.report(InjectionState::Reverting, Vec::new(), None, requested_at, turn);
    }

    fn undo(&mut self, turn: &mut Turn<'_, W>) {
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
                self.finish(state, evidence, error, requested_at, turn);
            }
            Err(_) if *attempts + 1 < UNDO_ATTEMPTS_MAX => {
                self.due = turn.world.now() + UNDO_BACKOFF * 2_u32.pow(*attempts);
                *attempts += 1;
            }
            Err(error) => self.give_up(&error, requested_at, turn),
        }
    }

    fn give_up(&mut self, error: &FaultError, requested_at: Duration, turn: &mut Turn<'_, W>) {
        self.finish(InjectionState::RevertFailed, Vec::new(), Some(error.to_string()), requested_at, turn);
        if let (Stage::Final(outcome), Some(record)) = (&self.stage, &mut self.record) {
            record.outcome = Some(outcome.clone());
            let _ = turn.shared.records.write(record);
        }
    }

    fn victim_has_ended(&self, world: &W) -> bool {
        match &self.victim {
            Some(victim) => !victim.is_alive(),
            None => !world.is_running(self.plan.instance.process),
        }
    }

    fn finish(
        &mut self,
        state: InjectionState,
        evidence: Vec<Evidence>,
        error: Option<String>,
        since: Duration,
        turn: &mut Turn<'_, W>,
    ) {
        self.report(state, evidence.clone(), error.clone(), since, turn);
        self.stage = Stage::Final(Outcome { state, evidence, error });
    }

    fn report(
        &self,
        state: InjectionState,
        evidence: Vec<Evidence>,
        error: Option<String>,
        since: Duration,
        turn: &mut Turn<'_, W>,
    ) {
        let took_ms = turn.world.now().saturating_sub(since).as_secs_f64() * 1000.0;
        let injection = self.plan.id.clone();
        turn.reports.push(InjectionReport { injection, state, evidence, error, took_ms });
    }
}

//! How a run ends: everything is undone at once or one target after the other, tried again where it failed, helped by
//! recovery actions, and only then called incomplete.
//!
//! Owns the way from the first undo to the outcome. An alarm or a stop always turns stepwise into at once.

use std::time::Duration;

use super::{HEALTH_EVERY_RECOVERING, REVERT_FAILURES_MAX, REVERT_TIMEOUT, Step, alarm};
use crate::duration::Span;
use crate::run::event::{ActionOutcome, Effect, Timer};
use crate::run::state::{Injection, RunState};
use crate::run::types::{InjectionId, InjectionState, Phase, Stop, StopCause};
use crate::run::verdict::{Failure, conclude};
use crate::safety::{Decision, Health};
use crate::spec::{ProbePhase, RevertMode};

/// How long a stepwise undo may take in all; what is left then is undone at once. The nodes keep a fault no longer.
pub const STEPWISE_TIMEOUT: Duration = Duration::from_secs(30);
/// Time until a failed undo is tried again; it doubles each time.
const RETRY_AFTER: Span = Span::seconds(1);

impl Step<'_> {
    /// The time of the run is over.
    pub(super) fn run_elapsed(&mut self, run: &mut RunState) {
        let targets = run.unfinished().map(|injection| &injection.instance.id);
        let several = targets.collect::<std::collections::BTreeSet<_>>().len() > 1;
        if self.header.experiment.spec.revert == RevertMode::AtOnce || !several {
            return self.revert(run);
        }
        self.begin_reverting(run);
        self.effects.push(Effect::SetTimer { timer: Timer::Stepwise, after: Span(STEPWISE_TIMEOUT) });
        self.effects.push(Effect::WatchHealth { every: HEALTH_EVERY_RECOVERING });
        self.revert_next_target(run);
    }

    fn begin_reverting(&mut self, run: &mut RunState) {
        run.phase = Phase::Reverting;
        run.reverting_ms = Some(self.at_ms);
        self.effects.push(Effect::StopMeasuring);
    }

    fn revert_next_target(&mut self, run: &mut RunState) {
        let next = run.unfinished().next().map(|injection| injection.instance.id.clone());
        run.stepping = next;
        let of_next = run.unfinished().filter(|one| Some(&one.instance.id) == run.stepping.as_ref());
        let ids: Vec<InjectionId> = of_next.map(|injection| injection.id.clone()).collect();
        self.effects.push(Effect::Revert(ids));
    }

    /// Health between two steps: the next target follows when the one before is undone and all is well.
    pub(super) fn health_while_reverting(&mut self, run: &mut RunState, health: Health, ready: usize) {
        run.ready_now = ready;
        let alarm = self.health_alarm(run, &health);
        let safe = health.is_safe(self.header.threshold);
        run.health = Some(health);
        let Some(target) = run.stepping.clone() else { return };
        if alarm.is_some() {
            return self.at_once(run);
        }
        let undone = !run.unfinished().any(|injection| injection.instance.id == target);
        if safe && undone {
            self.revert_next_target(run);
        }
    }

    pub(super) fn guarded_while_reverting(&mut self, run: &mut RunState, decisions: Vec<Decision>) {
        if alarm::guard_alarm(run, &decisions).is_some() {
            self.at_once(run);
        }
        run.guards = decisions;
    }

    /// Ends a stepwise undo: what is left is undone now.
    pub(super) fn at_once(&mut self, run: &mut RunState) {
        if run.stepping.take().is_some() {
            self.revert_unfinished(run);
        }
    }

    /// Asks for the undo of everything that may have been applied, also of what is being applied.
    pub(super) fn revert(&mut self, run: &mut RunState) {
        self.begin_reverting(run);
        self.revert_unfinished(run);
        self.reverted_if_all_ended(run);
    }

    pub(super) fn revert_unfinished(&mut self, run: &mut RunState) {
        let ids: Vec<InjectionId> = run.unfinished().map(|injection| injection.id.clone()).collect();
        if !ids.is_empty() {
            self.effects.push(Effect::Revert(ids));
            self.effects.push(Effect::SetTimer { timer: Timer::Revert, after: Span(REVERT_TIMEOUT) });
            run.revert_by_ms = self.at_ms + u64::try_from(REVERT_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
        }
    }

    /// An undo failed: it is tried again a little later, some times. False when that was the last time.
    pub(super) fn retry(&mut self, run: &mut RunState, index: usize, error: Option<&String>) -> bool {
        let injection = &mut run.injections[index];
        injection.revert_failures += 1;
        if injection.revert_failures >= REVERT_FAILURES_MAX {
            return false;
        }
        injection.state = InjectionState::Reverting;
        injection.error = error.cloned();
        let after = Span(RETRY_AFTER.0 * 2_u32.pow(injection.revert_failures - 1));
        if run.retries.is_empty() {
            self.effects.push(Effect::SetTimer { timer: Timer::Retry, after });
        }
        run.retries.insert(run.injections[index].id.clone());
        true
    }

    pub(super) fn retry_due(&mut self, run: &mut RunState) {
        let ids: Vec<InjectionId> = std::mem::take(&mut run.retries).into_iter().collect();
        let open = |id: &InjectionId| run.unfinished().any(|injection| injection.id == *id);
        let ids: Vec<InjectionId> = ids.into_iter().filter(open).collect();
        if !ids.is_empty() {
            self.effects.push(Effect::Revert(ids));
        }
    }

    pub(super) fn reverted_if_all_ended(&mut self, run: &mut RunState) {
        if run.unfinished().next().is_some() || run.phase != Phase::Reverting {
            return;
        }
        let failed = |injection: &Injection| injection.state == InjectionState::RevertFailed;
        if run.injections.iter().any(failed) {
            if !self.act(run) {
                self.reverted(run, true);
            }
            return;
        }
        let stopped = run.stop.as_ref().is_some_and(|stop| stop.cause != StopCause::Probe);
        self.reverted(run, run.failure.is_some() || stopped);
    }

    fn reverted(&mut self, run: &mut RunState, ends_here: bool) {
        run.stepping = None;
        run.reverted_ms = Some(self.at_ms);
        if ends_here {
            return self.finish(run);
        }
        run.phase = Phase::Recovering;
        self.await_recovery(self.header.experiment.spec.recovery.timeout);
    }

    /// Measures until steady state is back, for so long at most.
    pub(super) fn await_recovery(&mut self, timeout: Span) {
        self.effects.push(Effect::Measure { phase: ProbePhase::After, once: false });
        self.effects.push(Effect::WatchHealth { every: HEALTH_EVERY_RECOVERING });
        self.effects.push(Effect::SetTimer { timer: Timer::Recovery, after: timeout });
    }

    pub(super) fn revert_timed_out(&mut self, run: &mut RunState) {
        if self.at_ms < run.revert_by_ms {
            return; // the timer of an undo before this one
        }
        run.retries.clear();
        for injection in run.injections.iter_mut().filter(|injection| !injection.state.is_final()) {
            injection.state = InjectionState::RevertFailed;
            injection.ended_ms = Some(self.at_ms);
            injection.revert_failures = REVERT_FAILURES_MAX;
            injection.error = Some(format!("no proof of the undo within {}", Span(REVERT_TIMEOUT)));
        }
        self.reverted_if_all_ended(run);
    }

    /// Begins the next recovery action; false when none is left.
    pub(super) fn act(&mut self, run: &mut RunState) -> bool {
        let action = run.actions_begun;
        if action >= self.header.experiment.spec.recovery.actions.len() {
            return false;
        }
        run.actions_begun += 1;
        self.effects.push(Effect::Act { action });
        true
    }

    /// After the last action what failed is tried, or awaited, once more.
    pub(super) fn acted(&mut self, run: &mut RunState, outcome: ActionOutcome) {
        if run.actions.len() >= run.actions_begun {
            return;
        }
        run.actions.push(outcome);
        if self.act(run) {
            return;
        }
        if run.phase == Phase::Recovering {
            let timeout = self.header.experiment.spec.recovery.timeout;
            return self.effects.push(Effect::SetTimer { timer: Timer::Recovery, after: timeout });
        }
        for injection in &mut run.injections {
            if injection.state == InjectionState::RevertFailed {
                injection.state = InjectionState::Reverting;
                injection.ended_ms = None;
            }
        }
        self.revert_unfinished(run);
    }

    /// Ends a run that can't be carried out; what may have been applied is undone first.
    pub(super) fn fail(&mut self, run: &mut RunState, failure: Failure) {
        run.failure.get_or_insert(failure);
        match run.phase {
            Phase::Injecting | Phase::Active => self.revert(run),
            Phase::Reverting => self.at_once(run),
            _ => self.finish(run),
        }
    }

    /// Somebody wants it to end while it is being undone.
    pub(super) fn stop_while_reverting(&mut self, run: &mut RunState, stop: Stop) {
        run.stop.get_or_insert(stop);
        self.at_once(run);
    }

    pub(super) fn finish(&mut self, run: &mut RunState) {
        run.phase = Phase::Finished;
        run.finished_ms = Some(self.at_ms);
        run.outcome = Some(conclude(self.header, run));
        self.effects.push(Effect::Finish);
    }
}

//! The state machine of a run: one total function from state and event to state and effects.
//!
//! Owns every transition. It never acts, waits or reads a clock: time comes in with the event.
//!
//! ```text
//!             Resolved            BaselineEnded        first Active           time is over, stop, failure
//! preflight ────────────▶ baseline ────────────▶ injecting ────────▶ active ────────────────┐
//!   │ gates, target          │ beyond, no data      │ stop, failure                         ▼
//!   │ stop                   │ stop                 └───────────────────────────────▶ reverting
//!   ▼                        ▼                                  stopped, failed, unproven │  │ all proven
//! finished ◀─────────────────┴────────────────────────────────────────────────────────────┘  ▼
//!     ▲                                             steady state back, time is over, stop recovering
//!     └──────────────────────────────────────────────────────────────────────────────────────┘
//! ```

mod adopt;
mod alarm;
mod ramp;
mod recovery;
mod undo;

use std::time::Duration;

pub use undo::STEPWISE_TIMEOUT;

use super::event::{Effect, Event, Resolution, Timer};
use super::state::{Injection, ItemState, RunState};
use super::tolerance::{Judgement, judge};
use super::types::{InjectionId, InjectionState, Phase};
use super::verdict::Failure;
use crate::duration::Span;
use crate::journal::RunHeader;
use crate::port::InjectionReport;
use crate::safety::Gate;
use crate::spec::{Fault, FaultKind, ProbePhase};
use crate::target::Instance;

/// Within so long, and the longest grace of its faults, something has to be active, or the run has failed.
pub const INJECTING_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an undo may take before the run is called incomplete. The node goes on trying.
pub const REVERT_TIMEOUT: Duration = Duration::from_secs(30);

/// A run goes on through this many samples in a row without a known health score; the next one stops it.
pub const UNKNOWN_HEALTH_MAX: u32 = 2;

/// An undo that fails so often is given up on, and the run is called incomplete.
pub const REVERT_FAILURES_MAX: u32 = 4;

/// An event that can't happen in a phase: a defect of ours or a damaged journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event} can't happen while {phase}")]
pub struct IllegalEvent {
    /// The phase.
    pub phase: Phase,
    /// The event, in words.
    pub event: String,
}

const HEALTH_EVERY_ACTIVE: Span = Span::seconds(1);
const HEALTH_EVERY_RECOVERING: Span = Span::milliseconds(200);

impl RunState {
    /// Moves on. `at_ms` is the run time of the event in milliseconds, never decreasing.
    ///
    /// # Errors
    /// [`IllegalEvent`] for a pair that can't be; the state is then as before.
    pub fn step(
        &mut self,
        header: &RunHeader,
        at_ms: u64,
        event: Event,
    ) -> Result<Vec<Effect>, IllegalEvent> {
        use Phase::{Active, Baseline, Finished, Injecting, Preflight, Recovering, Reverting};
        let mut step = Step { header, at_ms, effects: Vec::new() };
        match (self.phase, event) {
            (Preflight, Event::Started) if !self.started => step.start(self),
            (Preflight, Event::Resolved(resolution)) if self.selection.is_none() => {
                step.resolved(self, *resolution)
            }
            (Preflight, Event::Failed(failure)) => step.fail(self, failure),
            (Baseline, Event::Probed(sample)) => step.probed(self, &sample),
            (Baseline, Event::BaselineEnded | Event::Elapsed(Timer::Baseline)) => step.baseline_ended(self),
            (Injecting | Active | Reverting, Event::Injection(report)) => step.reported(self, report)?,
            (Injecting | Active, Event::Failed(failure)) => step.fail(self, failure),
            (Injecting | Active, Event::Health { health, ready }) => {
                step.health_while_broken(self, health, ready)
            }
            (Injecting | Active, Event::Guarded(decisions)) => step.guarded(self, decisions),
            (_, Event::Adopted { held }) => step.adopted(self, &held),
            // The last measurements of the phase before come late and count in their own phase.
            (Active | Reverting | Recovering, Event::Probed(sample)) => step.probed(self, &sample),
            (Injecting, Event::Elapsed(Timer::Injecting)) => step.not_active_in_time(self),
            (Active, Event::Elapsed(Timer::Run)) => step.run_elapsed(self),
            (Active, Event::Elapsed(Timer::Ramp(number))) => step.ramp_step(self, number),
            (Active, Event::Elapsed(Timer::Item(item))) => step.item_elapsed(self, item)?,
            (Active, Event::Elapsed(Timer::Repeat(item))) => step.repeat(self, item)?,
            (Active, Event::Redrawn { item, chosen }) => step.inject(self, item, chosen),
            (Reverting, Event::Elapsed(Timer::Revert)) => step.revert_timed_out(self),
            (Reverting, Event::Elapsed(Timer::Stepwise)) => step.at_once(self),
            (Reverting, Event::Elapsed(Timer::Retry)) => step.retry_due(self),
            (Reverting, Event::Health { health, ready }) => step.health_while_reverting(self, health, ready),
            (Reverting, Event::Guarded(decisions)) => step.guarded_while_reverting(self, decisions),
            (Reverting | Recovering, Event::Acted(outcome)) => step.acted(self, outcome),
            (Recovering, Event::Health { health, ready }) => {
                step.health_while_recovering(self, health, ready)
            }
            (Recovering, Event::Elapsed(Timer::Recovery)) => step.recovery_timed_out(self),
            (Preflight | Baseline | Recovering, Event::StopRequested(stop)) => {
                self.stop.get_or_insert(stop);
                step.finish(self);
            }
            (Injecting | Active, Event::StopRequested(stop)) => {
                self.stop.get_or_insert(stop);
                step.revert(self);
            }
            (Reverting, Event::StopRequested(stop)) => step.stop_while_reverting(self, stop),
            // A death of the owner or of the store is told to a run in any phase; once undone it changes nothing.
            (Baseline | Reverting | Recovering, Event::Failed(failure)) => step.fail(self, failure),
            (Finished, Event::Injection(report)) => step.proven_late(self, report),
            // What was on its way when the phase changed comes late and changes nothing.
            (Finished, _)
            | (Reverting | Recovering, Event::Elapsed(_) | Event::Redrawn { .. })
            | (Recovering, Event::Guarded(_))
            | (Injecting | Active | Recovering, Event::Elapsed(Timer::Baseline) | Event::BaselineEnded)
            | (Injecting, Event::Probed(_))
            | (Active, Event::Elapsed(Timer::Injecting))
            | (Reverting, Event::BaselineEnded) => {}
            (Recovering, Event::Injection(report)) => step.reported_late(self, report),
            (phase, event) => return Err(IllegalEvent { phase, event: event.name() }),
        }
        Ok(step.effects)
    }
}

/// One step on its way: what it knows, and the effects so far.
struct Step<'h> {
    header: &'h RunHeader,
    at_ms: u64,
    effects: Vec<Effect>,
}

impl Step<'_> {
    fn start(&mut self, run: &mut RunState) {
        run.started = true;
        self.effects.push(Effect::Resolve);
    }

    fn resolved(&mut self, run: &mut RunState, resolution: Resolution) {
        let refusals = || resolution.decisions.iter().filter(|decision| !decision.passed);
        let lever = refusals().find(|decision| decision.gate == Gate::Lever).map(|one| one.message.clone());
        let refused: Vec<String> =
            refusals().map(|decision| format!("{}: {}", decision.gate.name(), decision.message)).collect();
        run.instances = resolution.matching.len();
        run.ready_before = resolution.ready;
        run.ready_now = resolution.ready;
        run.ports_min = resolution.ports_min;
        run.selection = Some(resolution.selection);
        run.drawn = resolution.chosen;
        run.decisions = resolution.decisions;
        run.health_before = Some(resolution.health.clone());
        run.health = Some(resolution.health);
        if let Some(lever) = lever {
            return self.fail(run, Failure::Lever(lever));
        }
        if !refused.is_empty() {
            return self.fail(run, Failure::Gates(refused));
        }
        let first = self.first_step(run);
        for (item, fault) in self.header.experiment.spec.faults.iter().enumerate() {
            if fault.after.is_none() {
                self.plan(run, item, first.clone());
            }
        }
        run.phase = Phase::Baseline;
        let (spec, baseline) = (&self.header.experiment.spec, self.header.experiment.spec.baseline);
        if baseline > Span::default() {
            self.effects.push(Effect::Measure { phase: ProbePhase::Before, once: false });
            self.effects.push(Effect::SetTimer { timer: Timer::Baseline, after: baseline });
        } else if spec.probes.iter().any(|probe| probe.runs_in(ProbePhase::Before)) {
            self.effects.push(Effect::Measure { phase: ProbePhase::Before, once: true });
        } else {
            self.baseline_ended(run);
        }
    }

    fn plan(&mut self, run: &mut RunState, item: usize, chosen: Vec<Instance>) -> Vec<InjectionId> {
        let mut planned = Vec::new();
        for instance in chosen {
            let id = InjectionId::of(&self.header.run, run.injections.len());
            planned.push(id.clone());
            run.injections.push(Injection {
                id,
                item,
                instance,
                state: InjectionState::Planned,
                active_ms: None,
                ended_ms: None,
                inject_took_ms: None,
                revert_took_ms: None,
                evidence: Vec::new(),
                error: None,
                revert_failures: 0,
            });
        }
        planned
    }

    fn baseline_ended(&mut self, run: &mut RunState) {
        for probe in
            self.header.experiment.spec.probes.iter().filter(|probe| probe.runs_in(ProbePhase::Before))
        {
            match judge(probe, run.tally(&probe.name, ProbePhase::Before)) {
                Judgement::Within => {}
                Judgement::Beyond(text) => {
                    return self.fail(run, Failure::Baseline(format!("{}: {text}", probe.name)));
                }
                Judgement::NoData(text) => {
                    return self
                        .fail(run, Failure::BaselineWithoutData(format!("{} before: {text}", probe.name)));
                }
            }
        }
        run.phase = Phase::Injecting;
        for item in run.injections.iter().map(|injection| injection.item).collect::<Vec<_>>() {
            run.items[item] = ItemState::Started;
        }
        let ids = run.injections.iter().map(|injection| injection.id.clone()).collect();
        self.effects.push(Effect::StopMeasuring);
        self.effects.push(Effect::Inject(ids));
        self.effects.push(Effect::SetTimer { timer: Timer::Injecting, after: self.injecting_timeout() });
        self.watch_health();
    }

    fn injecting_timeout(&self) -> Span {
        let graces = self.header.experiment.spec.faults.iter().map(|item| item.fault.grace().0);
        Span(INJECTING_TIMEOUT + graces.max().unwrap_or_default())
    }

    /// A node that says nothing does not keep a run for ever.
    fn not_active_in_time(&mut self, run: &mut RunState) {
        let within = self.injecting_timeout();
        self.fail(run, Failure::Apply(format!("no fault was active within {within}")));
    }

    /// Starts an entry on these instances: a draw of a fault that repeats, or one that waited for another.
    fn inject(&mut self, run: &mut RunState, item: usize, chosen: Vec<Instance>) {
        if run.items.get(item).is_none_or(|state| *state == ItemState::Ended) || chosen.is_empty() {
            return;
        }
        if run.items[item] == ItemState::Waiting {
            run.items[item] = ItemState::Started;
        }
        let ids = self.plan(run, item, chosen);
        self.effects.push(Effect::Inject(ids));
    }

    fn reported(&mut self, run: &mut RunState, report: InjectionReport) -> Result<(), IllegalEvent> {
        let Some(index) = self.record(run, &report) else {
            return Err(IllegalEvent {
                phase: run.phase,
                event: format!("report of unknown {}", report.injection),
            });
        };
        let broken = run.phase != Phase::Reverting;
        match report.state {
            InjectionState::Active if broken => self.activated(run, index),
            InjectionState::ApplyFailed if broken => {
                let text = report.error.unwrap_or_else(|| "no reason given".into());
                let injection = &run.injections[index];
                let kind = self.header.experiment.spec.faults[injection.item].fault.kind();
                self.fail(
                    run,
                    Failure::Apply(format!("{kind} on {}: {text}", run.injections[index].instance.id)),
                );
            }
            InjectionState::RevertFailed if broken => self.revert(run),
            InjectionState::Reverted if broken && self.ended_early(run, index) => {
                let text = report.error.unwrap_or_else(|| "undone before its time".into());
                self.fail(run, Failure::Lost(format!("{}: {text}", self.describe(&run.injections[index]))));
            }
            InjectionState::TargetGone if broken => {
                let gone = |injection: &Injection| injection.state == InjectionState::TargetGone;
                if run.injections.iter().all(gone) {
                    self.revert(run);
                }
            }
            _ => {}
        }
        match run.phase {
            Phase::Reverting => self.reverted_if_all_ended(run),
            Phase::Active => self.start_followers(run),
            _ => {}
        }
        Ok(())
    }

    /// Undone without being asked to by this run: a holder that was told to end, or another hand. A kill is undone at
    /// once, for there is nothing to undo; but one that was never active may not have been made at all.
    fn ended_early(&self, run: &RunState, index: usize) -> bool {
        let injection = &run.injections[index];
        let kind = self.header.experiment.spec.faults[injection.item].fault.kind();
        let is_done = kind == FaultKind::PodKill && injection.active_ms.is_some();
        !is_done && run.items[injection.item] != ItemState::Ended
    }

    /// The fault and whom it hits.
    fn describe(&self, injection: &Injection) -> String {
        format!(
            "{} on {}",
            self.header.experiment.spec.faults[injection.item].fault.kind(),
            injection.instance.id
        )
    }

    /// Writes a report into the state; a final state is never left. `None` when no such injection exists.
    fn record(&mut self, run: &mut RunState, report: &InjectionReport) -> Option<usize> {
        let index = run.injections.iter().position(|injection| injection.id == report.injection)?;
        let injection = &run.injections[index];
        let proven = matches!(report.state, InjectionState::Reverted | InjectionState::TargetGone);
        let given_up = injection.state == InjectionState::RevertFailed;
        // What was given up on may be proven undone after all.
        if !(given_up && proven) && (injection.state.is_final() || report.state < injection.state) {
            return Some(index);
        }
        if report.state == InjectionState::RevertFailed && self.retry(run, index, report.error.as_ref()) {
            return Some(index);
        }
        run.retries.remove(&report.injection);
        let injection = &mut run.injections[index];
        injection.state = report.state;
        injection.evidence.extend(report.evidence.iter().map(|evidence| (report.state, evidence.clone())));
        if injection.error.is_none() {
            injection.error.clone_from(&report.error);
        }
        match report.state {
            InjectionState::Active => {
                injection.active_ms = Some(self.at_ms);
                injection.inject_took_ms = Some(report.took_ms);
            }
            InjectionState::Reverted => injection.revert_took_ms = Some(report.took_ms),
            _ => {}
        }
        if report.state.is_final() {
            injection.ended_ms = Some(self.at_ms);
        }
        Some(index)
    }

    /// An undo that was given up on is proven after all, or the other way round.
    fn reported_late(&mut self, run: &mut RunState, report: InjectionReport) {
        self.record(run, &report);
    }

    /// An undo that the run gave up on is proven after its end. Its outcome stays: nobody knew then.
    fn proven_late(&mut self, run: &mut RunState, report: InjectionReport) {
        let given_up = run.given_up(&report.injection);
        if given_up && matches!(report.state, InjectionState::Reverted | InjectionState::TargetGone) {
            self.record(run, &report);
        }
    }

    fn activated(&mut self, run: &mut RunState, index: usize) {
        let spec = &self.header.experiment.spec;
        if run.active_ms.is_none() {
            run.active_ms = Some(self.at_ms);
            run.phase = Phase::Active;
            self.effects.push(Effect::SetTimer { timer: Timer::Run, after: spec.duration });
            self.effects.push(Effect::Measure { phase: ProbePhase::Chaos, once: false });
            self.await_step(run);
        }
        let item = run.injections[index].item;
        if run.items[item] == ItemState::Started {
            run.items[item] = ItemState::Active;
            let fault = &spec.faults[item];
            if let Some(duration) = fault.duration {
                self.effects.push(Effect::SetTimer { timer: Timer::Item(item), after: duration });
            }
            if let Some(interval) = fault.fault.interval() {
                self.effects.push(Effect::SetTimer { timer: Timer::Repeat(item), after: interval });
            }
        }
    }

    fn item_elapsed(&mut self, run: &mut RunState, item: usize) -> Result<(), IllegalEvent> {
        self.known(run, item)?;
        run.items[item] = ItemState::Ended;
        let ids: Vec<InjectionId> = run
            .unfinished()
            .filter(|injection| injection.item == item)
            .map(|injection| injection.id.clone())
            .collect();
        if !ids.is_empty() {
            self.effects.push(Effect::Revert(ids));
        }
        self.start_followers(run);
        Ok(())
    }

    fn repeat(&mut self, run: &mut RunState, item: usize) -> Result<(), IllegalEvent> {
        self.known(run, item)?;
        let interval = self.header.experiment.spec.faults[item].fault.interval();
        let (ItemState::Active, Some(interval)) = (run.items[item], interval) else { return Ok(()) };
        run.draws[item] += 1;
        self.effects.push(Effect::Redraw { item, draw: run.draws[item] });
        self.effects.push(Effect::SetTimer { timer: Timer::Repeat(item), after: interval });
        Ok(())
    }

    fn known(&self, run: &RunState, item: usize) -> Result<(), IllegalEvent> {
        if item < run.items.len() {
            return Ok(());
        }
        Err(IllegalEvent { phase: run.phase, event: format!("timer of fault {item}, which does not exist") })
    }

    /// Starts what waits for an entry that is over and undone, and ends the run when nothing is left to do.
    fn start_followers(&mut self, run: &mut RunState) {
        let faults = &self.header.experiment.spec.faults;
        for (item, fault) in faults.iter().enumerate() {
            let once = matches!(&fault.fault, Fault::PodKill(kill) if kill.interval.is_none())
                && fault.duration.is_none();
            let followed = fault.name.is_some() && faults.iter().any(|other| other.after == fault.name);
            if once && followed && run.items[item] == ItemState::Active && ended(run, item) {
                run.items[item] = ItemState::Ended;
            }
        }
        for (item, fault) in faults.iter().enumerate() {
            let Some(after) = &fault.after else { continue };
            let Some(before) = faults.iter().position(|other| other.name.as_ref() == Some(after)) else {
                continue;
            };
            if run.items[item] == ItemState::Waiting
                && run.items[before] == ItemState::Ended
                && ended(run, before)
            {
                run.items[item] = ItemState::Started;
                run.draws[item] += 1;
                self.effects.push(Effect::Redraw { item, draw: run.draws[item] });
            }
        }
        if run.items.iter().all(|state| *state == ItemState::Ended) {
            self.revert(run);
        }
    }
}

/// Every injection of an entry is in a final state.
fn ended(run: &RunState, item: usize) -> bool {
    run.injections
        .iter()
        .filter(|injection| injection.item == item)
        .all(|injection| injection.state.is_final())
}

//! What ends a run early: probes with `stopOnFailure`, the health score, the gates that are also asked during a run.
//!
//! Owns these judgements. It never measures, and what is undone then is [`super::undo`]'s.

use super::{HEALTH_EVERY_ACTIVE, Step, UNKNOWN_HEALTH_MAX};
use crate::run::event::Effect;
use crate::run::state::RunState;
use crate::run::tolerance::{Judgement, ProbeSample, judge};
use crate::run::types::{Phase, Stop, StopCause};
use crate::safety::{Decision, Gate, Health, Score};
use crate::spec::ProbePhase;

impl Step<'_> {
    pub(super) fn probed(&mut self, run: &mut RunState, sample: &ProbeSample) {
        let tally = run.tallies.entry(sample.probe.clone()).or_default().entry(sample.phase).or_default();
        tally.add(sample);
        let chaos = run.phase == Phase::Active && sample.phase == ProbePhase::Chaos;
        if chaos && sample.passed.saturating_add(sample.no_data) < sample.measured {
            run.detected_ms.get_or_insert(self.at_ms);
        }
        let probes = &self.header.experiment.spec.probes;
        let Some(probe) =
            probes.iter().find(|probe| chaos && probe.stop_on_failure && probe.name == sample.probe)
        else {
            return;
        };
        if let Judgement::Beyond(text) = judge(probe, run.tally(&sample.probe, ProbePhase::Chaos)) {
            self.stop(run, StopCause::Probe, format!("{}: {text}", probe.name));
        }
    }

    pub(super) fn health_while_broken(&mut self, run: &mut RunState, health: Health, ready: usize) {
        let alarm = self.health_alarm(run, &health);
        run.ready_now = ready;
        if let Some(score) = health.score.value() {
            run.score_min = Some(run.score_min.map_or(score, |min| min.min(score)));
        }
        run.health = Some(health);
        if let Some(reason) = alarm {
            run.detected_ms.get_or_insert(self.at_ms);
            self.stop(run, StopCause::Health, reason);
        }
    }

    /// Why this health is an alarm: one lost sample is none, silence is.
    pub(super) fn health_alarm(&self, run: &mut RunState, health: &Health) -> Option<String> {
        let threshold = self.header.threshold;
        let unknown = matches!(health.score, Score::Unknown(_));
        run.health_unknown = if unknown { run.health_unknown + 1 } else { 0 };
        let low = health.score.value().is_some_and(|score| score < threshold);
        (low || run.health_unknown > UNKNOWN_HEALTH_MAX).then(|| health.explain(threshold))
    }

    pub(super) fn guarded(&mut self, run: &mut RunState, decisions: Vec<Decision>) {
        let alarm = guard_alarm(run, &decisions);
        run.guards = decisions;
        if let Some((cause, reason)) = alarm {
            self.stop(run, cause, reason);
        }
    }

    /// Ends the run for this reason, unless it has another already.
    pub(super) fn stop(&mut self, run: &mut RunState, cause: StopCause, reason: String) {
        run.stop.get_or_insert(Stop { cause, reason });
        self.revert(run);
    }

    pub(super) fn watch_health(&mut self) {
        self.effects.push(Effect::WatchHealth { every: HEALTH_EVERY_ACTIVE });
    }
}

/// Why these decisions are an alarm. A refusal is one at once; what can't be asked is one when it stays so.
pub(super) fn guard_alarm(run: &mut RunState, decisions: &[Decision]) -> Option<(StopCause, String)> {
    let refused = decisions.iter().find(|decision| !decision.passed && !decision.unknown);
    let unknown = decisions.iter().find(|decision| !decision.passed && decision.unknown);
    run.guards_unknown = if unknown.is_some() { run.guards_unknown + 1 } else { 0 };
    let decision = refused.or_else(|| unknown.filter(|_| run.guards_unknown > UNKNOWN_HEALTH_MAX))?;
    let cause = if decision.gate == Gate::Lever { StopCause::Lever } else { StopCause::Guardrail };
    Some((cause, format!("{}: {}", decision.gate.name(), decision.message)))
}

//! When a run counts as recovered: readiness, score and probes as before, for as long as the document asks.
//!
//! Owns this one judgement. It never measures.

use super::Step;
use crate::run::state::RunState;
use crate::run::tolerance::Judgement;
use crate::run::verdict::Failure;
use crate::safety::{Health, Score};
use crate::spec::ProbePhase;

impl Step<'_> {
    pub(super) fn health_while_recovering(&mut self, run: &mut RunState, health: Health, ready: usize) {
        run.ready_now = ready;
        let safe = match &health.score {
            Score::Known(score) => *score >= self.header.threshold,
            Score::Unknown(_) | Score::NotEvaluated => false,
        };
        run.health = Some(health);
        let after = |probe: &&crate::spec::Probe| probe.runs_in(ProbePhase::After);
        let probes_pass = self.header.experiment.spec.probes.iter().filter(after).all(|probe| {
            run.tally(&probe.name, ProbePhase::After).measured > 0
                && run.judge_after(probe) == Judgement::Within
        });
        if !(safe && probes_pass && ready >= run.ready_before) {
            run.steady_ms = None;
            return;
        }
        let since = *run.steady_ms.get_or_insert(self.at_ms);
        let hold = self.header.experiment.spec.recovery.hold;
        if self.at_ms.saturating_sub(since) >= u64::try_from(hold.0.as_millis()).unwrap_or(u64::MAX) {
            run.recovered_ms = Some(since);
            self.finish(run);
        }
    }

    pub(super) fn recovery_timed_out(&mut self, run: &mut RunState) {
        let acting = run.actions_begun > run.actions.len();
        if acting || self.act(run) {
            return;
        }
        let timeout = self.header.experiment.spec.recovery.timeout;
        let health =
            run.health.as_ref().map(|health| health.explain(self.header.threshold)).unwrap_or_default();
        run.failure = Some(Failure::Recovery(format!(
            "not recovered within {timeout}: {} of {} instances ready, {health}",
            run.ready_now, run.ready_before
        )));
        self.finish(run);
    }
}

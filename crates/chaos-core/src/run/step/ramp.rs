//! Progressive runs: how many instances each step hits, and what must hold between two steps.
//!
//! Owns that. The instances were drawn once, by the seed, for the last step; each step takes some more of them.

use super::Step;
use crate::duration::Span;
use crate::run::event::{Effect, Timer};
use crate::run::state::RunState;
use crate::run::tolerance::{Judgement, judge};
use crate::run::types::StopCause;
use crate::spec::ProbePhase;
use crate::target::Instance;

impl Step<'_> {
    /// Instances of a step and all before it.
    fn up_to(&self, run: &RunState, step: usize) -> usize {
        let ramp = &self.header.experiment.spec.ramp;
        let total = run.selection.as_ref().map_or(0, |selection| selection.total);
        ramp.get(step).map_or(run.drawn.len(), |share| share.of(total).clamp(1, run.drawn.len().max(1)))
    }

    /// What the first step hits: everything that was drawn when there is no ramp.
    pub(super) fn first_step(&self, run: &mut RunState) -> Vec<Instance> {
        let count = self.up_to(run, 0);
        run.ramp_steps = 1;
        run.drawn.iter().take(count).cloned().collect()
    }

    /// Sets the timer of the next step, when there is one.
    pub(super) fn await_step(&mut self, run: &RunState) {
        let spec = &self.header.experiment.spec;
        if run.ramp_steps < spec.ramp.len() {
            let (step, steps) = (run.ramp_steps, u32::try_from(spec.ramp.len()).unwrap_or(1));
            let begins = spec.duration.0 * u32::try_from(step).unwrap_or(0) / steps;
            let active = run.active_ms.unwrap_or(self.at_ms);
            let passed = std::time::Duration::from_millis(self.at_ms.saturating_sub(active));
            let after = Span(begins.saturating_sub(passed));
            self.effects.push(Effect::SetTimer { timer: Timer::Ramp(step), after });
        }
    }

    /// The gate between two steps, then the next instances.
    pub(super) fn ramp_step(&mut self, run: &mut RunState, step: usize) {
        let Some(share) = self.header.experiment.spec.ramp.get(step).filter(|_| step == run.ramp_steps)
        else {
            return;
        };
        for probe in self.header.experiment.spec.probes.iter().filter(|one| one.runs_in(ProbePhase::Chaos)) {
            match judge(probe, run.tally(&probe.name, ProbePhase::Chaos)) {
                Judgement::Within => {}
                Judgement::Beyond(text) => {
                    let reason = format!("before the step to {share}: {}: {text}", probe.name);
                    return self.stop(run, StopCause::Probe, reason);
                }
                Judgement::NoData(text) => {
                    let reason = format!("before the step to {share}: {}: {text}", probe.name);
                    return self.stop(run, StopCause::Guardrail, reason);
                }
            }
        }
        // A score below the threshold has ended the run already; one that is not known does not let it grow.
        if run.health_unknown > 0 || run.guards_unknown > 0 {
            let reason = format!("before the step to {share}: the health score or a gate is unknown");
            return self.stop(run, StopCause::Guardrail, reason);
        }
        let (from, to) = (self.up_to(run, step - 1), self.up_to(run, step));
        let next: Vec<Instance> = run.drawn.iter().take(to).skip(from).cloned().collect();
        run.ramp_steps += 1;
        let mut ids = Vec::new();
        for item in 0..self.header.experiment.spec.faults.len() {
            ids.extend(self.plan(run, item, next.clone()));
        }
        if !ids.is_empty() {
            self.effects.push(Effect::Inject(ids));
        }
        self.await_step(run);
    }
}

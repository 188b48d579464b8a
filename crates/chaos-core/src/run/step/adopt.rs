//! A run whose service was gone is taken up by another: it goes on when its hosts still hold every fault, else it is
//! undone.
//!
//! Owns what goes on then and with how much time. It never asks a host.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Step;
use crate::duration::Span;
use crate::run::event::{Effect, Timer};
use crate::run::state::{ItemState, RunState};
use crate::run::types::{InjectionId, Phase};
use crate::run::verdict::Failure;
use crate::spec::ProbePhase;

impl Step<'_> {
    pub(super) fn adopted(&mut self, run: &mut RunState, held: &[InjectionId]) {
        run.adopted += 1;
        // An action that was on its way is begun again.
        run.actions_begun = run.actions.len();
        let held: BTreeSet<&InjectionId> = held.iter().collect();
        let lost = run.unfinished().find(|injection| !held.contains(&injection.id)).map(|one| one.id.clone());
        let recovery = self.header.experiment.spec.recovery.timeout;
        match (run.phase, lost) {
            (Phase::Active, None) => self.go_on(run),
            (Phase::Active, Some(id)) => {
                self.fail(
                    run,
                    Failure::Abandoned(format!("the service was gone, and {id} is not held any more")),
                );
            }
            (Phase::Reverting, _) => {
                run.stepping = None;
                run.retries.clear();
                self.revert_unfinished(run);
                self.reverted_if_all_ended(run);
            }
            (Phase::Recovering, _) => self.await_recovery(self.left(run.reverted_ms, recovery)),
            (Phase::Preflight | Phase::Baseline | Phase::Injecting, _) => {
                let text = "the service was gone before the faults were active; everything was undone";
                self.fail(run, Failure::Abandoned(text.to_owned()));
            }
            (Phase::Finished, _) => {}
        }
    }

    /// What is left of a time that began then.
    fn left(&self, since_ms: Option<u64>, whole: Span) -> Span {
        let passed = Duration::from_millis(self.at_ms.saturating_sub(since_ms.unwrap_or(self.at_ms)));
        Span(whole.0.saturating_sub(passed))
    }

    fn go_on(&mut self, run: &mut RunState) {
        let spec = &self.header.experiment.spec;
        let after = self.left(run.active_ms, spec.duration);
        self.effects.push(Effect::SetTimer { timer: Timer::Run, after });
        self.effects.push(Effect::Measure { phase: ProbePhase::Chaos, once: false });
        self.watch_health();
        for (item, fault) in spec.faults.iter().enumerate() {
            if run.items.get(item) != Some(&ItemState::Active) {
                continue;
            }
            let since =
                run.injections.iter().filter(|one| one.item == item).filter_map(|one| one.active_ms).min();
            if let Some(duration) = fault.duration {
                let after = self.left(since, duration);
                self.effects.push(Effect::SetTimer { timer: Timer::Item(item), after });
            }
            if let Some(interval) = fault.fault.interval() {
                self.effects.push(Effect::SetTimer { timer: Timer::Repeat(item), after: interval });
            }
        }
        self.await_step(run);
    }
}

//! What each active run has chosen, so that no two runs hit one instance and the caps over all runs are kept.
//!
//! Owns that table. A run claims its instances in the same moment as the gates look at those of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chaos_core::run::RunId;
use chaos_core::safety::Claim;

#[derive(Debug, Default)]
pub(crate) struct Claims(Mutex<BTreeMap<RunId, Claim>>);

impl Claims {
    fn table(&self) -> MutexGuard<'_, BTreeMap<RunId, Claim>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `decide` look at what others hold; when it says yes, the claim stands before anybody else can look.
    pub(crate) fn claim_if<T>(&self, own: Claim, decide: impl FnOnce(Vec<Claim>) -> (T, bool)) -> T {
        let mut table = self.table();
        let others = table.values().filter(|claim| claim.run != own.run).cloned().collect();
        let (answer, granted) = decide(others);
        if granted {
            table.insert(own.run.clone(), own);
        }
        answer
    }

    /// Adds those of `wanted` to a run's claim that nobody else holds, and says which: none when `decide` says no. It is
    /// shown what others hold, and how many the run would.
    pub(crate) fn extend(
        &self,
        run: &RunId,
        wanted: &BTreeSet<String>,
        decide: impl FnOnce(Vec<Claim>, usize) -> bool,
    ) -> BTreeSet<String> {
        let mut table = self.table();
        let others: Vec<Claim> = table.values().filter(|claim| claim.run != *run).cloned().collect();
        let taken: BTreeSet<&String> = others.iter().flat_map(|claim| &claim.instances).collect();
        let granted: BTreeSet<String> = wanted.iter().filter(|id| !taken.contains(id)).cloned().collect();
        let mut held = table.get(run).map(|own| own.instances.clone()).unwrap_or_default();
        held.extend(granted.iter().cloned());
        if !decide(others, held.len()) {
            return BTreeSet::new();
        }
        if let Some(own) = table.get_mut(run) {
            own.instances = held;
        }
        granted
    }

    /// The claim of a run that another process began.
    pub(crate) fn restore(&self, claim: Claim) {
        self.table().insert(claim.run.clone(), claim);
    }

    pub(crate) fn release(&self, run: &RunId) {
        self.table().remove(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chaos_core::spec::ExperimentKey;

    fn claim(run: &str, instances: &[&str]) -> Claim {
        Claim {
            run: RunId(run.into()),
            experiment: ExperimentKey { namespace: "default".into(), name: run.into() },
            target: "app".into(),
            instances: instances.iter().map(|id| (*id).to_owned()).collect(),
        }
    }

    #[test]
    fn a_claim_that_was_granted_is_seen_by_the_next_and_gone_after_its_release() {
        let claims = Claims::default();
        claims.claim_if(claim("one", &["a/1"]), |others| (assert!(others.is_empty()), true));
        claims.claim_if(claim("two", &["a/1"]), |others| (assert_eq!(others.len(), 1), false));
        claims.release(&RunId("one".into()));
        claims.claim_if(claim("three", &["a/1"]), |others| (assert!(others.is_empty()), false));
    }

    #[test]
    fn another_draw_gets_only_what_nobody_else_holds() {
        let claims = Claims::default();
        claims.restore(claim("one", &["a/1"]));
        claims.restore(claim("two", &["a/2"]));
        let wanted = ["a/2", "a/3"].map(str::to_owned).into();
        let one = RunId("one".into());
        let decide = |answer| {
            move |others: Vec<Claim>, held| {
                assert_eq!((others.len(), held), (1, 2));
                answer
            }
        };
        assert_eq!(claims.extend(&one, &wanted, decide(false)), [].into(), "and nothing without consent");
        assert_eq!(claims.extend(&one, &wanted, decide(true)), ["a/3".to_owned()].into());
        assert_eq!(claims.extend(&one, &wanted, |_, held| held == 2), ["a/3".to_owned()].into());
    }
}

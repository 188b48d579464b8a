//! The breaker of a target: repeated failures keep others from it for a while.
//!
//! Owns what counts as a failure and what follows from a row of them. It keeps nothing: the state is read off the runs.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::BreakerPolicy;
use crate::journal::RunSummary;
use crate::run::{StopCause, Verdict};

/// How the breaker of a target stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum BreakerState {
    /// The policy has none.
    Off,
    /// Runs may start.
    Closed {
        /// Failures in a row so far.
        failures: u32,
    },
    /// Nothing may start.
    Open {
        /// Failures in a row.
        failures: u32,
        /// Until when.
        #[schemars(with = "String")]
        until: Timestamp,
    },
    /// One run may try: its failure opens the breaker again, its success closes it.
    HalfOpen {
        /// Failures in a row.
        failures: u32,
    },
}

/// What a finished run says of its target; `None` when it says nothing, so that it neither counts as a failure nor
/// ends a row of them: it never began, or a person ended it. [`state`] passes those over; whoever reads the runs that
/// are handed to it has to leave them out before it counts, else the refusals of an open breaker would close it. A store
/// keeps the answer beside each run, so a change here needs a new version of its format.
pub fn failed(run: &RunSummary) -> Option<bool> {
    /// Exit code of a target that matches nothing: a mistake in the document.
    const USAGE: Option<u8> = Some(2);
    let by = |cause| match cause {
        StopCause::Health | StopCause::Guardrail | StopCause::Probe => Some(true),
        StopCause::Request
        | StopCause::Interrupt
        | StopCause::Shutdown
        | StopCause::Lever
        | StopCause::Journal => None,
    };
    match run.verdict? {
        _ if run.revert_incomplete => Some(true),
        Verdict::Blocked => None,
        Verdict::Error if run.exit_code == USAGE => None,
        Verdict::Error => Some(true),
        Verdict::Stopped | Verdict::Deviated if run.stop_cause.is_some() => run.stop_cause.and_then(by),
        Verdict::Stopped => None,
        Verdict::Held | Verdict::Deviated | Verdict::Inconclusive => Some(false),
    }
}

/// The state of a target whose runs ended like this, the latest first.
pub fn state(policy: &BreakerPolicy, outcomes: &[RunSummary], now: Timestamp) -> BreakerState {
    if policy.failures == 0 {
        return BreakerState::Off;
    }
    let counted = || outcomes.iter().filter_map(|run| Some((run, failed(run)?)));
    let row = counted().take_while(|(_, failed)| *failed).count();
    let failures = u32::try_from(row).unwrap_or(u32::MAX);
    let Some((last, _)) = counted().next().filter(|_| failures >= policy.failures) else {
        return BreakerState::Closed { failures };
    };
    match ended(last).checked_add(policy.open_for.0) {
        Ok(until) if now >= until => BreakerState::HalfOpen { failures },
        Ok(until) => BreakerState::Open { failures, until },
        Err(_) => BreakerState::Open { failures, until: Timestamp::MAX },
    }
}

/// When a finished run ended.
fn ended(run: &RunSummary) -> Timestamp {
    let lasted = SignedDuration::try_from_secs_f64(run.duration_seconds).unwrap_or(SignedDuration::ZERO);
    run.created_at.saturating_add(lasted).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::duration::Span;
    use crate::run::{Phase, RunId, Status};

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn policy(failures: u32) -> BreakerPolicy {
        BreakerPolicy { failures, open_for: Span::seconds(600) }
    }

    /// A run that ended so many seconds ago.
    fn run(verdict: Verdict, stop_cause: Option<StopCause>, ago: i64) -> RunSummary {
        RunSummary {
            run: RunId("0".into()),
            name: "n".into(),
            namespace: "default".into(),
            kind: "pod_kill".into(),
            target: "app \"a\"".into(),
            status: Status::Completed,
            phase: Phase::Finished,
            verdict: Some(verdict),
            reason: None,
            stop_cause,
            revert_incomplete: false,
            exit_code: Some(1),
            actor: "ann".into(),
            injections: 1,
            active: 0,
            created_at: NOW - SignedDuration::from_secs(ago + 30),
            duration_seconds: 30.0,
            detection_seconds: None,
            recovery_seconds: None,
        }
    }

    #[test]
    fn a_failure_is_a_guardrail_or_what_could_not_be_carried_out_or_undone() {
        let stopped = |cause| failed(&run(Verdict::Stopped, Some(cause), 0));
        for cause in [StopCause::Health, StopCause::Guardrail] {
            assert_eq!(stopped(cause), Some(true), "{cause:?}");
        }
        for cause in [
            StopCause::Request,
            StopCause::Interrupt,
            StopCause::Shutdown,
            StopCause::Lever,
            StopCause::Journal,
        ] {
            assert_eq!(stopped(cause), None, "{cause:?}");
        }
        assert_eq!(failed(&run(Verdict::Deviated, Some(StopCause::Probe), 0)), Some(true));
        assert_eq!(failed(&run(Verdict::Error, None, 0)), Some(true));
        assert_eq!(failed(&RunSummary { exit_code: Some(2), ..run(Verdict::Error, None, 0) }), None);
        assert_eq!(
            failed(&RunSummary { revert_incomplete: true, ..run(Verdict::Error, None, 0) }),
            Some(true)
        );
        assert_eq!(failed(&run(Verdict::Blocked, None, 0)), None);
        assert_eq!(failed(&RunSummary { verdict: None, ..run(Verdict::Held, None, 0) }), None);
        for verdict in [Verdict::Held, Verdict::Deviated, Verdict::Inconclusive] {
            assert_eq!(failed(&run(verdict, None, 0)), Some(false), "{verdict}");
        }
    }

    #[test]
    fn it_opens_lets_one_try_and_closes_again() {
        let failure = |ago| run(Verdict::Error, None, ago);
        let state = |runs: &[RunSummary]| state(&policy(2), runs, NOW);
        assert_eq!(state(&[]), BreakerState::Closed { failures: 0 });
        assert_eq!(state(&[failure(10)]), BreakerState::Closed { failures: 1 });
        let until = NOW + SignedDuration::from_secs(590);
        assert_eq!(state(&[failure(10), failure(5000)]), BreakerState::Open { failures: 2, until });
        let half_open = BreakerState::HalfOpen { failures: 2 };
        assert_eq!(state(&[failure(600), failure(5000)]), half_open);
        // Refused and stopped by hand: neither closes it.
        let refused = [run(Verdict::Blocked, None, 1), run(Verdict::Stopped, Some(StopCause::Request), 2)];
        assert_eq!(state(&[&refused[..], &[failure(600), failure(5000)]].concat()), half_open);
        let until = NOW + SignedDuration::from_secs(599);
        assert_eq!(
            state(&[failure(1), failure(700), failure(5000)]),
            BreakerState::Open { failures: 3, until },
            "the one that tried failed"
        );
        assert_eq!(
            state(&[run(Verdict::Held, None, 1), failure(700), failure(5000)]),
            BreakerState::Closed { failures: 0 }
        );
    }

    #[test]
    fn no_failures_is_no_breaker() {
        let failures: Vec<RunSummary> = (0..10).map(|ago| run(Verdict::Error, None, ago)).collect();
        assert_eq!(state(&policy(0), &failures, NOW), BreakerState::Off);
    }

    /// Plays the runs in the order in which they happened, and keeps what a breaker in memory would keep.
    fn model(policy: &BreakerPolicy, oldest_first: &[RunSummary]) -> (u32, Option<Timestamp>) {
        let (mut row, mut last) = (0, None);
        for run in oldest_first {
            match failed(run) {
                Some(true) => (row, last) = (row + 1, Some(ended(run))),
                Some(false) => (row, last) = (0, None),
                None => {}
            }
        }
        (row, last.filter(|_| row >= policy.failures))
    }

    fn outcome() -> impl Strategy<Value = (Verdict, Option<StopCause>)> {
        prop::sample::select(vec![
            (Verdict::Held, None),
            (Verdict::Deviated, None),
            (Verdict::Deviated, Some(StopCause::Probe)),
            (Verdict::Inconclusive, None),
            (Verdict::Blocked, None),
            (Verdict::Stopped, Some(StopCause::Request)),
            (Verdict::Stopped, Some(StopCause::Health)),
            (Verdict::Stopped, Some(StopCause::Guardrail)),
            (Verdict::Error, None),
            (Verdict::Error, None),
        ])
    }

    proptest! {
        #[test]
        fn the_state_is_that_of_a_breaker_that_saw_every_run(
            outcomes in prop::collection::vec((outcome(), 1i64..400), 0..12), failures in 1u32..5,
        ) {
            let mut ago = 0;
            let latest_first: Vec<RunSummary> = outcomes.iter().map(|((verdict, cause), gap)| {
                ago += gap;
                run(*verdict, *cause, ago)
            }).collect();
            let oldest_first: Vec<RunSummary> = latest_first.iter().rev().cloned().collect();
            let policy = policy(failures);
            let expected = match model(&policy, &oldest_first) {
                (failures, None) => BreakerState::Closed { failures },
                (failures, Some(last)) => {
                    let until = last + SignedDuration::from_secs(600);
                    if NOW < until { BreakerState::Open { failures, until } } else { BreakerState::HalfOpen { failures } }
                }
            };
            prop_assert_eq!(state(&policy, &latest_first, NOW), expected);
        }
    }
}

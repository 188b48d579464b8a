//! When measurements start: on a fixed schedule, whatever the answers do.
//!
//! Owns starts, the limit in flight, and when a sample is handed over. Start n is at `begin + n * every`, so lateness
//! never adds up; a start that finds the limit reached is counted as failed, never dropped. It knows nothing of what
//! is measured.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chaos_core::spec::{Probe, ProbeCheck, ProbePhase};
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use crate::check::Check;
use crate::command::COMMANDS_IN_FLIGHT_MAX;
use crate::jitter::Jitter;
use crate::load::{self, LOAD_IN_FLIGHT_MAX};
use crate::measured::Measured;
use crate::sum::{Mix, Sum};

/// The most measurements of one probe (but `command` and `load`) that may wait for their answers at one time.
pub const MEASUREMENTS_IN_FLIGHT_MAX: usize = 1024;
/// Time that a sample covers; a probe measured more rarely gives a sample for each measurement.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked at whether what is measured came out otherwise than before, in the phase after the revert: when
/// a target is back is known as closely as this, and an unchanged one gives no more samples than ever.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Looks until a sample is handed over though nothing changed: as many as make [`SAMPLE_EVERY`].
const LOOKS_MAX: u32 = 10;
/// Probes that begin together are spread over this time (or their pace, when shorter), so that they don't all start at
/// the same moments for ever.
const SPREAD_OVER: Duration = Duration::from_millis(20);
/// Steps of the spread; neighbours in the order of their begin are far apart.
const SPREAD_STEPS: u32 = 20;
const SPREAD_STRIDE: u32 = 7;
/// Starts that may be late (this process was stopped) before others get the thread.
const LATE_STARTS_MAX: u64 = 1024;

/// Start times: n starts in a fixed span, evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    span: Duration,
    starts: u32,
}

impl Pace {
    pub(crate) fn every(span: Duration) -> Self {
        Self { span, starts: 1 }
    }

    pub(crate) fn per_second(starts: u32) -> Self {
        Self { span: Duration::from_secs(1), starts: starts.max(1) }
    }

    /// From the begin to start `n`. Computed, not summed up, so that rounding does not add up either.
    fn offset(&self, n: u64) -> Duration {
        let nanos = self.span.as_nanos().saturating_mul(u128::from(n)) / u128::from(self.starts);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn is_slower_than_samples(&self) -> bool {
        self.offset(1) >= SAMPLE_EVERY
    }
}

/// What is started, when, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) pace: Pace,
    /// Measurements that may be in flight.
    pub(crate) in_flight_max: usize,
    /// End after so many starts, without asking `stop`.
    pub(crate) count: Option<u64>,
    /// From the call to the first start.
    pub(crate) delay: Duration,
    /// Hand over as soon as measurements come out otherwise than before.
    pub(crate) tells_changes: bool,
}

impl Plan {
    /// The plan of a probe; `nth` counts the watches that began before.
    pub(crate) fn of(probe: &Probe, phase: ProbePhase, once: bool, nth: u32) -> Self {
        let step = nth.wrapping_mul(SPREAD_STRIDE) % SPREAD_STEPS;
        let plan = Self {
            pace: Pace::every(probe.every.0),
            in_flight_max: MEASUREMENTS_IN_FLIGHT_MAX,
            count: once.then_some(1),
            delay: if once { Duration::ZERO } else { probe.every.0.min(SPREAD_OVER) * step / SPREAD_STEPS },
            tells_changes: phase == ProbePhase::After,
        };
        match probe.check() {
            Some(ProbeCheck::Load(load)) => Self {
                pace: Pace::per_second(load.rate),
                in_flight_max: LOAD_IN_FLIGHT_MAX,
                count: once.then(|| load::burst(load.rate)),
                delay: Duration::ZERO,
                ..plan
            },
            Some(ProbeCheck::Command(_)) => Self { in_flight_max: COMMANDS_IN_FLIGHT_MAX, ..plan },
            _ => plan,
        }
    }
}

/// When what is measured is looked at, and whether it is handed over then.
struct Looks {
    every: Duration,
    max: u32,
    since: u32,
    last: Mix,
}

impl Looks {
    fn of(plan: &Plan) -> Self {
        let (every, max) = if plan.tells_changes { (LOOK_EVERY, LOOKS_MAX) } else { (SAMPLE_EVERY, 1) };
        Self { every, max, since: 0, last: Mix::Nothing }
    }

    /// A look at what was measured since the last sample.
    fn is_due(&mut self, mix: Mix) -> bool {
        self.since += 1;
        let changed = mix != Mix::Nothing && (mix == Mix::Both || mix != self.last);
        changed || self.since >= self.max
    }

    fn handed_over(&mut self, mix: Mix) {
        self.since = 0;
        if mix != Mix::Nothing {
            self.last = mix;
        }
    }
}

/// What the measurements of one watch share with the one who hands over samples.
struct Shared {
    sum: Mutex<Sum>,
    arrived: Notify,
}

impl Shared {
    fn sum(&self) -> MutexGuard<'_, Sum> {
        self.sum.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, measured: Measured) {
        self.sum().add(measured);
        self.arrived.notify_one();
    }
}

/// Measures by `plan` until `stop`, then awaits what is in flight. `hand_over` is called about each second, at once
/// for each measurement of a slow pace, soon after a change where the plan says so, at `stop`, and at the end; of a plan
/// with a count only at the end.
pub(crate) async fn run(
    plan: Plan,
    check: Arc<Check>,
    jitter: Arc<Jitter>,
    mut stop: BoxFuture<'_, ()>,
    hand_over: impl Fn(&mut Sum) + Send,
) {
    let shared = Arc::new(Shared { sum: Mutex::new(Sum::new()), arrived: Notify::new() });
    let (stopper, stopped) = oneshot::channel();
    // A task of its own, so that neither the sink nor the caller's other work delays a start. It ends with this set.
    let mut pacer = JoinSet::new();
    let mut work = Pacer { plan, check, jitter, shared: Arc::clone(&shared), flying: JoinSet::new() };
    pacer.spawn(async move { work.pace(stopped).await });

    let mut looks = Looks::of(&plan);
    let mut look = interval_at(Instant::now() + looks.every, looks.every);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopper = Some(stopper);
    let endless = plan.count.is_none();
    let each = endless && plan.pace.is_slower_than_samples();
    loop {
        let is_due = tokio::select! {
            biased;
            _ = pacer.join_next() => break,
            () = &mut stop, if endless && stopper.is_some() => {
                stopper = None;
                true
            }
            _ = look.tick(), if endless => looks.is_due(shared.sum().mix()),
            () = shared.arrived.notified(), if each => true,
        };
        if is_due {
            let mut sum = shared.sum();
            looks.handed_over(sum.mix());
            hand_over(&mut sum);
        }
    }
    hand_over(&mut shared.sum());
}

struct Pacer {
    plan: Plan,
    check: Arc<Check>,
    jitter: Arc<Jitter>,
    shared: Arc<Shared>,
    flying: JoinSet<()>,
}

impl Pacer {
    /// Starts measurements until `stopped` resolves (its sender gone is the same) or the count is reached, then awaits
    /// those in flight.
    async fn pace(&mut self, mut stopped: oneshot::Receiver<()>) {
        let begin = Instant::now() + self.plan.delay;
        let mut next = 0;
        while self.plan.count.is_none_or(|count| next < count) {
            tokio::select! {
                biased;
                _ = &mut stopped => break,
                () = sleep_until(begin + self.plan.pace.offset(next)) => {}
            }
            next = self.start_due(begin, next);
            self.collect();
        }
        while let Some(joined) = self.flying.join_next().await {
            self.count_panic(&joined);
        }
    }

    /// Starts everything from start `next` on that is due now; gives the number of the first that is not.
    fn start_due(&mut self, begin: Instant, mut next: u64) -> u64 {
        let (now, last) = (Instant::now(), next + LATE_STARTS_MAX);
        while next < last && self.plan.count.is_none_or(|count| next < count) {
            let due = begin + self.plan.pace.offset(next);
            if due > now {
                break;
            }
            self.start(due);
            next += 1;
        }
        next
    }

    fn start(&mut self, due: Instant) {
        if self.flying.len() >= self.plan.in_flight_max {
            self.collect();
        }
        if self.flying.len() >= self.plan.in_flight_max {
            let waiting = self.flying.len();
            self.shared
                .add(Measured::failed(format!("overrun: not started while {waiting} wait for an answer")));
            return;
        }
        let (check, jitter, shared) =
            (Arc::clone(&self.check), Arc::clone(&self.jitter), Arc::clone(&self.shared));
        self.flying.spawn(async move {
            jitter.add(due.elapsed());
            shared.add(check.measure(due).await);
        });
    }

    /// Forgets those that are complete.
    fn collect(&mut self) {
        while let Some(joined) = self.flying.try_join_next() {
            self.count_panic(&joined);
        }
    }

    /// Even a defect of ours must not make a start vanish.
    fn count_panic(&self, joined: &Result<(), tokio::task::JoinError>) {
        if joined.as_ref().is_err_and(tokio::task::JoinError::is_panic) {
            self.shared.add(Measured::no_data("the measurement ended by a defect"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_times_do_not_drift_by_rounding() {
        assert_eq!(Pace::per_second(3).offset(3), Duration::from_secs(1));
        assert_eq!(Pace::per_second(7).offset(7 * 86_400), Duration::from_secs(86_400));
        assert_eq!(Pace::every(Duration::from_millis(250)).offset(5), Duration::from_millis(1250));
        assert_eq!(
            Pace::every(Duration::from_secs(7 * 86_400)).offset(u64::MAX),
            Duration::from_nanos(u64::MAX)
        );
    }

    #[test]
    fn probes_that_begin_together_are_spread_and_a_single_measurement_starts_at_once() {
        let probe: Probe = chaos_core::spec::parse_value(serde_json::json!({
            "name": "p", "tcp": { "address": "localhost:1" }, "every": "10ms"
        }))
        .expect("valid");
        let delays: std::collections::BTreeSet<Duration> =
            (0..SPREAD_STEPS).map(|nth| Plan::of(&probe, ProbePhase::Chaos, false, nth).delay).collect();
        assert_eq!(delays.len(), SPREAD_STEPS as usize);
        assert!(delays.iter().all(|delay| *delay < Duration::from_millis(10)), "{delays:?}");
        assert_eq!(Plan::of(&probe, ProbePhase::Chaos, true, 3).delay, Duration::ZERO);
    }

    #[test]
    fn a_slow_pace_gives_a_sample_for_each_measurement() {
        assert!(Pace::every(Duration::from_secs(1)).is_slower_than_samples());
        assert!(!Pace::every(Duration::from_millis(999)).is_slower_than_samples());
        assert!(Pace::per_second(1).is_slower_than_samples());
    }

    #[test]
    fn a_change_is_told_at_the_next_look_and_no_change_after_a_second() {
        assert_eq!(LOOK_EVERY * LOOKS_MAX, SAMPLE_EVERY);
        let mut looks = Looks { every: LOOK_EVERY, max: LOOKS_MAX, since: 0, last: Mix::Nothing };
        let mut told = |mixes: &[Mix]| {
            let look = |mix: &Mix| {
                let is_due = looks.is_due(*mix);
                if is_due {
                    looks.handed_over(*mix);
                }
                is_due
            };
            mixes.iter().map(look).filter(|is_due| *is_due).count()
        };
        assert_eq!(told(&[Mix::Missed]), 1, "the first");
        assert_eq!(told(&[Mix::Missed; 9]), 0);
        assert_eq!(told(&[Mix::Missed; 21]), 3, "each second");
        assert_eq!(told(&[Mix::Nothing, Mix::Both, Mix::Passed, Mix::Passed, Mix::Missed]), 3);
    }
}

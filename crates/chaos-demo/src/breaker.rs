//! Owns the circuit breaker of one replica as a pure state machine. It never reads a clock or sends anything.
//!
//! ```text
//!            failures in a row, or error ratio
//!   Closed ─────────────────────────────────────▶ Open ──┐
//!     ▲                                            ▲  │  │ not due: stays
//!     │ trial passed                  trial failed │  │ due: one trial
//!     └──────────────────────────── HalfOpen ──────┘◀─┘
//!   any ── the replica was replaced ──▶ Closed
//! ```
//! The trial is the balancer's own request, so no user pays for it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// What a circuit does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Calls pass.
    Closed,
    /// One trial is on its way; other calls are turned away.
    HalfOpen,
    /// Calls are turned away.
    Open,
}

/// When a circuit opens, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Failures in a row.
    pub(crate) consecutive: u32,
    /// How many of the latest calls the ratio looks at; it says nothing before the window is half full.
    pub(crate) window: usize,
    /// Failed share of the window, in percent.
    pub(crate) ratio_percent: usize,
    /// Time from opening to the trial.
    pub(crate) open_for: Duration,
}

/// Allowance for one call. It names the period it belongs to: what a call of an earlier period has to tell
/// must not open or close the circuit of today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// What can happen to a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A call that was let through succeeded.
    Passed(Ticket),
    /// A call that was let through failed or was too slow.
    Failed(Ticket),
    /// Somebody could make a trial now.
    TrialOffered,
    /// Behind the address is another process than before.
    Replaced,
}

#[derive(Debug)]
enum Phase {
    Closed { streak: u32, recent: VecDeque<bool> },
    Open { since: Instant },
    HalfOpen,
}

/// The circuit of one replica.
#[derive(Debug)]
pub(crate) struct Breaker {
    limits: Limits,
    phase: Phase,
    period: u64,
}

impl Breaker {
    /// A closed circuit.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, phase: Phase::fresh(), period: 0 }
    }

    /// What it does with calls now.
    pub(crate) fn state(&self) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::HalfOpen => State::HalfOpen,
            Phase::Open { .. } => State::Open,
        }
    }

    /// A ticket for one call, if calls pass.
    pub(crate) fn admit(&self) -> Option<Ticket> {
        matches!(self.phase, Phase::Closed { .. }).then_some(Ticket(self.period))
    }

    /// Takes one event at `now`; a ticket comes back when it began a trial.
    pub(crate) fn step(&mut self, event: Event, now: Instant) -> Option<Ticket> {
        let period = self.period;
        let current = |ticket: Ticket| ticket == Ticket(period);
        match (&mut self.phase, event) {
            (Phase::Closed { streak, recent }, Event::Passed(ticket)) if current(ticket) => {
                *streak = 0;
                // Only a failure opens a circuit, never a success that completes a bad window.
                remember(recent, false, self.limits.window);
            }
            (Phase::Closed { streak, recent }, Event::Failed(ticket)) if current(ticket) => {
                *streak += 1;
                remember(recent, true, self.limits.window);
                if *streak >= self.limits.consecutive {
                    self.enter(Phase::Open { since: now });
                } else {
                    self.open_on_ratio(now);
                }
            }
            (Phase::Open { since }, Event::TrialOffered)
                if now.saturating_duration_since(*since) >= self.limits.open_for =>
            {
                self.enter(Phase::HalfOpen);
                return Some(Ticket(self.period));
            }
            (Phase::HalfOpen, Event::Passed(ticket)) if current(ticket) => self.enter(Phase::fresh()),
            (Phase::HalfOpen, Event::Failed(ticket)) if current(ticket) => {
                self.enter(Phase::Open { since: now });
            }
            (_, Event::Replaced) => self.enter(Phase::fresh()),
            // Old news, or a trial that is not due.
            (_, Event::Passed(_) | Event::Failed(_) | Event::TrialOffered) => {}
        }
        None
    }

    fn open_on_ratio(&mut self, now: Instant) {
        if let Phase::Closed { recent, .. } = &self.phase {
            let failed = recent.iter().filter(|failed| **failed).count();
            let enough = recent.len() * 2 >= self.limits.window;
            if enough && failed * 100 >= self.limits.ratio_percent * recent.len() {
                self.enter(Phase::Open { since: now });
            }
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.period += 1;
    }
}

impl Phase {
    fn fresh() -> Self {
        Self::Closed { streak: 0, recent: VecDeque::new() }
    }
}

fn remember(recent: &mut VecDeque<bool>, failed: bool, window: usize) {
    recent.push_back(failed);
    while recent.len() > window {
        recent.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { consecutive: 3, window: 8, ratio_percent: 50, open_for: Duration::from_secs(2) };

    /// One letter per step: `+` a call passes, `-` a call fails, `o` a trial is offered, `r` replaced,
    /// `p`/`f` the outstanding trial passes or fails, `P`/`F` a call from the very first period ends late,
    /// `.` a second goes by.
    fn play(script: &str) -> (State, usize) {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(LIMITS);
        let first = breaker.admit().expect("a new circuit is closed");
        let (mut trial, mut trials) = (None, 0);
        for letter in script.chars() {
            let event = match letter {
                '.' => {
                    now += Duration::from_secs(1);
                    continue;
                }
                '+' | '-' => {
                    let Some(ticket) = breaker.admit() else { continue };
                    if letter == '+' { Event::Passed(ticket) } else { Event::Failed(ticket) }
                }
                'p' => Event::Passed(trial.expect("script has a trial")),
                'f' => Event::Failed(trial.expect("script has a trial")),
                'P' => Event::Passed(first),
                'F' => Event::Failed(first),
                'o' => Event::TrialOffered,
                'r' => Event::Replaced,
                other => panic!("no such step: {other}"),
            };
            if let Some(ticket) = breaker.step(event, now) {
                trial = Some(ticket);
                trials += 1;
            }
        }
        (breaker.state(), trials)
    }

    #[test]
    fn every_way_through_the_diagram() {
        use State::{Closed, HalfOpen, Open};
        for (script, state, trials) in [
            ("", Closed, 0),
            ("++++--+-", Closed, 0),
            ("++++++++--+-", Closed, 0),
            ("++++++++--+--", Open, 0),
            ("++--", Open, 0),
            ("--++", Closed, 0),
            ("--++-", Open, 0),
            ("---", Open, 0),
            ("+--+--", Open, 0),
            ("--+--+-", Open, 0),
            ("-+-", Closed, 0),
            ("+++++--+", Closed, 0),
            ("..o", Closed, 0),
            ("---.o", Open, 0),
            ("---..o", HalfOpen, 1),
            ("---..oo", HalfOpen, 1),
            ("---..o....o", HalfOpen, 1),
            ("---..op", Closed, 1),
            ("---..op--", Closed, 1),
            ("---..op---", Open, 1),
            ("---..of", Open, 1),
            ("---..of.o", Open, 1),
            ("---..of..o", HalfOpen, 2),
            ("---..of..op", Closed, 2),
            ("---++++", Open, 0),
            ("---PP", Open, 0),
            ("---..oP", HalfOpen, 1),
            ("---..oF", HalfOpen, 1),
            ("---..opFFF", Closed, 1),
            ("---..opfff", Closed, 1),
            ("---r", Closed, 0),
            ("---..or", Closed, 1),
            ("--r--", Closed, 0),
            ("FFF", Open, 0),
        ] {
            assert_eq!(play(script), (state, trials), "script {script:?}");
        }
    }

    #[test]
    fn an_open_circuit_admits_nothing() {
        let now = Instant::now();
        let mut breaker = Breaker::new(LIMITS);
        for _ in 0..LIMITS.consecutive {
            let ticket = breaker.admit().expect("closed so far");
            breaker.step(Event::Failed(ticket), now);
        }
        assert_eq!(breaker.admit(), None);
        assert!(breaker.step(Event::TrialOffered, now + LIMITS.open_for).is_some());
        assert_eq!(breaker.admit(), None, "nobody but the trial while half open");
    }
}

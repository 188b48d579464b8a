//! What the live view shows of a run, folded from its events.
//!
//! Owns the numbers. It never draws.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chaos_api::{EventEnvelope, ExperimentDetail};
use chaos_core::run::{Event, InjectionId, InjectionState, Phase};
use chaos_core::spec::{ExperimentKey, ProbePhase};

/// A run as the live view shows it.
#[derive(Debug)]
pub(crate) struct View {
    pub(super) key: ExperimentKey,
    pub(super) phase: Phase,
    pub(super) injections: BTreeMap<InjectionId, InjectionState>,
    pub(super) probes: BTreeMap<String, Counts>,
    pub(super) score: Option<f64>,
    pub(super) ready: Option<usize>,
    duration: Duration,
    elapsed: Duration,
    active_at: Option<Duration>,
    seen_at: Instant,
}

/// Measurements of a probe in the current phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) phase: ProbePhase,
    pub(super) measured: u64,
    pub(super) passed: u64,
}

impl View {
    /// Nothing has happened yet.
    pub(super) fn new(started: &ExperimentDetail) -> Self {
        Self {
            key: started.record.key(),
            phase: Phase::Preflight,
            injections: BTreeMap::new(),
            probes: BTreeMap::new(),
            score: None,
            ready: None,
            duration: started.document.spec.duration.0,
            elapsed: Duration::ZERO,
            active_at: None,
            seen_at: Instant::now(),
        }
    }

    /// Takes an event in.
    pub(super) fn apply(&mut self, envelope: &EventEnvelope) {
        self.elapsed = Duration::from_millis(envelope.record.elapsed_ms);
        self.seen_at = Instant::now();
        self.phase = envelope.summary.phase;
        match &envelope.record.event {
            Event::Resolved(resolution) => {
                self.score = resolution.health.score.value();
                self.ready = Some(resolution.ready);
            }
            Event::Health { health, ready } => {
                self.score = health.score.value();
                self.ready = Some(*ready);
            }
            Event::Injection(report) => {
                if report.state == InjectionState::Active {
                    self.active_at.get_or_insert(self.elapsed);
                }
                self.injections.insert(report.injection.clone(), report.state);
            }
            Event::Probed(sample) => {
                let fresh = Counts { phase: sample.phase, measured: 0, passed: 0 };
                let counts = self.probes.entry(sample.probe.clone()).or_insert(fresh);
                if counts.phase != sample.phase {
                    *counts = fresh;
                }
                counts.measured += sample.measured;
                counts.passed += sample.passed;
            }
            _ => {}
        }
    }

    /// Time since the run was accepted.
    pub(super) fn elapsed(&self) -> Duration {
        self.elapsed + self.seen_at.elapsed()
    }

    /// Time that faults were active of the time that they shall be, while they are.
    pub(super) fn active(&self) -> Option<(Duration, Duration)> {
        let since = self.elapsed().saturating_sub(self.active_at?);
        (self.phase == Phase::Active).then(|| (since.min(self.duration), self.duration))
    }

    /// Injections whose end is not known.
    pub(super) fn unfinished(&self) -> usize {
        self.injections.values().filter(|state| !state.is_final()).count()
    }

    /// Injections by state, e.g. `2 active, 1 reverted`.
    pub(super) fn injections(&self) -> String {
        let mut counts: BTreeMap<InjectionState, usize> = BTreeMap::new();
        for state in self.injections.values() {
            *counts.entry(*state).or_default() += 1;
        }
        let parts: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
        if parts.is_empty() { "none yet".to_owned() } else { parts.join(", ") }
    }
}

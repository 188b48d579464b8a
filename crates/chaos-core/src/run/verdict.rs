//! What a finished run says: one verdict, one reason, one exit code.
//!
//! Owns the order in which findings count. It never looks at anything but the state of the run.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::state::RunState;
use super::tolerance::{Judgement, judge};
use super::types::{InjectionState, StopCause, Verdict};
use crate::journal::RunHeader;
use crate::spec::ProbePhase;

/// Why a run could not be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The target matches nothing, or less than was asked for.
    Target(String),
    /// The node could not be asked.
    Node(String),
    /// A fault could not be applied or proven; it is proven undone.
    Apply(String),
    /// A fault ended before its time, by another hand than ours.
    Lost(String),
    /// The safety lever was engaged before it could start.
    Lever(String),
    /// Gates refused.
    Gates(Vec<String>),
    /// Steady state did not hold before anything was broken.
    Baseline(String),
    /// There was no data before anything was broken.
    BaselineWithoutData(String),
    /// Steady state did not come back in time.
    Recovery(String),
    /// A process died and took the run with it; everything was undone.
    Abandoned(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gates(texts) => f.write_str(&texts.join("; ")),
            Self::Baseline(text) => write!(f, "no steady state before the start: {text}"),
            Self::Lost(text) => write!(f, "a fault did not last: {text}"),
            Self::Target(text)
            | Self::Lever(text)
            | Self::Node(text)
            | Self::Apply(text)
            | Self::BaselineWithoutData(text)
            | Self::Recovery(text)
            | Self::Abandoned(text) => f.write_str(text),
        }
    }
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// What was learnt.
    pub verdict: Verdict,
    /// Why, in words.
    pub reason: String,
    /// Some undo is not proven: act now.
    pub revert_incomplete: bool,
    /// The target matched nothing: a usage error.
    pub target_not_found: bool,
    /// It was interrupted by whoever started it.
    pub interrupted: bool,
}

impl Outcome {
    /// Exit code of contract §3.
    pub fn exit_code(&self) -> u8 {
        match self.verdict {
            _ if self.revert_incomplete => 7,
            _ if self.target_not_found => 2,
            Verdict::Stopped if self.interrupted => 130,
            Verdict::Held => 0,
            Verdict::Deviated => 3,
            Verdict::Stopped => 4,
            Verdict::Blocked => 5,
            Verdict::Inconclusive => 6,
            Verdict::Error => 1,
        }
    }
}

/// Sums a run up. What is not undone outweighs everything, then how it ended, then what was measured.
pub(super) fn conclude(header: &RunHeader, state: &RunState) -> Outcome {
    let outcome = |verdict, reason: String| Outcome {
        verdict,
        reason,
        revert_incomplete: false,
        target_not_found: false,
        interrupted: false,
    };
    let unproven: Vec<&str> = state
        .injections
        .iter()
        .filter(|injection| injection.state == InjectionState::RevertFailed)
        .map(|injection| injection.id.0.as_str())
        .collect();
    if !unproven.is_empty() {
        let reason = format!(
            "the undo of {} is not proven: act now, `chaos recover` tries again",
            unproven.join(", ")
        );
        return Outcome { revert_incomplete: true, ..outcome(Verdict::Error, reason) };
    }
    if let Some(ended) = ended_early(state, &outcome) {
        return ended;
    }
    let (mut deviations, mut gaps) = (Vec::new(), Vec::new());
    for probe in &header.experiment.spec.probes {
        for phase in [ProbePhase::Before, ProbePhase::Chaos, ProbePhase::After] {
            if !probe.runs_in(phase) {
                continue;
            }
            let tally = state.tally(&probe.name, phase);
            let phase_name = phase_name(phase);
            // Recovery is over as soon as steady state is back; what failed until then is not held against it.
            let judgement =
                if phase == ProbePhase::After { state.judge_after(probe) } else { judge(probe, tally) };
            match judgement {
                Judgement::Within => {}
                Judgement::Beyond(text) => deviations.push(format!("{} {phase_name}: {text}", probe.name)),
                Judgement::NoData(text) => gaps.push(format!("{} {phase_name}: {text}", probe.name)),
            }
        }
    }
    deviations.extend(state.failure.as_ref().map(ToString::to_string));
    if state.failure.is_none() && !state.actions.is_empty() {
        deviations.push("steady state came back only after recovery actions".to_owned());
    }
    if !deviations.is_empty() {
        return outcome(Verdict::Deviated, deviations.join("; "));
    }
    if !state.injections.iter().any(|injection| injection.active_ms.is_some()) {
        return outcome(
            Verdict::Inconclusive,
            "no fault was ever active: every target ended by itself".into(),
        );
    }
    if !gaps.is_empty() {
        return outcome(Verdict::Inconclusive, gaps.join("; "));
    }
    outcome(Verdict::Held, "everything stayed within tolerance and came back".into())
}

fn ended_early(state: &RunState, outcome: &dyn Fn(Verdict, String) -> Outcome) -> Option<Outcome> {
    if let Some(stop) = state.stop.as_ref().filter(|stop| stop.cause != StopCause::Probe) {
        let interrupted = stop.cause == StopCause::Interrupt;
        return Some(Outcome { interrupted, ..outcome(Verdict::Stopped, stop.reason.clone()) });
    }
    let failure = state.failure.as_ref()?;
    let verdict = match failure {
        Failure::Target(_) => {
            return Some(Outcome { target_not_found: true, ..outcome(Verdict::Error, failure.to_string()) });
        }
        Failure::Node(_) | Failure::Apply(_) | Failure::Abandoned(_) => Verdict::Error,
        Failure::Gates(_) | Failure::Lever(_) | Failure::Baseline(_) => Verdict::Blocked,
        Failure::Lost(_) | Failure::BaselineWithoutData(_) => Verdict::Inconclusive,
        Failure::Recovery(_) => return None,
    };
    Some(outcome(verdict, failure.to_string()))
}

fn phase_name(phase: ProbePhase) -> &'static str {
    match phase {
        ProbePhase::Before => "before",
        ProbePhase::Chaos => "during chaos",
        ProbePhase::After | ProbePhase::Always => "after",
    }
}

//! What each probe measured in each phase.
//!
//! Owns how a judgement is named. Tolerance itself is the core's.

use chaos_core::journal::RunHeader;
use chaos_core::run::tolerance::judge;
use chaos_core::run::{Judgement, Phase, RunState, Tally, Verdict};
use chaos_core::spec::{Probe, ProbePhase};

use super::secrets::Secrets;
use super::{Measure, Movement, ProbeJudgement, ProbeMeasures, ProbePhaseMeasures};

const PHASES: [ProbePhase; 3] = [ProbePhase::Before, ProbePhase::Chaos, ProbePhase::After];

pub(super) fn measure(
    header: &RunHeader,
    state: &RunState,
    secrets: &Secrets,
    phases: &[(Phase, u64)],
) -> Vec<ProbeMeasures> {
    let reached = |phase: ProbePhase| {
        let needed = match phase {
            ProbePhase::Before => Phase::Baseline,
            ProbePhase::Chaos => Phase::Active,
            ProbePhase::After | ProbePhase::Always => Phase::Recovering,
        };
        phases.iter().any(|(phase, _)| *phase == needed)
    };
    // A run that was cut short may well have ended before the first measurement of a phase: that is no gap.
    let whole = state
        .outcome
        .as_ref()
        .is_some_and(|outcome| !matches!(outcome.verdict, Verdict::Stopped | Verdict::Error));
    header
        .experiment
        .spec
        .probes
        .iter()
        .map(|probe| ProbeMeasures {
            name: probe.name.clone(),
            check: probe.check().map(|check| check.name().to_owned()).unwrap_or_default(),
            phases: PHASES
                .into_iter()
                .filter(|phase| probe.runs_in(*phase))
                .map(|phase| {
                    let went_by = whole && reached(phase);
                    in_phase(probe, phase, state.tally(&probe.name, phase), went_by, secrets)
                })
                .collect(),
        })
        .collect()
}

fn in_phase(
    probe: &Probe,
    phase: ProbePhase,
    tally: &Tally,
    went_by: bool,
    secrets: &Secrets,
) -> ProbePhaseMeasures {
    let (judgement, explanation) = judged(probe, phase, tally, went_by);
    let finite = |number: Option<f64>| number.filter(|number| number.is_finite());
    ProbePhaseMeasures {
        phase,
        judgement,
        explanation: explanation.map(|text| secrets.scrub(&text)),
        measured: tally.measured,
        passed: tally.passed,
        no_data: tally.no_data,
        success_ratio: tally.success(),
        latency_p50_ms: finite(tally.latency_quantile(0.50)),
        latency_p95_ms: finite(tally.latency_quantile(0.95)),
        latency_p99_ms: finite(tally.latency_quantile(0.99)),
        value: finite(tally.value),
    }
}

fn judged(
    probe: &Probe,
    phase: ProbePhase,
    tally: &Tally,
    went_by: bool,
) -> (ProbeJudgement, Option<String>) {
    if tally.measured == 0 {
        return if went_by {
            (ProbeJudgement::NoData, Some("the phase went by without a measurement".into()))
        } else {
            (ProbeJudgement::NotReached, None)
        };
    }
    // As in the verdict: after the undo the latest sample counts, what failed until then is part of recovery.
    let back = phase == ProbePhase::After && tally.success().is_some() && tally.latest_missed == 0;
    match if back { Judgement::Within } else { judge(probe, tally) } {
        Judgement::Within => (ProbeJudgement::Within, None),
        Judgement::Beyond(text) => (ProbeJudgement::Beyond, Some(text)),
        Judgement::NoData(text) if tally.success().is_none() => (ProbeJudgement::NoData, Some(text)),
        Judgement::NoData(text) => (ProbeJudgement::Inconclusive, Some(text)),
    }
}

/// Every measure of every probe, before, during and after.
pub(super) fn movements(probes: &[ProbeMeasures]) -> Vec<Movement> {
    type Get = fn(&ProbePhaseMeasures) -> Option<f64>;
    let measures: [(Measure, Get); 5] = [
        (Measure::SuccessRatio, |one| one.success_ratio),
        (Measure::LatencyP50Ms, |one| one.latency_p50_ms),
        (Measure::LatencyP95Ms, |one| one.latency_p95_ms),
        (Measure::LatencyP99Ms, |one| one.latency_p99_ms),
        (Measure::Value, |one| one.value),
    ];
    let mut movements = Vec::new();
    for probe in probes {
        for (measure, get) in measures {
            let values = PHASES.map(|phase| probe.phases.iter().find(|one| one.phase == phase).and_then(get));
            movements.extend(Movement::of(Some(&probe.name), measure, values));
        }
    }
    movements
}

//! One run, whole.
//!
//! Owns how the state of a run is shown; the state itself is [`chaos_core::run::RunState`].

use chaos_core::journal::{RunHeader, RunSummary};
use chaos_core::run::tolerance::judge;
use chaos_core::run::{Failure, Injection, Judgement, Outcome, RunState, Stop, Tally};
use chaos_core::safety::{Decision, Health};
use chaos_core::spec::{Probe, ProbePhase};
use chaos_core::target::Selection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything that is known of a run, but for the single records of its journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunDetail {
    /// In one line.
    pub summary: RunSummary,
    /// The document, the seed, the threshold, the overrides.
    pub header: RunHeader,
    /// What the gates said.
    pub decisions: Vec<Decision>,
    /// What was drawn.
    pub selection: Option<Selection>,
    /// Instances that match the target.
    pub instances: usize,
    /// Those that were ready before.
    pub ready_before: usize,
    /// Those that are ready now.
    pub ready_now: usize,
    /// Every injection with its proofs.
    pub injections: Vec<Injection>,
    /// What each probe measured in each phase so far, judged.
    pub probes: Vec<ProbeResult>,
    /// Health before the start.
    pub health_before: Option<Health>,
    /// The latest health.
    pub health: Option<Health>,
    /// The lowest known score while faults were active.
    pub score_min: Option<f64>,
    /// Milliseconds of the run's time at the first proven activation.
    pub active_ms: Option<u64>,
    /// Milliseconds of the run's time when the undo was asked for.
    pub reverting_ms: Option<u64>,
    /// Milliseconds of the run's time when everything was in a final state.
    pub reverted_ms: Option<u64>,
    /// Milliseconds of the run's time at recovery.
    pub recovered_ms: Option<u64>,
    /// Why it was ended before its time.
    pub stop: Option<Stop>,
    /// Why it could not be carried out.
    pub failure: Option<Failure>,
    /// The end.
    pub outcome: Option<Outcome>,
}

/// What a probe measured in one phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeResult {
    /// Name of the probe.
    pub name: String,
    /// Kind of the probe, e.g. `http`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The phase.
    pub phase: ProbePhase,
    /// Measurements that are complete.
    pub measured: u64,
    /// Those that met the expectation.
    pub passed: u64,
    /// Those that gave no data.
    pub no_data: u64,
    /// The share that passed, of those with data.
    pub success: Option<f64>,
    /// The latest value, of probes that have one.
    pub value: Option<f64>,
    /// Median latency in milliseconds.
    pub latency_ms_p50: Option<f64>,
    /// 95th percentile of latency in milliseconds.
    pub latency_ms_p95: Option<f64>,
    /// 99th percentile of latency in milliseconds.
    pub latency_ms_p99: Option<f64>,
    /// Within tolerance or not, by what is measured so far.
    pub judgement: Judgement,
    /// What was wrong with the first that did not pass.
    pub problem: Option<String>,
}

impl ProbeResult {
    /// Shows and judges a tally.
    pub fn of(probe: &Probe, phase: ProbePhase, tally: &Tally) -> Self {
        Self {
            name: probe.name.clone(),
            kind: probe.check().map(|check| check.name()).unwrap_or_default().to_owned(),
            phase,
            measured: tally.measured,
            passed: tally.passed,
            no_data: tally.no_data,
            success: tally.success(),
            value: tally.value,
            latency_ms_p50: tally.latency_quantile(0.50),
            latency_ms_p95: tally.latency_quantile(0.95),
            latency_ms_p99: tally.latency_quantile(0.99),
            judgement: judge(probe, tally),
            problem: tally.problem.clone(),
        }
    }
}

impl RunDetail {
    /// Shows a run's state.
    pub fn of(header: &RunHeader, state: &RunState, summary: RunSummary) -> Self {
        let probes = header.experiment.spec.probes.iter().flat_map(|probe| {
            let phases = state.tallies.get(&probe.name).into_iter().flatten();
            phases.map(move |(phase, tally)| ProbeResult::of(probe, *phase, tally))
        });
        Self {
            summary,
            header: header.clone(),
            decisions: state.decisions.clone(),
            selection: state.selection.clone(),
            instances: state.instances,
            ready_before: state.ready_before,
            ready_now: state.ready_now,
            injections: state.injections.clone(),
            probes: probes.collect(),
            health_before: state.health_before.clone(),
            health: state.health.clone(),
            score_min: state.score_min,
            active_ms: state.active_ms,
            reverting_ms: state.reverting_ms,
            reverted_ms: state.reverted_ms,
            recovered_ms: state.recovered_ms,
            stop: state.stop.clone(),
            failure: state.failure.clone(),
            outcome: state.outcome.clone(),
        }
    }
}

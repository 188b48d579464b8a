//! What happened, in words, one line for each thing that mattered.
//!
//! Owns the choice of what is worth a line: samples that change nothing have none. Bounded by [`TIMELINE_MAX`].

use std::collections::{BTreeMap, VecDeque};

use chaos_core::journal::{Record, RunHeader};
use chaos_core::port::InjectionReport;
use chaos_core::run::{ActionOutcome, Event, Phase, ProbeSample, Resolution, RunState, Timer};
use chaos_core::safety::Decision;
use chaos_core::spec::{ProbePhase, RecoveryAction};

use super::fold::{kind_of, seconds};
use super::secrets::Secrets;
use super::{TimelineEntry, named};

/// The most entries of a timeline; the first and the last halves are kept.
pub const TIMELINE_MAX: usize = 400;

#[derive(Debug, Default)]
pub(super) struct Timeline {
    first: Vec<TimelineEntry>,
    last: VecDeque<TimelineEntry>,
    omitted: usize,
    /// Did the latest sample of this probe in this phase pass?
    passing: BTreeMap<(String, ProbePhase), bool>,
    /// The latest score and number of ready instances that were told.
    health: Option<(String, usize)>,
}

impl Timeline {
    /// Tells a record, which took the run from the phase `before` to where `state` is.
    pub(super) fn add(
        &mut self,
        header: &RunHeader,
        secrets: &Secrets,
        before: Phase,
        state: &RunState,
        record: &Record,
    ) {
        let entry = |what: String| TimelineEntry {
            at_seconds: seconds(record.elapsed_ms),
            at: record.at,
            phase: state.phase,
            what,
        };
        // Whatever else comes in after the end changes nothing and is not told.
        let told = match (&record.event, before) {
            (Event::Injection(report), Phase::Finished) => {
                Some(format!("{} (late, after the end of the run)", injection(header, state, report)))
            }
            (_, Phase::Finished) => None,
            (event, _) => self.tell(header, before, state, event),
        };
        if let Some(what) = told {
            self.push(entry(secrets.scrub(&what)));
        }
        if state.phase == before {
            return;
        }
        match (&state.outcome, state.phase) {
            (Some(outcome), _) => self.push(entry(format!("finished: {}", outcome.verdict))),
            (None, Phase::Reverting) => self.push(entry("asked for the undo of everything".into())),
            (None, Phase::Recovering) => self.push(entry("everything is proven undone".into())),
            _ => {}
        }
    }

    fn push(&mut self, entry: TimelineEntry) {
        if self.first.len() < TIMELINE_MAX / 2 {
            return self.first.push(entry);
        }
        self.last.push_back(entry);
        if self.last.len() > TIMELINE_MAX / 2 {
            self.last.pop_front();
            self.omitted += 1;
        }
    }

    pub(super) fn omitted(&self) -> usize {
        self.omitted
    }

    pub(super) fn into_entries(self) -> Vec<TimelineEntry> {
        self.first.into_iter().chain(self.last).collect()
    }

    fn tell(&mut self, header: &RunHeader, before: Phase, state: &RunState, event: &Event) -> Option<String> {
        match event {
            Event::Started => Some("started".into()),
            Event::Resolved(resolution) => Some(resolved(header, resolution)),
            Event::Failed(failure) => Some(format!("failed: {}", failure)),
            Event::Probed(sample) => self.probed(sample),
            Event::BaselineEnded | Event::Elapsed(Timer::Baseline) => {
                (before == Phase::Baseline).then(|| "the baseline is measured".into())
            }
            Event::Injection(report) => Some(injection(header, state, report)),
            Event::Elapsed(timer) => elapsed(before, *timer),
            Event::Redrawn { item, chosen } => {
                let ids: Vec<&str> = chosen.iter().map(|one| one.id.as_str()).collect();
                let drawn =
                    if ids.is_empty() { "nothing: nothing may be hit now".into() } else { named(&ids) };
                Some(format!("{} drew {drawn}", kind_of(header, *item)))
            }
            Event::Health { health, ready } => {
                let score = health.score.value().map(|score| format!("{score:.2}"));
                let told = (score.unwrap_or_else(|| "none".into()), *ready);
                (self.health.replace(told.clone()) != Some(told))
                    .then(|| format!("{ready} instances ready, {}", health.explain(header.threshold)))
            }
            Event::Guarded(decisions) => guarded(decisions),
            Event::Acted(outcome) => Some(acted(header, outcome)),
            Event::Adopted { held } => {
                Some(format!("another process took the run up; {} faults are still held", held.len()))
            }
            Event::StopRequested(stop) => Some(format!("stop: {}", stop.reason)),
        }
    }

    fn probed(&mut self, sample: &ProbeSample) -> Option<String> {
        let passing = sample.passed >= sample.measured;
        let had = self.passing.insert((sample.probe.clone(), sample.phase), passing);
        let ProbeSample { probe, measured, passed, problem, .. } = sample;
        match (had, passing) {
            (Some(true), true) | (Some(false), false) => None,
            (None, true) => Some(format!("probe {probe} passes ({passed} of {measured})")),
            (Some(false), true) => Some(format!("probe {probe} passes again ({passed} of {measured})")),
            (_, false) => {
                let problem = problem.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
                Some(format!("probe {probe} does not pass ({passed} of {measured}){problem}"))
            }
        }
    }
}

fn resolved(header: &RunHeader, resolution: &Resolution) -> String {
    let Resolution { matching, ready, selection, decisions, health, .. } = resolution;
    let refused: Vec<&str> = decisions.iter().filter(|one| !one.passed).map(|one| one.gate.name()).collect();
    let gates = if refused.is_empty() {
        "every gate passed".to_owned()
    } else {
        format!("refused by {}", refused.join(", "))
    };
    format!(
        "{} instances match, {ready} ready; seed {} drew {}; {}; {gates}",
        matching.len(),
        selection.seed,
        named(&selection.chosen),
        health.explain(header.threshold)
    )
}

fn injection(header: &RunHeader, state: &RunState, report: &InjectionReport) -> String {
    let hit = state.injections.iter().find(|one| one.id == report.injection);
    let whom = hit.map_or_else(
        || report.injection.to_string(),
        |one| format!("{} on {}", kind_of(header, one.item), one.instance.id),
    );
    let proof = report.evidence.first().map(|one| format!(" ({}: {})", one.source, one.observed));
    let error = report.error.as_deref().map(|text| format!(": {text}"));
    format!("{whom} is {}{}{}", report.state, proof.unwrap_or_default(), error.unwrap_or_default())
}

fn guarded(decisions: &[Decision]) -> Option<String> {
    let refused: Vec<String> = decisions
        .iter()
        .filter(|decision| !decision.passed)
        .map(|decision| format!("{}: {}", decision.gate.name(), decision.message))
        .collect();
    (!refused.is_empty()).then(|| format!("guardrail {}", refused.join("; ")))
}

fn acted(header: &RunHeader, outcome: &ActionOutcome) -> String {
    let action = header.experiment.spec.recovery.actions.get(outcome.action);
    let name = action.map_or("unknown", RecoveryAction::name);
    match (&outcome.error, outcome.evidence.first()) {
        (Some(error), _) => format!("recovery action {name} failed: {error}"),
        (None, Some(proof)) => {
            format!("recovery action {name} worked ({}: {})", proof.source, proof.observed)
        }
        (None, None) => format!("recovery action {name} had nothing to do"),
    }
}

fn elapsed(before: Phase, timer: Timer) -> Option<String> {
    match (before, timer) {
        (Phase::Injecting, Timer::Injecting) => Some("no fault was active in time".into()),
        (Phase::Active, Timer::Run) => Some("the duration is over".into()),
        (Phase::Active, Timer::Item(item)) => Some(format!("the duration of fault {item} is over")),
        (Phase::Active, Timer::Repeat(item)) => Some(format!("fault {item} repeats")),
        (Phase::Active, Timer::Ramp(step)) => Some(format!("step {} of the ramp is due", step + 1)),
        (Phase::Reverting, Timer::Stepwise) => Some("undoing step by step takes too long".into()),
        (Phase::Reverting, Timer::Retry) => Some("a failed undo is tried again".into()),
        (Phase::Reverting, Timer::Revert) => Some("the undo takes too long".into()),
        (Phase::Recovering, Timer::Recovery) => Some("the time to recover is over".into()),
        _ => None,
    }
}

//! One line for each event, for logs and pipes.
//!
//! Owns the words. It never prints.

use chaos_core::journal::Record;
use chaos_core::run::{ActionOutcome, Effect, Event, InjectionState, Resolution, Timer};
use chaos_core::safety::Decision;
use chaos_core::spec::ProbePhase;

/// An event in words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The words, with the run's time before them.
    pub(crate) text: String,
    /// Only worth saying when asked for more.
    pub(crate) detail: bool,
}

/// What is to be said of a record.
pub(crate) fn of(record: &Record) -> Option<Line> {
    let (text, detail) = words(&record.event)?;
    let text = format!("{:>8.3}s  {text}{}", record.elapsed_ms as f64 / 1000.0, follow_up(&record.effects));
    Some(Line { text, detail })
}

fn words(event: &Event) -> Option<(String, bool)> {
    Some(match event {
        Event::Started => ("started".to_owned(), true),
        Event::Resolved(resolution) => (resolved(resolution), false),
        Event::Failed(failure) => (failure.to_string(), false),
        Event::BaselineEnded => ("baseline measured".to_owned(), false),
        Event::Injection(report) => {
            let proof = report.evidence.last().map(|one| format!(" ({}: {})", one.source, one.observed));
            let took = match report.state {
                InjectionState::Active | InjectionState::Reverted => {
                    format!(" after {:.1} ms", report.took_ms)
                }
                _ => String::new(),
            };
            let error = report.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
            let text =
                format!("{} {}{took}{error}{}", report.injection, report.state, proof.unwrap_or_default());
            (text, matches!(report.state, InjectionState::Applying | InjectionState::Reverting))
        }
        Event::Probed(sample) => {
            let phase = match sample.phase {
                ProbePhase::Before => "before",
                ProbePhase::Chaos => "during chaos",
                ProbePhase::After | ProbePhase::Always => "after",
            };
            let problem = sample.problem.as_ref().map(|problem| format!(": {problem}")).unwrap_or_default();
            let text = format!(
                "probe {} {phase}: {} of {} passed{problem}",
                sample.probe, sample.passed, sample.measured
            );
            (text, sample.passed == sample.measured)
        }
        Event::Elapsed(timer) => (
            timer_words(*timer).to_owned(),
            !matches!(timer, Timer::Injecting | Timer::Run | Timer::Revert | Timer::Recovery),
        ),
        Event::Redrawn { chosen, .. } => {
            let ids: Vec<&str> = chosen.iter().map(|instance| instance.id.as_str()).collect();
            let text = if ids.is_empty() {
                "drawn again: nothing may be hit now".to_owned()
            } else {
                format!("drawn again: {}", ids.join(", "))
            };
            (text, false)
        }
        Event::Health { health, ready } => {
            let score =
                health.score.value().map_or_else(|| "unknown".to_owned(), |score| format!("{score:.2}"));
            (format!("health score {score}, {ready} instances ready"), true)
        }
        Event::Guarded(decisions) => (guarded(decisions)?, false),
        Event::Acted(outcome) => (acted(outcome), false),
        Event::Adopted { held } => {
            (format!("another process took the run up; {} faults are still held", held.len()), false)
        }
        Event::StopRequested(stop) => (format!("stop: {}", stop.reason), false),
    })
}

/// What a guardrail refuses; nothing when all is well.
fn guarded(decisions: &[Decision]) -> Option<String> {
    let refused = decisions.iter().filter(|decision| !decision.passed);
    let refused: Vec<String> =
        refused.map(|decision| format!("{}: {}", decision.gate.name(), decision.message)).collect();
    (!refused.is_empty()).then(|| format!("guardrail {}", refused.join("; ")))
}

fn acted(outcome: &ActionOutcome) -> String {
    let number = outcome.action + 1;
    match (&outcome.error, outcome.evidence.last()) {
        (Some(error), _) => format!("recovery action {number} failed: {error}"),
        (None, Some(proof)) => {
            format!("recovery action {number} worked ({}: {})", proof.source, proof.observed)
        }
        (None, None) => format!("recovery action {number} had nothing to do"),
    }
}

fn timer_words(timer: Timer) -> &'static str {
    match timer {
        Timer::Baseline => "the time of the baseline is over",
        Timer::Injecting => "no fault was active in time",
        Timer::Run => "the duration is over",
        Timer::Item(_) => "the duration of a fault is over",
        Timer::Repeat(_) => "time for another draw",
        Timer::Ramp(_) => "the next step of the ramp",
        Timer::Stepwise => "undoing step by step takes too long",
        Timer::Retry => "a failed undo is tried again",
        Timer::Revert => "the undo takes too long",
        Timer::Recovery => "recovery takes too long",
    }
}

fn resolved(resolution: &Resolution) -> String {
    let refused: Vec<String> = resolution
        .decisions
        .iter()
        .filter(|decision| !decision.passed || decision.overridden)
        .map(|decision| {
            let verb = if decision.overridden { "overridden" } else { "refused" };
            format!("; {} {verb}: {}", decision.gate.name(), decision.message)
        })
        .collect();
    let score =
        resolution.health.score.value().map_or_else(|| "unknown".to_owned(), |score| format!("{score:.2}"));
    format!(
        "{} instances match, {} ready, health score {score}; chosen: {} (seed {}){}",
        resolution.matching.len(),
        resolution.ready,
        resolution.selection.chosen.join(", "),
        resolution.selection.seed,
        refused.concat()
    )
}

/// What is done next, where the event alone does not say it.
fn follow_up(effects: &[Effect]) -> String {
    let said = effects.iter().filter_map(|effect| match effect {
        Effect::Inject(ids) => Some(format!("injecting {}", joined(ids))),
        Effect::Revert(ids) => Some(format!("reverting {}", joined(ids))),
        Effect::Measure { phase: ProbePhase::After, .. } => Some("waiting for steady state".to_owned()),
        Effect::Act { action } => Some(format!("trying recovery action {}", action + 1)),
        Effect::Finish => Some("finished".to_owned()),
        _ => None,
    });
    said.map(|text| format!("; {text}")).collect()
}

fn joined(ids: &[chaos_core::run::InjectionId]) -> String {
    ids.iter().map(|id| id.0.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use chaos_core::port::{Evidence, InjectionReport};
    use chaos_core::run::InjectionId;
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_proof_is_told_with_its_time_and_its_source() {
        let report = InjectionReport {
            injection: InjectionId("4f1c-0".into()),
            state: InjectionState::Active,
            evidence: vec![Evidence::new("pidfd of 4711", "exited")],
            error: None,
            took_ms: 3.24,
        };
        let record = Record {
            seq: 4,
            at: Timestamp::UNIX_EPOCH,
            elapsed_ms: 1042,
            event: Event::Injection(report),
            effects: vec![Effect::Finish],
        };
        let line = of(&record).expect("a line");
        assert_eq!(line.text, "   1.042s  4f1c-0 active after 3.2 ms (pidfd of 4711: exited); finished");
        assert!(!line.detail);
    }
}

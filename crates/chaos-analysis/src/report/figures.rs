//! Numbers and words as people read them, the same in text and Markdown.
//!
//! Owns rounding and units. It never computes.

use chaos_core::port::Evidence;
use chaos_core::run::InjectionState;
use chaos_core::spec::ProbePhase;

use crate::measures::{InjectionMeasures, Measure, Measures, Movement, ProbeJudgement, ProbePhaseMeasures};

/// What stands where nothing was measured.
pub(super) const NONE: &str = "-";

/// `0.420s`, `12.3s`, `2m5s`.
pub(super) fn seconds(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{seconds:.3}s")
    } else if seconds < 60.0 {
        format!("{seconds:.1}s")
    } else {
        let whole = seconds.round() as u64;
        let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
        if hours > 0 { format!("{hours}h{minutes}m{seconds}s") } else { format!("{minutes}m{seconds}s") }
    }
}

/// `+12.345s`.
pub(super) fn offset(seconds: f64) -> String {
    format!("+{seconds:.3}s")
}

/// `1.2ms`.
pub(super) fn milliseconds(ms: Option<f64>) -> String {
    ms.map_or_else(|| NONE.to_owned(), |ms| format!("{ms:.1}ms"))
}

impl Measure {
    fn title(self) -> &'static str {
        match self {
            Self::HealthScore => "health score",
            Self::ReadyInstances => "ready instances",
            Self::SuccessRatio => "success",
            Self::LatencyP50Ms => "latency p50",
            Self::LatencyP95Ms => "latency p95",
            Self::LatencyP99Ms => "latency p99",
            Self::Value => "value",
        }
    }

    fn show(self, value: Option<f64>) -> String {
        let Some(value) = value else { return NONE.to_owned() };
        match self {
            Self::HealthScore => format!("{value:.2}"),
            Self::ReadyInstances => format!("{value:.0}"),
            Self::SuccessRatio => percent(value),
            Self::LatencyP50Ms | Self::LatencyP95Ms | Self::LatencyP99Ms => milliseconds(Some(value)),
            Self::Value => short(value),
        }
    }

    fn show_change(self, change: Option<f64>) -> String {
        let Some(change) = change else { return NONE.to_owned() };
        let text = match self {
            Self::SuccessRatio => format!("{:+.2} points", change * 100.0),
            Self::HealthScore => format!("{change:+.2}"),
            Self::ReadyInstances => format!("{change:+.0}"),
            Self::LatencyP50Ms | Self::LatencyP95Ms | Self::LatencyP99Ms => format!("{change:+.1}ms"),
            Self::Value => format!("{}{}", if change < 0.0 { "" } else { "+" }, short(change)),
        };
        let zero = text.chars().all(|c| !c.is_ascii_digit() || c == '0');
        if zero { "=".to_owned() } else { text }
    }
}

/// `99%`, `99.95%`; only a full share is shown as 100%, and only none as 0%.
fn percent(ratio: f64) -> String {
    let hundredths = (ratio * 10_000.0).round();
    let hundredths = if ratio < 1.0 { hundredths.min(9_999.0) } else { hundredths };
    let hundredths = if ratio > 0.0 { hundredths.max(1.0) } else { hundredths };
    let text = format!("{:.2}", hundredths / 100.0);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

fn short(value: f64) -> String {
    if value != 0.0 && (value.abs() >= 1e9 || value.abs() < 1e-3) {
        return format!("{value:.3e}");
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Head of the table of what was measured.
pub(super) const MEASURED_HEAD: [&str; 6] = ["what", "measure", "before", "during", "after", "change"];

/// A row of it.
pub(super) fn measured_row(row: &Movement) -> [String; 6] {
    let show = |value| row.measure.show(value);
    [
        row.probe.clone().unwrap_or_else(|| "target".to_owned()),
        row.measure.title().to_owned(),
        show(row.before),
        show(row.during),
        show(row.after),
        row.measure.show_change(row.change),
    ]
}

/// A phase of probes, for people.
pub(super) fn phase(phase: ProbePhase) -> &'static str {
    match phase {
        ProbePhase::Before => "before",
        ProbePhase::Chaos => "during",
        ProbePhase::After | ProbePhase::Always => "after",
    }
}

/// How a probe in a phase did, for people.
pub(super) fn judgement(one: &ProbePhaseMeasures) -> String {
    let word = match one.judgement {
        ProbeJudgement::Within => "ok",
        ProbeJudgement::Beyond => "OUT OF TOLERANCE",
        ProbeJudgement::Inconclusive => "INCONCLUSIVE",
        ProbeJudgement::NoData => "NO DATA",
        ProbeJudgement::NotReached => "not measured",
    };
    match &one.explanation {
        Some(text) => format!("{word}: {text}"),
        None if one.measured > 0 => format!("{word}: {} of {} passed", one.passed, one.measured),
        None => word.to_owned(),
    }
}

/// One line on the times that matter, each with its title.
pub(super) fn times(run: &Measures) -> Vec<(&'static str, String)> {
    let mut times = Vec::new();
    if let Some(at) = run.active_at_seconds {
        times.push(("first effect", format!("{} proven from the target's side", offset(at))));
        times.push((
            "detected",
            match (run.detection_seconds, &run.detected_by) {
                (Some(took), Some(by)) => format!("after {}, by {by}", seconds(took)),
                (Some(took), None) => format!("after {}", seconds(took)),
                (None, _) => "nothing measured went wrong while faults were active".to_owned(),
            },
        ));
    }
    if let Some(took) = run.revert_seconds {
        let unproven = run.injections.iter().filter(|one| !one.undone).count();
        times.push((
            "undone",
            if unproven > 0 {
                format!("NO: {unproven} of {} not proven after {}", run.injections.len(), seconds(took))
            } else {
                format!("{} after it was asked for, proven", seconds(took))
            },
        ));
    }
    match run.recovery_seconds {
        Some(took) => times.push(("recovered", format!("{} after the undo", seconds(took)))),
        None if run.finished && run.active_at_seconds.is_some() => {
            times.push(("recovered", "not seen".to_owned()));
        }
        None => {}
    }
    let phases: Vec<String> =
        run.phases.iter().map(|one| format!("{} {}", one.phase, seconds(one.duration_seconds))).collect();
    times.push(("phases", phases.join(", ")));
    times
}

/// What proves that an injection acted.
pub(super) fn effect(one: &InjectionMeasures) -> String {
    match one.active_at_seconds {
        Some(at) => format!("{} in {} {}", offset(at), milliseconds(one.inject_ms), evidence(&one.effect)),
        None => "never proven active".to_owned(),
    }
}

/// What proves that nothing of it is left.
pub(super) fn undo(one: &InjectionMeasures) -> String {
    let error = one.error.as_deref().map(|text| format!(" ({text})")).unwrap_or_default();
    let ended = one.ended_at_seconds.map(offset).unwrap_or_default();
    match one.state {
        InjectionState::RevertFailed => format!("NOT PROVEN{error} {}", evidence(&one.undo)),
        InjectionState::Planned if one.undone => "never applied".to_owned(),
        state if !state.is_final() => "not yet".to_owned(),
        InjectionState::Reverted => {
            format!("{ended} in {} {}{error}", milliseconds(one.revert_ms), evidence(&one.undo))
        }
        InjectionState::TargetGone => format!("{ended} the target ended by itself {}", evidence(&one.undo)),
        _ => format!("{ended} could not be applied{error} {}", evidence(&one.undo)),
    }
    .trim_end()
    .to_owned()
}

fn evidence(evidence: &[Evidence]) -> String {
    let texts: Vec<String> = evidence.iter().map(|one| format!("{}: {}", one.source, one.observed)).collect();
    if texts.is_empty() { String::new() } else { format!("[{}]", texts.join("; ")) }
}

/// Injections to show, those not cleanly ended first when not all of them fit; and how many are left out.
pub(super) fn shown(injections: &[InjectionMeasures], max: usize) -> (Vec<&InjectionMeasures>, usize) {
    let mut shown: Vec<&InjectionMeasures> = injections.iter().collect();
    if shown.len() > max {
        shown.sort_by_key(|one| one.undone && one.error.is_none());
        shown.truncate(max);
    }
    let omitted = injections.len() - shown.len();
    (shown, omitted)
}

/// A gate's decision in a word.
pub(super) fn gate_word(gate: &chaos_core::safety::Decision) -> &'static str {
    match (gate.passed, gate.overridden) {
        (true, true) => "OVERRIDDEN",
        (true, false) => "passed",
        (false, _) => "REFUSED",
    }
}

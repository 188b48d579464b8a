//! How experiments and runs look to people.
//!
//! Owns tables and lines that more than one verb prints. It never asks a server.

use chaos_api::{ExperimentDetail, ExperimentRecord, ProbeResult, RunDetail, StopResponse};
use chaos_core::run::{Injection, Judgement, Phase, Verdict};
use chaos_core::safety::Decision;
use chaos_core::spec::ProbePhase;
use jiff::Timestamp;

use crate::output::{self, Mood, Output, milliseconds, or_dash};

/// The table of `chaos list`.
pub(crate) fn list(records: &[ExperimentRecord], wide: bool, now: Timestamp) -> String {
    let mut head = vec!["NAME", "NAMESPACE", "TYPE", "STATUS", "PHASE", "VERDICT", "AGE", "DURATION"];
    if wide {
        head.extend(["RUN", "TARGET", "REASON"]);
    }
    let row = |record: &ExperimentRecord| {
        let mut row = vec![
            record.name.clone(),
            record.namespace.clone(),
            record.kind.clone(),
            record.status.to_string(),
            or_dash(record.phase),
            or_dash(record.verdict),
            age(record.started_at.unwrap_or(record.created_at), now),
            or_dash(record.duration_seconds.map(output::seconds)),
        ];
        if wide {
            row.extend([
                or_dash(record.run.as_ref()),
                or_dash(Some(&record.target)),
                or_dash(record.reason.as_deref()),
            ]);
        }
        row
    };
    output::table(&head, records.iter().map(row))
}

fn age(since: Timestamp, now: Timestamp) -> String {
    output::whole_seconds(now.duration_since(since).as_secs().max(0).unsigned_abs())
}

/// One experiment with its latest run.
pub(crate) fn experiment(detail: &ExperimentDetail, out: &Output) -> String {
    let record = &detail.record;
    let mut lines = vec![headline(record, out)];
    lines.extend(record.reason.clone());
    lines.push(format!("document: {}", detail.document_hash));
    let Some(run) = &detail.latest else {
        lines.push(format!(
            "registered, never started; start it: chaos run -f FILE, target {}",
            record.target
        ));
        return lines.join("\n");
    };
    if let Some(hypothesis) = &detail.document.spec.hypothesis {
        lines.push(format!("hypothesis: {hypothesis}"));
    }
    lines.extend(facts(run));
    let mut parts = vec![lines.join("\n")];
    parts.extend(decisions(&run.decisions));
    parts.extend(injections(run));
    parts.extend(probes(&run.probes));
    if run.summary.phase == Phase::Finished {
        let namespace = namespace_flag(&record.namespace);
        parts.push(format!("report: chaos report {}{namespace}", record.name));
    }
    parts.join("\n\n")
}

/// ` --namespace NS`, unless it is the usual one.
pub(crate) fn namespace_flag(namespace: &str) -> String {
    if namespace == "default" { String::new() } else { format!(" --namespace {namespace}") }
}

fn headline(record: &ExperimentRecord, out: &Output) -> String {
    let state = match (record.verdict, record.phase) {
        (Some(verdict), _) => out.paint(mood(verdict), verdict.name()),
        (None, Some(phase)) => out.paint(Mood::Between, &format!("{} ({phase})", record.status)),
        (None, None) => record.status.to_string(),
    };
    let run = record.run.as_ref().map(|run| format!(", run {run}")).unwrap_or_default();
    let length =
        record.duration_seconds.map(|length| format!(", {}", output::seconds(length))).unwrap_or_default();
    format!("{state}  {}/{}  ({}{run}{length})", record.namespace, record.name, record.kind)
}

/// How good a verdict is.
pub(crate) fn mood(verdict: Verdict) -> Mood {
    match verdict {
        Verdict::Held => Mood::Good,
        Verdict::Deviated | Verdict::Error => Mood::Bad,
        Verdict::Stopped | Verdict::Blocked | Verdict::Inconclusive => Mood::Between,
    }
}

fn facts(run: &RunDetail) -> Vec<String> {
    let score = |health: &Option<chaos_core::safety::Health>| {
        or_dash(health.as_ref().and_then(|health| health.score.value()).map(|score| format!("{score:.2}")))
    };
    let mut lines = vec![format!(
        "target: {}, {} match, {} ready; seed {}",
        run.summary.target, run.instances, run.ready_now, run.header.seed
    )];
    let lowest = run.score_min.map(|score| format!(", lowest {score:.2}")).unwrap_or_default();
    lines.push(format!(
        "health score: {} before, {} last{lowest}; threshold {}",
        score(&run.health_before),
        score(&run.health),
        run.header.threshold
    ));
    let noticed =
        run.summary.detection_seconds.map(|seconds| format!("noticed after {}", output::seconds(seconds)));
    let recovered =
        run.summary.recovery_seconds.map(|seconds| format!("recovered after {}", output::seconds(seconds)));
    let times: Vec<String> = noticed.into_iter().chain(recovered).collect();
    if !times.is_empty() {
        lines.push(times.join(", "));
    }
    if !run.header.overrides.is_empty() {
        let names: Vec<&str> = run.header.overrides.iter().map(|one| one.name()).collect();
        lines.push(format!("overridden: {} ({})", names.join(", "), or_dash(run.header.reason.as_deref())));
    }
    lines
}

/// The gates that refused, or would have; `None` when all passed.
fn decisions(decisions: &[Decision]) -> Option<String> {
    let rows: Vec<Vec<String>> = decisions
        .iter()
        .filter(|one| !one.passed || one.overridden)
        .map(|one| {
            let result = if one.overridden { "overridden" } else { "refused" };
            vec![one.gate.name().to_owned(), result.to_owned(), one.message.clone()]
        })
        .collect();
    (!rows.is_empty()).then(|| output::table(&["GATE", "RESULT", "WHY"], rows))
}

/// Every gate with its result.
pub(crate) fn gates(decisions: &[Decision]) -> String {
    let rows = decisions.iter().map(|one| {
        let result = match (one.passed, one.overridden) {
            (_, true) => "overridden",
            (true, false) => "passed",
            (false, false) => "refused",
        };
        vec![one.gate.name().to_owned(), result.to_owned(), one.message.clone()]
    });
    output::table(&["GATE", "RESULT", "WHY"], rows)
}

fn injections(run: &RunDetail) -> Option<String> {
    if run.injections.is_empty() {
        return None;
    }
    let faults = &run.header.experiment.spec.faults;
    let fault = |one: &Injection| or_dash(faults.get(one.item).map(|item| item.fault.kind()));
    let rows = run.injections.iter().map(|one| {
        vec![
            one.instance.id.clone(),
            fault(one),
            one.state.to_string(),
            milliseconds(one.inject_took_ms),
            milliseconds(one.revert_took_ms),
            one.error.clone().unwrap_or_default(),
        ]
    });
    let failed = run.injections.iter().any(|one| one.error.is_some());
    let mut head = vec!["INSTANCE", "FAULT", "STATE", "INJECT MS", "REVERT MS"];
    head.extend(failed.then_some("ERROR"));
    let columns = head.len();
    Some(output::table(&head, rows.map(|row| row.into_iter().take(columns).collect())))
}

fn probes(probes: &[ProbeResult]) -> Option<String> {
    if probes.is_empty() {
        return None;
    }
    let rows = probes.iter().map(|one| {
        let (judgement, why) = match &one.judgement {
            Judgement::Within => ("within", String::new()),
            Judgement::Beyond(why) => ("beyond", why.clone()),
            Judgement::NoData(why) => ("no data", why.clone()),
        };
        vec![
            one.name.clone(),
            phase(one.phase).to_owned(),
            format!("{}/{}", one.passed, one.measured),
            or_dash(one.success.map(|share| format!("{:.1}%", share * 100.0))),
            milliseconds(one.latency_ms_p50),
            milliseconds(one.latency_ms_p95),
            judgement.to_owned(),
            why,
        ]
    });
    let explained = probes.iter().any(|one| one.judgement != Judgement::Within);
    let mut head = vec!["PROBE", "PHASE", "PASSED", "SUCCESS", "P50 MS", "P95 MS", "TOLERANCE"];
    head.extend(explained.then_some("WHY"));
    let columns = head.len();
    Some(output::table(&head, rows.map(|row| row.into_iter().take(columns).collect())))
}

fn phase(phase: ProbePhase) -> &'static str {
    match phase {
        ProbePhase::Before => "before",
        ProbePhase::Chaos => "chaos",
        ProbePhase::After => "after",
        ProbePhase::Always => "always",
    }
}

/// `1 fault`, `2 faults`.
pub(crate) fn faults(count: usize) -> String {
    if count == 1 { "1 fault".to_owned() } else { format!("{count} faults") }
}

/// One line for each run that was stopped.
pub(crate) fn stopped(response: &StopResponse) -> String {
    let line = |run: &chaos_api::StoppedRun| {
        let name = format!("{}/{} (run {})", run.namespace, run.name, run.run);
        if run.unproven.is_empty() {
            return format!(
                "stopped {name}: {} reverted, proven after {:.0} ms",
                faults(run.reverted),
                run.took_ms
            );
        }
        let unproven: Vec<&str> = run.unproven.iter().map(|id| id.0.as_str()).collect();
        format!(
            "stopped {name}: the undo of {} is NOT PROVEN after {:.0} ms: act now, `chaos recover` tries again",
            unproven.join(", "),
            run.took_ms
        )
    };
    match response.runs.as_slice() {
        [] => "nothing was active".to_owned(),
        runs => runs.iter().map(line).collect::<Vec<_>>().join("\n"),
    }
}

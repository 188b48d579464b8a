//! The incident of a run that a guardrail ended or whose undo is not proven, and the post-mortem to be written of it.
//!
//! Owns what goes into them. Everything is read from the journal; what people know beside it they fill in.

use chaos_core::incident::{Incident, IncidentCause, IncidentEntry, IncidentStatus, RUNBOOK_ANNOTATION};
use chaos_core::journal::{Record, RunHeader};
use chaos_core::run::RunState;
use chaos_core::safety::Health;

use crate::measures::Measures;
use crate::report::{code, markdown};

/// The incident of a finished run; `None` when there is none, or the journal is damaged.
pub fn incident(header: &RunHeader, records: &[Record]) -> Option<Incident> {
    let state = RunState::replay(header, records).ok()?;
    let outcome = state.outcome.as_ref()?;
    let alarmed = state.stop.as_ref().is_some_and(|stop| stop.cause.is_alarm());
    let cause = match (outcome.revert_incomplete, alarmed) {
        (true, _) => IncidentCause::RevertIncomplete,
        (false, true) => IncidentCause::Guardrail,
        (false, false) => return None,
    };
    let measures = Measures::of(header, records).ok()?;
    let entry = |one: crate::measures::TimelineEntry| IncidentEntry {
        at: one.at,
        elapsed_ms: (one.at_seconds * 1000.0).round() as u64,
        text: one.what,
    };
    let mut targets: Vec<String> = state.selected_instances().map(str::to_owned).collect();
    targets.sort_unstable();
    targets.dedup();
    Some(Incident {
        id: Incident::id_of(&header.run),
        run: header.run.clone(),
        experiment: header.key(),
        cause,
        summary: measures.why(),
        targets,
        runbook: header.experiment.metadata.annotations.get(RUNBOOK_ANNOTATION).cloned(),
        timeline: measures.timeline.into_iter().map(entry).collect(),
        decisions: state.decisions.into_iter().chain(state.guards).collect(),
        health_before: state.health_before,
        health_after: state.health,
        status: IncidentStatus::Open,
        opened_at: records.last()?.at,
        closed_at: None,
        closed_by: None,
        note: None,
    })
}

/// A post-mortem to be completed, in Markdown: what the journal knows is there, what people know is asked for.
pub fn post_mortem(incident: &Incident) -> String {
    let cause = match incident.cause {
        IncidentCause::Guardrail => "a guardrail ended the run",
        IncidentCause::RevertIncomplete => "the undo of a fault is not proven",
    };
    let runbook = incident.runbook.as_deref().map_or("none named".to_owned(), markdown);
    let mut text = format!(
        "# Post-mortem: {}\n\n\
         - Incident: {}\n- Run: {} of {}\n- Opened: {:.0}\n- Cause: {cause}\n- Targets: {}\n- Runbook: {runbook}\n\n\
         ## Summary\n\n{}\n\n## Impact\n\n_Who noticed what, for how long?_\n\n",
        code(&incident.experiment.to_string()),
        code(&incident.id),
        code(&incident.run.0),
        code(&incident.experiment.to_string()),
        incident.opened_at,
        markdown(&incident.targets.join(", ")),
        markdown(&incident.summary),
    );
    text += "## Signals\n\n| signal | before | after |\n| --- | --- | --- |\n";
    text += &signals(incident.health_before.as_ref(), incident.health_after.as_ref());
    text += "\n## Timeline\n\n| time | at | what |\n| --- | --- | --- |\n";
    for entry in &incident.timeline {
        let at = entry.elapsed_ms as f64 / 1000.0;
        text += &format!("| {:.3} | +{at:.3} s | {} |\n", entry.at, markdown(&entry.text));
    }
    text += "\n## Decisions\n\n| gate | decision | why |\n| --- | --- | --- |\n";
    for decision in &incident.decisions {
        let word = match (decision.passed, decision.overridden) {
            (true, true) => "overridden",
            (true, false) => "passed",
            (false, _) => "refused",
        };
        text += &format!("| {} | {word} | {} |\n", code(decision.gate.name()), markdown(&decision.message));
    }
    text += "\n## What went well\n\n_…_\n\n## What went wrong\n\n_…_\n\n## Where we were lucky\n\n_…_\n\n\
             ## Actions\n\n| what | who | by when |\n| --- | --- | --- |\n| | | |\n";
    if let (Some(closed), Some(note)) = (incident.closed_at, &incident.note) {
        let by = incident.closed_by.as_deref().unwrap_or("unknown");
        text += &format!("\n## Closed\n\n{closed:.0} by {}: {}\n", markdown(by), markdown(note));
    }
    text
}

/// A row for each signal of either moment.
fn signals(before: Option<&Health>, after: Option<&Health>) -> String {
    let names = before.into_iter().chain(after).flat_map(|health| &health.signals).map(|one| &one.name);
    let names: std::collections::BTreeSet<&String> = names.collect();
    let value = |health: Option<&Health>, name: &str| {
        let signal = health?.signals.iter().find(|signal| signal.name == name)?;
        signal.value.map(|value| format!("{value}")).or_else(|| signal.error.clone())
    };
    let cell = |health, name: &str| markdown(&value(health, name).unwrap_or_else(|| "no data".to_owned()));
    names
        .into_iter()
        .map(|name| format!("| {} | {} | {} |\n", code(name), cell(before, name), cell(after, name)))
        .collect()
}

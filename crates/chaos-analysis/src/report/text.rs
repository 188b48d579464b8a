//! The report for a terminal.
//!
//! Owns its layout: verdict, why, what to do next, then the evidence. It never colours.

use super::escape::plain;
use super::figures::{self, MEASURED_HEAD};
use super::table::{COLUMNS_MAX, entry, table, wrap};
use crate::measures::{Measures, named};

/// Injections shown; those that did not end cleanly come first when there are more.
const INJECTIONS_MAX: usize = 40;

const TITLE: usize = 12;

pub(super) fn write(run: &Measures) -> String {
    let mut out = head(run);
    out += &section("Times", figures::times(run).iter().map(|(title, text)| entry(title, TITLE, text)));
    out += &measured(run);
    out += &injections(run);
    let gates = run
        .gates
        .iter()
        .map(|gate| [gate.gate.name().to_owned(), figures::gate_word(gate).to_owned(), gate.message.clone()]);
    out += &section("Gates", [table(&gates.collect::<Vec<_>>())]);
    out += &timeline(run);
    // A command is to be copied, so it is never wrapped; those of ours are short but for the names in them.
    let commands = run.replay.commands.iter().flat_map(|command| wrap(command, COLUMNS_MAX - 2));
    out += &section("Replay", commands.map(|line| format!("  {line}\n")));
    out
}

fn head(run: &Measures) -> String {
    let title = format!("{}: {} ({})", run.headline().to_uppercase(), run.key(), run.kind);
    let mut out = wrap(&title, COLUMNS_MAX).join("\n") + "\n";
    out += &entry("why", TITLE, &run.why());
    for (index, step) in run.next_steps.iter().enumerate() {
        out += &entry(if index == 0 { "next" } else { "" }, TITLE, step);
    }
    out += "\n";
    if let Some(hypothesis) = &run.hypothesis {
        out += &entry("hypothesis", TITLE, hypothesis);
    }
    let exit = run.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
    out += &entry(
        "run",
        TITLE,
        &format!("{}, {:.0}, took {}{exit}", run.run, run.created_at, figures::seconds(run.duration_seconds)),
    );
    let chosen =
        if run.target.chosen.is_empty() { String::new() } else { format!(": {}", named(&run.target.chosen)) };
    out += &entry(
        "target",
        TITLE,
        &format!(
            "{}, select {} of {}, seed {}{chosen}",
            run.target.description, run.target.select, run.target.matching, run.target.seed
        ),
    );
    for fault in &run.faults {
        out += &entry("fault", TITLE, &format!("{} for {} {}", fault.kind, fault.duration, fault.parameters));
    }
    if !run.overrides.is_empty() {
        let reason = run.override_reason.as_deref().unwrap_or("no reason given");
        out += &entry("overrides", TITLE, &format!("{}: {reason}", run.overrides.join(", ")));
    }
    if let Some(stop) = &run.stop {
        out += &entry("stopped by", TITLE, &format!("{}: {}", cause(run), stop.reason));
    }
    out
}

/// Who stopped it, as in the journal.
fn cause(run: &Measures) -> String {
    run.stop
        .as_ref()
        .and_then(|stop| serde_json::to_value(stop.cause).ok()?.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// Nothing when there is nothing to show under the title.
fn section(title: &str, parts: impl IntoIterator<Item = String>) -> String {
    let body: String = parts.into_iter().collect();
    if body.is_empty() { body } else { format!("\n{title}\n{body}") }
}

fn measured(run: &Measures) -> String {
    let mut rows = vec![MEASURED_HEAD.map(str::to_owned)];
    rows.extend(run.measured.iter().map(figures::measured_row));
    if rows.len() == 1 {
        return String::new();
    }
    let mut out = section("Measured", [table(&rows)]);
    let judged = run.probes.iter().flat_map(|probe| {
        probe
            .phases
            .iter()
            .map(|one| [probe.name.clone(), figures::phase(one.phase).to_owned(), figures::judgement(one)])
    });
    out += &section("Probes", [table(&judged.collect::<Vec<_>>())]);
    out
}

fn injections(run: &Measures) -> String {
    let (shown, omitted) = figures::shown(&run.injections, INJECTIONS_MAX);
    let mut parts: Vec<String> = Vec::new();
    for one in shown {
        let line = format!("  {} on {}: {} ({})", one.kind, one.instance, one.state, one.id);
        parts.push(wrap(&plain(&line), COLUMNS_MAX - 2).iter().map(|line| format!("  {line}\n")).collect());
        parts.push(entry("  effect", TITLE - 4, &figures::effect(one)));
        parts.push(entry("  undo", TITLE - 4, &figures::undo(one)));
    }
    if omitted > 0 {
        parts.push(format!("  {omitted} more in the JSON report\n"));
    }
    section("Injections", parts)
}

fn timeline(run: &Measures) -> String {
    let middle = run.timeline.len() / 2;
    let mut rows: Vec<[String; 3]> = run
        .timeline
        .iter()
        .map(|one| [figures::offset(one.at_seconds), one.phase.to_string(), one.what.clone()])
        .collect();
    if run.timeline_omitted > 0 {
        rows.insert(middle, ["...".into(), String::new(), format!("{} left out", run.timeline_omitted)]);
    }
    section("Timeline", [table(&rows)])
}

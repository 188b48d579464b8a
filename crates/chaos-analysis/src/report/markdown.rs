//! The report as Markdown, for an issue, a wiki or a post-mortem.
//!
//! Owns its layout. Texts of the outside are escaped, identifiers stand as code.

use super::escape::{code, markdown, markdown_advice};
use super::figures::{self, MEASURED_HEAD};
use crate::measures::{Measures, named};

/// Injections shown; those that did not end cleanly come first when there are more.
const INJECTIONS_MAX: usize = 200;

pub(super) fn write(run: &Measures) -> String {
    let title = format!("# {}: {}\n", run.headline(), code(&run.key()));
    let mut parts = vec![title, format!("**Why:** {}\n", markdown(&run.why()))];
    if !run.next_steps.is_empty() {
        let steps = run.next_steps.iter().enumerate();
        let steps: String =
            steps.map(|(index, step)| format!("{}. {}\n", index + 1, markdown_advice(step))).collect();
        parts.push(format!("**Next:**\n\n{steps}"));
    }
    if let Some(hypothesis) = &run.hypothesis {
        parts.push(format!("## Hypothesis\n\n> {}\n", markdown(hypothesis)));
    }
    parts.push(done(run));
    parts.push(measured(run));
    parts.push(timeline(run));
    parts.push(injections(run));
    parts.push(gates(run));
    parts.push(replay(run));
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

fn done(run: &Measures) -> String {
    let target = &run.target;
    let mut lines = vec![
        format!("- Run {}, accepted {:.0}", code(&run.run.0), run.created_at),
        format!(
            "- Target: {}, select {} of {} instances, seed {}",
            markdown(&target.description),
            code(&target.select),
            target.matching,
            code(&target.seed.to_string())
        ),
    ];
    if !target.chosen.is_empty() {
        lines.push(format!("- Chosen: {}", markdown(&named(&target.chosen))));
    }
    for fault in &run.faults {
        let parameters = code(&fault.parameters.to_string());
        lines.push(format!("- Fault: {} for {}, {parameters}", code(&fault.kind), markdown(&fault.duration)));
    }
    if !run.overrides.is_empty() {
        let reason = run.override_reason.as_deref().unwrap_or("no reason given");
        lines.push(format!("- **Overrides:** {}: {}", code(&run.overrides.join(",")), markdown(reason)));
    }
    if let Some(stop) = &run.stop {
        lines.push(format!("- **Stopped:** {}", markdown(&stop.reason)));
    }
    let exit = run.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
    lines.push(format!("- Took {}{exit}", figures::seconds(run.duration_seconds)));
    format!("## What was done\n\n{}\n", lines.join("\n"))
}

fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut out = format!("| {} |\n|{}\n", head.join(" | "), " --- |".repeat(N));
    for row in rows {
        out += &format!("| {} |\n", row.join(" | "));
    }
    out
}

fn measured(run: &Measures) -> String {
    let times = figures::times(run);
    let times: String =
        times.iter().map(|(title, text)| format!("- **{title}:** {}\n", markdown(text))).collect();
    let mut out = format!("## What was measured\n\n{times}");
    if !run.measured.is_empty() {
        let rows = run.measured.iter().map(|row| figures::measured_row(row).map(|cell| markdown(&cell)));
        out += &format!("\n{}", table(MEASURED_HEAD, rows));
    }
    if !run.probes.is_empty() {
        let rows = run.probes.iter().flat_map(|probe| {
            probe.phases.iter().map(|one| {
                [code(&probe.name), figures::phase(one.phase).to_owned(), markdown(&figures::judgement(one))]
            })
        });
        out += &format!("\n{}", table(["probe", "phase", "judged"], rows));
    }
    out
}

fn timeline(run: &Measures) -> String {
    if run.timeline.is_empty() {
        return String::new();
    }
    let mut rows: Vec<[String; 3]> = run
        .timeline
        .iter()
        .map(|one| [figures::offset(one.at_seconds), one.phase.to_string(), markdown(&one.what)])
        .collect();
    if run.timeline_omitted > 0 {
        let middle = rows.len() / 2;
        rows.insert(middle, ["…".into(), String::new(), format!("{} left out", run.timeline_omitted)]);
    }
    format!("## Timeline\n\n{}", table(["at", "phase", "what"], rows))
}

fn injections(run: &Measures) -> String {
    if run.injections.is_empty() {
        return String::new();
    }
    let (shown, omitted) = figures::shown(&run.injections, INJECTIONS_MAX);
    let rows = shown.into_iter().map(|one| {
        [
            code(&one.id.0),
            code(&one.kind),
            code(&one.instance),
            one.state.to_string(),
            markdown(&figures::effect(one)),
            markdown(&figures::undo(one)),
        ]
    });
    let head = ["injection", "fault", "instance", "state", "proof of effect", "proof of undo"];
    let mut out = format!("## Injections\n\n{}", table(head, rows));
    if omitted > 0 {
        out += &format!("\n{omitted} more in the JSON report.\n");
    }
    out
}

fn gates(run: &Measures) -> String {
    if run.gates.is_empty() {
        return String::new();
    }
    let rows = run
        .gates
        .iter()
        .map(|gate| [code(gate.gate.name()), figures::gate_word(gate).to_owned(), markdown(&gate.message)]);
    format!("## Gates\n\n{}", table(["gate", "decision", "why"], rows))
}

fn replay(run: &Measures) -> String {
    let document = serde_json::to_string_pretty(&run.replay.document).unwrap_or_default();
    // A fence longer than any run of backticks inside can't be closed from within.
    let longest = document.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!(
        "## Replay\n\n```sh\n{}\n```\n\n{fence}json\n{document}\n{fence}\n",
        run.replay.commands.join("\n")
    )
}

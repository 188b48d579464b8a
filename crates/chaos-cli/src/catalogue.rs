//! The catalogue of faults for people: names, parameters with their defaults, snippets, the reference page.
//!
//! Owns how it is written. What it says comes from `chaos-core`.

use std::fmt::Write as _;

use chaos_core::spec::{FaultInfo, FaultKind, Undo};
use chaos_core::text::nearest;

use crate::output;

/// Reads the name of a fault; an unknown one is told with the nearest.
///
/// # Errors
/// When no fault has that name.
pub(crate) fn fault_kind(text: &str) -> Result<FaultKind, String> {
    FaultKind::parse(text).ok_or_else(|| {
        let names = FaultKind::ALL.map(FaultKind::name);
        let hint = nearest(text, names).map(|name| format!("; did you mean {name:?}?")).unwrap_or_default();
        format!("no fault has that name; expected one of {}{hint}", names.join(", "))
    })
}

/// Who ends the fault when every process of ours is dead, in words.
pub(crate) fn undo_words(undo: Undo) -> &'static str {
    match undo {
        Undo::Nothing => "nothing to undo: whoever manages the instance starts it again",
        Undo::KernelAtOnce => "the kernel, at once",
        Undo::KernelWithinLease => "the kernel, when the lease of 15s runs out",
    }
}

/// All faults, one a line.
pub(crate) fn overview(wide: bool) -> String {
    let row = |kind: FaultKind| {
        let info = kind.info();
        let mut row = vec![kind.name().to_owned(), info.summary.to_owned()];
        if wide {
            row.extend([info.proof.to_owned(), undo_words(info.undo).to_owned(), info.needs.to_owned()]);
        }
        row
    };
    let head: &[&str] = if wide {
        &["TYPE", "WHAT", "PROOF", "IF EVERYTHING OF OURS DIES", "NEEDS"]
    } else {
        &["TYPE", "WHAT"]
    };
    output::table(head, FaultKind::ALL.map(row))
}

/// One fault in full.
pub(crate) fn describe(kind: FaultKind) -> String {
    let info = kind.info();
    let mut text = format!(
        "{kind}: {}\n\nproof   {}\nundo    {}\nneeds   {}\n\n",
        info.summary,
        info.proof,
        undo_words(info.undo),
        info.needs
    );
    text += &parameters(info);
    let _ = write!(text, "\n\nIn a document, with every default written out:\n\n{}", snippet(kind));
    let flags = match kind {
        FaultKind::CpuStress => " --set load=60%",
        FaultKind::MemoryPressure => " --set size=64Mi",
        FaultKind::NetworkPartition => " --set direction=in",
        FaultKind::PodKill => " --set interval=5s",
        FaultKind::ProcessPause => "",
    };
    let _ = write!(text, "\nFrom flags:\n\n  chaos run --type {kind}{flags} --duration 30\n");
    text
}

fn parameters(info: &FaultInfo) -> String {
    if info.parameters.is_empty() {
        return "It has no parameters.".to_owned();
    }
    let rows = info.parameters.iter().map(|one| {
        vec![one.name.to_owned(), one.default.to_owned(), one.values.to_owned(), one.summary.to_owned()]
    });
    output::table(&["PARAMETER", "DEFAULT", "VALUES", "WHAT"], rows)
}

/// The fault as an entry of `spec.faults`, with its defaults.
pub(crate) fn snippet(kind: FaultKind) -> String {
    let comments = parameter_comments(kind, "        ");
    format!("  spec:\n    faults:\n      - {kind}:{}\n", comments.replace("\n", "\n  "))
}

/// The parameters of a fault as YAML below its name: those with a value as it is, the others as comments.
pub(crate) fn parameter_comments(kind: FaultKind, indent: &str) -> String {
    let info = kind.info();
    let defaults = serde_json::to_value(kind.with_defaults()).unwrap_or_default();
    let values = defaults.get(kind.name()).cloned().unwrap_or_default();
    let written = info.parameters.iter().filter(|one| values.get(one.name).is_some()).count();
    let mut text = String::new();
    if written == 0 {
        text.push_str(" {}");
    }
    for one in info.parameters {
        let _ = match values.get(one.name) {
            Some(value) => write!(text, "\n{indent}{}: {}   # {}", one.name, plain(value), one.summary),
            None => write!(text, "\n{indent}# {}: {}; default: {}", one.name, one.summary, one.default),
        };
    }
    text
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The reference page of all faults, in Markdown.
pub(crate) fn reference() -> String {
    let mut text = String::from(
        "# Faults\n\nGenerated from the code: `chaos faults` prints the same. Every fault is proven active from the \
         victim's side and proven undone afterwards.\n",
    );
    for kind in FaultKind::ALL {
        let info = kind.info();
        let _ = write!(
            text,
            "\n## `{kind}`\n\n{}\n\n- **Proof**: {}.\n- **If every process of chaos dies**: {}.\n- **Needs**: {}.\n\n",
            info.summary,
            info.proof,
            undo_words(info.undo),
            info.needs
        );
        if info.parameters.is_empty() {
            text.push_str("It has no parameters.\n");
        } else {
            text.push_str("| parameter | default | values | what |\n|---|---|---|---|\n");
        }
        for one in info.parameters {
            let cells = [&format!("`{}`", one.name), one.default, one.values, one.summary];
            let _ = writeln!(text, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
        }
        let _ = write!(text, "\n```yaml\n{}```\n", snippet(kind).replace("\n  ", "\n").trim_start());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_fault_is_told_with_the_nearest() {
        let error = fault_kind("pod-kil").expect_err("unknown");
        assert!(error.ends_with("did you mean \"pod_kill\"?"), "{error}");
    }

    #[test]
    fn the_reference_names_every_fault_and_parameter() {
        let text = reference();
        for kind in FaultKind::ALL {
            assert!(text.contains(&format!("## `{kind}`")), "{kind}");
            for one in kind.info().parameters {
                assert!(text.contains(&format!("| `{}` |", one.name)), "{kind}.{}", one.name);
            }
        }
    }

    #[test]
    fn the_snippet_of_a_fault_reads_as_it_is_indented() {
        assert_eq!(
            snippet(FaultKind::CpuStress),
            "  spec:\n    faults:\n      - cpu_stress:\n          load: 80%   # load to hold, of the cgroup's CPU limit \
             or of `cores`\n          # cores: number of cores that the load is a share of; default: the limit of the \
             cgroup, else every core\n"
        );
    }
}

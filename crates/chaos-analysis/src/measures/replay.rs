//! How to do a run again: the document with its seed, and the commands.
//!
//! Owns the wording of the commands. It never runs them.

use chaos_core::journal::RunHeader;

use super::Replay;
use super::secrets::{self, REDACTED};

pub(super) fn of(header: &RunHeader) -> Replay {
    let metadata = &header.experiment.metadata;
    let mut experiment = header.experiment.clone();
    experiment.spec.target.seed = Some(header.seed);
    experiment.spec.safety.threshold = Some(header.threshold);
    let mut document = serde_json::to_value(&experiment).unwrap_or_default();
    let redacted = secrets::redact(&mut document);
    let file = "replay.json";
    let mut commands = vec![format!(
        "chaos report {}{} --format json | jq .replay.document > {file}",
        metadata.name,
        namespace_flag(&metadata.namespace)
    )];
    if redacted {
        commands.push(format!("grep -n {REDACTED} {file}   # fill in what was left out of this report"));
    }
    let mut run = format!("chaos run -f {file}");
    if !header.overrides.is_empty() {
        let names: Vec<&str> = header.overrides.iter().map(|one| one.name()).collect();
        run += &format!(" --override {} --reason REASON", names.join(","));
    }
    commands.push(format!("{run}   # same seed {}: the same choice among the same instances", header.seed));
    Replay { commands, document, redacted }
}

/// ` --namespace NS`, unless it is the default one.
pub(super) fn namespace_flag(namespace: &str) -> String {
    if namespace == "default" { String::new() } else { format!(" --namespace {namespace}") }
}

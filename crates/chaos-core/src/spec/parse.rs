//! From bytes to documents: YAML or JSON, several to a file, bounded, every error with its path.
//!
//! Owns the limits on input. It never opens a file.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{DocumentError, Experiment};

/// The largest input that is looked at.
pub const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;
/// The most documents in one input.
pub const DOCUMENTS_MAX: usize = 100;
/// The most values in one input, after aliases are expanded.
pub const NODES_MAX: usize = 50_000;
/// The deepest nesting.
pub const DEPTH_MAX: usize = 64;

/// Reads every document of `text`.
///
/// # Errors
/// The first defect of each document that has one; nothing is read from input that is too large.
pub fn parse_documents(text: &str) -> Result<Vec<Experiment>, Vec<DocumentError>> {
    let values = plain_values(text).map_err(|error| vec![error])?;
    let (mut documents, mut errors) = (Vec::new(), Vec::new());
    for (index, value) in values.into_iter().enumerate() {
        match parse_experiment(value) {
            Ok(document) => documents.push(document),
            Err(error) => errors.push(DocumentError { document: index, ..error }),
        }
    }
    if errors.is_empty() { Ok(documents) } else { Err(errors) }
}

fn parse_experiment(value: Value) -> Result<Experiment, DocumentError> {
    let kind = value.get("kind").and_then(Value::as_str);
    if let Some(kind) = kind.filter(|kind| kind.starts_with("Chaos")) {
        return Err(DocumentError::at("kind", "this build does not read Litmus documents yet")
            .value(format!("{kind:?}"))
            .expected("Experiment"));
    }
    let document: Experiment = parse_value(value)?;
    document.validate()?;
    Ok(document)
}

/// Reads a value strictly into a type, with the path of what does not fit.
///
/// # Errors
/// The first defect.
pub fn parse_value<T: DeserializeOwned>(value: Value) -> Result<T, DocumentError> {
    serde_path_to_error::deserialize(&value).map_err(|error| {
        DocumentError::from_message(&error.path().to_string(), &error.inner().to_string(), &value)
    })
}

/// The documents of a YAML stream (JSON is YAML) as plain values. Empty documents are left out.
///
/// # Errors
/// When it is too large, no YAML, has a key twice, or expands beyond the limits.
pub fn plain_values(text: &str) -> Result<Vec<Value>, DocumentError> {
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(DocumentError::at("", format!("the input has {} bytes", text.len()))
            .expected(format!("at most {DOCUMENT_BYTES_MAX}")));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: NODES_MAX,
            max_events: 4 * NODES_MAX,
            max_depth: DEPTH_MAX,
            max_documents: DOCUMENTS_MAX,
            max_total_scalar_bytes: DOCUMENT_BYTES_MAX,
        },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
    };
    let values: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let message = error.to_string();
        DocumentError::at("", format!("not readable as YAML: {}", message.lines().next().unwrap_or_default()))
    })?;
    let values: Vec<Value> = values.into_iter().filter(|value| !value.is_null()).collect();
    if values.is_empty() {
        return Err(DocumentError::at("", "the input has no document").expected("an Experiment"));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duration::Span;
    use crate::spec::{Fault, HostTarget, Select};

    const MINIMAL: &str = "
apiVersion: chaos.engineering/v1
kind: Experiment
metadata: { name: orchestrator-pod-kill }
spec:
  target: { host: { app: orchestrator }, select: 50% }
  faults: [ { pod_kill: { gracePeriod: 0s, interval: 5s } } ]
";

    fn edited(from: &str, to: &str) -> String {
        assert!(MINIMAL.contains(from), "{from} is part of the document");
        MINIMAL.replace(from, to)
    }

    fn error(text: &str) -> String {
        let errors = parse_documents(text).expect_err("the document has a defect");
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_field_but_target_and_faults_has_a_default() {
        let documents = parse_documents(MINIMAL).expect("valid");
        let document = &documents[0];
        assert_eq!(document.metadata.namespace, "default");
        assert_eq!(document.spec.duration, Span::seconds(30));
        assert_eq!(document.spec.safety.threshold, None);
        assert_eq!(document.spec.recovery.timeout, Span::seconds(120));
        assert_eq!(document.spec.target.host, Some(HostTarget::App("orchestrator".into())));
        assert!(matches!(document.spec.target.select, Select::Percent(_)));
        assert!(
            matches!(&document.spec.faults[0].fault, Fault::PodKill(kill) if kill.interval == Some(Span::seconds(5)))
        );
    }

    #[test]
    fn what_is_written_out_reads_back_the_same() {
        let document = parse_documents(MINIMAL).expect("valid").remove(0);
        let json = serde_json::to_string(&document).expect("serializes");
        assert_eq!(parse_documents(&json).expect("valid"), vec![document]);
    }

    /// What is replaced in the minimal document, by what, and what is said of it.
    const DEFECTS: &[(&str, &str, &str)] = &[
        (
            "spec:",
            "spec:\n  durration: 30s",
            "spec.durration: unknown field \"durration\"; expected one of hypothesis, target, faults, duration, ramp, revert, baseline, probes, safety, recovery; did you mean \"duration\"?",
        ),
        (
            "spec:",
            "spec:\n  duration: 5 apples",
            "spec.duration: invalid value: \"5 apples\"; expected a duration of at most 7d, such as 30s, 1m30s, 500ms or a number of seconds",
        ),
        (
            "50%",
            "101%",
            "spec.target.select: invalid value: \"101%\"; expected one, all, a count of at least 1, a share such as 50% (above 0%, up to 100%), or <=30%",
        ),
        (
            "pod_kill",
            "podKill",
            "spec.faults[0].podKill: unknown field \"podKill\"; expected one of pod_kill, process_pause, cpu_stress, memory_pressure, network_partition, name, after, duration; did you mean \"pod_kill\"?",
        ),
        (
            "gracePeriod: 0s",
            "grace: 0s",
            "spec.faults[0].pod_kill.grace: unknown field \"grace\"; expected one of gracePeriod, signal, interval; did you mean \"gracePeriod\"?",
        ),
        (
            "kind: Experiment",
            "kind: Experimant",
            "kind: unknown name \"Experimant\"; expected Experiment; did you mean \"Experiment\"?",
        ),
        (
            "metadata: { name: orchestrator-pod-kill }",
            "metadata: {}",
            "metadata.name: required field is missing",
        ),
        ("host: { app: orchestrator }, ", "", "spec.target: no platform; expected one of host"),
        (
            "{ host: { app: orchestrator }",
            "{ kubernetes: { app: a }, host: { app: orchestrator }",
            "spec.target: two platforms: host, kubernetes; expected exactly one",
        ),
        (
            "host: { app: orchestrator }",
            "kubernetes: { app: orchestrator }",
            "spec.target.kubernetes: this build can't reach a cluster yet; expected host",
        ),
        (
            "app: orchestrator",
            "application: orchestrator",
            "spec.target.host.application: unknown name \"application\"; expected one of app, process, unit, container, cgroup, pid",
        ),
        (
            "gracePeriod: 0s",
            "gracePeriod: 61m",
            "spec.faults[0].pod_kill.gracePeriod: too long: 1h1m; expected at most 1h",
        ),
        (
            "interval: 5s",
            "interval: 1ms",
            "spec.faults[0].pod_kill.interval: too short: 1ms; expected at least 100ms",
        ),
        (
            "name: orchestrator-pod-kill",
            "name: Orchestrator Kill",
            "metadata.name: not a name: \"Orchestrator Kill\"; expected 1 to 63 lower-case letters, digits, - and ., starting and ending with a letter or digit",
        ),
        (
            "spec:",
            "spec:\n  safety: { threshold: 1.5 }",
            "spec.safety.threshold: out of range: 1.5; expected 0 to 1",
        ),
        (
            "spec:",
            "spec:\n  safety: { stopwhen: [] }",
            "spec.safety.stopwhen: unknown field \"stopwhen\"; expected one of threshold, maxAffected, stopWhen; did you mean \"stopWhen\"?",
        ),
    ];

    #[test]
    fn every_defect_has_its_path_the_value_what_was_expected_and_the_nearest_name() {
        for (from, to, message) in DEFECTS {
            assert_eq!(error(&edited(from, to)).split('\n').next(), Some(*message));
        }
    }

    #[test]
    fn several_documents_are_read_and_the_defective_one_is_named() {
        let both = format!("{MINIMAL}---\n{}", edited("50%", "0"));
        assert!(
            error(&both).starts_with("document 2: spec.target.select: invalid value: 0;"),
            "{}",
            error(&both)
        );
        assert_eq!(parse_documents(&format!("{MINIMAL}---\n{MINIMAL}---\n")).expect("valid").len(), 2);
    }

    #[test]
    fn a_foreign_name_of_any_length_is_answered_briefly() {
        let name = "k".repeat(100_000);
        for text in
            [edited("kind: Experiment", &format!("kind: {name}")), edited("pod_kill", &format!("? {name}"))]
        {
            let text = error(&text);
            assert!(text.contains("unknown") && text.len() < 1000, "{} bytes", text.len());
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        let text = error(&edited("select: 50%", "select: 50%, select: 10%"));
        assert!(text.contains("duplicate"), "{text}");
    }

    #[test]
    fn a_large_document_and_a_bomb_of_aliases_are_refused_quickly() {
        let large = format!("{MINIMAL}# {}", "x".repeat(10 * 1024 * 1024));
        assert!(error(&large).contains("expected at most 1048576"));
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..12 {
            let before = format!("*a{},", level - 1).repeat(10);
            bomb += &format!("a{level}: &a{level} [{before}]\n");
        }
        assert!(error(&bomb).starts_with("not readable as YAML"), "{}", error(&bomb));
        assert!(error(&"[".repeat(100_000)).starts_with("not readable as YAML"));
    }

    #[test]
    fn input_without_a_document_says_so() {
        assert_eq!(error("# nothing\n"), "the input has no document; expected an Experiment");
    }
}

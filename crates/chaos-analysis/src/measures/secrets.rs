//! What must never be read in a report: header values and request bodies of probes.
//!
//! Owns the list of them and their removal, from the document and from every text of the outside. URLs need none: the
//! core refuses credentials in them.

use chaos_core::spec::Experiment;
use serde_json::Value;

/// Stands where a secret stood.
pub(super) const REDACTED: &str = "REDACTED";

/// Shorter values are left alone in running text: `1` or `no` is a word, not a secret.
const VALUE_CHARS_MIN: usize = 4;

/// A word of a value (the token of `Bearer TOKEN`) counts by itself from this length on.
const WORD_CHARS_MIN: usize = 8;

/// The secrets of one experiment, longest first.
#[derive(Debug, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn of(experiment: &Experiment) -> Self {
        let mut found: Vec<String> = Vec::new();
        for probe in &experiment.spec.probes {
            let http = probe.http.as_ref();
            let expected =
                http.map(|http| &http.expect).into_iter().chain(probe.load.iter().map(|load| &load.expect));
            found.extend(expected.flat_map(|expect| expect.headers.values().cloned()));
            found.extend(
                http.into_iter().flat_map(|http| http.headers.values().cloned().chain(http.body.clone())),
            );
        }
        let words = found.iter().flat_map(|value| value.split_whitespace().map(str::to_owned));
        let words: Vec<String> = words.filter(|word| word.chars().count() >= WORD_CHARS_MIN).collect();
        found.retain(|value| value.chars().count() >= VALUE_CHARS_MIN);
        found.extend(words);
        found.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        found.dedup();
        Self(found)
    }

    /// The text without them.
    pub(super) fn scrub(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), REDACTED))
    }
}

/// Redacts the probes of a serialized experiment in place; true when there was anything to redact.
pub(super) fn redact(document: &mut Value) -> bool {
    let mut redacted = false;
    let probes = document.pointer_mut("/spec/probes").and_then(Value::as_array_mut);
    for probe in probes.into_iter().flatten() {
        for path in ["/http/headers", "/http/expect/headers", "/load/expect/headers"] {
            let headers = probe.pointer_mut(path).and_then(Value::as_object_mut);
            for value in headers.into_iter().flat_map(serde_json::Map::values_mut) {
                *value = REDACTED.into();
                redacted = true;
            }
        }
        if let Some(body) = probe.pointer_mut("/http/body").filter(|body| !body.is_null()) {
            *body = REDACTED.into();
            redacted = true;
        }
    }
    redacted
}

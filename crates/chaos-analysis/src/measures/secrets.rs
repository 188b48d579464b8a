//! What must never be read in a report: header values, request bodies, passwords in URLs.
//!
//! Owns the list of them and their removal, from the document and from every text of the outside.

use chaos_core::spec::{Experiment, HttpExpect};
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
        let mut found: Vec<&str> = Vec::new();
        let expected = |expect: &'_ HttpExpect| expect.headers.values().cloned().collect::<Vec<_>>();
        let mut owned: Vec<String> = Vec::new();
        for probe in &experiment.spec.probes {
            if let Some(http) = &probe.http {
                found.extend(http.headers.values().map(String::as_str));
                found.extend(http.body.as_deref());
                found.extend(userinfo(&http.url));
                owned.extend(expected(&http.expect));
            }
            if let Some(load) = &probe.load {
                found.extend(userinfo(&load.url));
                owned.extend(expected(&load.expect));
            }
            found.extend(probe.prometheus.iter().filter_map(|one| userinfo(one.url.as_deref()?)));
        }
        owned.extend(found.into_iter().map(str::to_owned));
        let words = owned.iter().flat_map(|value| value.split_whitespace().map(str::to_owned));
        let words: Vec<String> = words.filter(|word| word.chars().count() >= WORD_CHARS_MIN).collect();
        owned.retain(|value| value.chars().count() >= VALUE_CHARS_MIN);
        owned.extend(words);
        owned.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        owned.dedup();
        Self(owned)
    }

    /// The text without them.
    pub(super) fn scrub(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), REDACTED))
    }
}

/// The part of a URL before `@`, when it has one.
fn userinfo(url: &str) -> Option<&str> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    authority.rsplit_once('@').map(|(userinfo, _)| userinfo)
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
        for path in ["/http/url", "/load/url", "/prometheus/url"] {
            let Some(Value::String(url)) = probe.pointer_mut(path) else { continue };
            if let Some(userinfo) = userinfo(url).map(str::to_owned) {
                *url = url.replacen(&format!("://{userinfo}@"), &format!("://{REDACTED}@"), 1);
                redacted = true;
            }
        }
    }
    redacted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_part_of_a_url_is_found_and_nothing_else() {
        assert_eq!(userinfo("http://u:p@host/x"), Some("u:p"));
        assert_eq!(userinfo("http://u:p@w@host:1"), Some("u:p@w"));
        assert_eq!(userinfo("http://host/a@b"), None);
        assert_eq!(userinfo("host"), None);
    }
}

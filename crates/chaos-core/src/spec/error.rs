//! What is wrong with a document, where, and what to write instead.
//!
//! Owns the translation of deserialiser messages into our terms. It never decides what is valid.

use std::fmt;

use crate::text::{nearest, shortened};

/// One defect of a document: its path, the value, what was expected, the nearest known name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct DocumentError {
    /// Which document of the input, from 0.
    pub document: usize,
    /// Path in the document, e.g. `spec.faults[0].cpu_stress.load`; empty for the document as a whole.
    pub path: String,
    /// The offending value as JSON, shortened, when there is one.
    pub value: Option<Box<str>>,
    /// What is wrong, in words.
    pub problem: String,
    /// What would have been right.
    pub expected: Option<Box<str>>,
    /// The known name that was most likely meant.
    pub nearest: Option<Box<str>>,
}

/// Values are cut to this many characters in messages.
const VALUE_CHARS_MAX: usize = 80;
/// So are paths and problems, which may hold a foreign name.
const TEXT_CHARS_MAX: usize = 300;

impl std::error::Error for DocumentError {}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.document > 0 {
            write!(f, "document {}: ", self.document + 1)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.problem)?;
        if let Some(value) = &self.value {
            write!(f, ": {value}")?;
        }
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        if let Some(nearest) = &self.nearest {
            write!(f, "; did you mean {nearest:?}?")?;
        }
        Ok(())
    }
}

impl DocumentError {
    /// A defect found by our own checks.
    pub(crate) fn at(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            document: 0,
            path: shortened(&path.into(), TEXT_CHARS_MAX),
            value: None,
            problem: shortened(&problem.into(), TEXT_CHARS_MAX),
            expected: None,
            nearest: None,
        }
    }

    pub(crate) fn value(mut self, value: impl fmt::Display) -> Self {
        self.value = Some(shortened(&value.to_string(), VALUE_CHARS_MAX).into());
        self
    }

    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into().into());
        self
    }

    pub(crate) fn nearest_of<'a>(mut self, given: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        self.nearest = nearest(given, known).map(Into::into);
        self
    }

    /// From a deserialiser's message at a path of `root`.
    pub(super) fn from_message(path: &str, message: &str, root: &serde_json::Value) -> Self {
        let path = if path == "." { "" } else { path };
        if let Some(error) = unknown_name(path, message, root) {
            return error;
        }
        if let Some(rest) = message.strip_prefix("missing field ") {
            let field = rest.trim_matches('`');
            return Self::at(join(path, field), "required field is missing");
        }
        if let Some((problem, expected)) = split_expected(message) {
            let mut error = Self::at(path, problem).expected(expected);
            error.value =
                at_path(root, path).map(|value| shortened(&value.to_string(), VALUE_CHARS_MAX).into());
            return error;
        }
        let mut error = Self::at(path, message);
        error.value = at_path(root, path)
            .filter(|v| !v.is_object())
            .map(|value| shortened(&value.to_string(), VALUE_CHARS_MAX).into());
        error
    }
}

/// ``unknown field `x`, expected one of `a`, `b` `` and its kin.
fn unknown_name(path: &str, message: &str, root: &serde_json::Value) -> Option<DocumentError> {
    let (what, rest) = [("field", "unknown field "), ("name", "unknown variant ")]
        .into_iter()
        .find_map(|(what, prefix)| message.strip_prefix(prefix).map(|rest| (what, rest)))?;
    let (given, rest) = rest.strip_prefix('`')?.split_once('`')?;
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    let path = match path.strip_suffix(given) {
        Some(parent) if what == "field" => parent.trim_end_matches('.').to_owned(),
        _ => path.to_owned(),
    };
    let is_key = what == "field" || at_path(root, &path).is_some_and(|value| value.get(given).is_some());
    let path = if is_key { join(&path, given) } else { path };
    let mut error =
        DocumentError::at(path, format!("unknown {what} {:?}", shortened(given, VALUE_CHARS_MAX)));
    error.nearest = nearest(given, known.iter().copied()).map(Into::into);
    Some(match known.as_slice() {
        [] => error,
        [only] => error.expected((*only).to_owned()),
        many => error.expected(format!("one of {}", many.join(", "))),
    })
}

fn split_expected(message: &str) -> Option<(&'static str, &str)> {
    let problem = match message {
        m if m.starts_with("invalid type") => "wrong type",
        m if m.starts_with("invalid value") => "invalid value",
        m if m.starts_with("invalid length") => "wrong length",
        _ => return None,
    };
    message.rsplit_once(", expected ").map(|(_, expected)| (problem, expected))
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// The value at `a.b[2].c`, as [`serde_path_to_error`] prints paths.
fn at_path<'v>(root: &'v serde_json::Value, path: &str) -> Option<&'v serde_json::Value> {
    let mut value = root;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let (name, indices) = part.split_once('[').map_or((part, ""), |(name, rest)| (name, rest));
        if !name.is_empty() {
            value = value.get(name)?;
        }
        for index in indices.split('[').map(|i| i.trim_end_matches(']')).filter(|i| !i.is_empty()) {
            value = value.get(index.parse::<usize>().ok()?)?;
        }
    }
    Some(value)
}

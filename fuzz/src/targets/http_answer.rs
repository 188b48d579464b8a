//! Answers to HTTP probes, judged by an expectation: the first line of the input, the rest is the body.
//!
//! Promises: a value is a finite number; an objection is brief, though both sides are foreign.

use chaos_core::spec::HttpExpect;
use chaos_probes::foreign;

use super::is_brief;

pub(crate) fn check(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (line, body) = bytes.split_at(end);
    let Ok(expect) = serde_json::from_slice::<HttpExpect>(line) else { return };
    match foreign::http_answer(&expect, body) {
        Ok(value) => assert!(value.is_none_or(f64::is_finite)),
        Err(objection) => is_brief(&objection),
    }
}

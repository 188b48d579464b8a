//! Answers of a Prometheus: the first byte chooses the status, the rest is the body.
//!
//! Promises: a value is one finite number; anything else is refused briefly.

use chaos_probes::foreign;

use super::{choice_and_rest, is_brief};

const STATUSES: [u16; 5] = [200, 204, 400, 422, 503];

pub(crate) fn check(bytes: &[u8]) {
    let (choice, body) = choice_and_rest(bytes);
    let status = STATUSES[usize::from(choice) % STATUSES.len()];
    match foreign::prometheus_answer(status, body) {
        Ok(value) => assert!(value.is_finite()),
        Err(reason) => is_brief(&reason),
    }
}

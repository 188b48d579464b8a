//! The place in a list that a client hands back.
//!
//! Promises: a cursor that is read is printed as one that reads the same.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use chaos_store::{ExperimentCursor, RunCursor};

pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    check_cursor::<ExperimentCursor>(text);
    check_cursor::<RunCursor>(text);
}

fn check_cursor<C: FromStr<Err: Debug + PartialEq> + Display + Debug + PartialEq>(text: &str) {
    if let Ok(cursor) = text.parse::<C>() {
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }
}

//! An audit log that was exported: an entry a line, verified by whoever was handed it.
//!
//! Promises: an entry that is read can be written and read again; a log is verified as far as its head, which counts the
//! entries that fit; what does not fit is said briefly.

use chaos_core::audit::{AuditEntry, Verification};

use super::{is_brief, survives_json};

pub(crate) fn check(bytes: &[u8]) {
    let (mut verification, mut fitting) = (Verification::default(), 0);
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(entry) = serde_json::from_slice::<AuditEntry>(line) else { continue };
        survives_json(&entry);
        if let Ok(event) = entry.event() {
            survives_json(&event);
        }
        match verification.take(&entry) {
            Ok(()) => fitting += 1,
            Err(error) => is_brief(&error.to_string()),
        }
        assert_eq!(verification.head().map_or(0, |(seq, _)| seq), fitting);
    }
    assert_eq!(verification.end(verification.head()), Ok(fitting));
}

//! Undo records as a stranger finds them on the disk.
//!
//! Promises: what is read reads back the same from what is written of it.

use chaos_agent::undo::UndoRecord;

use super::survives_json;

pub(crate) fn check(bytes: &[u8]) {
    if let Ok(record) = UndoRecord::parse(bytes) {
        survives_json(&record);
        let written = serde_json::to_vec(&record).expect("what was read can be written");
        assert_eq!(UndoRecord::parse(&written).as_ref(), Ok(&record));
    }
}

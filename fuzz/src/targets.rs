//! The targets, and what several of them promise in the same way.
//!
//! Owns no target's promise of its own: each is one file below.

pub(crate) mod agent_frame;
pub(crate) mod api_body;
pub(crate) mod audit_log;
pub(crate) mod configuration;
pub(crate) mod document;
pub(crate) mod event_stream;
pub(crate) mod holder_line;
pub(crate) mod host_file;
pub(crate) mod http_answer;
pub(crate) mod journal;
pub(crate) mod lock_file;
pub(crate) mod netlink_answer;
pub(crate) mod page_cursor;
pub(crate) mod prometheus_answer;
pub(crate) mod replay;
pub(crate) mod undo_record;

use std::fmt::Debug;

use chaos_core::spec::{Experiment, parse_documents};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most bytes of a message to people about one defect, whatever the foreign bytes were.
const MESSAGE_BYTES_MAX: usize = 4096;

/// What is written as JSON, as the store and the wire do, reads back as the same value.
fn survives_json<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let json = serde_json::to_string(value).expect("what was read can be written");
    match serde_json::from_str::<T>(&json) {
        Ok(again) => assert_eq!(&again, value, "{json}"),
        Err(error) => panic!("{error}: {json}"),
    }
}

/// A valid document is still valid, and the same, after it was written in each form that we write.
fn survives_printing(document: &Experiment) {
    survives_json(document);
    let json = serde_json::to_string(document).expect("what was read can be written");
    let yaml = serde_saphyr::to_string(document).expect("what was read can be written");
    for text in [json, yaml] {
        match parse_documents(&text) {
            Ok(again) => assert_eq!(again, std::slice::from_ref(document), "{text}"),
            Err(errors) => panic!("{errors:?}: {text}"),
        }
    }
}

/// The first byte, which chooses what else may vary, and the rest.
fn choice_and_rest(bytes: &[u8]) -> (u8, &[u8]) {
    bytes.split_first().map_or((0, bytes), |(choice, rest)| (*choice, rest))
}

/// A message to people is short and not empty, however long the foreign bytes were.
fn is_brief(message: &str) {
    assert!(!message.is_empty(), "a refusal without words");
    assert!(message.len() <= MESSAGE_BYTES_MAX, "a message of {} bytes: {message}", message.len());
}

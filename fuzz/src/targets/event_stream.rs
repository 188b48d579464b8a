//! The stream of events of a server, as the client reads it.
//!
//! Promises: what is read does not depend on how the bytes arrive, and is no larger than them; an event that is read
//! can be written and read again.

use chaos_api::{EventEnvelope, foreign};

use super::{choice_and_rest, survives_json};

pub(crate) fn check(bytes: &[u8]) {
    let (choice, rest) = choice_and_rest(bytes);
    let whole = foreign::messages([rest]).expect("smaller than the limit");
    let piece = usize::from(choice % 64) + 1;
    assert_eq!(foreign::messages(rest.chunks(piece)).as_ref(), Ok(&whole), "in pieces of {piece}");
    // A byte that is no text becomes a replacement character of three.
    let read: usize = whole.iter().map(|(_, event, data)| event.len() + data.len()).sum();
    assert!(read <= 3 * rest.len(), "{read} bytes out of {}", rest.len());
    for (_, _, data) in whole {
        if let Ok(envelope) = serde_json::from_str::<EventEnvelope>(&data) {
            survives_json(&envelope);
        }
    }
}

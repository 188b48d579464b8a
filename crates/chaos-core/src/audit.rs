//! The audit log: who asked for what, one entry a mutating call, each bound to the one before by its hash.
//!
//! Owns the format, the chain and its verification. It never writes: a store appends what [`AuditEntry::after`] makes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::access::Actor;

/// The hash that the first entry is bound to.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEvent {
    /// When, by the wall clock of the server.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What, e.g. `experiment.create`, `lever.engage`, `token.rotate`.
    pub action: String,
    /// To what, e.g. `default/orchestrator-pod-kill`.
    pub subject: String,
    /// HTTP status of the answer; absent in the entry that is written before the call is carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What else is worth keeping: reason, overrides, run. Never a secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub detail: BTreeMap<String, String>,
}

/// An event in its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// Its place, from 1 without gaps.
    pub seq: u64,
    /// The event as it was hashed: JSON text of an [`AuditEvent`].
    pub event: String,
    /// Hash of the entry before, [`GENESIS`] for the first.
    pub previous: String,
    /// SHA-256 over `previous`, `seq` and `event`, in lower-case hexadecimal digits.
    pub hash: String,
}

/// Why a log is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the audit log was changed at entry {seq}: {reason}")]
pub struct Tampered {
    /// The first entry that is not as it was written.
    pub seq: u64,
    /// What does not fit.
    pub reason: String,
}

impl AuditEntry {
    /// The entry that follows `(seq, hash)` of the last one; `None` for the first.
    ///
    /// # Errors
    /// Never for an event of ours; an event that can't be written as JSON.
    pub fn after(last: Option<(u64, &str)>, event: &AuditEvent) -> Result<Self, serde_json::Error> {
        let (seq, previous) = last.map_or((1, GENESIS), |(seq, hash)| (seq + 1, hash));
        let event = serde_json::to_string(event)?;
        let hash = hash(previous, seq, &event);
        Ok(Self { seq, event, previous: previous.to_owned(), hash })
    }

    /// The event.
    ///
    /// # Errors
    /// When the text is none.
    pub fn event(&self) -> Result<AuditEvent, serde_json::Error> {
        serde_json::from_str(&self.event)
    }
}

fn hash(previous: &str, seq: u64, event: &str) -> String {
    let mut hasher = Sha256::new();
    // Lengths are fixed or told, so that no two different entries give the same bytes.
    hasher.update(previous.as_bytes());
    hasher.update(seq.to_be_bytes());
    hasher.update(event.as_bytes());
    hex(&hasher.finalize())
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Goes through a log from its first entry on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// The last entry that fits.
    last: Option<(u64, String)>,
}

impl Verification {
    /// Takes the next entry.
    ///
    /// # Errors
    /// The entry does not follow from the one before, or is not what was hashed.
    pub fn take(&mut self, entry: &AuditEntry) -> Result<(), Tampered> {
        let (expected, previous) =
            self.last.as_ref().map_or((1, GENESIS), |(seq, hash)| (seq + 1, hash.as_str()));
        let tampered = |seq, reason: String| Err(Tampered { seq, reason });
        if entry.seq != expected {
            return tampered(expected, format!("entry {} follows instead", entry.seq));
        }
        if entry.previous != previous {
            return tampered(entry.seq, "it is not bound to the entry before".to_owned());
        }
        if entry.hash != hash(previous, entry.seq, &entry.event) {
            return tampered(entry.seq, "its content does not have its hash".to_owned());
        }
        if let Err(error) = entry.event() {
            return tampered(entry.seq, format!("it is no event: {error}"));
        }
        self.last = Some((entry.seq, entry.hash.clone()));
        Ok(())
    }

    /// Entries so far, and the hash of the last.
    pub fn head(&self) -> Option<(u64, &str)> {
        self.last.as_ref().map(|(seq, hash)| (*seq, hash.as_str()))
    }

    /// Ends at what the store remembers as the last entry.
    ///
    /// # Errors
    /// Entries at the end are missing, or were added by another hand.
    pub fn end(&self, remembered: Option<(u64, &str)>) -> Result<u64, Tampered> {
        let found = self.head();
        if found == remembered {
            return Ok(found.map_or(0, |(seq, _)| seq));
        }
        let count = |head: Option<(u64, &str)>| head.map_or(0, |(seq, _)| seq);
        Err(Tampered {
            seq: count(found).min(count(remembered)) + u64::from(count(found) != count(remembered)),
            reason: format!("the log ends at entry {}, {} were written", count(found), count(remembered)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(action: &str) -> AuditEvent {
        AuditEvent {
            at: Timestamp::UNIX_EPOCH,
            actor: Actor::default(),
            action: action.to_owned(),
            subject: "default/a".to_owned(),
            status: None,
            detail: BTreeMap::new(),
        }
    }

    fn log(length: usize) -> Vec<AuditEntry> {
        let mut entries: Vec<AuditEntry> = Vec::new();
        for number in 0..length {
            let last = entries.last().map(|entry| (entry.seq, entry.hash.as_str()));
            let next = AuditEntry::after(last, &event(&format!("action-{number}"))).expect("JSON");
            entries.push(next);
        }
        entries
    }

    fn verify(entries: &[AuditEntry], remembered: Option<(u64, &str)>) -> Result<u64, Tampered> {
        let mut verification = Verification::default();
        entries.iter().try_for_each(|entry| verification.take(entry))?;
        verification.end(remembered)
    }

    #[test]
    fn a_log_as_written_is_whole_also_when_it_is_empty() {
        assert_eq!(verify(&[], None), Ok(0));
        let entries = log(5);
        assert_eq!(verify(&entries, Some((5, &entries[4].hash))), Ok(5));
    }

    #[test]
    fn a_cut_tail_is_seen() {
        let entries = log(5);
        let error = verify(&entries[..3], Some((5, &entries[4].hash))).expect_err("cut");
        assert_eq!(error.seq, 4);
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_found_at_its_entry(length in 1usize..8, place in 0usize..8, byte in 0usize..1000, bit in 0u8..7) {
            let mut entries = log(length);
            let head = entries.last().map(|entry| (entry.seq, entry.hash.clone()));
            let place = place % length;
            let mut text = entries[place].event.clone().into_bytes();
            let at = byte % text.len();
            text[at] ^= 1 << bit;
            let Ok(text) = String::from_utf8(text) else { return Ok(()) };
            entries[place].event = text;
            let error = verify(&entries, head.as_ref().map(|(seq, hash)| (*seq, hash.as_str()))).expect_err("changed");
            prop_assert_eq!(error.seq, place as u64 + 1);
        }

        #[test]
        fn an_entry_that_is_taken_out_or_moved_is_found(length in 3usize..8, place in 0usize..8) {
            let entries = log(length);
            let head = entries.last().map(|entry| (entry.seq, entry.hash.as_str()));
            let place = place % (length - 1);
            let mut without = entries.clone();
            without.remove(place);
            prop_assert_eq!(verify(&without, head).expect_err("missing").seq, place as u64 + 1);
            let mut swapped = entries.clone();
            swapped.swap(place, place + 1);
            prop_assert_eq!(verify(&swapped, head).expect_err("moved").seq, place as u64 + 1);
        }
    }
}

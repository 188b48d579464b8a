//! What a node and its fault processes say to each other: one JSON value a line over a socket pair.
//! Owns the shapes and the bound on a line. It never acts.

use std::time::Duration;

use chaos_core::port::{InjectionPlan, Owner};
use chaos_core::run::{InjectionId, RunId};
use chaos_core::target::ProcessRef;
use serde::{Deserialize, Serialize};

/// Longest line, in bytes.
pub(crate) const LINE_BYTES_MAX: usize = 4 << 20;

/// From the node to the fault process. What comes back is an `InjectionReport` a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Command {
    /// The first line.
    Begin(Begin),
    /// One more injection.
    Inject(Inject),
    /// The lease begins anew.
    Renew,
    /// Undo these.
    Revert(Revert),
    /// The final report of this one was heard: its record has done its service.
    Heard(InjectionId),
}

/// For whom a fault process works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Begin {
    /// The run.
    pub(crate) run: RunId,
    /// What happens when the parent dies.
    pub(crate) owner: Owner,
    /// Without a renewal within this time, everything is undone.
    pub(crate) lease: Duration,
    /// The state folder.
    pub(crate) state: std::path::PathBuf,
    /// The parent.
    pub(crate) parent: ProcessRef,
    /// Processes that are never hit.
    pub(crate) registered: Vec<ProcessRef>,
}

/// One injection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Inject {
    /// What to do.
    pub(crate) plan: InjectionPlan,
    /// When it was asked for, on the monotonic clock.
    pub(crate) ordered_at: Duration,
}

/// A request to undo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revert {
    /// Which.
    pub(crate) injections: Vec<InjectionId>,
    /// When it was asked for, on the monotonic clock.
    pub(crate) requested_at: Duration,
}

/// A value as a line.
pub(crate) fn line(value: &impl Serialize) -> Result<Vec<u8>, String> {
    let mut bytes = serde_json::to_vec(value).map_err(|error| error.to_string())?;
    bytes.push(b'\n');
    if bytes.len() > LINE_BYTES_MAX {
        return Err(format!("a message of {} bytes is longer than {LINE_BYTES_MAX}", bytes.len()));
    }
    Ok(bytes)
}

/// Cuts a stream into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    buffer: Vec<u8>,
}

impl Lines {
    /// Takes what was read and gives the lines that are whole now; an error when one is too long.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        self.buffer.extend_from_slice(bytes);
        let mut lines = Vec::new();
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let rest = self.buffer.split_off(end + 1);
            let mut line = std::mem::replace(&mut self.buffer, rest);
            line.pop();
            lines.push(line);
        }
        if self.buffer.len() > LINE_BYTES_MAX {
            return Err(format!("a line is longer than {LINE_BYTES_MAX} bytes"));
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_the_bytes_arrive() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"on").unwrap(), Vec::<Vec<u8>>::new());
        assert_eq!(lines.push(b"e\ntwo\nth").unwrap(), [b"one".to_vec(), b"two".to_vec()]);
        assert_eq!(lines.push(b"ree\n").unwrap(), [b"three".to_vec()]);
        assert!(lines.push(&vec![b'x'; LINE_BYTES_MAX + 1]).is_err());
    }
}

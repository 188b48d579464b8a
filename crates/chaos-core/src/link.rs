//! The protocol between a server and the agents of other hosts: its frames, and what each end knows and does next.
//!
//! Owns both ends as plain values, so that no injection is ever applied twice, applied after it was to be undone, or
//! forgotten, whatever a link does. It has no socket, no clock and no task: the shells around it hand over what
//! arrived, and do what comes back.
//!
//! It is in this crate because both ends share it, the engine's and the agent's, which otherwise never see each other,
//! and because a simulation drives the very same values over links that lose, repeat and delay.
//!
//! ```text
//!  agent                                       server
//!    │── hello: who, what it can, what it holds ──▶│   refused: why
//!    │◀──────────────────────────────── welcome ───│
//!    │── what is told of each injection it holds ─▶│   what was lost with the link before is settled
//!    │◀── request, inject, revert, renew, heard ───│
//!    │── answer, report ──────────────────────────▶│
//!    │── bye ─────────────────────────────────────▶│
//! ```
//!
//! Four rules make it safe. Connections are numbered, and what comes from one before the latest is not read. An order is sent
//! once and never again. An end is told again at each connection until the server says that it heard exactly that.
//! What an agent says at the beginning is complete: an ordered injection that it does not name was never begun, or, if
//! the agent is a new process, has no undo record any more.

mod agent_end;
mod frame;
mod hello;
mod server_end;

pub use agent_end::{AgentEnd, AgentOutput, run_of};
pub use frame::{
    AgentFrame, Answer, FRAME_BYTES_MAX, Frame, FrameError, Heard, ORDER_CHUNK, Request, SequencedReport,
    ServerFrame,
};
pub use hello::{
    Ability, Examination, Fact, Grade, HOST_NAME_CHARS_MAX, Hello, HelloError, HostInfo, Introduction,
    KNOWN_MAX, KnownInjection, LOCAL_HOST, PROTOCOL_VERSION, StatedLimits,
};
pub use server_end::{Refusal, ServerEnd, ServerOutput};

use serde::{Deserialize, Serialize};

use crate::port::{Evidence, InjectionReport};
use crate::run::{InjectionId, InjectionState};

/// Which connection of a host: a later one is greater, whatever order they arrive in. The agent counts, so that a hello
/// that was under way for long is known to be old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// How often an agent was started on its state folder.
    pub incarnation: u64,
    /// How often that process has connected.
    pub connection: u64,
}

/// Nothing more follows for this injection. An undo that failed may be tried again, and then there is more.
pub fn concludes(state: InjectionState) -> bool {
    state.is_final() && state != InjectionState::RevertFailed
}

fn conclusion(
    injection: &InjectionId,
    state: InjectionState,
    evidence: Evidence,
    error: Option<String>,
) -> InjectionReport {
    InjectionReport { injection: injection.clone(), state, evidence: vec![evidence], error, took_ms: 0.0 }
}

#[cfg(test)]
mod tests;

//! Health of the system and of the server itself.
//!
//! Owns their shapes. The score is [`chaos_core::safety`]'s.

use chaos_core::safety::{Health, Signal};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Is it safe to start something now?
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SystemHealth {
    /// The health score from 0 to 1; `null` when it is unknown.
    pub score: Option<f64>,
    /// Score below which nothing starts or goes on, unless a document says otherwise.
    pub threshold: f64,
    /// The score is known and at or above the threshold.
    pub safe: bool,
    /// Each signal behind it.
    pub signals: Vec<Signal>,
    /// What the circuit breaker of the source of signals is doing.
    pub breaker: BreakerState,
    /// Whose readiness it is, in words.
    pub target: String,
    /// Score, threshold and the signal to blame, in one line.
    pub explanation: String,
    /// When it was measured.
    #[schemars(with = "String")]
    pub at: Timestamp,
}

/// The circuit breaker of a source of signals: one that fails repeatedly is left alone for a while, and its signals are
/// unknown, which blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// The source is asked, or there is none.
    Closed,
    /// The source is left alone: its signals are unknown, so nothing starts.
    Open,
    /// One trial decides.
    HalfOpen,
}

impl SystemHealth {
    /// Judges what was measured of `target`.
    pub fn of(health: Health, threshold: f64, target: String, breaker: BreakerState) -> Self {
        Self {
            score: health.score.value(),
            threshold,
            safe: health.is_safe(threshold),
            breaker,
            target,
            explanation: health.explain(threshold),
            at: health.at,
            signals: health.signals,
        }
    }
}

/// `GET /health`: the process answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Live {
    /// Always `ok`: who can't say so does not answer.
    pub status: String,
    /// Who answers.
    #[serde(flatten)]
    pub server: ServerInfo,
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerInfo {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// It stays; one that was not started as a server exits after its last run.
    pub started_as_server: bool,
}

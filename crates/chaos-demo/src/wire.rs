//! Owns what the processes of the system tell each other and the outside, as JSON. It never sends it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::breaker::State;

/// The one line a replica writes on standard output, once both its ports answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplicaReady {
    pub(crate) port: u16,
    pub(crate) admin_port: u16,
}

/// The one line the supervisor writes on standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Announcement {
    /// All replicas are ready and the public port answers.
    Ready { base_url: String, replicas: Vec<ReplicaInfo>, cgroups: Vec<PathBuf> },
    /// It gave up.
    Failed { reason: String },
}

/// One replica, as `GET /replicas` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaInfo {
    /// Its number, from 0; stays the same over restarts.
    pub index: u16,
    /// Its process, while it has one that is ready.
    pub pid: Option<u32>,
    /// The port of its work.
    pub port: u16,
    /// The port of its health check: another one, so that either can fail alone.
    pub admin_port: u16,
    /// What its health checks say.
    pub healthy: bool,
    /// Whether it gets requests: alive, healthy, and its circuit not open.
    pub in_rotation: bool,
    /// Its circuit.
    pub breaker: State,
    /// How often it was started again.
    pub restarts: u32,
    /// The cgroups that hold it, one per hierarchy; empty where the host did not allow any.
    pub cgroups: Vec<PathBuf>,
}

/// What `GET /health` of the balancer says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetHealth {
    /// `ok`, `degraded` (fewer in rotation than there should be) or `down`.
    pub status: String,
    /// How many replicas there should be.
    pub replicas: usize,
    /// How many have a process that reported ready.
    pub live: usize,
    /// How many pass their health checks.
    pub healthy: usize,
    /// How many get requests.
    pub in_rotation: usize,
}

/// What a replica's own `/health` says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReplicaHealth {
    pub(crate) status: String,
    pub(crate) queue_depth: usize,
    /// The wait of the latest job, in seconds.
    pub(crate) queue_wait_seconds: f64,
}

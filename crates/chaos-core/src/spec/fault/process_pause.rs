//! `process_pause`: instances stop running and keep everything they hold.
//!
//! Owns its parameters. It never names a process.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FaultInfo, FaultKind, Undo};

pub(super) const INFO: FaultInfo = FaultInfo {
    kind: FaultKind::ProcessPause,
    summary: "Freezes every thread of the chosen instances: connections stay open, nothing answers.",
    proof: "every thread is in a tracing stop and its CPU time stands still",
    undo: Undo::KernelAtOnce,
    needs: "the right to trace the instance: its user or CAP_SYS_PTRACE",
    parameters: &[],
};

/// Parameters of `process_pause`: none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProcessPause {}

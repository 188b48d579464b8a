//! `cpu_stress`: CPU time is taken away from an instance.
//!
//! Owns its parameters. It never burns any.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FaultInfo, FaultKind, Parameter, Undo};
use crate::spec::DocumentError;
use crate::units::Percent;

pub(super) const INFO: FaultInfo = FaultInfo {
    kind: FaultKind::CpuStress,
    summary: "Holds a CPU load inside the instance's cgroup when it has one of its own, else on the host.",
    proof: "the workers' CPU time grows at the load asked for, in the victim's cgroup",
    undo: Undo::KernelAtOnce,
    needs: "write access to the victim's cgroup when it has one of its own",
    parameters: &[
        Parameter {
            name: "load",
            values: "share",
            default: "80%",
            summary: "load to hold, of the cgroup's CPU limit or of `cores`",
        },
        Parameter {
            name: "cores",
            values: "1 to 1024",
            default: "the limit of the cgroup, else every core",
            summary: "number of cores that the load is a share of",
        },
    ],
};

/// Parameters of `cpu_stress`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CpuStress {
    /// The load to hold.
    #[serde(default = "default_load")]
    pub load: Percent,
    /// Cores that the load is a share of; absent: the cgroup's limit, else every core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub cores: Option<u32>,
}

fn default_load() -> Percent {
    Percent::new(80.0).unwrap_or_else(|| unreachable!("80 is a percentage"))
}

impl Default for CpuStress {
    fn default() -> Self {
        Self { load: default_load(), cores: None }
    }
}

/// Bound on workers of one injection.
const CORES_MAX: u32 = 1024;

impl CpuStress {
    pub(super) fn validate(&self, path: &str) -> Result<(), DocumentError> {
        match self.cores {
            Some(cores) if !(1..=CORES_MAX).contains(&cores) => {
                Err(DocumentError::at(format!("{path}.cores"), "out of range")
                    .value(cores)
                    .expected(format!("1 to {CORES_MAX}")))
            }
            _ => Ok(()),
        }
    }
}

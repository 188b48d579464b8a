//! The catalogue of faults: one variant and one file each.
//!
//! Owns parameters, defaults and what is said of each fault. How a fault is done is the node agent's.

mod cpu_stress;
mod item;
mod memory_pressure;
mod network_partition;
mod pod_kill;
mod process_pause;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use cpu_stress::CpuStress;
pub use item::FaultItem;
pub use memory_pressure::{MemoryPressure, MemorySize, OomVictim};
pub use network_partition::{Direction, NetworkPartition, Peer, PortRange};
pub use pod_kill::{KillSignal, PodKill};
pub use process_pause::ProcessPause;

use super::DocumentError;

/// A fault with its parameters, externally tagged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Kill instances.
    PodKill(PodKill),
    /// Freeze instances.
    ProcessPause(ProcessPause),
    /// Take CPU time away.
    CpuStress(CpuStress),
    /// Take memory away.
    MemoryPressure(MemoryPressure),
    /// Drop packets.
    NetworkPartition(NetworkPartition),
}

/// The name of a fault without its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Kill instances.
    PodKill,
    /// Freeze instances.
    ProcessPause,
    /// Take CPU time away.
    CpuStress,
    /// Take memory away.
    MemoryPressure,
    /// Drop packets.
    NetworkPartition,
}

/// Who ends a fault when every process of ours is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// There is nothing to undo: what was killed is started again by whoever manages it.
    Nothing,
    /// The kernel, at once when our processes die.
    KernelAtOnce,
    /// The kernel, when the lease runs out.
    KernelWithinLease,
}

/// One line of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct FaultInfo {
    /// Which fault.
    pub kind: FaultKind,
    /// One sentence on what it does to the victim.
    pub summary: &'static str,
    /// What is read to prove that it acts, from the victim's side.
    pub proof: &'static str,
    /// Who ends it when everything of ours is dead.
    pub undo: Undo,
    /// What the node agent needs to do it.
    pub needs: &'static str,
    /// Its parameters.
    pub parameters: &'static [Parameter],
}

/// One parameter of a fault in the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Name in the document.
    pub name: &'static str,
    /// What may be written.
    pub values: &'static str,
    /// What holds when it is absent.
    pub default: &'static str,
    /// What it does.
    pub summary: &'static str,
}

impl FaultKind {
    /// Every fault, in the order of the catalogue.
    pub const ALL: [FaultKind; 5] =
        [Self::PodKill, Self::ProcessPause, Self::CpuStress, Self::MemoryPressure, Self::NetworkPartition];

    /// Its name in documents, on the command line, in metrics.
    pub const fn name(self) -> &'static str {
        self.info().kind_name()
    }

    /// What the catalogue says of it.
    pub const fn info(self) -> &'static FaultInfo {
        match self {
            Self::PodKill => &pod_kill::INFO,
            Self::ProcessPause => &process_pause::INFO,
            Self::CpuStress => &cpu_stress::INFO,
            Self::MemoryPressure => &memory_pressure::INFO,
            Self::NetworkPartition => &network_partition::INFO,
        }
    }

    /// The fault with a default for every parameter.
    pub fn with_defaults(self) -> Fault {
        match self {
            Self::PodKill => Fault::PodKill(PodKill::default()),
            Self::ProcessPause => Fault::ProcessPause(ProcessPause::default()),
            Self::CpuStress => Fault::CpuStress(CpuStress::default()),
            Self::MemoryPressure => Fault::MemoryPressure(MemoryPressure::default()),
            Self::NetworkPartition => Fault::NetworkPartition(NetworkPartition::default()),
        }
    }

    /// The fault of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl FaultInfo {
    const fn kind_name(&self) -> &'static str {
        match self.kind {
            FaultKind::PodKill => "pod_kill",
            FaultKind::ProcessPause => "process_pause",
            FaultKind::CpuStress => "cpu_stress",
            FaultKind::MemoryPressure => "memory_pressure",
            FaultKind::NetworkPartition => "network_partition",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Fault {
    /// Its name.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::PodKill(_) => FaultKind::PodKill,
            Self::ProcessPause(_) => FaultKind::ProcessPause,
            Self::CpuStress(_) => FaultKind::CpuStress,
            Self::MemoryPressure(_) => FaultKind::MemoryPressure,
            Self::NetworkPartition(_) => FaultKind::NetworkPartition,
        }
    }

    /// How often it is done again while active, with another draw; only a kill repeats.
    pub fn interval(&self) -> Option<crate::duration::Span> {
        match self {
            Self::PodKill(kill) => kill.interval,
            _ => None,
        }
    }

    /// How long it may take on purpose until it is active; only a kill waits.
    pub fn grace(&self) -> crate::duration::Span {
        match self {
            Self::PodKill(kill) => kill.grace_period,
            _ => crate::duration::Span::default(),
        }
    }

    /// Checks that no single field can see.
    pub(super) fn validate(&self, path: &str) -> Result<(), DocumentError> {
        match self {
            Self::PodKill(kill) => kill.validate(path),
            Self::CpuStress(stress) => stress.validate(path),
            Self::MemoryPressure(pressure) => pressure.validate(path),
            Self::NetworkPartition(partition) => partition.validate(path),
            Self::ProcessPause(_) => Ok(()),
        }
    }
}

//! The faults: how each is made, proven, held and undone on one instance, one file each.
//!
//! Owns the contract between a fault and the process that holds it. Nothing in here waits: whatever takes longer
//! than a few milliseconds is a step that asks to be called again, so that a stop is never behind it. When a fault
//! begins, ends or is reported is the holder's to say.

mod cpu_stress;
mod members;
mod memory_pressure;
mod network_partition;
mod pod_kill;
mod process_pause;
mod workers;

use std::os::fd::BorrowedFd;
use std::time::Duration;

use chaos_core::port::{Evidence, InjectionPlan};
use chaos_core::spec::Fault;
use chaos_core::target::ProcessRef;

use crate::sys::SysError;
use crate::sys::nft::NftError;
use crate::undo::{UndoData, UndoRecord};

pub use members::members;
pub use network_partition::Readings;

/// Why a step of a fault failed.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// The kernel refused or was not as it should be.
    #[error(transparent)]
    Kernel(#[from] SysError),
    /// `nf_tables` refused or was not as it should be.
    #[error(transparent)]
    Firewall(#[from] NftError),
    /// It can be done but must not, or can't be done on this target.
    #[error("refused: {reason}")]
    Refused {
        /// Why, and what would help.
        reason: String,
    },
    /// What was read does not show the effect, or still shows it.
    #[error("not proven: {observed}")]
    NotProven {
        /// What was read.
        observed: String,
    },
}

impl FaultError {
    fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }

    fn not_proven(observed: impl Into<String>) -> Self {
        Self::NotProven { observed: observed.into() }
    }
}

/// What came of one step of [`Injector::apply`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Everything is made; calling again changes nothing.
    Done,
    /// There is more to do, not before this has passed.
    Again(Duration),
    /// The next step changes what the undo record does not cover: write this first.
    Record(UndoData),
}

/// What came of one look after a fault that is active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// It holds; look again after this, or when a descriptor is readable.
    For(Duration),
    /// The next look changes what the undo record does not cover: write this first.
    Record(UndoData),
    /// Somebody else has ended it.
    Lost(String),
}

/// What a fault must know of who asks.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Processes of this product that run now; never hit.
    pub registered: Vec<ProcessRef>,
    /// How long kernel-held effects may outlive the holder.
    pub kernel_lease: Duration,
}

/// One fault on one instance, as the holder carries it out. The order is `plan`, `apply` until done, `prove_active`
/// until it answers, `hold` as often as it asks, `undo`, `prove_reverted`. `undo` may come at any time after `plan`,
/// any number of times.
pub trait Injector {
    /// Looks at the target and says what the undo record must hold before the first change. Changes nothing.
    ///
    /// # Errors
    /// The target can't or must not be hit this way.
    fn plan(&mut self) -> Result<UndoData, FaultError>;

    /// Makes one step of the change.
    ///
    /// # Errors
    /// A step was refused; what was made so far is for [`Injector::undo`].
    fn apply(&mut self) -> Result<Step, FaultError>;

    /// Reads from the target's side that it acts; none when that can't be seen yet.
    ///
    /// # Errors
    /// It does not act.
    fn prove_active(&mut self) -> Result<Option<Vec<Evidence>>, FaultError>;

    /// Keeps it going.
    ///
    /// # Errors
    /// It can't be kept going.
    fn hold(&mut self) -> Result<Held, FaultError>;

    /// Takes back whatever was made.
    ///
    /// # Errors
    /// Something could not be taken back; calling again tries again.
    fn undo(&mut self) -> Result<(), FaultError>;

    /// Reads that nothing of it is left.
    ///
    /// # Errors
    /// Something is left.
    fn prove_reverted(&mut self) -> Result<Vec<Evidence>, FaultError>;

    /// Descriptors that are readable when `apply`, `prove_active` or `hold` should be called before their time.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }
}

/// The injector of a plan.
#[must_use]
pub fn injector(plan: &InjectionPlan, surroundings: &Surroundings) -> Box<dyn Injector> {
    injector_among(plan, surroundings, &Readings::default())
}

/// The injector of a plan, among others of this process that read what they have in common once.
#[must_use]
pub fn injector_among(
    plan: &InjectionPlan,
    surroundings: &Surroundings,
    readings: &Readings,
) -> Box<dyn Injector> {
    let instance = plan.instance.clone();
    match &plan.fault {
        Fault::PodKill(kill) => Box::new(pod_kill::Kill::new(kill.clone(), instance)),
        Fault::ProcessPause(_) => Box::new(process_pause::Freeze::new(instance)),
        Fault::CpuStress(stress) => Box::new(cpu_stress::Load::new(&plan.id, stress.clone(), instance)),
        Fault::MemoryPressure(pressure) => {
            Box::new(memory_pressure::Pressure::new(&plan.id, pressure.clone(), instance))
        }
        Fault::NetworkPartition(partition) => {
            let (partition, surroundings) = (partition.clone(), surroundings.clone());
            Box::new(network_partition::Cut::new(
                &plan.id,
                partition,
                instance,
                surroundings,
                readings.clone(),
            ))
        }
    }
}

/// Undoes what a dead fault process left, from its record alone, and proves it. Waits a bounded time.
///
/// # Errors
/// Something is left.
pub fn undo_from_record(record: &UndoRecord) -> Result<Vec<Evidence>, FaultError> {
    match (&record.fault, &record.data) {
        (Fault::PodKill(_), _) => Ok(pod_kill::nothing_to_undo()),
        (Fault::ProcessPause(_), _) => process_pause::undo_from_record(&record.instance, record.holder),
        (Fault::CpuStress(_) | Fault::MemoryPressure(_), _) => workers::undo_from_record(&record.injection),
        (Fault::NetworkPartition(_), UndoData::Network(network)) => {
            network_partition::undo_from_record(network)
        }
        (Fault::NetworkPartition(_), UndoData::Nothing) => {
            Err(FaultError::not_proven("the record of a partition does not say where it is"))
        }
    }
}

#[cfg(test)]
mod tests;

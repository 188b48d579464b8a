//! Being written.
use chaos_core::port::Evidence;
use chaos_core::run::InjectionId;
use chaos_core::spec::NetworkPartition;
use chaos_core::target::Instance;
use super::{FaultError, Held, Injector, Step, Surroundings};
use crate::undo::{NetworkUndo, UndoData};
pub(super) struct Cut {}
impl Cut {
    pub(super) fn new(_: &InjectionId, _: NetworkPartition, _: Instance, _: Surroundings) -> Self { Self {} }
}
impl Injector for Cut {
    fn plan(&mut self) -> Result<UndoData, FaultError> { Err(FaultError::refused("being built")) }
    fn apply(&mut self) -> Result<Step, FaultError> { Ok(Step::Done) }
    fn prove_active(&mut self) -> Result<Option<Vec<Evidence>>, FaultError> { Ok(None) }
    fn hold(&mut self) -> Result<Held, FaultError> { Ok(Held::Lost(String::new())) }
    fn undo(&mut self) -> Result<(), FaultError> { Ok(()) }
    fn prove_reverted(&mut self) -> Result<Vec<Evidence>, FaultError> { Ok(vec![]) }
}
pub(super) fn undo_from_record(_: &NetworkUndo) -> Result<Vec<Evidence>, FaultError> { Ok(vec![]) }

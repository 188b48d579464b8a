//! What is found out before a start: the target, the choice, health, what the gates say.
//!
//! Owns the order of these questions. It changes nothing, so a dry run asks the same.

use chaos_core::journal::RunHeader;
use chaos_core::run::{Failure, Resolution};
use chaos_core::safety::{GateInput, decide};
use chaos_core::spec::HostTarget;
use chaos_core::target::select;

use crate::engine::Ports;
use crate::health::{Readiness, health};

/// The host target of a run; a validated document has one.
pub(crate) fn host_target(header: &RunHeader) -> Result<&HostTarget, Failure> {
    let host = header.experiment.spec.target.host.as_ref();
    host.ok_or_else(|| Failure::Target("the document names no host target".to_owned()))
}

/// Resolves a run's target and asks every gate.
///
/// # Errors
/// [`Failure`] when the target matches too little or the node can't be asked.
pub async fn resolve(ports: &Ports, header: &RunHeader) -> Result<Resolution, Failure> {
    let target = host_target(header)?;
    let inventory = ports.node.inventory(target).await.map_err(|error| Failure::Node(error.to_string()))?;
    let how = header.experiment.spec.target.select;
    let selection = select(target, how, &inventory, header.seed, 0)
        .map_err(|error| Failure::Target(error.to_string()))?;
    let health = health(ports, Ok(&inventory), &Readiness::All).await;
    let decisions = decide(&GateInput {
        experiment: &header.experiment,
        threshold: header.threshold,
        inventory: &inventory,
        selection: &selection,
        health: &health,
        overrides: &header.overrides,
    });
    let chosen = selection
        .chosen
        .iter()
        .filter_map(|id| inventory.instances.iter().find(|instance| instance.id == *id).cloned())
        .collect();
    Ok(Resolution {
        matching: inventory.instances.iter().map(|instance| instance.id.clone()).collect(),
        ready: inventory.ready(),
        ports_min: inventory.ports_min(),
        selection,
        chosen,
        health,
        decisions,
    })
}

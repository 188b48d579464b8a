//! What is found out before a start: the target, the choice, health, what the gates say.
//!
//! Owns the order of these questions. It changes nothing but the table of claims, so a dry run asks the same.

use chaos_core::journal::RunHeader;
use chaos_core::port::NodeError;
use chaos_core::run::{Failure, Resolution};
use chaos_core::safety::{Claim, GateInput, decide};
use chaos_core::spec::{HostTarget, Select};
use chaos_core::target::select;

use crate::claims::Claims;
use crate::engine::Ports;
use crate::facts;
use crate::health::{Readiness, health};

/// The host target of a run; a validated document has one.
pub(crate) fn host_target(header: &RunHeader) -> Result<&HostTarget, Failure> {
    let host = header.experiment.spec.target.host.as_ref();
    host.ok_or_else(|| Failure::Target("the document names no host target".to_owned()))
}

/// How many are drawn: a ramp draws once, for its last step.
pub(crate) fn how_many(header: &RunHeader) -> Select {
    let spec = &header.experiment.spec;
    spec.ramp.last().map_or(spec.target.select, |last| Select::Percent(*last))
}

/// Resolves a run's target and asks every gate; with `keep` what was chosen is claimed when all of them say yes.
pub(crate) async fn resolve(
    ports: &Ports,
    header: &RunHeader,
    claims: &Claims,
    keep: bool,
) -> Result<Resolution, Failure> {
    let target = host_target(header)?;
    let looked = ports.node.inventory(&header.experiment.spec.target);
    let (inventory, mut facts) = tokio::join!(looked, facts::before(ports, header));
    let inventory = inventory.map_err(|error| match error {
        // Whoever wrote the document can mend it.
        NodeError::UnknownHost { .. } => Failure::Target(error.to_string()),
        error => Failure::Node(error.to_string()),
    })?;
    let selection = select(target, how_many(header), &inventory, header.seed, 0)
        .map_err(|error| Failure::Target(error.to_string()))?;
    let health = health(ports, Ok(&inventory), &Readiness::All).await;
    let own = Claim {
        run: header.run.clone(),
        experiment: header.key(),
        target: target.to_string(),
        instances: selection.chosen.iter().cloned().collect(),
    };
    let decisions = claims.claim_if(own, |others| {
        facts.claims = others;
        let decisions = decide(&GateInput {
            experiment: &header.experiment,
            threshold: header.threshold,
            inventory: &inventory,
            selection: &selection,
            health: &health,
            overrides: &header.overrides,
            lenient: header.lenient,
            policy: ports.governance.policy(),
            facts: &facts,
        });
        let granted = keep && decisions.iter().all(|decision| decision.passed);
        (decisions, granted)
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

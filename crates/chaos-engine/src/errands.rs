//! What a driver hands to a task of its own because a node has to be asked: another draw, a recovery action.
//!
//! Owns no state. What comes of it goes back to the driver as an event.

use std::collections::BTreeSet;
use std::time::Duration;

use chaos_core::duration::Span;
use chaos_core::journal::RunHeader;
use chaos_core::port::NodeAction;
use chaos_core::run::{ActionOutcome, Failure};
use chaos_core::safety::{Decision, DrawInput, again};
use chaos_core::spec::RecoveryAction;
use chaos_core::target::{Instance, select};
use tokio::time::timeout;

use crate::claims::Claims;
use crate::engine::Ports;
use crate::preflight::{host_target, how_many};

/// How long one step of a recovery action may take.
const ACTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Another draw of the seed within the bounds of the first; nothing when a gate refuses it. What the run still `hit`s
/// counts as affected.
pub(crate) async fn draw_again(
    ports: &Ports,
    header: &RunHeader,
    claims: &Claims,
    hit: &BTreeSet<String>,
    draw: u32,
) -> Result<Vec<Instance>, Failure> {
    let target = host_target(header)?;
    let looked = ports.node.inventory(&header.experiment.spec.target).await;
    let mut inventory = looked.map_err(|error| Failure::Node(error.to_string()))?;
    let mut selection = select(target, how_many(header), &inventory, header.seed, draw)
        .map_err(|error| Failure::Target(error.to_string()))?;
    let chosen: BTreeSet<String> = selection.chosen.iter().cloned().collect();
    let is_affected = |one: &&Instance| !one.ready || chosen.contains(&one.id) || hit.contains(&one.id);
    selection.affected = inventory.instances.iter().filter(is_affected).count();
    selection.untouched_ready = selection.total - selection.affected;
    let granted = claims.extend(&header.run, &chosen, |others, held| {
        let decisions = again(&DrawInput {
            experiment: &header.experiment,
            inventory: &inventory,
            selection: &selection,
            held,
            overrides: &header.overrides,
            policy: ports.governance.policy(),
            claims: &others,
        });
        let refusal = decisions.into_iter().find(|decision| !decision.passed);
        if let Some(Decision { gate, message, .. }) = &refusal {
            tracing::info!(run = %header.run, "draw {draw} is skipped: {}: {message}", gate.name());
        }
        refusal.is_none()
    });
    inventory.instances.retain(|instance| granted.contains(&instance.id));
    Ok(inventory.instances)
}

/// Carries a recovery action out: on every instance that was hit, or once on each of their hosts.
pub(crate) async fn help(
    ports: &Ports,
    header: &RunHeader,
    action: usize,
    hit: Vec<Instance>,
) -> ActionOutcome {
    let hosts: BTreeSet<String> = hit.iter().map(|instance| instance.host.clone()).collect();
    let steps: Vec<NodeAction> = match header.experiment.spec.recovery.actions.get(action) {
        Some(RecoveryAction::Restart(_)) => {
            hit.into_iter().map(|instance| NodeAction::Restart(Box::new(instance))).collect()
        }
        Some(RecoveryAction::Command(command)) => {
            let on = |host| NodeAction::Command { host, name: command.name.clone() };
            hosts.into_iter().map(on).collect()
        }
        Some(RecoveryAction::Scale(_)) | None => Vec::new(),
    };
    let mut outcome = ActionOutcome { action, evidence: Vec::new(), error: None };
    for step in &steps {
        match timeout(ACTION_TIMEOUT, ports.node.act(step)).await {
            Ok(Ok(evidence)) => outcome.evidence.extend(evidence),
            Ok(Err(error)) => outcome.error = Some(error.to_string()),
            Err(_) => outcome.error = Some(format!("no answer within {}", Span(ACTION_TIMEOUT))),
        }
    }
    outcome
}

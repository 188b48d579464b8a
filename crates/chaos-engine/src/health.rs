//! Puts the health of a target together: readiness of its instances and the configured signals.
//!
//! Owns what readiness means in each part of a run. The score itself is [`chaos_core::safety::score`]'s.

use std::collections::BTreeSet;

use chaos_core::safety::{Health, Signal};
use chaos_core::target::Inventory;
use jiff::Timestamp;

use crate::engine::Ports;

/// Which instances readiness is about.
#[derive(Debug, Clone)]
pub(crate) enum Readiness {
    /// Every instance that matches.
    All,
    /// These, whether they are still there or not: what was there before and was not selected.
    Untouched(BTreeSet<String>),
    /// As many as were ready before, each with as many ports.
    AsBefore {
        /// Ready before.
        ready: usize,
        /// The fewest ports that one of them listened on.
        ports_min: usize,
    },
}

/// Name of the built-in signal.
const READINESS: &str = "readiness";

/// Health of a target whose inventory was just read; `Err` holds why it could not be.
pub(crate) async fn health(
    ports: &Ports,
    inventory: Result<&Inventory, String>,
    readiness: &Readiness,
) -> Health {
    let at = ports.clock.now();
    let mut signals = vec![readiness_signal(inventory, readiness, at)];
    signals.extend(ports.signals.signals().await);
    Health::of(signals, ports.clock.now())
}

fn readiness_signal(inventory: Result<&Inventory, String>, readiness: &Readiness, at: Timestamp) -> Signal {
    let mut signal = Signal {
        name: READINESS.to_owned(),
        value: None,
        score: None,
        weight: 1.0,
        critical: false,
        source: "targets".to_owned(),
        at,
        error: None,
        not_evaluated: false,
    };
    let inventory = match inventory {
        Ok(inventory) => inventory,
        Err(error) => return Signal { error: Some(error), ..signal },
    };
    let (ready, total) = match readiness {
        Readiness::All => (inventory.ready(), inventory.instances.len()),
        Readiness::AsBefore { ready, ports_min } => {
            (inventory.ready_with_ports(*ports_min).min(*ready), *ready)
        }
        Readiness::Untouched(ids) => {
            let ready = inventory.instances.iter().filter(|one| one.ready && ids.contains(&one.id)).count();
            (ready, ids.len())
        }
    };
    if total == 0 {
        signal.not_evaluated = matches!(readiness, Readiness::Untouched(_));
        signal.error =
            Some(if signal.not_evaluated { "every instance is selected" } else { "no instance" }.to_owned());
        return signal;
    }
    let ratio = ready as f64 / total as f64;
    Signal { value: Some(ratio), score: Some(ratio), ..signal }
}

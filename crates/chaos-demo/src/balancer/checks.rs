//! Owns the active checks of one replica: health on the admin port, and the trial of an open circuit on the
//! traffic port. It never decides what a failed check means.

use std::sync::Arc;

use reqwest::Client;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::fleet::Slot;
use crate::{config::Tuning, wire::ReplicaHealth};

/// Checks `slot` at every interval until `end`.
pub(super) async fn watch(slot: Arc<Slot>, client: Client, tuning: Tuning, end: CancellationToken) {
    let mut ticks = interval(tuning.health_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = end.cancelled() => return,
        }
        if slot.is_live() {
            tokio::join!(check_health(&slot, &client, &tuning), try_again(&slot, &client, &tuning));
        }
    }
}

async fn check_health(slot: &Slot, client: &Client, tuning: &Tuning) {
    let (_, admin_port) = slot.ports();
    let report = timeout(tuning.health_timeout, ask_health(client, admin_port)).await.ok().flatten();
    slot.checked(report.as_ref(), tuning);
}

async fn ask_health(client: &Client, admin_port: u16) -> Option<ReplicaHealth> {
    let response = client.get(format!("http://127.0.0.1:{admin_port}/health")).send().await.ok()?;
    response.error_for_status().ok()?.json().await.ok()
}

/// The trial takes the way of real work, so that a replica whose health check lies can't pass it.
async fn try_again(slot: &Slot, client: &Client, tuning: &Tuning) {
    let Some(ticket) = slot.trial() else { return };
    let (port, _) = slot.ports();
    let call = client.get(format!("http://127.0.0.1:{port}/work")).send();
    let answer = timeout(tuning.attempt_timeout, call).await;
    slot.report(Some(ticket), matches!(answer, Ok(Ok(response)) if response.status().is_success()));
}

//! The link between an agent and the service: frames take time, and a cut loses what is under way, or brings it late.
//!
//! Owns the frames that are under way. It never looks into one, but to send an order again in a broken variant.

use std::time::Duration;

use chaos_agent::link::FarEnd;
use chaos_core::link::{AgentFrame, ServerFrame};
use chaos_engine::hub::Transport;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::universe::Universe;

/// Frames that are under way at most.
const UNDER_WAY_MAX: usize = 64;

/// Carries frames from the transport of the agent of a machine to one for the hub, until it is cut.
pub(super) fn carry(universe: &Universe, machine: &str, far: FarEnd, cut: &CancellationToken) -> Transport {
    let (up, frames) = mpsc::channel(UNDER_WAY_MAX);
    let (orders, down) = mpsc::channel(UNDER_WAY_MAX);
    // Each side notices a cut by itself, and perhaps much later.
    let (near_cut, hub_cut) = (far.cut.clone(), CancellationToken::new());
    tokio::spawn(notice(universe.clone(), cut.clone(), near_cut.clone()));
    tokio::spawn(notice(universe.clone(), cut.clone(), hub_cut.clone()));
    tokio::spawn(both_end(near_cut, hub_cut.clone()));
    tokio::spawn(one_way::<AgentFrame>(universe.clone(), far.frames, up, cut.clone(), || {}));
    let down = if universe.broken.forgets_at_reconnect { again(universe, down) } else { down };
    let (known, machine) = (universe.clone(), machine.to_owned());
    let heard = move || known.contact(&machine);
    tokio::spawn(one_way::<ServerFrame>(universe.clone(), down, far.orders, cut.clone(), heard));
    Transport { frames, orders, cut: hub_cut }
}

async fn one_way<F>(
    universe: Universe,
    mut from: mpsc::Receiver<F>,
    to: mpsc::Sender<F>,
    cut: CancellationToken,
    heard: impl Fn(),
) {
    loop {
        let frame = tokio::select! {
            biased;
            () = cut.cancelled() => return,
            frame = from.recv() => match frame {
                Some(frame) => frame,
                None => return,
            },
        };
        sleep(Duration::from_micros(100 + universe.below(3000))).await;
        // What is under way when the link is cut is lost, or still arrives.
        if cut.is_cancelled() && universe.once_in(2) {
            return;
        }
        if to.send(frame).await.is_err() {
            return;
        }
        heard();
    }
}

async fn notice(universe: Universe, cut: CancellationToken, end: CancellationToken) {
    tokio::select! {
        biased;
        () = end.cancelled() => return,
        () = cut.cancelled() => {}
    }
    sleep(universe.milliseconds(0, 1500)).await;
    end.cancel();
}

/// An end that is closed on purpose is noticed on the other side.
async fn both_end(one: CancellationToken, other: CancellationToken) {
    tokio::select! {
        biased;
        () = one.cancelled() => {}
        () = other.cancelled() => {}
    }
    sleep(Duration::from_millis(2)).await;
    one.cancel();
    other.cancel();
}

/// Gives the last order that was sent to any agent once more, behind the welcome of the next connection.
fn again(universe: &Universe, mut down: mpsc::Receiver<ServerFrame>) -> mpsc::Receiver<ServerFrame> {
    let (to, from) = mpsc::channel(UNDER_WAY_MAX);
    let universe = universe.clone();
    tokio::spawn(async move {
        while let Some(frame) = down.recv().await {
            let welcomed = matches!(frame, ServerFrame::Welcome { .. });
            if matches!(frame, ServerFrame::Inject(_)) {
                universe.inside().last_order = Some(frame.clone());
            }
            if to.send(frame).await.is_err() {
                return;
            }
            let last = universe.inside().last_order.clone();
            if let Some(last) = last.filter(|_| welcomed) {
                let _ = to.send(last).await;
            }
        }
    });
    from
}

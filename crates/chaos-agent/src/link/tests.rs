//! The agent between a scripted node and a server's end, in memory and over real sockets.

mod sockets;
mod world;

use std::time::Duration;

use chaos_core::link::{Answer, Request, ServerFrame, ServerOutput};
use chaos_core::port::NodeError;
use chaos_core::run::InjectionState;
use chaos_core::spec::{HostTarget, Select, Target};

use self::world::{Scene, id, order, run};
use super::Ended;

#[tokio::test(start_paused = true)]
async fn what_is_ordered_is_done_and_told() {
    let mut scene = Scene::connected().await;
    scene.order(order([0, 1])).await;
    assert_eq!(scene.told(2).await, [(id(0), InjectionState::Active), (id(1), InjectionState::Active)]);
    scene.revert(&[id(0)]).await;
    assert_eq!(scene.told(1).await, [(id(0), InjectionState::Reverted)]);
    assert_eq!(scene.node.log(), ["inject 0 1", "revert 0"]);
}

#[tokio::test(start_paused = true)]
async fn an_undo_waits_until_the_node_has_the_order() {
    let mut scene = Scene::connected().await;
    let gate = scene.node.hold_orders();
    scene.order(order([0])).await;
    scene.revert(&[id(0)]).await;
    scene.settle().await;
    assert_eq!(scene.node.log(), ["inject 0"]);
    drop(gate);
    assert_eq!(scene.told(2).await, [(id(0), InjectionState::Active), (id(0), InjectionState::Reverted)]);
    assert_eq!(scene.node.log(), ["inject 0", "revert 0"]);
}

#[tokio::test(start_paused = true)]
async fn an_order_that_the_node_refuses_is_told_as_not_applied() {
    let mut scene = Scene::connected().await;
    scene.node.refuse("process_pause is not allowed here");
    scene.order(order([0])).await;
    let report = scene.report().await;
    assert_eq!(report.state, InjectionState::ApplyFailed);
    assert_eq!(report.error.as_deref(), Some("the node refuses: process_pause is not allowed here"));
}

#[tokio::test(start_paused = true)]
async fn what_happened_without_a_link_is_told_when_there_is_one_again() {
    let mut scene = Scene::connected().await;
    scene.order(order([0])).await;
    scene.told(1).await;
    assert_eq!(scene.cut().await, Ended::Broken);
    scene.node.ends(0);
    assert_eq!((scene.agent.open(), scene.agent.unheard()), (0, 1));
    scene.connect().await;
    assert_eq!(scene.told(1).await, [(id(0), InjectionState::Reverted)]);
    scene.settle().await;
    assert_eq!(scene.agent.unheard(), 0, "the server has heard it");
}

#[tokio::test(start_paused = true)]
async fn a_request_is_answered_by_the_node() {
    let mut scene = Scene::connected().await;
    let target = Target {
        host: Some(HostTarget::App("app".into())),
        hosts: Vec::new(),
        kubernetes: None,
        select: Select::One,
        seed: None,
    };
    let answer = scene.ask(Request::Inventory(target)).await.expect("an inventory");
    assert!(matches!(answer, Answer::Inventory(found) if found.apps == ["app"]));
    scene.node.refuse("no");
    let refused = scene.ask(Request::Act(world::restart())).await.expect_err("refused");
    assert!(matches!(refused, NodeError::Refused { .. }));
    assert_eq!(scene.ask(Request::Prepare(run())).await, Ok(Answer::Done));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_told_to_end_undoes_everything_first() {
    let mut scene = Scene::connected().await;
    scene.order(order([0, 1])).await;
    scene.told(2).await;
    let agent = scene.agent.clone();
    let ending = tokio::spawn(async move {
        let ended = agent.end_everything(Duration::from_secs(5)).await;
        agent.say_goodbye(Duration::from_secs(1)).await;
        ended
    });
    assert_eq!(scene.told(2).await, [(id(0), InjectionState::Reverted), (id(1), InjectionState::Reverted)]);
    scene.until_goodbye().await;
    assert_eq!(ending.await.expect("no panic"), (Vec::new(), 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_sweep_could_not_undo_is_tried_again_when_the_server_asks() {
    let left = world::report(0, InjectionState::RevertFailed);
    let mut scene = Scene::after(vec![left]).await;
    assert_eq!(scene.strays().await, [(id(0), InjectionState::RevertFailed)]);
    scene.settle().await;
    assert_eq!(scene.node.log(), ["attach 0"]);
    assert_eq!(scene.strays().await, [(id(0), InjectionState::Reverted)]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_take_the_agent_ends_the_connection() {
    let mut scene = Scene::unconnected(Vec::new());
    scene.dial();
    scene.hello().await;
    scene.send(vec![ServerOutput::Send(ServerFrame::Refused { reason: "no".into() })]).await;
    assert_eq!(scene.ended().await, Ended::Refused { reason: "no".into() });
}

#[tokio::test(start_paused = true)]
async fn a_welcome_with_a_lease_that_nobody_can_keep_ends_the_connection() {
    for lease_ms in [0, 499, 60_001, u64::MAX] {
        let mut scene = Scene::unconnected(Vec::new());
        scene.dial();
        scene.hello().await;
        let welcome = ServerFrame::Welcome { version: "0".into(), lease_ms };
        scene.send(vec![ServerOutput::Send(welcome)]).await;
        let Ended::Refused { reason } = scene.ended().await else { panic!("{lease_ms} was taken") };
        assert!(reason.ends_with("expected 500ms to 60s"), "{reason}");
        assert_eq!(scene.agent.welcomed().borrow().times, 0);
    }
}

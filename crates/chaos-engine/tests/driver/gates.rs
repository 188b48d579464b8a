//! Gates that look at more than one run, guardrails, undos that fail, recovery actions.

use std::sync::atomic::Ordering;
use std::time::Duration;

use chaos_core::journal::RunHeader;
use chaos_core::port::NodeAction;
use chaos_core::run::{Phase, RunId, Status, StopCause, Verdict};
use chaos_core::spec::{RecoveryAction, RestartAction};
use chaos_engine::Limits;

use crate::support::{bench, by_hand, header, until};

#[tokio::test(start_paused = true)]
async fn two_runs_never_hold_one_instance() {
    let bench = bench(Limits::default());
    let first = bench.engine.submit(header("a")).await.expect("accepted").header.run.clone();
    until(&bench.engine, &first, Phase::Active).await;
    let mut other = RunHeader { run: RunId("other".into()), ..header("a") };
    other.experiment.metadata.name = "other".into();
    let second = bench.engine.submit(other).await.expect("accepted").header.run.clone();
    let end = bench.engine.finished(&second).await.expect("it was active");
    assert_eq!(end.summary.verdict, Some(Verdict::Blocked), "{:?}", end.state.outcome);
    assert_eq!(bench.node.orders.load(Ordering::SeqCst), 1);
    bench.engine.stop(&first, by_hand()).await.expect("it is active");
    bench.engine.finished(&first).await;
    let third = RunHeader { run: RunId("third".into()), ..header("a") };
    let third = bench.engine.submit(third).await.expect("accepted").header.run.clone();
    until(&bench.engine, &third, Phase::Active).await;
    assert_eq!(bench.node.orders.load(Ordering::SeqCst), 2, "what was held is free again");
    bench.engine.stop_all(&by_hand()).await;
}

#[tokio::test(start_paused = true)]
async fn an_engaged_lever_cancels_starts_and_ends_what_runs() {
    let bench = bench(Limits::default());
    let run = bench.engine.submit(header("a")).await.expect("accepted").header.run.clone();
    until(&bench.engine, &run, Phase::Active).await;
    bench.rules.engaged.store(true, Ordering::SeqCst);
    let begin = tokio::time::Instant::now();
    let end = bench.engine.finished(&run).await.expect("it was active");
    assert_eq!(end.state.stop.as_ref().map(|stop| stop.cause), Some(StopCause::Lever));
    assert!(begin.elapsed() < Duration::from_secs(3), "the gates are asked again and again");
    let late = bench.engine.submit(header("b")).await.expect("accepted").header.run.clone();
    let end = bench.engine.finished(&late).await.expect("it was active");
    assert_eq!((end.summary.status, end.summary.exit_code), (Status::Cancelled, Some(5)));
    assert_eq!(bench.node.orders.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_fails_is_asked_for_again_until_it_is_proven() {
    let bench = bench(Limits::default());
    bench.node.failing_undos.store(2, Ordering::SeqCst);
    let run = bench.engine.submit(header("a")).await.expect("accepted").header.run.clone();
    until(&bench.engine, &run, Phase::Active).await;
    let report = bench.engine.stop(&run, by_hand()).await.expect("it is active");
    assert!(report.unproven.is_empty() && report.took >= Duration::from_secs(1), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_never_works_is_helped_by_the_actions_of_the_document() {
    let bench = bench(Limits::default());
    bench.node.failing_undos.store(8, Ordering::SeqCst); // two injections, four times each
    let mut header = header("a");
    header.experiment.spec.recovery.actions = vec![RecoveryAction::Restart(RestartAction {})];
    let run = bench.engine.submit(header).await.expect("accepted").header.run.clone();
    until(&bench.engine, &run, Phase::Active).await;
    let report = bench.engine.stop(&run, by_hand()).await.expect("it is active");
    assert!(report.unproven.is_empty(), "the undo after the action works: {report:?}");
    let acts = bench.node.acts.lock().expect("no panic").clone();
    assert!(matches!(acts.as_slice(), [NodeAction::Restart(_), NodeAction::Restart(_)]), "{acts:?}");
}

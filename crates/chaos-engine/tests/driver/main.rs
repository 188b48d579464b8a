//! The engine against scripted ports: order of journal and effect, stops in every phase, ends of processes.
//!
//! Real nodes, stores and probes are tested where they live, and together in `e2e`.

mod adoption;
mod draws;
mod gates;
mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use chaos_core::journal::RunHeader;
use chaos_core::run::{INJECTING_TIMEOUT, Phase, RunId, Verdict};
use chaos_engine::{Limits, SubmitError};

use support::{bench, by_hand, header, turns, until};

#[tokio::test(start_paused = true)]
async fn a_run_goes_through_its_phases_and_the_lease_is_renewed() {
    let bench = bench(Limits::default());
    let run = bench.engine.submit(header("a")).await.expect("accepted").header.run.clone();
    let end = bench.engine.finished(&run).await.expect("it was active");
    assert_eq!(end.summary.verdict, Some(Verdict::Held), "{:?}", end.state.outcome);
    assert!(end.summary.duration_seconds >= 10.0);
    assert!(bench.node.renewals.load(Ordering::SeqCst) >= 2, "a third of 15 s, twice in 10 s");
    let seqs: Vec<u64> = bench.journal.records().iter().map(|record| record.seq).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "without gaps");
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_injecting_does_not_wait_for_the_injection() {
    let bench = bench(Limits::default());
    bench.node.hangs.store(true, Ordering::SeqCst);
    let run = bench.engine.submit(header("a")).await.expect("accepted").header.run.clone();
    until(&bench.engine, &run, Phase::Injecting).await;
    let report = bench.engine.stop(&run, by_hand()).await.expect("it is active");
    assert!(report.unproven.is_empty() && report.reverted == 2, "{report:?}");
    assert!(report.took < Duration::from_millis(100), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_comes_together_with_the_start_of_the_injection_lets_nothing_begin() {
    let bench = bench(Limits::default());
    let mut header = header("a");
    header.experiment.spec.probes.clear();
    let slow = bench.journal.busy.lock().await;
    let run = bench.engine.submit(header).await.expect("accepted").header.run.clone();
    // Both what the gates say and the stop wait behind the first write, and are taken up together.
    turns(50).await;
    let release = async {
        turns(50).await;
        drop(slow);
    };
    let (report, ()) = tokio::join!(bench.engine.stop(&run, by_hand()), release);
    assert!(report.expect("it is active").unproven.is_empty());
    assert_eq!(bench.node.orders.load(Ordering::SeqCst), 0, "no apply after stop");
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_run_that_waits_in_the_queue() {
    let bench = bench(Limits { active_runs_max: 1, ..Limits::default() });
    let first = bench.engine.submit(header("a")).await.expect("accepted").header.run.clone();
    until(&bench.engine, &first, Phase::Active).await;
    let second = bench.engine.submit(header("b")).await.expect("accepted").header.run.clone();
    let report = bench.engine.stop(&second, by_hand()).await.expect("it waits");
    assert_eq!(report.reverted, 0);
    assert_eq!(bench.node.orders.load(Ordering::SeqCst), 1, "the second never reached the node");
    bench.engine.stop(&first, by_hand()).await.expect("it is active");
}

#[tokio::test(start_paused = true)]
async fn a_name_in_use_and_a_full_queue_are_refused() {
    let bench = bench(Limits { accepted_runs_max: 1, ..Limits::default() });
    bench.engine.submit(header("a")).await.expect("accepted");
    let again = RunHeader { run: RunId("other".into()), ..header("a") };
    let error = bench.engine.submit(again).await.map(|_| ()).expect_err("in use");
    assert!(
        matches!(error, SubmitError::QueueFull { limit: 1, .. } | SubmitError::NameInUse { .. }),
        "{error}"
    );
    bench.engine.stop_all(&by_hand()).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_injected_when_the_journal_is_full() {
    let bench = bench(Limits::default());
    bench.journal.full.store(true, Ordering::SeqCst);
    let run = bench.engine.submit(header("a")).await.expect("accepted").header.run.clone();
    let end = bench.engine.finished(&run).await.expect("it was active");
    assert_eq!(end.summary.verdict, Some(Verdict::Stopped));
    assert_eq!(bench.node.orders.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_fills_up_while_a_fault_is_active_reverts_it_and_is_written_when_there_is_room() {
    let bench = bench(Limits::default());
    let run = bench.engine.submit(header("a")).await.expect("accepted").header.run.clone();
    until(&bench.engine, &run, Phase::Active).await;
    bench.journal.full.store(true, Ordering::SeqCst);
    let end = bench.engine.finished(&run).await.expect("it was active");
    assert_eq!(end.summary.verdict, Some(Verdict::Stopped), "{:?}", end.state.outcome);
    assert!(bench.node.open.lock().expect("no panic").is_empty(), "everything is undone");
    bench.journal.full.store(false, Ordering::SeqCst);
    bench.engine.shutdown().await;
    let seqs: Vec<u64> = bench.journal.records().iter().map(|record| record.seq).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "nothing is lost");
}

#[tokio::test(start_paused = true)]
async fn a_stop_reaches_the_node_though_the_journal_hangs() {
    // The write that hangs is that of the stop itself, or one that was under way before.
    for before in [Duration::ZERO, Duration::from_millis(2500)] {
        let bench = bench(Limits::default());
        let run = bench.engine.submit(header("a")).await.expect("accepted").header.run.clone();
        until(&bench.engine, &run, Phase::Active).await;
        turns(50).await;
        let hanging = bench.journal.busy.lock().await;
        tokio::time::sleep(before).await;
        let look = async {
            turns(50).await;
            let open = bench.node.open.lock().expect("no panic").len();
            drop(hanging);
            open
        };
        let (report, open) = tokio::join!(bench.engine.stop(&run, by_hand()), look);
        assert_eq!(open, 0, "undone before anything was written, {before:?} after the journal hung");
        assert!(report.expect("it is active").unproven.is_empty());
        bench.engine.shutdown().await;
        let seqs: Vec<u64> = bench.journal.records().iter().map(|record| record.seq).collect();
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "nothing is lost, in order");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_whose_driver_dies_calls_nothing_undone_that_was_active() {
    let bench = bench(Limits::default());
    let run = bench.engine.submit(header("a")).await.expect("accepted").header.run.clone();
    until(&bench.engine, &run, Phase::Active).await;
    turns(50).await;
    bench.journal.kills.store(true, Ordering::SeqCst);
    let report = bench.engine.stop(&run, by_hand()).await.expect("it is active");
    assert_eq!((report.reverted, report.unproven.len()), (0, 2), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_never_says_that_a_fault_is_active_does_not_keep_the_run() {
    let bench = bench(Limits::default());
    bench.node.hangs.store(true, Ordering::SeqCst);
    let begin = tokio::time::Instant::now();
    let run = bench.engine.submit(header("a")).await.expect("accepted").header.run.clone();
    let end = bench.engine.finished(&run).await.expect("it was active");
    assert_eq!(end.summary.verdict, Some(Verdict::Error), "{:?}", end.state.outcome);
    assert!(begin.elapsed() < INJECTING_TIMEOUT + Duration::from_secs(2), "{:?}", begin.elapsed());
    assert!(bench.node.open.lock().expect("no panic").is_empty(), "everything is undone");
}

#[tokio::test(start_paused = true)]
async fn a_node_without_a_fault_process_is_an_error_and_leaves_nothing() {
    let bench = bench(Limits::default());
    bench.node.refuses.store(true, Ordering::SeqCst);
    let run = bench.engine.submit(header("a")).await.expect("accepted").header.run.clone();
    let end = bench.engine.finished(&run).await.expect("it was active");
    assert_eq!((end.summary.verdict, end.summary.exit_code), (Some(Verdict::Error), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_reverts_everything_and_takes_no_more() {
    let bench = bench(Limits::default());
    for name in ["a", "b", "c"] {
        let run = bench.engine.submit(header(name)).await.expect("accepted").header.run.clone();
        until(&bench.engine, &run, Phase::Active).await;
    }
    let reports = bench.engine.shutdown().await;
    assert_eq!(reports.len(), 3);
    assert!(reports.iter().all(|report| report.reverted == 2 && report.unproven.is_empty()), "{reports:?}");
    assert!(matches!(bench.engine.submit(header("d")).await, Err(SubmitError::ShuttingDown)));
}

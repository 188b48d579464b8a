//! A service that died while a run was active, and the one after it.

use std::sync::atomic::Ordering;

use chaos_core::journal::Record;
use chaos_core::run::{Event, InjectionId, Phase, RunId, Verdict};
use chaos_engine::Limits;

use crate::support::{Bench, bench, by_hand, header, until};

/// A service whose run is as far as `phase`, and its journal as a killed process leaves it.
async fn died_in(phase: Phase) -> (RunId, Vec<Record>) {
    let before = bench(Limits::default());
    let run = before.engine.submit(header("a")).await.expect("accepted").header.run.clone();
    until(&before.engine, &run, phase).await;
    let journal = before.journal.records();
    before.engine.stop_all(&by_hand()).await;
    (run, journal)
}

/// The next service, whose node still holds the first `held` of two faults.
fn next(run: &RunId, journal: &[Record], held: usize) -> Bench {
    let after = bench(Limits::default());
    after.journal.records.lock().expect("no panic").extend_from_slice(journal);
    let ids = (0..held).map(|number| InjectionId::of(run, number));
    after.node.held.lock().expect("no panic").extend(ids);
    after
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_still_held_goes_on_to_its_end() {
    let (run, journal) = died_in(Phase::Active).await;
    let after = next(&run, &journal, 2);
    after.engine.adopt(header("a"), &journal).await.expect("taken up");
    let end = after.engine.finished(&run).await.expect("it is active");
    assert_eq!(end.summary.verdict, Some(Verdict::Held), "{:?}", end.state.outcome);
    assert_eq!(after.node.orders.load(Ordering::SeqCst), 0, "nothing is applied a second time");
    let records = after.journal.records();
    assert!(records.iter().any(|record| matches!(record.event, Event::Adopted { .. })));
    let seqs: Vec<u64> = records.iter().map(|record| record.seq).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "one journal without gaps");
}

#[tokio::test(start_paused = true)]
async fn a_run_of_which_something_is_not_held_any_more_is_undone() {
    for held in [0, 1] {
        let (run, journal) = died_in(Phase::Active).await;
        let after = next(&run, &journal, held);
        after.engine.adopt(header("a"), &journal).await.expect("taken up");
        let end = after.engine.finished(&run).await.expect("it is active");
        assert_eq!(end.summary.verdict, Some(Verdict::Error));
        assert!(end.state.unfinished().next().is_none() && !end.summary.revert_incomplete);
        assert!(after.node.open.lock().expect("no panic").is_empty(), "what was held is undone");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_had_not_begun_is_closed_and_nothing_is_applied() {
    for phase in [Phase::Preflight, Phase::Injecting] {
        let (run, journal) = died_in(phase).await;
        // What the stop wrote is not there in a real crash.
        let cut = journal.iter().take_while(|one| !matches!(one.event, Event::StopRequested(_)));
        let journal: Vec<Record> = cut.cloned().collect();
        let after = next(&run, &journal, 0);
        after.engine.adopt(header("a"), &journal).await.expect("taken up");
        let end = after.engine.finished(&run).await.expect("it is active");
        assert_eq!(end.summary.verdict, Some(Verdict::Error), "{phase}: {:?}", end.state.outcome);
        assert_eq!(after.node.orders.load(Ordering::SeqCst), 0);
    }
}

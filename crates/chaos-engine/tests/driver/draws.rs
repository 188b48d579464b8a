//! Faults that draw again while their run is active: each draw keeps within the same bounds as the first.

use chaos_core::journal::RunHeader;
use chaos_core::run::Verdict;
use chaos_core::safety::{Caps, Override, Policy};
use chaos_engine::Limits;
use std::sync::atomic::Ordering;

use crate::support::{Bench, INSTANCES, bench, bench_with, header_of};

const KILLS: &str = "[ { pod_kill: { gracePeriod: 0s, interval: 1s } } ]";
const PAUSED_AND_KILLED: &str = "[ { process_pause: {} }, { pod_kill: { gracePeriod: 0s, interval: 1s } } ]";

/// How many instances a run has hit when it has ended.
async fn hit(bench: &Bench, header: RunHeader) -> usize {
    let header = RunHeader { threshold: 0.0, ..header };
    let run = bench.engine.submit(header).await.expect("accepted").header.run.clone();
    let end = bench.engine.finished(&run).await.expect("it was active");
    let verdict = end.summary.verdict;
    assert!(!matches!(verdict, None | Some(Verdict::Blocked)), "{verdict:?}: {:?}", end.state.outcome);
    bench.node.hit.lock().expect("no panic").len()
}

#[tokio::test(start_paused = true)]
async fn another_draw_spares_the_last_ready_instance_unless_that_is_lifted() {
    let all = usize::try_from(INSTANCES).expect("a few");
    for (lifted, expected) in [(false, all - 1), (true, all)] {
        let bench = bench(Limits::default());
        bench.node.stays_down.store(true, Ordering::SeqCst);
        let mut header = header_of("a", "one", KILLS, "100%");
        if lifted {
            header.overrides.insert(Override::LastReadyInstance);
        }
        assert_eq!(hit(&bench, header).await, expected, "lifted: {lifted}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_draw_keeps_within_the_caps_of_the_policy_unless_they_are_lifted() {
    for (lifted, expected) in [(false, 2), (true, 4)] {
        let policy = Policy { caps: Caps { run: Some(2), ..Caps::default() }, ..Policy::default() };
        let bench = bench_with(Limits::default(), policy);
        let mut header = header_of("a", "one", KILLS, "100%");
        if lifted {
            header.overrides.insert(Override::MaxAffected);
        }
        assert_eq!(hit(&bench, header).await, expected, "lifted: {lifted}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_fault_of_the_run_still_hits_counts_as_affected_by_a_draw() {
    let bench = bench(Limits::default());
    let header = header_of("a", "one", PAUSED_AND_KILLED, "25%");
    assert_eq!(hit(&bench, header).await, 1, "the paused instance alone may be killed");
}

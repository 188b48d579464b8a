//! The judgement of a record, on a host in memory.

use chaos_core::run::InjectionState::{ApplyFailed, RevertFailed, Reverted, TargetGone};

use super::*;
use crate::scripted::{HOLDER, Script, ScriptedHost, order};
use crate::undo::{Outcome, UndoData};

/// A host with one record, whose fault process lives, and the id of that record.
fn host(outcome: Option<InjectionState>) -> (ScriptedHost, InjectionId) {
    let (host, order) = (ScriptedHost::new(), order(1));
    let plan = &order.injections[0];
    let mut record = UndoRecord::new(&order.run, plan, order.owner, HOLDER, UndoData::Nothing, 0);
    record.outcome = outcome.map(|state| Outcome { state, evidence: vec![], error: None });
    host.keep(record);
    (host, plan.id.clone())
}

fn dead(outcome: Option<InjectionState>) -> (ScriptedHost, InjectionId) {
    let (host, id) = host(outcome);
    host.end(HOLDER);
    (host, id)
}

#[test]
fn a_living_fault_process_is_left_alone_unless_it_is_forced() {
    let (host, id) = host(None);
    assert_eq!(recover_on(&host, false).unwrap(), []);
    assert_eq!(host.done(), [r#"remove inert but {"run-0"}"#]);
    assert!(host.record(&id).is_some());
    assert_eq!(recover_on(&host, true).unwrap().len(), 1);
    assert_eq!(host.done(), ["end 200", "undo run-0", "remove run-0", "remove inert but {}"]);
}

#[test]
fn a_fault_process_that_does_not_end_in_time_is_told_as_an_undo_that_is_not_proven() {
    let (host, id) = host(None);
    host.make_stubborn();
    let told = recover_on(&host, true).unwrap();
    assert_eq!(told[0].state, RevertFailed, "whoever hears of no record takes the undo for proven");
    assert!(host.record(&id).is_some());
}

#[test]
fn what_the_record_tells_is_told_and_not_undone_again() {
    let (host, _) = dead(Some(TargetGone));
    assert_eq!(recover_on(&host, false).unwrap()[0].state, TargetGone);
    assert_eq!(host.done(), ["remove run-0", "remove inert but {}"]);
}

#[test]
fn what_is_not_proven_undone_is_undone_and_its_record_goes_only_then() {
    for outcome in [None, Some(RevertFailed)] {
        let (host, id) = dead(outcome);
        host.script(&id, Script { undo_fails: 1, ..Script::default() });
        assert_eq!(recover_on(&host, false).unwrap()[0].state, RevertFailed);
        assert!(host.record(&id).is_some(), "a record is never dropped without a proof");
        let told = recover_on(&host, false).unwrap();
        assert_eq!(told[0].state, Reverted);
        assert_eq!(told[0].error.is_some(), outcome.is_none(), "it ended before its time, or as it was to");
        assert!(host.record(&id).is_none());
    }
}

#[test]
fn a_damaged_record_is_told_and_kept_aside() {
    let host = ScriptedHost::new();
    host.damage("run-7.json");
    let told = recover_on(&host, false).unwrap();
    assert_eq!((told[0].injection.0.as_str(), told[0].state), ("run-7", RevertFailed));
    assert!(told[0].error.as_ref().unwrap().contains("run-7.damaged-0"), "{told:?}");
    assert_eq!(recover_on(&host, false).unwrap(), []);
}

#[test]
fn what_is_left_is_judged_by_the_record_and_by_what_is_known() {
    let with_record = |known, outcome| {
        let (host, id) = dead(outcome);
        settle_left(&host, &id, known).state
    };
    let without = |known| settle_left(&ScriptedHost::new(), &InjectionId("run-0".into()), known).state;
    let table = [
        (Known::Nothing, Reverted, Reverted),
        (Known::Ordered, ApplyFailed, ApplyFailed),
        (Known::Active, Reverted, Reverted),
        (Known::GivenUp, Reverted, Reverted),
    ];
    for (known, undone, missing) in table {
        assert_eq!(with_record(known, None), undone, "{known:?}");
        assert_eq!(with_record(known, Some(TargetGone)), TargetGone, "{known:?}");
        assert_eq!(without(known), missing, "{known:?}");
    }
}

#[test]
fn a_fault_process_that_works_for_a_dead_process_is_ended_first() {
    let (host, id) = host(None);
    assert_eq!(settle_left(&host, &id, Known::Nothing).state, Reverted);
    assert_eq!(host.done(), ["end 200", "undo run-0", "remove run-0"]);
}

#[test]
fn what_a_fault_process_of_a_dead_process_does_not_let_go_of_in_time_stays_with_it() {
    let (stubborn, id) = host(None);
    stubborn.make_stubborn();
    assert_eq!(settle_left(&stubborn, &id, Known::Nothing).state, RevertFailed);
    assert_eq!(stubborn.done(), ["end 200"], "it would write again what is removed under its hands");
    // What it has let go of is told, whatever else it is busy with.
    for (outcome, told) in [(TargetGone, TargetGone), (RevertFailed, Reverted)] {
        let (stubborn, id) = host(Some(outcome));
        stubborn.make_stubborn();
        assert_eq!(settle_left(&stubborn, &id, Known::Nothing).state, told);
        assert!(stubborn.record(&id).is_none());
    }
}

//! From order to proven end, one fault at a time.

use chaos_core::run::InjectionState::{Active, Reverted};
use chaos_core::spec::FaultKind;

use super::support::*;

#[test]
fn a_killed_instance_is_gone_and_there_is_nothing_to_undo() {
    let (site, victim) = (Site::new(), Victim::busy());
    let child = child_of(victim.process.pid).unwrap();
    let order = order(default_fault(FaultKind::PodKill), &[victim.instance()]);
    let reports = site.inject(order);
    let active = reports.wait_for(Active);
    assert!(!victim.is_running(), "{active:?}");
    assert!(chaos_agent::sys::proc::identity(child).is_err(), "its children are part of it");
    let reverted = reports.wait_for(Reverted);
    assert_eq!(reverted.evidence[0].observed, "nothing to undo");
    eprintln!("{:#?}", reports.all());
    eventually("the record is gone", || site.records().is_empty());
}

#[test]
fn a_paused_instance_stands_still_and_goes_on() {
    let (site, victim) = (Site::new(), Victim::busy());
    let order = order(default_fault(FaultKind::ProcessPause), &[victim.instance()]);
    let reports = site.inject(order.clone());
    reports.wait_for(Active);
    assert!(stands_still(victim.process));
    assert_eq!(site.records().len(), 1);
    site.revert(&order);
    let reverted = reports.wait_for(Reverted);
    assert!(runs_on(victim.process));
    eprintln!("{:#?} {reverted:#?}", reports.all());
    eventually("the record is gone", || site.records().is_empty());
    eventually("the fault process ends", || holder(&order.run).is_none());
}

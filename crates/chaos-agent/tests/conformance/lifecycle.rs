//! From order to proven end, one fault at a time.

use std::time::Duration;

use chaos_core::run::InjectionState::{Active, ApplyFailed, Applying, Reverted, Reverting, TargetGone};
use chaos_core::spec::{Fault, FaultKind};

use super::scene::{self, Scene};
use super::support::*;

fn kill_with(text: &str) -> Fault {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_killed_instance_is_gone_and_there_is_nothing_to_undo() {
    let (site, victim) = (Site::new(), Victim::busy());
    let child = child_of(victim.process.pid).unwrap();
    let order = order(default_fault(FaultKind::PodKill), &[victim.instance()]);
    let reports = site.inject(order);
    reports.wait_for(Active);
    assert!(!victim.is_running());
    assert!(chaos_agent::sys::proc::identity(child).is_err(), "its children are part of it");
    let reverted = reports.wait_for(Reverted);
    assert_eq!(reverted.evidence[0].observed, "nothing to undo");
    eventually("the record is gone", || site.records().is_empty());
}

#[test]
fn an_instance_is_asked_first_and_killed_when_its_grace_is_over() {
    let site = Site::new();
    let polite = Victim::sleeping();
    let fault = kill_with(r#"{"pod_kill":{"gracePeriod":"10m"}}"#);
    site.inject(order(fault, &[polite.instance()])).wait_for(Active);
    let stubborn = Victim::start("sh", &["-c", "trap '' TERM; while :; do :; done"]);
    let fault = kill_with(r#"{"pod_kill":{"gracePeriod":"50ms"}}"#);
    let active = site.inject(order(fault, &[stubborn.instance()])).wait_for(Active);
    assert!(active.took_ms >= 50.0 && !stubborn.is_running());
}

#[test]
fn a_stop_during_the_grace_period_spares_the_instance() {
    let site = Site::new();
    let stubborn = Victim::start("sh", &["-c", "trap '' TERM; while :; do :; done"]);
    // The trap is set before the first instruction that uses time.
    assert!(runs_on(stubborn.process));
    let order = order(kill_with(r#"{"pod_kill":{"gracePeriod":"10m"}}"#), &[stubborn.instance()]);
    let reports = site.inject(order.clone());
    reports.wait_for(Applying);
    site.revert(&order);
    reports.wait_for(Reverted);
    assert!(stubborn.is_running());
}

#[test]
fn every_fault_acts_until_it_is_reverted_and_leaves_nothing() {
    let site = Site::new();
    for scene in Scene::all() {
        let order = order(scene.fault.clone(), std::slice::from_ref(&scene.instance));
        let id = &order.injections[0].id;
        let reports = site.inject(order.clone());
        let active = reports.wait_for(Active);
        assert!(scene.acts(id), "{}", scene.name);
        assert!(!active.evidence.is_empty() && site.records().len() == 1);
        let fault_process = site.holder(&order.run);
        let resident = chaos_agent::sys::proc::status(fault_process.pid).unwrap().resident_bytes;
        site.revert(&order);
        site.revert(&order);
        let reverted = reports.wait_for(Reverted);
        assert!(!scene.acts(id) && reverted.error.is_none(), "{}: {reverted:?}", scene.name);
        eprintln!(
            "{}: active {:.1} ms, reverted {:.1} ms, {} KiB resident; {:?} {:?}",
            scene.name,
            active.took_ms,
            reverted.took_ms,
            resident >> 10,
            active.evidence,
            reverted.evidence
        );
        assert_eq!(reports.states(), [Applying, Active, Reverting, Reverted], "{}", scene.name);
        eventually("the record is gone", || site.records().is_empty());
        eventually("the fault process ends", || holder(&order.run).is_none());
    }
}

#[test]
fn a_fault_ends_by_itself_after_its_duration() {
    let site = Site::new();
    for scene in Scene::all() {
        let mut order = order(scene.fault.clone(), std::slice::from_ref(&scene.instance));
        order.injections[0].duration = Duration::from_millis(150);
        let reports = site.inject(order.clone());
        reports.wait_for(Reverted);
        assert!(!scene.acts(&order.injections[0].id), "{}", scene.name);
        eventually("the fault process ends", || holder(&order.run).is_none());
    }
}

#[test]
fn a_fault_ends_with_its_lease_and_lives_on_when_it_is_renewed() {
    let (site, victim) = (Site::new(), Victim::busy());
    let mut order = order(default_fault(FaultKind::ProcessPause), &[victim.instance()]);
    order.lease = Duration::from_secs(1);
    let reports = site.inject(order.clone());
    reports.wait_for(Active);
    for _ in 0..30 {
        site.runtime.block_on(chaos_core::port::Node::renew(&site.node, &order.run));
        // Pacing of the renewals, well within the lease.
        std::thread::sleep(Duration::from_millis(50));
        assert!(!reports.has(Reverted));
    }
    reports.wait_for(Reverted);
    assert!(runs_on(victim.process));
}

#[test]
fn two_faults_on_one_target_do_not_disturb_each_other() {
    let site = Site::new();
    let scene = scene::pause();
    let stress = kill_with(r#"{"cpu_stress":{"load":"10%","cores":1}}"#);
    let pause = order(scene.fault.clone(), std::slice::from_ref(&scene.instance));
    let stress = order(stress, std::slice::from_ref(&scene.instance));
    let (paused, stressed) = (site.inject(pause.clone()), site.inject(stress.clone()));
    paused.wait_for(Active);
    stressed.wait_for(Active);
    let id = &stress.injections[0].id;
    site.revert(&pause);
    paused.wait_for(Reverted);
    assert!(!scene.acts(&pause.injections[0].id) && scene::workers("cpu", id).len() == 1);
    let again = order(scene.fault.clone(), std::slice::from_ref(&scene.instance));
    let paused = site.inject(again.clone());
    paused.wait_for(Active);
    site.revert(&stress);
    stressed.wait_for(Reverted);
    assert!(scene.acts(&again.injections[0].id) && scene::workers("cpu", id).is_empty());
    site.revert(&again);
    paused.wait_for(Reverted);
}

#[test]
fn a_second_pause_of_a_paused_instance_is_refused_and_the_first_goes_on() {
    let site = Site::new();
    let scene = scene::pause();
    let first = order(scene.fault.clone(), std::slice::from_ref(&scene.instance));
    let reports = site.inject(first.clone());
    reports.wait_for(Active);
    let second = site.inject(order(scene.fault.clone(), std::slice::from_ref(&scene.instance)));
    let failed = second.wait_for(ApplyFailed);
    assert!(failed.error.unwrap().contains("already traced"));
    assert!(scene.acts(&first.injections[0].id));
    site.revert(&first);
    reports.wait_for(Reverted);
}

#[test]
fn a_target_that_ends_takes_its_faults_with_it() {
    let site = Site::new();
    for kind in [FaultKind::ProcessPause, FaultKind::CpuStress] {
        let victim = Victim::sleeping();
        let order = order(default_fault(kind), &[victim.instance()]);
        let reports = site.inject(order.clone());
        reports.wait_for(Active);
        kill(victim.process);
        reports.wait_for(TargetGone);
        assert!(scene::workers("cpu", &order.injections[0].id).is_empty());
    }
    let gone = {
        let victim = Victim::sleeping();
        victim.instance()
    };
    for kind in FaultKind::ALL {
        site.inject(order(default_fault(kind), std::slice::from_ref(&gone))).wait_for(TargetGone);
    }
}

#[test]
fn a_stop_takes_effect_before_the_next_instance_is_hit() {
    let site = Site::new();
    let victims: Vec<Victim> = (0..40).map(|_| Victim::sleeping()).collect();
    let instances: Vec<_> = victims.iter().map(Victim::instance).collect();
    let order = order(default_fault(FaultKind::PodKill), &instances);
    let reports = site.inject(order.clone());
    reports.wait_for(Active);
    site.revert(&order);
    eventually("all are final", || {
        reports.all().iter().filter(|report| report.state.is_final()).count() == 40
    });
    let killed = victims.iter().filter(|victim| !victim.is_running()).count();
    let active = reports.states().iter().filter(|state| **state == Active).count();
    assert!(killed < 40, "the stop came in time for none");
    // One may have been hit when the stop arrived, before its end was proven.
    assert!(killed == active || killed == active + 1, "{killed} killed, {active} reported");
}

#[test]
fn when_a_later_step_fails_the_earlier_ones_are_undone() {
    let (site, victim) = (Site::new(), Victim::busy());
    let child = nix::unistd::Pid::from_raw(child_of(victim.process.pid).unwrap());
    // The child can't be paused, because somebody traces it; the root is paused first.
    nix::sys::ptrace::seize(child, nix::sys::ptrace::Options::empty()).unwrap();
    let order = order(default_fault(FaultKind::ProcessPause), &[victim.instance()]);
    let reports = site.inject(order.clone());
    let failed = reports.wait_for(ApplyFailed);
    assert!(failed.error.unwrap().contains("already traced"));
    assert_eq!(reports.states(), [Applying, Reverting, ApplyFailed]);
    assert!(!is_held(victim.process));
    eventually("the record is gone", || site.records().is_empty());
}

#[test]
fn a_fault_that_somebody_else_took_away_is_told_as_lost_and_no_other_is() {
    let site = Site::new();
    let mut scenes = vec![scene::cpu(), scene::memory()];
    if scene::is_root() {
        scenes.extend([scene::partition_of_a_namespace(), scene::partition_of_a_process()]);
    }
    for scene in scenes {
        let mut order = order(scene.fault.clone(), std::slice::from_ref(&scene.instance));
        // The lease of the kernel is half as long, and rules are looked for at each third of that.
        order.lease = Duration::from_secs(10);
        let id = &order.injections[0].id;
        let reports = site.inject(order.clone());
        reports.wait_for(Active);
        scene.take_away(id);
        let told = reports.wait_for(Reverted);
        assert!(
            told.error.as_deref().is_some_and(|error| error.starts_with("lost: ")),
            "{}: {told:?}",
            scene.name
        );
        assert!(!scene.acts(id), "{}", scene.name);
        eventually("the record is gone", || site.records().is_empty());
    }
}

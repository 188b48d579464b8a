//! Whoever is killed, whenever: nothing is left.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use chaos_agent::sweep::recover;
use chaos_agent::sys::nft::{
    Direction, InjectionName, Lease, NftSocket, Partition, PartitionSpec, Scope, TableRemoval,
};
use chaos_core::port::{Node, Owner, Placed};
use chaos_core::run::InjectionState::{Active, ApplyFailed, RevertFailed, Reverted};

use super::actor::Actor;
use super::scene::Scene;
use super::support::*;

#[test]
fn when_the_fault_process_is_killed_the_node_undoes_from_the_record() {
    let site = Site::new();
    for scene in Scene::all() {
        let order = order(scene.fault.clone(), std::slice::from_ref(&scene.instance));
        let reports = site.inject(order.clone());
        reports.wait_for(Active);
        kill(site.holder(&order.run));
        let reverted = reports.wait_for(Reverted);
        assert!(reverted.error.unwrap().contains("before its time"), "{}", scene.name);
        assert!(!scene.acts(&order.injections[0].id), "{}", scene.name);
        assert!(site.records().is_empty(), "{}", scene.name);
    }
}

#[test]
fn when_a_command_line_is_killed_its_fault_process_undoes_at_once() {
    for scene in Scene::all() {
        let state = tempfile::tempdir().unwrap();
        let order = order(scene.fault.clone(), std::slice::from_ref(&scene.instance));
        let parent = Actor::parent(state.path(), &order);
        parent.wait_for_state(Active);
        kill(parent.victim.process);
        within(Duration::from_secs(5), "the fault process ends", || holder(&order.run).is_none());
        assert!(!scene.acts(&order.injections[0].id), "{}", scene.name);
        let told = recover(state.path(), false).unwrap();
        assert_eq!(told.len(), 1, "{}", scene.name);
        assert!(told[0].state == Reverted && told[0].error.is_none(), "{}: {told:?}", scene.name);
        assert!(records(state.path()).is_empty() && recover(state.path(), false).unwrap().is_empty());
    }
}

#[test]
fn when_a_server_is_killed_its_faults_last_until_the_lease_ends() {
    let victim = Victim::busy();
    let state = tempfile::tempdir().unwrap();
    let mut order = order(default_fault(chaos_core::spec::FaultKind::ProcessPause), &[victim.instance()]);
    order.owner = Owner::Server;
    order.lease = Duration::from_secs(2);
    let ordered = Instant::now();
    let parent = Actor::parent(state.path(), &order);
    parent.wait_for_state(Active);
    kill(parent.victim.process);
    assert!(recover(state.path(), false).unwrap().is_empty(), "a living fault process is left alone");
    assert!(is_held(victim.process));
    eventually("the fault process ends", || holder(&order.run).is_none());
    assert!(ordered.elapsed() >= order.lease, "not before the lease");
    assert!(runs_on(victim.process));
    assert_eq!(recover(state.path(), false).unwrap()[0].state, Reverted);
}

#[test]
fn a_server_that_comes_back_takes_up_what_its_predecessor_ordered_and_hears_how_it_ended() {
    let (site, victim) = (Site::new(), Victim::busy());
    let mut order = order(default_fault(chaos_core::spec::FaultKind::ProcessPause), &[victim.instance()]);
    order.owner = Owner::Server;
    let parent = Actor::parent(site.state.path(), &order);
    parent.wait_for_state(Active);
    kill(parent.victim.process);
    let (reports, injection) = (Reports::default(), order.injections[0].id.clone());
    let placed = vec![Placed { injection, host: String::new() }];
    let held = site.runtime.block_on(site.node.attach(&order.run, placed, reports.sink()));
    assert!(held.is_empty(), "nobody can speak with that fault process");
    reports.wait_for(Reverted);
    assert!(runs_on(victim.process) && holder(&order.run).is_none());
    assert!(site.records().is_empty() && site.node.open().is_empty());
}

#[test]
fn a_living_fault_process_is_ended_when_recovery_is_forced() {
    let site = Site::new();
    for scene in Scene::all() {
        let order = order(scene.fault.clone(), std::slice::from_ref(&scene.instance));
        let reports = site.inject(order.clone());
        reports.wait_for(Active);
        recover(site.state.path(), true).unwrap();
        assert!(!scene.acts(&order.injections[0].id), "{}", scene.name);
        reports.wait_for(Reverted);
        assert!(holder(&order.run).is_none() && site.records().is_empty(), "{}", scene.name);
    }
}

/// All at once, for each would be waited for as long as all of them.
#[test]
fn a_stopped_fault_process_of_a_dead_command_line_is_killed_when_recovery_is_forced() {
    let (state, scenes) = (tempfile::tempdir().unwrap(), Scene::all());
    let mut orders = Vec::new();
    for scene in &scenes {
        let order = order(scene.fault.clone(), std::slice::from_ref(&scene.instance));
        let parent = Actor::parent(state.path(), &order);
        parent.wait_for_state(Active);
        let stopped = stop(holder(&order.run).unwrap());
        kill(parent.victim.process);
        orders.push((order, stopped));
    }
    let told = recover(state.path(), true).unwrap();
    assert_eq!(told.len(), scenes.len());
    assert!(told.iter().all(|report| report.state == Reverted), "{told:#?}");
    for (scene, (order, _)) in scenes.iter().zip(&orders) {
        assert!(!scene.acts(&order.injections[0].id) && holder(&order.run).is_none(), "{}", scene.name);
    }
    assert!(records(state.path()).is_empty());
}

#[test]
fn a_stopped_fault_process_that_does_not_answer_a_request_to_undo_is_killed_and_cleared_up_after() {
    let (site, scenes) = (Site::new(), Scene::all());
    let mut running = Vec::new();
    for scene in &scenes {
        let order = order(scene.fault.clone(), std::slice::from_ref(&scene.instance));
        let reports = site.inject(order.clone());
        reports.wait_for(Active);
        let stopped = stop(site.holder(&order.run));
        running.push((order, reports, stopped));
    }
    let asked = Instant::now();
    running.iter().for_each(|(order, ..)| site.revert(order));
    for (scene, (order, reports, _)) in scenes.iter().zip(&running) {
        reports.wait_for(Reverted);
        assert!(asked.elapsed() < Duration::from_secs(15), "{}: {:?}", scene.name, asked.elapsed());
        assert!(!scene.acts(&order.injections[0].id), "{}", scene.name);
    }
    eventually("nothing is left", || site.records().is_empty() && site.node.open().is_empty());
}

/// The kernel ends everything of ours alone, within the lease; recovery then finds what it has to tell.
#[test]
fn when_all_are_killed_at_once_the_kernel_ends_the_fault_and_recovery_tells_of_it() {
    for scene in Scene::all() {
        let state = tempfile::tempdir().unwrap();
        let mut order = order(scene.fault.clone(), std::slice::from_ref(&scene.instance));
        order.lease = Duration::from_secs(1);
        let id = order.injections[0].id.clone();
        let parent = Actor::parent(state.path(), &order);
        parent.wait_for_state(Active);
        let fault_process = holder(&order.run).unwrap();
        let holder_held = chaos_agent::sys::pidfd::PidFd::open(fault_process).unwrap();
        let parent_held = chaos_agent::sys::pidfd::PidFd::open(parent.victim.process).unwrap();
        holder_held.send_signal(9).unwrap();
        parent_held.send_signal(9).unwrap();
        let killed = Instant::now();
        eventually("the kernel has ended it", || !scene.acts(&id));
        let back = killed.elapsed();
        eprintln!("{}: back {} ms after everything was killed", scene.name, back.as_millis());
        // The last renewal was before; the measurement itself needs some attempts of the victim.
        assert!(back < order.lease + Duration::from_secs(5), "{}: {back:?}", scene.name);
        let told = recover(state.path(), false).unwrap();
        assert_eq!(told[0].state, Reverted, "{}: {told:?}", scene.name);
        assert!(records(state.path()).is_empty());
        assert!(!scene.acts(&id));
    }
}

#[test]
fn recovery_undoes_at_once_what_the_kernel_would_end_later() {
    if !super::scene::is_root() {
        return;
    }
    for scene in [super::scene::partition_of_a_namespace(), super::scene::partition_of_a_process()] {
        let state = tempfile::tempdir().unwrap();
        let order = order(scene.fault.clone(), std::slice::from_ref(&scene.instance));
        let parent = Actor::parent(state.path(), &order);
        parent.wait_for_state(Active);
        kill(holder(&order.run).unwrap());
        kill(parent.victim.process);
        eventually("both are gone", || holder(&order.run).is_none());
        for told in recover(state.path(), false).unwrap() {
            assert_eq!(told.state, Reverted, "{}: {told:?}", scene.name);
        }
        assert!(!scene.acts(&order.injections[0].id), "{}", scene.name);
    }
}

/// In a network of its own, so that no other test's rules are there.
#[test]
fn recovery_removes_rules_of_the_dead_that_have_no_record_once_they_are_inert_and_never_before() {
    if !super::scene::is_root() {
        return;
    }
    let state = tempfile::tempdir().unwrap();
    super::scene::Network::new().run(|| {
        let mut socket = NftSocket::open().unwrap();
        let partition = |name: &str, direction| {
            let name = InjectionName::new(name).unwrap();
            let (scope, peers, ports) = (Scope::Namespace, Vec::new(), Vec::new());
            Partition::new(PartitionSpec { name, direction, scope, peers, ports }).unwrap()
        };
        let mut dead = partition("dead-0", Direction::Both);
        let mut living = partition("living-0", Direction::In);
        let mut leave_dead = |socket: &mut NftSocket| {
            socket.install(&mut dead, Lease::new(Duration::from_millis(50)).unwrap()).unwrap();
            eventually("the kernel has ended it", || socket.live_marks(&dead).unwrap() == 0);
            assert!(socket.list_rules().unwrap().serve(&dead), "its rules are left");
        };
        socket.install(&mut living, Lease::new(LONG).unwrap()).unwrap();
        leave_dead(&mut socket);
        assert!(recover(state.path(), false).unwrap().is_empty());
        assert!(socket.read(&living.spec().name).unwrap().is_in_effect(), "what lives is left alone");
        assert_eq!(socket.remove_inert(None).unwrap(), 0, "what is dead is gone");
        socket.release(&mut living).unwrap();
        leave_dead(&mut socket);
        recover(state.path(), false).unwrap();
        assert_eq!(socket.remove_table_if_empty().unwrap(), TableRemoval::Absent, "nothing is left");
    });
}

/// Only its record leads into a network of the victim's own: what is there goes with the record, or never.
#[test]
fn rules_of_the_dead_in_a_network_of_the_victims_own_go_with_their_record_once_they_are_inert() {
    if !super::scene::is_root() {
        return;
    }
    let (scene, state) = (super::scene::partition_of_a_namespace(), tempfile::tempdir().unwrap());
    let namespace = std::fs::File::open(format!("/proc/{}/ns/net", scene.instance.process.pid)).unwrap();
    let mut socket = NftSocket::open_in(namespace.as_fd()).unwrap();
    let mut order = order(scene.fault.clone(), std::slice::from_ref(&scene.instance));
    order.lease = Duration::from_secs(2);
    let parent = Actor::parent(state.path(), &order);
    parent.wait_for_state(Active);
    let name = InjectionName::new(order.injections[0].id.0.clone()).unwrap();
    assert!(socket.read(&name).unwrap().is_in_effect());
    let fault_process = holder(&order.run).unwrap();
    // It must not see the end of its fault process.
    let _stopped = stop(parent.victim.process);
    kill(fault_process);
    kill(parent.victim.process);
    eventually("both are gone", || holder(&order.run).is_none());
    eventually("the kernel has ended it", || socket.read(&name).unwrap().elements.is_empty());
    assert_eq!(records(state.path()).len(), 1);
    assert_eq!(socket.remove_table_if_empty().unwrap(), TableRemoval::InUse, "its rules are left");
    let told = recover(state.path(), false).unwrap();
    assert_eq!(told[0].state, Reverted, "{told:?}");
    assert!(records(state.path()).is_empty());
    let left = socket.remove_table_if_empty().unwrap();
    assert_eq!(left, TableRemoval::Absent, "no rule, no set and no table of ours is left");
}

#[test]
fn a_damaged_record_is_reported_and_kept() {
    let state = tempfile::tempdir().unwrap();
    std::fs::create_dir(state.path().join("undo")).unwrap();
    std::fs::write(state.path().join("undo/run-0.json"), "{").unwrap();
    let told = recover(state.path(), false).unwrap();
    assert_eq!(told[0].state, RevertFailed);
    assert!(told[0].error.as_ref().unwrap().contains("run-0.damaged-0"), "{told:?}");
    assert_eq!(std::fs::read_to_string(state.path().join("undo/run-0.damaged-0")).unwrap(), "{");
    assert!(recover(state.path(), false).unwrap().is_empty());
}

/// Kills land before, between and after the steps of every fault; whatever the moment, one final report comes, the
/// victim is as it was, and no record is left.
#[test]
fn a_fault_process_may_be_killed_at_any_moment() {
    let site = Site::new();
    for scene in Scene::all() {
        for moment in 0..16 {
            let order = order(scene.fault.clone(), std::slice::from_ref(&scene.instance));
            let reports = site.inject(order.clone());
            // Not a wait for anything: the moment of the kill is what is varied.
            std::thread::sleep(Duration::from_micros(1500) * moment);
            kill(site.holder(&order.run));
            eventually(&format!("a final report, {} killed at moment {moment}", scene.name), || {
                reports.states().iter().any(|state| state.is_final())
            });
            let (all, id) = (reports.all(), &order.injections[0].id);
            let finals: Vec<_> = all.iter().filter(|report| report.state.is_final()).collect();
            let fine = [Reverted, ApplyFailed].contains(&finals[0].state) && finals.len() == 1;
            assert!(fine && !scene.acts(id), "{} at moment {moment}: {all:#?}", scene.name);
            eventually("no record is left", || site.records().is_empty());
        }
    }
}

//! What a partition cuts and what it spares.

use std::time::{Duration, Instant};

use chaos_core::run::InjectionState::{Active, ApplyFailed, Reverted};
use chaos_core::spec::FaultKind;

use super::actor::{Actor, command};
use super::scene::{Scene, is_root, partition_of_a_namespace, partition_of_a_process, reaches};
use super::support::*;

#[test]
fn no_connection_of_the_victim_succeeds_while_the_partition_is_held_over_renewals_of_the_kernel_lease() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let victim = Actor::start(command("connector", &to.to_string()));
    assert!(victim.connects(3));
    let mut order = order(default_fault(FaultKind::NetworkPartition), &[victim.victim.instance()]);
    // A third of a second for each renewal: several within the test.
    order.lease = Duration::from_secs(1);
    let reports = site.inject(order.clone());
    reports.wait_for(Active);
    let from = Instant::now();
    while from.elapsed() < Duration::from_millis(2500) {
        site.runtime.block_on(chaos_core::port::Node::renew(&site.node, &order.run));
        // Pacing of the renewals.
        std::thread::sleep(Duration::from_millis(100));
    }
    let to_moment = Instant::now();
    assert_eq!(victim.successes_between(from, to_moment), 0);
    site.revert(&order);
    reports.wait_for(Reverted);
    eventually("the victim connects again", || victim.connects(1));
}

#[test]
fn two_partitions_of_one_target_end_one_by_one() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    for scene in [partition_of_a_namespace(), partition_of_a_process()] {
        let one = || order(scene.fault.clone(), std::slice::from_ref(&scene.instance));
        let (first, second) = (one(), one());
        let first_reports = site.inject(first.clone());
        first_reports.wait_for(Active);
        let second_reports = site.inject(second.clone());
        second_reports.wait_for(Active);
        site.revert(&first);
        first_reports.wait_for(Reverted);
        assert!(scene.acts(&second.injections[0].id), "{}", scene.name);
        site.revert(&second);
        second_reports.wait_for(Reverted);
        assert!(!scene.acts(&second.injections[0].id), "{}", scene.name);
    }
}

#[test]
fn a_target_that_shares_a_socket_with_a_protected_process_is_refused() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    // The listener of this test, whose process is the parent of the fault process, is inherited by the victim.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap();
    let inherited = std::os::fd::OwnedFd::from(listener.try_clone().unwrap());
    let mut command = std::process::Command::new("sleep");
    let victim = Victim::from(command.arg("600").stdin(std::process::Stdio::from(inherited)));
    let fault = default_fault(FaultKind::NetworkPartition);
    let failed = site.inject(order(fault, &[victim.instance()])).wait_for(ApplyFailed);
    let error = failed.error.unwrap();
    assert!(error.contains(&format!("port {}", port.port())) && error.contains("cut off as well"), "{error}");
    assert!(reaches(port));
}

#[test]
fn the_processes_of_a_cut_off_instance_are_back_in_their_cgroup_afterwards() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let scene: Scene = partition_of_a_process();
    let cgroup = || chaos_agent::sys::proc::cgroups(scene.instance.process.pid).unwrap();
    let before = cgroup();
    let order = order(scene.fault.clone(), std::slice::from_ref(&scene.instance));
    let reports = site.inject(order.clone());
    reports.wait_for(Active);
    assert_ne!(cgroup(), before);
    site.revert(&order);
    reports.wait_for(Reverted);
    assert_eq!(cgroup(), before);
}

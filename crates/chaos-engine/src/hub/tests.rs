//! The hub with agents in memory.

mod agent;

use chaos_core::port::Owner;
use chaos_core::spec::{Fault, HostTarget, ProcessPause, Select};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use self::agent::{Agent, report};
use super::*;
use crate::SystemClock;

const LEASE: Duration = Duration::from_secs(15);

fn hub() -> Hub {
    let config = HubConfig { version: "0".into(), lease: LEASE, attach_within: Duration::from_secs(3) };
    let hub = Hub::new(config, Arc::new(SystemClock::default()));
    hub.settle(BTreeSet::new());
    hub
}

fn target(hosts: &[&str]) -> Target {
    Target {
        host: Some(HostTarget::App("app".into())),
        hosts: hosts.iter().map(|&name| name.into()).collect(),
        kubernetes: None,
        select: Select::All,
        seed: None,
    }
}

fn run() -> RunId {
    RunId("r".into())
}

fn order(instances: &[Instance]) -> InjectOrder {
    let plan = |(number, instance): (usize, &Instance)| InjectionPlan {
        id: InjectionId::of(&run(), number),
        fault: Fault::ProcessPause(ProcessPause {}),
        instance: instance.clone(),
        duration: Duration::from_secs(30),
    };
    let injections = instances.iter().enumerate().map(plan).collect();
    InjectOrder { run: run(), owner: Owner::Server, lease: LEASE, injections }
}

fn ids(count: usize) -> Vec<InjectionId> {
    (0..count).map(|number| InjectionId::of(&run(), number)).collect()
}

fn sink() -> (ReportSink, mpsc::UnboundedReceiver<InjectionReport>) {
    let (tell, told) = mpsc::unbounded_channel();
    (Arc::new(move |report| drop(tell.send(report))), told)
}

async fn states(
    told: &mut mpsc::UnboundedReceiver<InjectionReport>,
    count: usize,
) -> BTreeMap<InjectionId, Vec<InjectionState>> {
    let mut states: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for _ in 0..count {
        let report = timeout(Duration::from_secs(100), told.recv()).await.expect("a report").expect("a sink");
        states.entry(report.injection).or_default().push(report.state);
    }
    states
}

async fn all_instances(hub: &Hub) -> Vec<Instance> {
    hub.inventory(&target(&[])).await.expect("every host answers").instances
}

#[tokio::test(start_paused = true)]
async fn what_matches_is_looked_for_on_every_host_or_on_those_that_are_named() {
    let hub = hub();
    let (here, there) = (Agent::new("", Vec::new()), Agent::new("node-1", Vec::new()));
    let _connections = (here.connect(&hub).await, there.connect(&hub).await);
    let count = |hosts: &'static [&'static str]| {
        let hub = hub.clone();
        async move { hub.inventory(&target(hosts)).await.map(|found| found.instances.len()) }
    };
    assert_eq!(count(&[]).await, Ok(12));
    assert_eq!(count(&["node-1"]).await, Ok(6));
    assert_eq!(count(&["node-1", "node-1"]).await, Ok(6), "a name that stands twice is one host");
    assert_eq!(count(&["local"]).await, Ok(6));
    let unknown = count(&["node-2"]).await.expect_err("no such host");
    assert!(unknown.to_string().ends_with("no host \"node-2\"; known are local, node-1"), "{unknown}");
    let names: Vec<_> = hub.hosts().into_iter().map(|host| (host.name, host.connected)).collect();
    assert_eq!(names, [("local".to_owned(), true), ("node-1".to_owned(), true)]);
    assert_eq!(hub.connected(), 1, "this host is not counted");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_was_lost_is_missed_until_it_is_forgotten() {
    let hub = hub();
    let (here, there) = (Agent::new("", Vec::new()), Agent::new("node-1", Vec::new()));
    let _here = here.connect(&hub).await;
    let connection = there.connect(&hub).await;
    assert_eq!(connection.cut().await, Ended::Broken { host: "node-1".into() });
    let lost = hub.inventory(&target(&[])).await.expect_err("nobody knows what is there");
    assert!(matches!(&lost, NodeError::Unreachable { host, .. } if host == "node-1"), "{lost}");
    sleep(MISSED_FOR).await;
    assert_eq!(all_instances(&hub).await.len(), 6);
    assert!(hub.inventory(&target(&["node-1"])).await.is_err(), "it was asked for by name");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_holds_something_is_missed_for_ever() {
    let hub = hub();
    let (here, there) = (Agent::new("", Vec::new()), Agent::new("node-1", Vec::new()));
    let _here = here.connect(&hub).await;
    let connection = there.connect(&hub).await;
    let (reports, mut told) = sink();
    let chosen: Vec<_> =
        all_instances(&hub).await.into_iter().filter(|one| one.host == "node-1").take(1).collect();
    hub.inject(order(&chosen), reports).await.expect("taken");
    states(&mut told, 1).await;
    connection.cut().await;
    sleep(MISSED_FOR * 100).await;
    assert!(hub.inventory(&target(&[])).await.is_err());
    hub.release(&run()).await;
    assert!(hub.inventory(&target(&[])).await.is_ok(), "the run has given up on it");
}

#[tokio::test(start_paused = true)]
async fn an_order_goes_to_the_hosts_of_its_instances_and_fails_where_there_is_none() {
    let hub = hub();
    let agents = ["", "a", "b", "c"].map(|name| Agent::new(name, Vec::new()));
    let mut connections = Vec::new();
    for agent in &agents {
        connections.push(agent.connect(&hub).await);
    }
    let instances = all_instances(&hub).await;
    let mut chosen: Vec<_> = instances.into_iter().filter(|one| one.id.ends_with("/1")).collect();
    connections.pop().expect("the last").cut().await;
    chosen.push(Instance { host: "unknown".into(), ..chosen[0].clone() });
    let (reports, mut told) = sink();
    hub.inject(order(&chosen), reports).await.expect("taken");
    let states = states(&mut told, 5).await;
    let of = |number: usize| states[&InjectionId::of(&run(), number)].clone();
    for (number, instance) in chosen.iter().enumerate().take(3) {
        assert_eq!(of(number), [InjectionState::Active], "{}", instance.id);
    }
    assert_eq!(of(3), [InjectionState::ApplyFailed], "{} is not connected", chosen[3].id);
    assert_eq!(of(4), [InjectionState::ApplyFailed], "no host of that name");
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_finds_no_link_is_asked_for_when_there_is_one_again() {
    let hub = hub();
    let agent = Agent::new("node-1", Vec::new());
    let connection = agent.connect(&hub).await;
    let chosen = all_instances(&hub).await;
    let (reports, mut told) = sink();
    hub.inject(order(&chosen), reports).await.expect("taken");
    states(&mut told, 6).await;
    connection.cut().await;
    hub.revert(&run(), ids(6)).await;
    assert!(told.try_recv().is_err(), "nothing is known");
    let _again = agent.connect(&hub).await;
    let ends = states(&mut told, 6).await;
    assert!(ends.values().all(|states| *states == [InjectionState::Reverted]), "{ends:?}");
    assert_eq!(hub.hosts()[0].held, 0);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_read_is_disconnected_and_nobody_waits_for_it() {
    let hub = hub();
    let agent = Agent::new("node-1", Vec::new());
    let (ended, _open) = agent.connect_deaf(&hub).await;
    let deaf = hub.inventory(&target(&[])).await.expect_err("no answer");
    assert!(deaf.to_string().contains("not reached"), "{deaf}");
    assert_eq!(ended.await.expect("no panic"), Ended::Broken { host: "node-1".into() });
}

#[tokio::test(start_paused = true)]
async fn a_newer_connection_takes_the_place_of_the_one_before() {
    let hub = hub();
    let first = Agent::new("node-1", Vec::new());
    let before = first.connect(&hub).await;
    let second = Agent::started("node-1", "machine", 2, Vec::new());
    let _now = second.connect(&hub).await;
    assert_eq!(before.ended().await, Ended::Broken { host: "node-1".into() });
    assert_eq!(all_instances(&hub).await.len(), 6);
    let other = Agent::started("node-1", "another machine", 1, Vec::new());
    let refused = other.connect(&hub).await.ended().await;
    assert!(matches!(&refused, Ended::Refused { reason } if reason.contains("another agent")), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_server_before_ordered_is_taken_up_or_undone() {
    let before = hub();
    let agent = Agent::new("node-1", Vec::new());
    let connection = agent.connect(&before).await;
    let (reports, mut told) = sink();
    before.inject(order(&all_instances(&before).await), reports).await.expect("taken");
    states(&mut told, 6).await;
    connection.cut().await;
    let config = HubConfig { version: "0".into(), lease: LEASE, attach_within: LEASE };
    let hub = Hub::new(config, Arc::new(SystemClock::default()));
    let placed = ids(2).into_iter().map(|injection| Placed { injection, host: "node-1".into() }).collect();
    let (reports, mut told) = sink();
    let (held, _connection) = tokio::join!(
        async {
            let (run, taking) = (run(), hub.clone());
            taking.attach(&run, placed, reports).await
        },
        async {
            sleep(Duration::from_secs(1)).await;
            agent.connect(&hub).await
        }
    );
    assert_eq!(held, ids(2));
    assert_eq!(agent_open(&hub), 2);
    hub.settle(BTreeSet::new());
    hub.revert(&run(), ids(2)).await;
    let told = states(&mut told, 4).await;
    assert!(
        told.values().all(|states| *states == [InjectionState::Active, InjectionState::Reverted]),
        "{told:?}"
    );
}

fn agent_open(hub: &Hub) -> usize {
    hub.hosts().iter().map(|host| host.held).sum()
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_come_back_is_waited_for_a_bounded_time() {
    let config = HubConfig { version: "0".into(), lease: LEASE, attach_within: LEASE };
    let hub = Hub::new(config, Arc::new(SystemClock::default()));
    let (reports, mut told) = sink();
    let placed = vec![Placed { injection: ids(1).remove(0), host: "node-1".into() }];
    assert_eq!(hub.attach(&run(), placed, reports).await, []);
    hub.settle(BTreeSet::new());
    hub.revert(&run(), ids(1)).await;
    assert!(told.try_recv().is_err(), "nothing is known of it");
    let agent = Agent::started("node-1", "machine", 2, vec![report(&ids(1)[0], InjectionState::Reverted)]);
    let _connection = agent.connect(&hub).await;
    assert_eq!(states(&mut told, 1).await[&ids(1)[0]], [InjectionState::Reverted]);
}

#[tokio::test]
async fn six_thousand_targets_on_a_thousand_hosts_are_hit_and_undone() {
    let hub = hub();
    let mut connections = Vec::new();
    for number in 0..1000 {
        connections.push(Agent::new(&format!("node-{number}"), Vec::new()).connect(&hub).await);
    }
    let instances = all_instances(&hub).await;
    assert_eq!(instances.len(), 6000);
    let (reports, mut told) = sink();
    let begin = std::time::Instant::now();
    hub.inject(order(&instances), reports).await.expect("taken");
    states(&mut told, 6000).await;
    let injected = begin.elapsed();
    hub.renew(&run()).await;
    hub.revert(&run(), ids(6000)).await;
    states(&mut told, 6000).await;
    println!("6000 active after {injected:?}, undone after {:?} more", begin.elapsed() - injected);
    assert_eq!(agent_open(&hub), 0);
}

//! Both ends against each other, over links that break, lose, repeat and delay, with ends that are restarted.

mod world;

use std::collections::BTreeSet;

use proptest::prelude::*;

use self::world::{Op, World, ops};
use super::*;
use crate::port::{InjectOrder, InjectionPlan, NodeError, Owner};
use crate::run::RunId;
use crate::spec::{Fault, ProcessPause};
use crate::target::{Instance, ProcessRef};

pub(super) fn introduction(host: &str) -> Introduction {
    Introduction {
        protocol: PROTOCOL_VERSION,
        host: host.into(),
        node: "machine".into(),
        version: "0".into(),
        examination: Examination::default(),
        limits: StatedLimits::default(),
    }
}

fn run() -> RunId {
    RunId("r".into())
}

fn id(number: usize) -> InjectionId {
    InjectionId::of(&run(), number)
}

fn order(numbers: impl IntoIterator<Item = usize>) -> InjectOrder {
    let process = ProcessRef { pid: 7, start_time: 1 };
    let plan = |number| InjectionPlan {
        id: id(number),
        fault: Fault::ProcessPause(ProcessPause {}),
        instance: Instance {
            id: format!("app/{number}"),
            host: String::new(),
            process,
            processes: vec![process],
            command: "app".into(),
            ready: true,
            managed: true,
            ports: Vec::new(),
            network_namespace: 1,
            shares_host_network: true,
            own_cgroup: None,
        },
        duration: std::time::Duration::from_secs(30),
    };
    InjectOrder {
        run: run(),
        owner: Owner::Server,
        lease: std::time::Duration::from_secs(15),
        injections: numbers.into_iter().map(plan).collect(),
    }
}

fn report(number: usize, state: InjectionState) -> InjectionReport {
    conclusion(&id(number), state, Evidence::new("test", state.to_string()), None)
}

/// The `connection`-th connection of the first agent process.
fn nth(connection: u64) -> Epoch {
    Epoch { incarnation: 1, connection }
}

fn hello_of(agent: &mut AgentEnd) -> Hello {
    match agent.connect().1.as_slice() {
        [AgentOutput::Send(AgentFrame::Hello(hello))] => (**hello).clone(),
        other => panic!("{other:?}"),
    }
}

/// A server and an agent that are connected for the first time.
fn pair() -> (ServerEnd, AgentEnd) {
    let (mut server, mut agent) =
        (ServerEnd::new("node-1", "0", 15_000), AgentEnd::new(introduction("node-1"), 1, Vec::new()));
    server.settle(BTreeSet::new());
    let hello = hello_of(&mut agent);
    for output in server.connected(&hello).expect("taken") {
        let ServerOutput::Send(frame) = output else { panic!("{output:?}") };
        agent.frame(nth(1), frame);
    }
    (server, agent)
}

fn sent(outputs: Vec<ServerOutput>) -> Vec<ServerFrame> {
    let frame = |output| match output {
        ServerOutput::Send(frame) => Some(frame),
        _ => None,
    };
    outputs.into_iter().filter_map(frame).collect()
}

fn told(outputs: &[ServerOutput]) -> Vec<(InjectionId, InjectionState)> {
    let report = |output: &ServerOutput| match output {
        ServerOutput::Report(report) => Some((report.injection.clone(), report.state)),
        _ => None,
    };
    outputs.iter().filter_map(report).collect()
}

#[test]
fn an_order_without_a_connection_is_told_as_not_applied() {
    let mut server = ServerEnd::new("node-1", "0", 15_000);
    assert_eq!(told(&server.order(order([0]))), [(id(0), InjectionState::ApplyFailed)]);
    assert_eq!(server.open(), 0);
}

#[test]
fn an_order_that_a_break_swallowed_was_never_begun() {
    let (mut server, mut agent) = pair();
    assert_eq!(sent(server.order(order([0, 1]))).len(), 1);
    server.revert(&run(), &[id(1)]);
    server.disconnected(nth(1));
    let hello = hello_of(&mut agent);
    let outputs = server.connected(&hello).expect("taken");
    assert_eq!(told(&outputs), [(id(0), InjectionState::ApplyFailed), (id(1), InjectionState::Reverted)]);
}

#[test]
fn an_agent_that_was_restarted_and_names_nothing_has_undone_it() {
    let (mut server, _) = pair();
    server.order(order([0]));
    let hello = hello_of(&mut AgentEnd::new(introduction("node-1"), 2, Vec::new()));
    let outputs = server.connected(&hello).expect("taken");
    assert_eq!(told(&outputs), [(id(0), InjectionState::Reverted)]);
}

#[test]
fn another_machine_of_the_same_name_is_not_taken_while_the_first_may_hold_something() {
    let (mut server, mut agent) = pair();
    let other = Introduction { node: "other".into(), ..introduction("node-1") };
    let mut other = AgentEnd::new(other, 1, Vec::new());
    let hello = hello_of(&mut other);
    let refused = server.connected(&hello).expect_err("the name is taken");
    assert_eq!(refused.to_string(), "another agent has the name \"node-1\", and is connected");
    server.order(order([0]));
    server.disconnected(nth(1));
    let refused = server.connected(&hello).expect_err("the name is taken");
    assert_eq!(refused.to_string(), "another agent has the name \"node-1\", and holds 1 injections");
    let outputs = server.connected(&hello_of(&mut agent)).expect("the first may come back");
    assert_eq!(told(&outputs), [(id(0), InjectionState::ApplyFailed)]);
    server.disconnected(nth(2));
    assert!(server.connected(&hello).is_ok(), "nothing is open any more");
}

#[test]
fn an_undo_that_overtakes_its_order_keeps_it_from_being_applied() {
    let (mut server, mut agent) = pair();
    let inject = sent(server.order(order([0])));
    let revert = sent(server.revert(&run(), &[id(0)]));
    for frame in revert {
        let outputs = agent.frame(nth(1), frame);
        assert!(matches!(outputs.as_slice(), [AgentOutput::Send(AgentFrame::Report(_))]), "{outputs:?}");
    }
    for frame in inject {
        assert_eq!(agent.frame(nth(1), frame), []);
    }
}

#[test]
fn an_undo_that_comes_while_the_node_takes_the_order_follows_it() {
    let (mut server, mut agent) = pair();
    let frames = sent(server.order(order([0]))).into_iter().chain(sent(server.revert(&run(), &[id(0)])));
    let outputs: Vec<_> = frames.flat_map(|frame| agent.frame(nth(1), frame)).collect();
    assert!(matches!(outputs.as_slice(), [AgentOutput::Inject(_)]), "{outputs:?}");
    let outputs = agent.handed_over(&run(), &[id(0)], &Ok(()));
    assert!(matches!(outputs.as_slice(), [AgentOutput::Revert { .. }]), "{outputs:?}");
}

#[test]
fn orders_of_one_run_are_handed_over_one_after_the_other() {
    let (mut server, mut agent) = pair();
    let mut frames = sent(server.order(order(0..ORDER_CHUNK + 1)));
    frames.extend(sent(server.order(order([1000]))));
    assert_eq!(frames.len(), 3);
    let outputs: Vec<_> = frames.into_iter().flat_map(|frame| agent.frame(nth(1), frame)).collect();
    let [AgentOutput::Inject(first)] = outputs.as_slice() else { panic!("{outputs:?}") };
    let ids: Vec<_> = first.injections.iter().map(|plan| plan.id.clone()).collect();
    let outputs = agent.handed_over(&run(), &ids, &Ok(()));
    let [AgentOutput::Inject(second)] = outputs.as_slice() else { panic!("{outputs:?}") };
    let ids: Vec<_> = second.injections.iter().map(|plan| plan.id.clone()).collect();
    assert_eq!(ids, [id(ORDER_CHUNK), id(1000)]);
    assert_eq!(agent.handed_over(&run(), &ids, &Ok(())), []);
}

#[test]
fn an_end_is_told_again_until_exactly_that_was_heard() {
    let (mut server, mut agent) = pair();
    for frame in sent(server.order(order([0]))) {
        agent.frame(nth(1), frame);
    }
    agent.handed_over(&run(), &[id(0)], &Ok(()));
    agent.reported(report(0, InjectionState::RevertFailed));
    let failed = Heard { injection: id(0), sequence: 1 };
    agent.reported(report(0, InjectionState::Reverted));
    agent.frame(nth(1), ServerFrame::Heard { reports: vec![failed] });
    assert_eq!(agent.unheard(), 1, "an older report was heard, not the end");
    let hello = hello_of(&mut agent);
    assert_eq!(hello.injections.len(), 1);
    let outputs = server.connected(&hello).expect("taken");
    assert_eq!(told(&outputs), []);
    assert!(sent(outputs.clone()).contains(&ServerFrame::Renew { runs: vec![run()] }), "the lease goes on");
    let frames: Vec<_> = sent(outputs).into_iter().flat_map(|frame| agent.frame(nth(2), frame)).collect();
    let [AgentOutput::Welcome { .. }, AgentOutput::Send(again)] = frames.as_slice() else {
        panic!("{frames:?}")
    };
    let outputs = server.frame(nth(2), again.clone());
    assert_eq!(told(&outputs), [(id(0), InjectionState::Reverted)]);
    assert_eq!(told(&server.frame(nth(2), again.clone())), [], "an end is told once");
    for frame in sent(outputs) {
        agent.frame(nth(2), frame);
    }
    assert_eq!(agent.unheard(), 0);
    assert_eq!(hello_of(&mut agent).injections, []);
}

#[test]
fn what_nobody_here_ordered_is_undone_once_every_run_was_taken_up() {
    let (mut before, mut agent) = pair();
    for frame in sent(before.order(order([0, 1]))) {
        agent.frame(nth(1), frame);
    }
    agent.handed_over(&run(), &[id(0), id(1)], &Ok(()));
    agent.reported(report(0, InjectionState::Active));
    let mut server = ServerEnd::new("node-1", "0", 15_000);
    let outputs = server.connected(&hello_of(&mut agent)).expect("taken");
    assert_eq!(sent(outputs).len(), 1, "nothing but the welcome");
    assert_eq!(told(&server.attach(&run(), &[id(0), id(5)])), [(id(5), InjectionState::Reverted)]);
    assert_eq!(server.held(&run()), [id(0)]);
    assert_eq!(
        sent(server.settle(BTreeSet::new())),
        [ServerFrame::Revert { run: run(), injections: vec![id(1)] }],
        "one was taken up, the other was not"
    );
}

#[test]
fn a_run_that_is_still_to_be_taken_up_is_left_alone_until_then() {
    let (mut before, mut agent) = pair();
    for frame in sent(before.order(order([0, 1]))) {
        agent.frame(nth(1), frame);
    }
    agent.handed_over(&run(), &[id(0), id(1)], &Ok(()));
    let mut server = ServerEnd::new("node-1", "0", 15_000);
    server.settle(BTreeSet::from([run()]));
    let outputs = server.connected(&hello_of(&mut agent)).expect("taken");
    assert_eq!(sent(outputs).len(), 1, "nothing but the welcome");
    assert_eq!(sent(server.attach(&run(), &[id(0)])), [ServerFrame::Renew { runs: vec![run()] }]);
    assert_eq!(sent(server.claimed(&run())), [ServerFrame::Revert { run: run(), injections: vec![id(1)] }]);
    assert_eq!(server.claimed(&run()), [], "once");
}

#[test]
fn a_request_is_answered_once_and_fails_with_the_link() {
    let (mut server, mut agent) = pair();
    let (first, outputs) = server.request(Request::Prepare(run()));
    let frame = sent(outputs).remove(0);
    let asked = agent.frame(nth(1), frame.clone());
    assert!(matches!(asked.as_slice(), [AgentOutput::Ask { .. }]));
    assert_eq!(agent.frame(nth(1), frame), [], "a repeated request is not done twice");
    let (second, _) = server.request(Request::Release(run()));
    let answer = Ok(Answer::Done);
    let Some(AgentOutput::Send(frame)) = agent.answered(nth(1), first, answer.clone()) else { panic!() };
    assert_eq!(server.frame(nth(1), frame.clone()), [ServerOutput::Answer { request: first, answer }]);
    assert_eq!(server.frame(nth(1), frame), []);
    let lost = server.disconnected(nth(1));
    let [ServerOutput::Answer { request, answer: Err(NodeError::Unreachable { .. }) }] = lost.as_slice()
    else {
        panic!("{lost:?}")
    };
    assert_eq!(*request, second);
    assert_eq!(agent.answered(nth(0), second, Ok(Answer::Done)), None, "of an earlier connection");
}

#[test]
fn an_agent_that_ends_takes_no_orders_and_undoes_everything() {
    let (mut server, mut agent) = pair();
    for frame in sent(server.order(order([0]))) {
        agent.frame(nth(1), frame);
    }
    agent.handed_over(&run(), &[id(0)], &Ok(()));
    let outputs = agent.end_everything();
    assert_eq!(outputs, [AgentOutput::Revert { run: run(), injections: vec![id(0)] }]);
    let refused: Vec<_> =
        sent(server.order(order([1]))).into_iter().flat_map(|frame| agent.frame(nth(1), frame)).collect();
    let [AgentOutput::Send(AgentFrame::Report(refused))] = refused.as_slice() else { panic!("{refused:?}") };
    assert_eq!(refused.report.state, InjectionState::ApplyFailed);
    agent.reported(report(0, InjectionState::Reverted));
    assert_eq!(agent.open(), 0);
    assert!(agent.farewell().is_some());
}

#[test]
fn frames_that_say_the_same_of_more_are_joined() {
    let mut renew = ServerFrame::Renew { runs: vec![run()] };
    let other = ServerFrame::Renew { runs: vec![run(), RunId("s".into())] };
    assert_eq!(renew.join(other), None);
    assert_eq!(renew, ServerFrame::Renew { runs: vec![run(), RunId("s".into())] });
    let heard = ServerFrame::Heard { reports: Vec::new() };
    assert_eq!(renew.join(heard.clone()), Some(heard));
}

#[test]
fn a_hello_that_was_under_way_for_long_is_not_taken_for_a_new_one() {
    let (mut server, mut agent) = pair();
    let old = hello_of(&mut agent);
    let new = hello_of(&mut agent);
    server.connected(&new).expect("taken");
    assert_eq!(server.connected(&old), Err(Refusal::Superseded));
    let hello = hello_of(&mut AgentEnd::new(introduction("node-1"), 2, Vec::new()));
    server.connected(&hello).expect("taken");
    assert_eq!(server.connected(&hello_of(&mut agent)), Err(Refusal::Superseded), "of a process before");
}

proptest! {
    #[test]
    fn the_promises_hold_over_any_link(script in prop::collection::vec(ops(), 0..120)) {
        let mut world = World::new();
        for op in &script {
            world.act(*op);
        }
        world.settle_everything();
        world.check_ends();
    }
}

#[test]
fn a_repeated_order_that_comes_after_its_undo_is_not_applied() {
    let mut world = World::new();
    for op in
        [Op::Order, Op::Repeat(0), Op::ToAgent(0), Op::Node(0), Op::Revert(0), Op::ToAgent(1), Op::Node(0)]
    {
        world.act(op);
    }
    world.settle_everything();
    world.check_ends();
}

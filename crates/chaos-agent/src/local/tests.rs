//! The node on a scripted machine: its fault processes are tasks that run the session that ships.

mod scripted_machine;

use chaos_core::run::InjectionState::{Active, RevertFailed, Reverted, TargetGone};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::timeout;

use self::scripted_machine::{ALONE, IMMORTAL, SUPERVISED, ScriptedMachine};
use super::*;
use crate::holder::world::World;
use crate::scripted::{HOLDER, NODE, Script, instance, order};
use crate::undo::{UndoData, UndoRecord};

/// Most time that anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than any pause between two attempts to undo.
const PAUSE: Duration = Duration::from_secs(5);

/// A node and its machine, on a runtime with one thread.
struct Stage {
    node: LocalNode,
    machine: Arc<ScriptedMachine>,
}

/// Who hears of injections.
struct Ear {
    sink: ReportSink,
    heard: mpsc::UnboundedReceiver<InjectionReport>,
}

impl Ear {
    fn new() -> Self {
        let (tell, heard) = mpsc::unbounded_channel();
        Self { sink: Arc::new(move |report| drop(tell.send(report))), heard }
    }

    async fn wait_for(&mut self, state: InjectionState) -> InjectionReport {
        loop {
            let report = timeout(PATIENCE, self.heard.recv()).await.expect("a report in time").unwrap();
            if report.state == state {
                return report;
            }
            assert!(!report.state.is_final(), "not {state} but {report:?}");
        }
    }

    /// What was heard and not waited for, once everything has come to rest.
    async fn rest(&mut self) -> Vec<InjectionReport> {
        for _ in 0..100 {
            yield_now().await;
        }
        std::iter::from_fn(|| self.heard.try_recv().ok()).collect()
    }
}

impl Stage {
    fn new(limits: Limits) -> Self {
        let machine = Arc::new(ScriptedMachine::new());
        (0..2).for_each(|number| machine.host.start(instance(number).process));
        let config = LocalConfig { limits, ..LocalConfig::new("/state") };
        Self { node: LocalNode::on(Arc::clone(&machine) as Arc<dyn Machine>, config), machine }
    }

    /// An order whose injections are proven active, and who hears of them.
    async fn active(&self, order: &InjectOrder) -> Ear {
        let mut ear = Ear::new();
        self.node.inject(order.clone(), Arc::clone(&ear.sink)).await.unwrap();
        for _ in &order.injections {
            ear.wait_for(Active).await;
        }
        ear
    }

    async fn revert(&self, order: &InjectOrder) {
        self.node.revert(&order.run, ids(order)).await;
    }

    async fn attach(&self, order: &InjectOrder) -> (Ear, Vec<InjectionId>) {
        let ear = Ear::new();
        let placed = ids(order).into_iter().map(|injection| Placed { injection, host: String::new() });
        let held = self.node.attach(&order.run, placed.collect(), Arc::clone(&ear.sink)).await;
        (ear, held)
    }
}

fn ids(order: &InjectOrder) -> Vec<InjectionId> {
    order.injections.iter().map(|plan| plan.id.clone()).collect()
}

/// An order for two targets, as two orders.
fn order_in_parts() -> [InjectOrder; 2] {
    let both = order(2);
    [0, 1].map(|number| InjectOrder { injections: vec![both.injections[number].clone()], ..both.clone() })
}

/// Runs a test on one thread.
fn play(limits: Limits, test: impl AsyncFnOnce(Stage)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { test(Stage::new(limits)).await });
}

#[test]
fn the_node_says_what_it_holds_and_in_which_state() {
    play(Limits::default(), async |stage: Stage| {
        let order = order(2);
        let mut ear = stage.active(&order).await;
        let of = |number: usize, state| (order.run.clone(), ids(&order)[number].clone(), state);
        assert_eq!(stage.node.open(), [of(0, Active), of(1, Active)]);
        stage.node.revert(&order.run, vec![ids(&order)[0].clone()]).await;
        ear.wait_for(Reverted).await;
        assert_eq!(stage.node.open(), [of(1, Active)]);
        stage.revert(&order).await;
        ear.wait_for(Reverted).await;
        assert_eq!(stage.node.open(), []);
    });
}

#[test]
fn a_killed_fault_process_is_cleared_up_after_from_its_record() {
    play(Limits::default(), async |stage: Stage| {
        let order = order(1);
        let mut ear = stage.active(&order).await;
        stage.machine.kill(0);
        assert!(ear.wait_for(Reverted).await.error.unwrap().contains("before its time"));
        assert!(stage.machine.host.record(&ids(&order)[0]).is_none());
        assert_eq!(stage.node.open(), []);
    });
}

#[test]
fn a_fault_process_that_stands_still_and_is_asked_to_undo_is_killed_and_cleared_up_after() {
    play(Limits::default(), async |stage: Stage| {
        tokio::time::pause();
        let order = order(1);
        let mut ear = stage.active(&order).await;
        stage.machine.running.send_replace(false);
        let asked = tokio::time::Instant::now();
        let asking = async {
            // Who asks again does not begin anew.
            loop {
                stage.revert(&order).await;
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        };
        let told = tokio::select! {
            biased;
            told = ear.wait_for(Reverted) => told,
            () = asking => unreachable!(),
        };
        assert!(told.error.unwrap().contains("before its time"));
        assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
        assert_eq!((stage.machine.host.record(&ids(&order)[0]), stage.node.open()), (None, vec![]));
    });
}

#[test]
fn a_fault_process_that_reads_no_commands_is_killed_when_it_does_not_hear_its_signal_either() {
    play(Limits::default(), async |stage: Stage| {
        tokio::time::pause();
        let order = order(1);
        let mut ear = stage.active(&order).await;
        stage.machine.running.send_replace(false);
        for _ in 0..2000 {
            stage.node.renew(&order.run).await;
        }
        assert!(ear.wait_for(Reverted).await.error.unwrap().contains("before its time"));
    });
}

#[test]
fn a_fault_process_that_has_answered_may_be_silent_as_long_as_its_other_faults_last() {
    play(Limits::default(), async |stage: Stage| {
        tokio::time::pause();
        let order = order(2);
        let mut ear = stage.active(&order).await;
        for _ in 0..2 {
            stage.node.revert(&order.run, vec![ids(&order)[0].clone()]).await;
            ear.rest().await;
        }
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(stage.node.open(), [(order.run.clone(), ids(&order)[1].clone(), Active)]);
    });
}

#[test]
fn an_undo_that_failed_is_tried_again_when_it_is_asked_for_and_a_proven_one_never() {
    play(Limits::default(), async |stage: Stage| {
        let (order, host) = (order(1), &stage.machine.host);
        let id = &ids(&order)[0];
        // Nine times in the fault process, once more from the record.
        host.script(id, Script { undo_fails: 10, ..Script::default() });
        let mut ear = stage.active(&order).await;
        stage.revert(&order).await;
        while stage.node.open() != [(order.run.clone(), id.clone(), RevertFailed)] {
            stage.machine.pass(PAUSE);
            yield_now().await;
        }
        ear.wait_for(RevertFailed).await;
        stage.revert(&order).await;
        ear.wait_for(RevertFailed).await;
        assert!(host.record(id).is_some() && host.acts(id));
        stage.revert(&order).await;
        stage.revert(&order).await;
        let reverted = ear.wait_for(Reverted).await;
        assert!(reverted.error.is_none() && !reverted.evidence.is_empty(), "{reverted:?}");
        assert!(host.record(id).is_none() && !host.acts(id));
        host.done();
        stage.revert(&order).await;
        assert_eq!(ear.rest().await, []);
        assert_eq!((host.done(), stage.node.open()), (vec![], vec![]));
    });
}

#[test]
fn an_undo_that_failed_and_was_done_by_another_hand_is_told_as_undone() {
    play(Limits::default(), async |stage: Stage| {
        let (order, host) = (order(1), &stage.machine.host);
        host.script(&ids(&order)[0], Script { undo_fails: 9, ..Script::default() });
        let mut ear = stage.active(&order).await;
        stage.revert(&order).await;
        while stage.node.open()[0].2 != RevertFailed {
            stage.machine.pass(PAUSE);
            yield_now().await;
        }
        ear.wait_for(RevertFailed).await;
        ear.rest().await;
        stage.machine.pass(PAUSE);
        sweep::recover_on(host, true).unwrap();
        stage.revert(&order).await;
        ear.wait_for(Reverted).await;
    });
}

#[test]
fn who_takes_up_a_run_hears_of_it_instead_of_whoever_did_before() {
    play(Limits::default(), async |stage: Stage| {
        let order = order(1);
        let mut former = stage.active(&order).await;
        let (mut ear, held) = stage.attach(&order).await;
        assert_eq!(held, ids(&order));
        stage.revert(&order).await;
        ear.wait_for(Reverted).await;
        assert_eq!(former.rest().await, []);
    });
}

#[test]
fn who_takes_up_a_run_is_told_the_ends_that_it_missed() {
    play(Limits::default(), async |stage: Stage| {
        let order = order(1);
        let mut former = stage.active(&order).await;
        stage.revert(&order).await;
        let end = former.wait_for(Reverted).await;
        let (mut ear, held) = stage.attach(&order).await;
        assert_eq!(held, []);
        assert_eq!(ear.rest().await, [end]);
    });
}

#[test]
fn what_another_process_ordered_is_ended_and_told_and_what_nobody_knows_was_never_applied() {
    play(Limits::default(), async |stage: Stage| {
        let (order, host) = (order(2), &stage.machine.host);
        let plan = &order.injections[0];
        host.keep(UndoRecord::new(&order.run, plan, order.owner, HOLDER, UndoData::Nothing, 0));
        let (mut ear, held) = stage.attach(&order).await;
        assert_eq!(held, []);
        let ends = [ear.wait_for(Reverted).await, ear.wait_for(Reverted).await];
        assert_eq!(host.done(), ["end 200", "undo run-0", "remove run-0"]);
        assert_eq!(ends[1].evidence[0].observed, "none: never applied, or proven undone");
        assert_eq!(stage.node.open(), []);
    });
}

#[test]
fn what_the_fault_process_of_another_process_is_still_undoing_is_left_to_it_however_often_it_is_asked_for() {
    play(Limits::default(), async |stage: Stage| {
        let (order, host) = (order(1), &stage.machine.host);
        let plan = &order.injections[0];
        host.keep(UndoRecord::new(&order.run, plan, order.owner, HOLDER, UndoData::Nothing, 0));
        host.make_stubborn();
        let (mut ear, _) = stage.attach(&order).await;
        for _ in 0..2 {
            let told = ear.wait_for(RevertFailed).await.error.unwrap();
            assert!(told.contains("has not ended yet"), "{told}");
            stage.revert(&order).await;
        }
        ear.wait_for(RevertFailed).await;
        assert_eq!(host.done(), ["end 200"; 3]);
        host.end(HOLDER);
        let (mut ear, _) = stage.attach(&order).await;
        ear.wait_for(Reverted).await;
        assert_eq!((host.record(&plan.id), stage.node.open()), (None, vec![]));
    });
}

#[test]
fn an_order_that_follows_the_end_of_the_one_before_keeps_its_fault_process() {
    play(Limits::default(), async |stage: Stage| {
        let [first, second] = order_in_parts();
        stage.machine.ends_are_seen.send_replace(false);
        let mut ear = stage.active(&first).await;
        stage.revert(&first).await;
        ear.wait_for(Reverted).await;
        ear.rest().await;
        let mut ear = stage.active(&second).await;
        assert_eq!(stage.machine.holders().len(), 2);
        // Only now the node sees that the first fault process has ended.
        stage.machine.ends_are_seen.send_replace(true);
        ear.rest().await;
        stage.revert(&second).await;
        ear.wait_for(Reverted).await;
    });
}

#[test]
fn two_orders_of_one_run_at_the_same_time_have_one_fault_process() {
    play(Limits::default(), async |stage: Stage| {
        let (both, [first, second]) = (order(2), order_in_parts());
        let (mut one, mut other) = tokio::join!(stage.active(&first), stage.active(&second));
        stage.node.release(&both.run).await;
        one.rest().await;
        let running = |(process, _): &(ProcessRef, _)| stage.machine.host.is_running(*process);
        assert_eq!(stage.machine.holders().iter().filter(|holder| running(holder)).count(), 1);
        stage.revert(&both).await;
        one.wait_for(Reverted).await;
        other.wait_for(Reverted).await;
    });
}

#[test]
fn only_the_apps_of_the_configuration_are_hit_whatever_an_order_calls_them() {
    let limits = Limits { apps: Some(vec!["app".into(), "other".into()]), ..Limits::default() };
    play(limits, async |stage: Stage| {
        stage.active(&order(1)).await;
        let refused = stage.node.inject(order(2), Ear::new().sink).await.unwrap_err().to_string();
        assert!(refused.ends_with("process 1001 of app/1001 is of no app that may be hit here (app, other)"));
        let mut gone = order(1);
        gone.injections[0].id = InjectionId("run-9".into());
        gone.injections[0].instance.process.pid = 9999;
        gone.injections[0].instance.processes.clear();
        let mut ear = Ear::new();
        stage.node.inject(gone, Arc::clone(&ear.sink)).await.unwrap();
        ear.wait_for(TargetGone).await;
    });
}

#[test]
fn only_the_commands_of_the_configuration_are_run() {
    let commands = [("restart-db".to_owned(), vec!["systemctl".to_owned(), "restart".to_owned()])].into();
    play(Limits { commands, ..Limits::default() }, async |stage: Stage| {
        assert_eq!(stage.node.run_command("restart-db").await.unwrap(), "systemctl restart");
        let refused = stage.node.run_command("rm").await.unwrap_err().to_string();
        assert!(refused.contains("\"rm\"") && refused.contains("restart-db"), "{refused}");
        let action = |name: &str| NodeAction::Command { host: String::new(), name: name.to_owned() };
        assert_eq!(stage.node.act(&action("restart-db")).await.unwrap()[0].observed, "systemctl restart");
        assert!(stage.node.act(&action("rm")).await.is_err());
    });
}

#[test]
fn only_what_somebody_starts_again_and_nobody_protects_is_restarted() {
    play(Limits::default(), async |stage: Stage| {
        let restart = async |instance: &Instance| {
            stage.node.act(&NodeAction::Restart(Box::new(instance.clone()))).await.map_err(|e| e.to_string())
        };
        [ALONE, SUPERVISED].iter().for_each(|number| stage.machine.host.start(instance(*number).process));
        assert!(instance(ALONE).managed, "the order says so, the node does not see it");
        assert!(restart(&instance(ALONE)).await.unwrap_err().contains("nobody would start"));
        assert!(stage.machine.host.is_running(instance(ALONE).process));
        assert_eq!(restart(&instance(SUPERVISED)).await.unwrap()[0].observed, "it has ended");
        let mut protected = instance(0);
        protected.process = NODE;
        assert!(restart(&protected).await.unwrap_err().contains("it is ours"));
        assert!(stage.machine.host.is_running(instance(0).process));
        assert_eq!(restart(&instance(0)).await.unwrap()[0].observed, "it has ended");
        assert_eq!(restart(&instance(0)).await.unwrap()[0].observed, "it has ended already");
    });
}

#[test]
fn where_nothing_may_be_killed_nothing_is_restarted() {
    play(Limits { faults: vec![FaultKind::ProcessPause], ..Limits::default() }, async |stage: Stage| {
        let restart = NodeAction::Restart(Box::new(instance(0)));
        let refused = stage.node.act(&restart).await.unwrap_err();
        assert!(
            matches!(&refused, NodeError::Refused { reason } if reason.contains("pod_kill")),
            "{refused}"
        );
        assert!(stage.machine.host.is_running(instance(0).process));
    });
}

#[test]
fn what_was_tried_and_failed_is_not_told_as_a_refusal() {
    let commands = [("flush".to_owned(), vec!["false".to_owned()])].into();
    play(Limits { commands, ..Limits::default() }, async |stage: Stage| {
        let flush = NodeAction::Command { host: String::new(), name: "flush".to_owned() };
        let restart = NodeAction::Restart(Box::new(instance(IMMORTAL)));
        stage.machine.host.start(instance(IMMORTAL).process);
        for (action, reason) in [
            (flush, "command flush: false ended with exit code 1"),
            (restart, "ending app/1007: not proven: it still runs"),
        ] {
            let failed = stage.node.act(&action).await.unwrap_err();
            assert_eq!(failed, NodeError::Failed { reason: reason.to_owned() });
            assert_eq!(failed.to_string(), format!("the node tried and failed: {reason}"));
        }
        let rm = NodeAction::Command { host: String::new(), name: "rm".to_owned() };
        assert!(matches!(stage.node.act(&rm).await, Err(NodeError::Refused { .. })));
    });
}

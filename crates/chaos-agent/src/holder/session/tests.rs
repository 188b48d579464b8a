//! The session in a scripted world: no process, no file, no socket, and a clock that only a test moves.

use chaos_core::port::InjectOrder;
use chaos_core::run::InjectionId;
use chaos_core::run::InjectionState::{
    self, Active, ApplyFailed, Applying, RevertFailed, Reverted, Reverting, TargetGone,
};

use super::*;
use crate::holder::wire::Revert;
use crate::scripted::{LEASE, NODE, Script, ScriptedHost, more_data, order};

/// A session, the host it works on, and what it has said.
struct Play {
    host: ScriptedHost,
    session: Session<ScriptedHost>,
    reports: Vec<InjectionReport>,
    lines: Lines,
}

impl Play {
    /// A session that works for the owner of an order, with the targets of that order running.
    fn new(order: &InjectOrder) -> Self {
        let host = ScriptedHost::new();
        for plan in &order.injections {
            host.start(plan.instance.process);
        }
        let session = Session::new(host.clone());
        let mut play = Self { host, session, reports: Vec::new(), lines: Lines::default() };
        play.tell(&Command::Begin(Begin {
            run: order.run.clone(),
            owner: order.owner,
            lease: order.lease,
            state: "/state".into(),
            parent: NODE,
            registered: vec![NODE],
        }));
        play
    }

    fn tell(&mut self, command: &Command) {
        self.session.receive(&wire::line(command).unwrap());
    }

    fn inject(&mut self, order: &InjectOrder) {
        for plan in order.injections.clone() {
            self.tell(&Command::Inject(Inject { plan, ordered_at: Duration::ZERO }));
        }
    }

    fn revert(&mut self, injections: &[&InjectionId]) {
        let injections = injections.iter().map(|id| (*id).clone()).collect();
        self.tell(&Command::Revert(Revert { injections, requested_at: Duration::ZERO }));
    }

    /// One step, and what it says is heard of, but not answered.
    fn step(&mut self) {
        self.session.step();
        let said = self.session.output().to_vec();
        self.session.written(said.len());
        for line in self.lines.push(&said).unwrap() {
            self.reports.push(serde_json::from_slice(&line).unwrap());
        }
    }

    /// Steps until nothing is due.
    fn settle(&mut self) {
        self.step();
        while self.session.wake_at().is_some_and(|wake| wake <= self.host.now()) {
            self.step();
        }
    }

    /// Time passes, with a step whenever one is due.
    fn pass(&mut self, time: Duration) {
        let until = self.host.now() + time;
        self.settle();
        while let Some(wake) = self.session.wake_at().filter(|wake| *wake <= until) {
            self.host.pass(wake.saturating_sub(self.host.now()));
            self.settle();
        }
        self.host.pass(until.saturating_sub(self.host.now()));
        self.settle();
    }

    fn states(&self, id: &InjectionId) -> Vec<InjectionState> {
        self.reports.iter().filter(|report| report.injection == *id).map(|report| report.state).collect()
    }

    fn last(&self) -> &InjectionReport {
        self.reports.last().unwrap()
    }
}

fn ids(order: &InjectOrder) -> Vec<InjectionId> {
    order.injections.iter().map(|plan| plan.id.clone()).collect()
}

#[test]
fn the_record_is_written_before_the_first_change_and_removed_when_the_end_was_heard() {
    let order = order(1);
    let (mut play, id) = (Play::new(&order), &ids(&order)[0]);
    play.inject(&order);
    play.settle();
    assert_eq!(play.host.done(), ["plan run-0", "write run-0", "apply run-0 0"]);
    assert_eq!(play.states(id), [Applying, Active]);
    play.revert(&[id]);
    play.settle();
    assert_eq!(play.states(id), [Applying, Active, Reverting, Reverted]);
    assert_eq!(play.host.done(), ["undo run-0"], "the record stays until somebody heard");
    play.tell(&Command::Heard(id.clone()));
    play.settle();
    assert_eq!(play.host.done(), ["remove run-0"]);
    assert!(!play.session.is_over(), "more may be asked for");
    play.session.control_closed();
    play.step();
    assert!(play.session.is_over());
}

#[test]
fn a_record_that_can_not_be_written_means_that_nothing_is_applied() {
    let order = order(1);
    let mut play = Play::new(&order);
    play.host.fill_disk();
    play.inject(&order);
    play.settle();
    assert_eq!(play.host.done(), ["plan run-0"]);
    assert_eq!(play.last().state, ApplyFailed);
}

#[test]
fn what_a_later_step_needs_is_in_the_record_before_that_step() {
    let order = order(1);
    let (mut play, id) = (Play::new(&order), &ids(&order)[0]);
    play.host.script(id, Script { steps: 1, records_at: Some(1), ..Script::default() });
    play.inject(&order);
    play.settle();
    let expected = ["plan run-0", "write run-0", "apply run-0 0", "write run-0", "apply run-0 1"];
    assert_eq!(play.host.done(), expected);
    assert_eq!(play.host.record(id).unwrap().data, more_data());
}

#[test]
fn a_stop_that_arrives_between_two_steps_goes_before_whatever_is_next() {
    let order = order(3);
    let ids = ids(&order);
    let mut play = Play::new(&order);
    play.host.script(&ids[0], Script { steps: 9, ..Script::default() });
    play.inject(&order);
    while !play.host.acts(&ids[0]) {
        play.step();
    }
    play.host.done();
    play.revert(&[&ids[0], &ids[2]]);
    play.step();
    assert_eq!(play.host.done(), ["undo run-0"]);
    play.settle();
    assert_eq!(play.states(&ids[0]), [Applying, Reverting, Reverted]);
    assert!(play.host.acts(&ids[1]), "the other one goes on");
    assert!(!play.host.done().iter().any(|done| done.contains("run-2")), "it was never begun");
    assert_eq!(play.states(&ids[2]), [Reverted]);
}

#[test]
fn whatever_is_told_at_once_no_apply_follows_a_stop() {
    let order = order(2);
    let (mut play, ids) = (Play::new(&order), ids(&order));
    play.inject(&order);
    play.revert(&[&ids[0], &ids[1]]);
    play.settle();
    assert_eq!(play.host.done(), [""; 0]);
    assert!(play.reports.iter().all(|report| report.state == Reverted));
}

#[test]
fn the_end_of_the_lease_undoes_everything_and_a_renewal_puts_it_off() {
    let order = order(2);
    let (mut play, ids) = (Play::new(&order), ids(&order));
    play.inject(&order);
    play.pass(LEASE / 2);
    play.tell(&Command::Renew);
    play.pass(LEASE.saturating_sub(Duration::from_millis(1)));
    assert!(ids.iter().all(|id| play.host.acts(id)));
    play.pass(Duration::from_millis(1));
    assert!(!ids.iter().any(|id| play.host.acts(id)));
    assert!(ids.iter().all(|id| play.states(id).last() == Some(&Reverted)));
}

#[test]
fn a_session_whose_lease_is_over_sleeps_until_the_next_try_of_a_failed_undo() {
    let order = order(1);
    let (mut play, ids) = (Play::new(&order), ids(&order));
    play.host.script(&ids[0], Script { undo_fails: 3, ..Script::default() });
    play.inject(&order);
    play.settle();
    play.host.pass(LEASE);
    play.step();
    play.step();
    assert!(play.session.wake_at().is_some_and(|wake| wake > play.host.now()), "it must not spin");
}

#[test]
fn a_fault_ends_after_its_duration_counted_from_its_proof() {
    let mut order = order(1);
    order.injections[0].duration = Duration::from_secs(5);
    let (mut play, id) = (Play::new(&order), &ids(&order)[0]);
    play.host.script(id, Script { stays_unseen: true, ..Script::default() });
    play.inject(&order);
    play.pass(Duration::from_secs(1));
    play.host.script(id, Script::default());
    play.pass(Duration::from_secs(4));
    assert!(play.host.acts(id));
    play.pass(Duration::from_secs(1) + Duration::from_millis(1));
    assert_eq!(play.states(id), [Applying, Active, Reverting, Reverted]);
}

/// With the outcome on disk, for nobody hears it.
#[test]
fn a_command_line_takes_its_faults_with_it_and_those_of_a_server_last_until_the_lease_ends() {
    let closed = |play: &mut Play| play.session.control_closed();
    let ended = |play: &mut Play| play.host.end(NODE);
    let babbles = |play: &mut Play| play.session.receive(b"what?\n");
    type Way = fn(&mut Play);
    let ways: [(&str, Way); 3] = [("closed", closed), ("ended", ended), ("babbles", babbles)];
    for owner in [Owner::Command, Owner::Server] {
        for (way, goes) in ways {
            let mut order = order(1);
            order.owner = owner;
            let (mut play, id) = (Play::new(&order), &ids(&order)[0]);
            play.inject(&order);
            play.settle();
            goes(&mut play);
            play.settle();
            assert_eq!(play.host.acts(id), owner == Owner::Server, "{way}");
            assert!(!play.session.is_connected(), "{way}");
            play.pass(LEASE);
            assert!(!play.host.acts(id) && play.session.is_over(), "{way}");
            assert_eq!(play.host.record(id).unwrap().outcome.unwrap().state, Reverted, "{way}");
        }
    }
}

/// One is held, one is half made, one is not begun.
#[test]
fn what_is_not_active_yet_is_undone_when_its_server_is_gone() {
    let order = order(3);
    let (mut play, ids) = (Play::new(&order), ids(&order));
    let [first, rest @ ..] = order.injections.as_slice() else { panic!("three") };
    play.inject(&InjectOrder { injections: vec![first.clone()], ..order.clone() });
    play.settle();
    play.host.script(&ids[1], Script { steps: 9, ..Script::default() });
    play.inject(&InjectOrder { injections: rest.to_vec(), ..order.clone() });
    while !play.host.acts(&ids[1]) {
        play.step();
    }
    play.session.control_closed();
    play.settle();
    assert!(play.host.acts(&ids[0]) && !play.host.acts(&ids[1]));
    assert_eq!(play.host.record(&ids[1]).unwrap().outcome.unwrap().state, Reverted);
    assert!(!play.host.done().iter().any(|done| done.contains("apply run-2")), "it was never begun");
    play.pass(LEASE);
    assert!(!play.host.acts(&ids[0]) && play.session.is_over());
}

#[test]
fn an_order_that_comes_twice_is_applied_once() {
    let order = order(1);
    let mut play = Play::new(&order);
    play.inject(&order);
    play.inject(&order);
    play.settle();
    play.inject(&order);
    play.settle();
    assert_eq!(play.host.done(), ["plan run-0", "write run-0", "apply run-0 0"]);
}

#[test]
fn whichever_step_fails_what_was_made_is_undone() {
    for fails_at in 0..4 {
        let order = order(1);
        let (mut play, id) = (Play::new(&order), &ids(&order)[0]);
        play.host.script(id, Script { steps: 3, fails_at: Some(fails_at), ..Script::default() });
        play.inject(&order);
        play.settle();
        assert_eq!(play.host.done().last().unwrap(), "undo run-0", "step {fails_at}");
        assert_eq!(play.states(id), [Applying, Reverting, ApplyFailed]);
        assert!(play.last().error.as_ref().unwrap().contains(&format!("step {fails_at}")));
        assert!(!play.host.acts(id));
    }
}

#[test]
fn an_effect_that_is_never_seen_is_undone_and_told_as_failed() {
    let order = order(1);
    let (mut play, id) = (Play::new(&order), &ids(&order)[0]);
    play.host.script(id, Script { stays_unseen: true, ..Script::default() });
    play.inject(&order);
    play.pass(Duration::from_secs(6));
    assert_eq!(play.states(id), [Applying, Reverting, ApplyFailed]);
    assert!(play.last().error.as_ref().unwrap().contains("no effect was seen"));
}

#[test]
fn an_undo_is_tried_again_with_growing_pauses_and_then_given_up_with_its_record_kept() {
    let order = order(1);
    let (mut play, id) = (Play::new(&order), &ids(&order)[0]);
    play.host.script(id, Script { undo_fails: u32::MAX, ..Script::default() });
    play.inject(&order);
    play.settle();
    play.host.done();
    play.revert(&[id]);
    play.settle();
    for attempt in 0..8 {
        // Signals of dying children must not use up the attempts.
        play.session.look_again();
        play.settle();
        assert_eq!(play.host.done(), ["undo run-0"], "attempt {attempt}");
        play.pass(Duration::from_millis(10) * 2_u32.pow(attempt));
    }
    assert_eq!(play.host.done(), ["undo run-0", "write run-0 revert_failed"]);
    assert_eq!(play.last().state, RevertFailed);
    play.tell(&Command::Heard(id.clone()));
    play.settle();
    assert_eq!(play.host.record(id).unwrap().outcome.unwrap().state, RevertFailed);
}

#[test]
fn a_record_of_an_undo_that_was_given_up_on_is_not_written_again_when_somebody_has_removed_it_since() {
    let order = order(1);
    let (mut play, id) = (Play::new(&order), &ids(&order)[0]);
    play.host.script(id, Script { undo_fails: 9, ..Script::default() });
    play.inject(&order);
    play.settle();
    play.session.terminate();
    while play.last().state != RevertFailed {
        play.pass(Duration::from_millis(1));
    }
    crate::sweep::settle_left(&play.host, id, crate::sweep::Known::GivenUp);
    play.pass(HEARD_WITHIN);
    assert!(play.session.is_over());
    assert_eq!(play.host.record(id), None);
}

#[test]
fn a_fault_that_somebody_took_away_is_told_as_lost_and_one_whose_target_ended_as_gone() {
    let order = order(2);
    let (mut play, ids) = (Play::new(&order), ids(&order));
    play.inject(&order);
    play.settle();
    play.host.script(&ids[0], Script { is_lost: true, ..Script::default() });
    play.host.end(order.injections[1].instance.process);
    play.session.look_again();
    play.settle();
    let ends: Vec<_> = play.reports.iter().filter(|report| report.state.is_final()).collect();
    assert_eq!(ends.iter().map(|report| report.state).collect::<Vec<_>>(), [Reverted, TargetGone]);
    assert_eq!(ends[0].error.as_deref(), Some("lost: taken"));
}

#[test]
fn told_to_end_it_undoes_and_waits_a_little_for_somebody_to_hear() {
    let order = order(1);
    let (mut play, id) = (Play::new(&order), &ids(&order)[0]);
    play.inject(&order);
    play.settle();
    play.session.terminate();
    play.settle();
    assert!(!play.host.acts(id) && !play.session.is_over());
    assert_eq!(play.session.wake_at(), Some(play.host.now() + HEARD_WITHIN));
    play.pass(HEARD_WITHIN);
    assert!(play.session.is_over());
    assert_eq!(play.host.record(id).unwrap().outcome.unwrap().state, Reverted);
}

#[test]
fn a_process_of_this_product_is_never_a_target() {
    let mut order = order(1);
    order.injections[0].instance.processes.push(NODE);
    let mut play = Play::new(&order);
    play.inject(&order);
    play.settle();
    assert_eq!(play.host.done(), [""; 0]);
    assert!(play.last().error.as_ref().unwrap().contains("protected"));
}

#[test]
fn a_session_that_was_told_nothing_refuses_orders_and_ends_with_its_channel() {
    let host = ScriptedHost::new();
    let mut play =
        Play { session: Session::new(host.clone()), host, reports: Vec::new(), lines: Lines::default() };
    play.inject(&order(1));
    play.settle();
    assert_eq!(play.last().state, ApplyFailed);
    assert_eq!(play.session.wake_at(), None, "nothing is due");
    play.session.control_closed();
    assert!(play.session.is_over());
}

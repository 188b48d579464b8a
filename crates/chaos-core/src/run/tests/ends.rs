//! How runs grow, are undone, are helped and are taken up again.
//!
//! Owns no product code.

use super::*;

fn injections(effects: &[Effect]) -> Vec<usize> {
    effects
        .iter()
        .filter_map(|one| if let Effect::Inject(ids) = one { Some(ids.len()) } else { None })
        .collect()
}

fn reverts(effects: &[Effect]) -> Vec<String> {
    let of = |one: &Effect| if let Effect::Revert(ids) = one { Some(ids.clone()) } else { None };
    effects.iter().filter_map(of).flatten().map(|id| id.0.replace("4f1c09a2b7de-", "")).collect()
}

fn ramped() -> RunHeader {
    header_of(&format!(
        "target: {{ host: {{ app: a }} }}, faults: [{PAUSE}], ramp: [25%, 50%], duration: 10s, probes: [{PROBE}]"
    ))
}

fn until_first_step(header: &RunHeader) -> RunState {
    let events = [
        Event::Started,
        resolved(true),
        sample(ProbePhase::Before, 1, 1),
        Event::BaselineEnded,
        report(0, InjectionState::Active),
    ];
    run(header, &events)
}

#[test]
fn a_ramp_takes_more_of_one_draw_at_each_step() {
    let header = ramped();
    let mut state = until_first_step(&header);
    assert_eq!(state.injections.len(), 1, "a quarter of four");
    state.step(&header, 5_000, sample(ProbePhase::Chaos, 1, 1)).expect("legal");
    let effects = state.step(&header, 9_000, Event::Elapsed(Timer::Ramp(1))).expect("legal");
    assert_eq!(injections(&effects), [1]);
    assert_eq!(state.injections[1].instance.id, "a/1");
    let again = state.step(&header, 9_001, Event::Elapsed(Timer::Ramp(1))).expect("legal");
    assert_eq!(again, vec![], "a step is made once");
}

#[test]
fn a_ramp_does_not_grow_over_a_probe_that_failed_or_said_nothing() {
    let header = ramped();
    for (measured, cause) in [(Some((0, 1)), StopCause::Probe), (None, StopCause::Guardrail)] {
        let mut state = until_first_step(&header);
        if let Some((passed, all)) = measured {
            state.step(&header, 5_000, sample(ProbePhase::Chaos, passed, all)).expect("legal");
        }
        let effects = state.step(&header, 9_000, Event::Elapsed(Timer::Ramp(1))).expect("legal");
        assert!(injections(&effects).is_empty());
        assert_eq!(state.phase, Phase::Reverting);
        assert_eq!(state.stop.map(|stop| stop.cause), Some(cause));
    }
}

fn stepwise() -> RunHeader {
    header_of(&format!(
        "target: {{ host: {{ app: a }}, select: all }}, faults: [{PAUSE}], revert: stepwise, duration: 10s"
    ))
}

#[test]
fn stepwise_undoes_one_target_and_waits_for_health_before_the_next() {
    let header = stepwise();
    let mut state = run(&header, &until_active());
    let effects = state.step(&header, 11_000, Event::Elapsed(Timer::Run)).expect("legal");
    assert_eq!(reverts(&effects), ["0"]);
    let early = state.step(&header, 11_100, measured(Some(1.0), 3)).expect("legal");
    assert_eq!(reverts(&early), Vec::<String>::new(), "the first is not undone yet");
    state.step(&header, 11_200, report(0, InjectionState::Reverted)).expect("legal");
    let next = state.step(&header, 11_300, measured(Some(1.0), 4)).expect("legal");
    assert_eq!(reverts(&next), ["1"]);
    state.step(&header, 11_400, report(1, InjectionState::Reverted)).expect("legal");
    assert_eq!(state.phase, Phase::Recovering);
}

#[test]
fn any_alarm_or_stop_turns_stepwise_into_at_once() {
    let header = stepwise();
    let alarms = [
        measured(Some(0.1), 0),
        stop(),
        Event::Guarded(vec![decision(Gate::Alert, false, false)]),
        Event::Elapsed(Timer::Stepwise),
        Event::Failed(Failure::Abandoned("x".into())),
    ];
    for alarm in alarms {
        let mut state = run(&header, &until_active());
        state.step(&header, 11_000, Event::Elapsed(Timer::Run)).expect("legal");
        let effects = state.step(&header, 11_100, alarm.clone()).expect("legal");
        assert_eq!(reverts(&effects), ["0", "1"], "{alarm:?}");
    }
}

#[test]
fn an_emergency_stop_is_at_once_whatever_the_document_says() {
    let header = stepwise();
    let mut state = run(&header, &until_active());
    let effects = state.step(&header, 5_000, stop()).expect("legal");
    assert_eq!(reverts(&effects), ["0", "1"]);
}

#[test]
fn a_failed_undo_is_tried_again_with_growing_pauses_and_then_given_up_on() {
    let header = header(PAUSE, "");
    let mut state =
        run(&header, &[until_active(), vec![stop(), report(1, InjectionState::Reverted)]].concat());
    let mut pauses = Vec::new();
    for attempt in 1..=REVERT_FAILURES_MAX {
        let effects = state.step(&header, 20_000, report(0, InjectionState::RevertFailed)).expect("legal");
        pauses.extend(effects.iter().filter_map(|one| match one {
            Effect::SetTimer { timer: Timer::Retry, after } => Some(after.0.as_secs()),
            _ => None,
        }));
        if attempt < REVERT_FAILURES_MAX {
            let effects = state.step(&header, 20_000, Event::Elapsed(Timer::Retry)).expect("legal");
            assert_eq!(reverts(&effects), ["0"]);
        }
    }
    assert_eq!(pauses, [1, 2, 4]);
    let outcome = state.outcome.expect("finished");
    assert!(outcome.revert_incomplete && outcome.exit_code() == 7);
}

#[test]
fn an_undo_that_works_at_the_second_try_is_no_incident() {
    let header = header(PAUSE, "");
    let events = [
        until_active(),
        vec![
            Event::Elapsed(Timer::Run),
            report(1, InjectionState::Reverted),
            report(0, InjectionState::RevertFailed),
            Event::Elapsed(Timer::Retry),
            report(0, InjectionState::Reverting),
            report(0, InjectionState::Reverted),
            measured(Some(1.0), 4),
        ],
    ];
    assert_eq!(verdict(&header, &events.concat()), (Verdict::Held, 0));
}

fn helped() -> RunHeader {
    header_of(&format!(
        "target: {{ host: {{ app: a }}, select: all }}, faults: [{PAUSE}], duration: 10s, \
         recovery: {{ timeout: 20s, actions: [{{ restart: {{}} }}, {{ command: {{ name: flush }} }}] }}"
    ))
}

fn acted(action: usize) -> Event {
    Event::Acted(ActionOutcome { action, evidence: vec![], error: None })
}

#[test]
fn recovery_that_does_not_come_is_helped_and_then_awaited_once_more() {
    let header = helped();
    let mut state = run(&header, &[until_active(), vec![Event::Elapsed(Timer::Run)], undone()].concat());
    let effects = state.step(&header, 40_000, Event::Elapsed(Timer::Recovery)).expect("legal");
    assert_eq!(effects, vec![Effect::Act { action: 0 }]);
    assert_eq!(state.step(&header, 41_000, acted(0)).expect("legal"), vec![Effect::Act { action: 1 }]);
    let effects = state.step(&header, 42_000, acted(1)).expect("legal");
    assert_eq!(effects, vec![Effect::SetTimer { timer: Timer::Recovery, after: Span::seconds(20) }]);
    state.step(&header, 43_000, measured(Some(1.0), 4)).expect("legal");
    let outcome = state.outcome.expect("finished");
    assert_eq!(outcome.verdict, Verdict::Deviated, "it did not come back by itself");
    assert!(outcome.reason.contains("only after recovery actions"), "{}", outcome.reason);
}

#[test]
fn an_undo_that_fails_for_good_is_helped_and_tried_once_more() {
    let header = helped();
    let events = [until_active(), vec![stop(), report(1, InjectionState::Reverted)]].concat();
    let mut state = run(&header, &events);
    let last = state.step(&header, 60_000, Event::Elapsed(Timer::Revert)).expect("legal");
    assert_eq!(last, vec![Effect::Act { action: 0 }]);
    state.step(&header, 70_000, acted(0)).expect("legal");
    let effects = state.step(&header, 71_000, acted(1)).expect("legal");
    assert_eq!(reverts(&effects), ["0"]);
    state.step(&header, 72_000, report(0, InjectionState::Reverted)).expect("legal");
    let outcome = state.outcome.expect("finished");
    assert_eq!((outcome.verdict, outcome.revert_incomplete), (Verdict::Stopped, false));
}

#[test]
fn a_run_whose_hosts_hold_everything_goes_on_with_the_time_that_is_left() {
    let header = header(PAUSE, PROBE);
    let events = [
        vec![Event::Started, resolved(true), sample(ProbePhase::Before, 1, 1), Event::BaselineEnded],
        vec![report(0, InjectionState::Active), report(1, InjectionState::Active)],
    ];
    let mut state = run(&header, &events.concat());
    let held = vec![InjectionId::of(&header.run, 0), InjectionId::of(&header.run, 1)];
    let effects = state.step(&header, 7_000, Event::Adopted { held }).expect("legal");
    assert_eq!(state.phase, Phase::Active);
    let run_timer = Effect::SetTimer { timer: Timer::Run, after: Span::seconds(8) };
    assert!(effects.contains(&run_timer), "active since 5 s, 10 s long: {effects:?}");
}

#[test]
fn a_run_of_which_a_host_lost_something_is_undone() {
    let header = header(PAUSE, "");
    let mut state = run(&header, &until_active());
    let held = vec![InjectionId::of(&header.run, 0)];
    let effects = state.step(&header, 7_000, Event::Adopted { held }).expect("legal");
    assert_eq!(reverts(&effects), ["0", "1"]);
    assert!(matches!(state.failure, Some(Failure::Abandoned(_))));
}

#[test]
fn a_refused_guard_stops_at_once_and_an_unknown_one_when_it_stays_so() {
    let header = header(PAUSE, "");
    let guarded = |unknown| Event::Guarded(vec![decision(Gate::Alert, false, unknown)]);
    let refused = run(&header, &[until_active(), vec![guarded(false)]].concat());
    assert_eq!(refused.stop.map(|stop| stop.cause), Some(StopCause::Guardrail));
    let gap = run(&header, &[until_active(), vec![guarded(true); 2]].concat());
    assert_eq!(gap.phase, Phase::Active);
    let blind = run(&header, &[until_active(), vec![guarded(true); 3]].concat());
    assert_eq!(blind.phase, Phase::Reverting);
}

#[test]
fn an_engaged_lever_cancels_a_start_and_stops_a_run() {
    let header = header(PAUSE, "");
    let cancelled = run(&header, &[Event::Started, resolved_by(vec![decision(Gate::Lever, false, false)])]);
    assert_eq!(cancelled.status(), Status::Cancelled);
    assert_eq!(cancelled.outcome.as_ref().map(Outcome::exit_code), Some(5));
    let events = [until_active(), vec![Event::Guarded(vec![decision(Gate::Lever, false, false)])], undone()];
    let stopped = run(&header, &events.concat());
    assert_eq!(stopped.stop.as_ref().map(|stop| stop.cause), Some(StopCause::Lever));
    assert_eq!(stopped.status(), Status::Stopped);
}

#[test]
fn an_undo_that_is_proven_after_the_end_is_recorded_and_the_outcome_stays() {
    let header = header_of(&format!("target: {{ host: {{ app: a }} }}, faults: [{PAUSE}], duration: 10s"));
    let mut state = run(&header, &until_active());
    state.step(&header, 11_000, Event::Elapsed(Timer::Run)).expect("legal");
    state.step(&header, 45_000, Event::Elapsed(Timer::Revert)).expect("legal");
    assert_eq!((state.phase, state.injections[0].state), (Phase::Finished, InjectionState::RevertFailed));
    let (outcome, finished_ms) = (state.outcome.clone(), state.finished_ms);
    for (late, expected) in [
        (InjectionState::Active, InjectionState::RevertFailed),
        (InjectionState::RevertFailed, InjectionState::RevertFailed),
        (InjectionState::Reverted, InjectionState::Reverted),
        (InjectionState::RevertFailed, InjectionState::Reverted),
    ] {
        assert_eq!(state.step(&header, 90_000, report(0, late)).expect("legal"), vec![]);
        assert_eq!(state.injections[0].state, expected, "after {late}");
    }
    assert_eq!(state.injections[0].ended_ms, Some(90_000), "when it was proven");
    assert_eq!((state.outcome, state.finished_ms), (outcome, finished_ms));
}

#[test]
fn a_fault_that_is_not_active_in_time_fails_the_run_and_is_undone() {
    let polite = "{ pod_kill: { gracePeriod: 10m } }";
    for (fault, seconds) in [(PAUSE, 30), (polite, 630)] {
        let header = header(fault, PROBE);
        let mut state = run(&header, &[Event::Started, resolved(true), sample(ProbePhase::Before, 1, 1)]);
        let effects = state.step(&header, 4_000, Event::BaselineEnded).expect("legal");
        let after = Span::seconds(seconds);
        assert!(effects.contains(&Effect::SetTimer { timer: Timer::Injecting, after }), "{effects:?}");
        state.step(&header, 5_000, report(0, InjectionState::Applying)).expect("legal");
        let effects = state.step(&header, 700_000, Event::Elapsed(Timer::Injecting)).expect("legal");
        assert_eq!(reverts(&effects), ["0", "1"]);
        let expected = format!("no fault was active within {after}");
        assert_eq!(state.failure, Some(Failure::Apply(expected)));
    }
}

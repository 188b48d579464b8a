//! The transition table, and properties of any run against a small model.
//!
//! Owns no product code.

mod ends;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::duration::Span;
use crate::journal::{Record, RunHeader};
use crate::port::{InjectionReport, Owner};
use crate::safety::{Decision, Gate, Health, Signal};
use crate::spec::{ProbePhase, parse_documents};
use crate::target::{Instance, ProcessRef, Selection};

fn header(faults: &str, probes: &str) -> RunHeader {
    header_of(&format!(
        "target: {{ host: {{ app: a }}, select: all }}, faults: [{faults}], duration: 10s, probes: [{probes}], recovery: {{ timeout: 20s }}"
    ))
}

fn header_of(spec: &str) -> RunHeader {
    let text = format!(
        "apiVersion: chaos.engineering/v1
kind: Experiment
metadata: {{ name: t }}
spec: {{ {spec} }}"
    );
    RunHeader {
        run: RunId("4f1c09a2b7de".into()),
        experiment: parse_documents(&text).expect("valid").remove(0),
        seed: 7,
        threshold: 0.8,
        overrides: BTreeSet::new(),
        reason: None,
        actor: crate::access::Actor::default(),
        lenient: false,
        owner: Owner::Command,
        created_at: Timestamp::UNIX_EPOCH,
    }
}

const PAUSE: &str = "{ process_pause: {} }";
const PROBE: &str = "{ name: p, tcp: { address: 'localhost:1' } }";

fn instance(number: i32) -> Instance {
    let process = ProcessRef { pid: 100 + number, start_time: 1 };
    Instance {
        id: format!("a/{number}"),
        process,
        processes: vec![process],
        command: "a".into(),
        ready: true,
        managed: true,
        ports: vec![],
        network_namespace: 1,
        shares_host_network: true,
        own_cgroup: None,
        host: String::new(),
    }
}

fn health(score: Option<f64>) -> Health {
    let signal = Signal {
        name: "readiness".into(),
        value: score,
        score,
        weight: 1.0,
        critical: false,
        source: "targets".into(),
        at: Timestamp::UNIX_EPOCH,
        error: None,
        not_evaluated: false,
    };
    Health::of(vec![signal], Timestamp::UNIX_EPOCH)
}

fn decision(gate: Gate, passed: bool, unknown: bool) -> Decision {
    Decision { gate, passed, overridden: false, unknown, message: "m".into(), inputs: BTreeMap::new() }
}

fn resolved(passed: bool) -> Event {
    resolved_by(vec![decision(Gate::Health, passed, false)])
}

fn resolved_by(decisions: Vec<Decision>) -> Event {
    let chosen = vec![instance(0), instance(1)];
    Event::Resolved(Box::new(Resolution {
        matching: (0..4).map(|n| format!("a/{n}")).collect(),
        ready: 4,
        ports_min: 0,
        selection: Selection {
            seed: 7,
            chosen: chosen.iter().map(|one| one.id.clone()).collect(),
            total: 4,
            affected: 2,
            untouched_ready: 2,
        },
        chosen,
        health: health(Some(1.0)),
        decisions,
    }))
}

fn report(number: usize, state: InjectionState) -> Event {
    Event::Injection(InjectionReport {
        injection: InjectionId(format!("4f1c09a2b7de-{number}")),
        state,
        evidence: vec![],
        error: None,
        took_ms: 1.0,
    })
}

fn sample(phase: ProbePhase, passed: u64, measured: u64) -> Event {
    Event::Probed(ProbeSample {
        probe: "p".into(),
        phase,
        measured,
        passed,
        no_data: 0,
        value: None,
        latency: vec![],
        problem: None,
    })
}

fn stop() -> Event {
    Event::StopRequested(Stop { cause: StopCause::Request, reason: "r".into() })
}

fn measured(score: Option<f64>, ready: usize) -> Event {
    Event::Health { health: health(score), ready }
}

/// Runs events one second apart, but for the undo that comes too late.
fn run(header: &RunHeader, events: &[Event]) -> RunState {
    let (mut state, mut at_ms) = (RunState::new(header), 0);
    for event in events {
        let late = *event == Event::Elapsed(Timer::Revert);
        at_ms += if late { REVERT_TIMEOUT.as_millis() as u64 } else { 1000 };
        state.step(header, at_ms, event.clone()).expect("a legal event");
    }
    state
}

/// A run brought to each phase in turn.
fn in_phase(header: &RunHeader, phase: Phase) -> RunState {
    let path = [
        (Phase::Preflight, Event::Started),
        (Phase::Baseline, resolved(true)),
        (Phase::Baseline, sample(ProbePhase::Before, 1, 1)),
        (Phase::Injecting, Event::BaselineEnded),
        (Phase::Active, report(0, InjectionState::Active)),
        (Phase::Active, sample(ProbePhase::Chaos, 1, 1)),
        (Phase::Active, report(1, InjectionState::Active)),
        (Phase::Reverting, Event::Elapsed(Timer::Run)),
        (Phase::Reverting, report(0, InjectionState::Reverted)),
        (Phase::Recovering, report(1, InjectionState::Reverted)),
        (Phase::Recovering, sample(ProbePhase::After, 1, 1)),
        (Phase::Finished, measured(Some(1.0), 4)),
    ];
    let last = path.iter().rposition(|(reached, _)| *reached == phase).expect("the path visits every phase");
    let events: Vec<Event> = path[..=last].iter().map(|(_, event)| event.clone()).collect();
    let state = run(header, &events);
    assert_eq!(state.phase, phase);
    state
}

/// One of each kind of event.
fn each_event() -> Vec<(&'static str, Event)> {
    vec![
        ("started", Event::Started),
        ("resolved", resolved(true)),
        ("refused", resolved(false)),
        ("failed", Event::Failed(Failure::Abandoned("x".into()))),
        ("probed", sample(ProbePhase::Chaos, 1, 1)),
        ("baseline ended", Event::BaselineEnded),
        ("applying", report(0, InjectionState::Applying)),
        ("active", report(0, InjectionState::Active)),
        ("apply failed", report(0, InjectionState::ApplyFailed)),
        ("revert failed", report(0, InjectionState::RevertFailed)),
        ("not in time", Event::Elapsed(Timer::Injecting)),
        ("run over", Event::Elapsed(Timer::Run)),
        ("item over", Event::Elapsed(Timer::Item(0))),
        ("undo late", Event::Elapsed(Timer::Revert)),
        ("recovery late", Event::Elapsed(Timer::Recovery)),
        ("redrawn", Event::Redrawn { item: 0, chosen: vec![instance(2)] }),
        ("healthy", measured(Some(1.0), 4)),
        ("sick", measured(Some(0.1), 1)),
        ("stop", stop()),
        ("guarded", Event::Guarded(vec![decision(Gate::Alert, true, false)])),
        ("alarm", Event::Guarded(vec![decision(Gate::Alert, false, false)])),
        ("acted", Event::Acted(ActionOutcome { action: 0, evidence: vec![], error: None })),
        ("adopted", Event::Adopted { held: vec![] }),
        ("ramp", Event::Elapsed(Timer::Ramp(1))),
        ("stepwise late", Event::Elapsed(Timer::Stepwise)),
        ("retry", Event::Elapsed(Timer::Retry)),
    ]
}

/// Where every event leads from every phase; `!` is a typed error, `=` changes no phase.
#[test]
fn every_event_in_every_phase_does_what_the_table_says() {
    let header = header(PAUSE, PROBE);
    let phases = [
        Phase::Preflight,
        Phase::Baseline,
        Phase::Injecting,
        Phase::Active,
        Phase::Reverting,
        Phase::Recovering,
        Phase::Finished,
    ];
    let mut table = String::new();
    for (name, event) in &each_event() {
        table += &format!("{name:<15}");
        for phase in phases {
            let mut state = in_phase(&header, phase);
            let cell = match state.step(&header, 60_000, event.clone()) {
                Err(_) => "!".to_owned(),
                Ok(_) if state.phase == phase => "=".to_owned(),
                Ok(_) => state.phase.to_string(),
            };
            table += &format!("{cell:<12}");
        }
        table = table.trim_end().to_owned() + "\n";
    }
    //              preflight   baseline    injecting   active      reverting   recovering  finished
    let expected = "\
started        !           !           !           !           !           !           =
resolved       baseline    !           !           !           !           !           =
refused        finished    !           !           !           !           !           =
failed         finished    finished    reverting   reverting   =           finished    =
probed         !           =           =           =           =           =           =
baseline ended !           injecting   =           =           =           =           =
applying       !           !           =           =           =           =           =
active         !           !           active      =           =           =           =
apply failed   !           !           reverting   reverting   =           =           =
revert failed  !           !           reverting   reverting   =           =           =
not in time    !           !           reverting   =           =           =           =
run over       !           !           !           reverting   =           =           =
item over      !           !           !           reverting   =           =           =
undo late      !           !           !           !           finished    =           =
recovery late  !           !           !           !           =           finished    =
redrawn        !           !           !           =           =           =           =
healthy        !           !           =           =           =           finished    =
sick           !           !           reverting   reverting   =           =           =
stop           finished    finished    reverting   reverting   =           finished    =
guarded        !           !           =           =           =           =           =
alarm          !           !           reverting   reverting   =           =           =
acted          !           !           !           !           =           =           =
adopted        finished    finished    reverting   reverting   =           =           =
ramp           !           !           !           =           =           =           =
stepwise late  !           !           !           !           =           =           =
retry          !           !           !           !           =           =           =
";
    assert_eq!(table, expected, "\n{table}");
}

fn verdict(header: &RunHeader, events: &[Event]) -> (Verdict, u8) {
    let outcome = run(header, events).outcome.expect("finished");
    (outcome.verdict, outcome.exit_code())
}

fn until_active() -> Vec<Event> {
    vec![Event::Started, resolved(true), report(0, InjectionState::Active), report(1, InjectionState::Active)]
}

fn undone() -> Vec<Event> {
    vec![report(0, InjectionState::Reverted), report(1, InjectionState::Reverted)]
}

#[test]
fn each_end_has_its_verdict_and_exit_code() {
    let header = header(PAUSE, "");
    let ends: Vec<(&str, Vec<Event>, (Verdict, u8))> = vec![
        (
            "held",
            [until_active(), vec![Event::Elapsed(Timer::Run)], undone(), vec![measured(Some(1.0), 4)]]
                .concat(),
            (Verdict::Held, 0),
        ),
        (
            "not recovered",
            [
                until_active(),
                vec![Event::Elapsed(Timer::Run)],
                undone(),
                vec![measured(Some(0.9), 3), Event::Elapsed(Timer::Recovery)],
            ]
            .concat(),
            (Verdict::Deviated, 3),
        ),
        ("stopped by hand", [until_active(), vec![stop()], undone()].concat(), (Verdict::Stopped, 4)),
        (
            "stopped by health",
            [until_active(), vec![measured(Some(0.5), 2)], undone()].concat(),
            (Verdict::Stopped, 4),
        ),
        ("blocked", vec![Event::Started, resolved(false)], (Verdict::Blocked, 5)),
        (
            "apply failed",
            [
                until_active()[..2].to_vec(),
                vec![report(0, InjectionState::ApplyFailed), report(1, InjectionState::Reverted)],
            ]
            .concat(),
            (Verdict::Error, 1),
        ),
        (
            "every target gone",
            [
                until_active()[..2].to_vec(),
                vec![
                    report(0, InjectionState::TargetGone),
                    report(1, InjectionState::TargetGone),
                    measured(Some(1.0), 4),
                ],
            ]
            .concat(),
            (Verdict::Inconclusive, 6),
        ),
        (
            "undo not proven",
            [
                until_active(),
                vec![stop(), report(0, InjectionState::Reverted), Event::Elapsed(Timer::Revert)],
            ]
            .concat(),
            (Verdict::Error, 7),
        ),
        (
            "nothing matches",
            vec![Event::Started, Event::Failed(Failure::Target("nothing matches".into()))],
            (Verdict::Error, 2),
        ),
    ];
    for (name, events, expected) in ends {
        assert_eq!(verdict(&header, &events), expected, "{name}");
    }
}

#[test]
fn a_fault_that_another_hand_ended_leaves_the_verdict_open() {
    let header = header(PAUSE, "");
    let events = [until_active(), undone()].concat();
    assert_eq!(verdict(&header, &events), (Verdict::Inconclusive, 6));
}

#[test]
fn a_kill_that_was_never_seen_to_be_made_ends_the_run_and_leaves_the_verdict_open() {
    let header = header("{ pod_kill: {} }", "");
    // The agent ended before its order was carried out, and the next one finds no undo record.
    let before = [until_active()[..2].to_vec(), undone()].concat();
    assert_eq!(verdict(&header, &before), (Verdict::Inconclusive, 6));
    let during = [until_active()[..3].to_vec(), undone()].concat();
    assert_eq!(verdict(&header, &during), (Verdict::Inconclusive, 6), "one of two");
    let made = run(&header, &[until_active(), undone()].concat());
    assert_eq!((made.phase, made.failure), (Phase::Active, None), "what was made is observed to the end");
}

#[test]
fn health_that_stays_unknown_stops_a_run_but_one_gap_does_not() {
    let header = header(PAUSE, "");
    let gap = [until_active(), vec![measured(None, 2), measured(Some(1.0), 2), measured(None, 2)]].concat();
    assert_eq!(run(&header, &gap).phase, Phase::Active);
    let blind = [until_active(), vec![measured(None, 2); UNKNOWN_HEALTH_MAX as usize + 1]].concat();
    assert_eq!(run(&header, &blind).phase, Phase::Reverting);
}

#[test]
fn a_stop_while_injecting_asks_for_the_undo_of_what_is_being_applied_too() {
    let header = header(PAUSE, "");
    let mut state = run(&header, &[Event::Started, resolved(true), report(0, InjectionState::Applying)]);
    let effects = state.step(&header, 9, stop()).expect("legal");
    let ids = vec![InjectionId::of(&header.run, 0), InjectionId::of(&header.run, 1)];
    assert!(effects.contains(&Effect::Revert(ids)), "{effects:?}");
    state.step(&header, 10, report(1, InjectionState::Active)).expect("it was on its way");
    assert_eq!(state.phase, Phase::Reverting, "active after the stop changes nothing but its own state");
}

#[test]
fn a_fault_that_waits_for_another_starts_when_that_is_undone() {
    let header = header(
        "{ process_pause: {}, name: first, duration: 2s }, { process_pause: {}, name: second, after: first, duration: 2s }",
        "",
    );
    let mut state = run(&header, &until_active());
    let effects = state.step(&header, 5_000, Event::Elapsed(Timer::Item(0))).expect("legal");
    assert!(matches!(effects.as_slice(), [Effect::Revert(ids)] if ids.len() == 2), "{effects:?}");
    state.step(&header, 5_001, report(0, InjectionState::Reverted)).expect("legal");
    let effects = state.step(&header, 5_002, report(1, InjectionState::Reverted)).expect("legal");
    assert_eq!(effects, vec![Effect::Redraw { item: 1, draw: 1 }]);
    let chosen = vec![instance(3)];
    let effects = state.step(&header, 5_003, Event::Redrawn { item: 1, chosen }).expect("legal");
    assert_eq!(effects, vec![Effect::Inject(vec![InjectionId::of(&header.run, 2)])]);
    state.step(&header, 5_004, report(2, InjectionState::Active)).expect("legal");
    state.step(&header, 7_004, Event::Elapsed(Timer::Item(1))).expect("legal");
    assert_eq!(state.phase, Phase::Reverting, "nothing is left to do");
}

#[test]
fn a_kill_that_repeats_draws_again_until_its_time_is_over() {
    let header = header("{ pod_kill: { interval: 1s } }", "");
    let mut state = run(&header, &[until_active(), undone()].concat());
    assert_eq!(state.phase, Phase::Active, "what is killed is final at once, the observation goes on");
    let effects = state.step(&header, 9_000, Event::Elapsed(Timer::Repeat(0))).expect("legal");
    let again = Effect::SetTimer { timer: Timer::Repeat(0), after: Span::seconds(1) };
    assert_eq!(effects, vec![Effect::Redraw { item: 0, draw: 1 }, again]);
    state.step(&header, 9_001, Event::Elapsed(Timer::Run)).expect("legal");
    assert_eq!(state.phase, Phase::Recovering);
}

#[test]
fn a_probe_with_stop_on_failure_ends_the_run_as_a_deviation() {
    let header =
        header(PAUSE, "{ name: p, tcp: { address: 'localhost:1' }, during: [chaos], stopOnFailure: true }");
    let events =
        [until_active(), vec![sample(ProbePhase::Chaos, 0, 1)], undone(), vec![measured(Some(1.0), 4)]]
            .concat();
    assert_eq!(verdict(&header, &events), (Verdict::Deviated, 3));
}

fn any_event() -> impl Strategy<Value = Event> {
    let states = prop_oneof![
        Just(InjectionState::Applying),
        Just(InjectionState::Active),
        Just(InjectionState::Reverting),
        Just(InjectionState::Reverted),
        Just(InjectionState::TargetGone),
        Just(InjectionState::ApplyFailed),
        Just(InjectionState::RevertFailed),
    ];
    prop_oneof![
        1 => Just(Event::Started),
        1 => any::<bool>().prop_map(resolved),
        1 => Just(Event::BaselineEnded),
        6 => (0usize..3, states).prop_map(|(number, state)| report(number, state)),
        1 => Just(Event::Elapsed(Timer::Injecting)),
        1 => Just(Event::Elapsed(Timer::Run)),
        1 => Just(Event::Elapsed(Timer::Item(0))),
        1 => Just(Event::Elapsed(Timer::Revert)),
        1 => Just(Event::Elapsed(Timer::Recovery)),
        1 => Just(stop()),
        1 => Just(Event::Redrawn { item: 0, chosen: vec![instance(2)] }),
        1 => (0usize..5).prop_map(|ready| measured(Some(ready as f64 / 4.0), ready)),
        1 => (0u64..2).prop_map(|passed| sample(ProbePhase::Before, passed, 1)),
        1 => Just(Event::Failed(Failure::Abandoned("x".into()))),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(passed, unknown)| Event::Guarded(vec![decision(Gate::Alert, passed, unknown)])),
        1 => Just(Event::Acted(ActionOutcome { action: 0, evidence: vec![], error: None })),
        1 => any::<bool>().prop_map(|held| Event::Adopted { held: if held { (0..3).map(|n| InjectionId(format!("4f1c09a2b7de-{n}"))).collect() } else { vec![] } }),
        1 => Just(Event::Elapsed(Timer::Ramp(1))),
        1 => Just(Event::Elapsed(Timer::Stepwise)),
        1 => Just(Event::Elapsed(Timer::Retry)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// Whatever happens: no injection after a stop, a final state is never left, an outcome is never changed, what is
    /// not final at the end was declared unproven, nothing is waited for that has ended, and the journal replays to the
    /// same state.
    #[test]
    fn the_promises_hold_for_any_order_of_events(
        events in prop::collection::vec(any_event(), 0..60), probed: bool, ramped: bool, stepwise: bool, helped: bool,
        kills: bool,
    ) {
        let fault = if kills { "{ pod_kill: {} }" } else { PAUSE };
        let probes = if probed { PROBE } else { "" };
        let count = if ramped { "ramp: [25%, 50%]" } else { "baseline: 0s" };
        let revert = if stepwise { "stepwise" } else { "at_once" };
        let actions = if helped { "[{ restart: {} }]" } else { "[]" };
        let header = header_of(&format!(
            "target: {{ host: {{ app: a }} }}, faults: [{fault}], {count}, revert: {revert}, duration: 10s, \
             probes: [{probes}], recovery: {{ timeout: 20s, actions: {actions} }}"
        ));
        let mut state = RunState::new(&header);
        let mut records: Vec<Record> = Vec::new();
        let mut reverting = false;
        state.step(&header, 0, Event::Started).expect("first");
        records.push(Record { seq: 1, at: Timestamp::UNIX_EPOCH, elapsed_ms: 0, event: Event::Started, effects: vec![] });
        for (index, event) in events.into_iter().enumerate() {
            let before = state.clone();
            let at = index as u64 * 5_000;
            let Ok(effects) = state.step(&header, at, event.clone()) else {
                prop_assert_eq!(&state, &before, "an illegal event changes nothing");
                continue;
            };
            if effects.iter().any(|effect| matches!(effect, Effect::Inject(_))) {
                prop_assert!(!reverting && before.stop.is_none() && before.failure.is_none(), "no apply after stop");
            }
            reverting |= effects.iter().any(|effect| matches!(effect, Effect::Revert(_)))
                && state.phase == Phase::Reverting;
            for (old, new) in before.injections.iter().zip(&state.injections) {
                let proven_late = old.state == InjectionState::RevertFailed;
                prop_assert!(!old.state.is_final() || old.state == new.state || proven_late, "a final state is never left");
            }
            if before.outcome.is_some() {
                prop_assert_eq!(&before.outcome, &state.outcome);
            }
            let waits_for_none = state.phase == Phase::Injecting && state.unfinished().next().is_none();
            prop_assert!(!waits_for_none, "a run does not wait for what has ended");
            if state.phase == Phase::Finished && (Phase::Injecting..Phase::Finished).contains(&before.phase) {
                prop_assert!(state.unfinished().next().is_none(), "every applied fault has an end");
            }
            records.push(Record { seq: records.len() as u64 + 1, at: Timestamp::UNIX_EPOCH, elapsed_ms: at, event, effects });
        }
        let json: Vec<Record> = records
            .iter()
            .map(|record| serde_json::from_str(&serde_json::to_string(record).expect("writes")).expect("reads"))
            .collect();
        prop_assert_eq!(RunState::replay(&header, &json).expect("what happened can happen again"), state);
    }
}

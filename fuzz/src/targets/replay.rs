//! Any order of events on a run: the first byte chooses the run, each two that follow are one event and the time before
//! it. Unlike in the target `journal` every input means something.
//!
//! Promises: as there, and: a refused event leaves the state as it was; a final state of an injection is never left, but
//! for an undo that failed; nothing is injected once the undo has begun; a finished run has an outcome.

use std::sync::LazyLock;

use chaos_core::journal::{Record, RunHeader};
use chaos_core::run::{Effect, Event, InjectionState, Phase, RunState};

use super::choice_and_rest;
use super::journal::check_records;

/// One header a line.
const HEADERS: &str = include_str!("replay/headers.jsonl");
/// One event a line; the injections in them are those of the headers' run.
const EVENTS: &str = include_str!("replay/events.jsonl");
/// The most events of one input: a state is compared after each.
const EVENTS_MAX: usize = 64;
/// Run time that one step of the second byte stands for, in milliseconds.
const STEP_MS: u64 = 100;

static RUNS: LazyLock<Vec<RunHeader>> = LazyLock::new(|| lines(HEADERS));
static CHOICES: LazyLock<Vec<Event>> = LazyLock::new(|| lines(EVENTS));

fn lines<T: serde::de::DeserializeOwned>(text: &str) -> Vec<T> {
    let read = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(read).collect()
}

pub(crate) fn check(bytes: &[u8]) {
    let (choice, program) = choice_and_rest(bytes);
    let header = &RUNS[usize::from(choice) % RUNS.len()];
    let (mut state, mut records, mut elapsed_ms) = (RunState::new(header), Vec::new(), 0);
    for step in program.as_chunks::<2>().0.iter().take(EVENTS_MAX) {
        let event = &CHOICES[usize::from(step[0]) % CHOICES.len()];
        elapsed_ms += u64::from(step[1]) * STEP_MS;
        let before = state.clone();
        match state.step(header, elapsed_ms, event.clone()) {
            Ok(effects) => {
                check_step(&before, &state, &effects);
                let (seq, at) = (records.len() as u64 + 1, header.created_at);
                records.push(Record { seq, at, elapsed_ms, event: event.clone(), effects });
            }
            Err(_) => assert_eq!(state, before, "a refused event changed the state"),
        }
    }
    assert_eq!(RunState::replay(header, &records).as_ref(), Ok(&state));
    check_records(header, &records);
}

fn check_step(before: &RunState, after: &RunState, effects: &[Effect]) {
    for (old, new) in before.injections.iter().zip(&after.injections) {
        // An undo that failed is tried again.
        let may_change = !old.state.is_final() || old.state == InjectionState::RevertFailed;
        assert!(may_change || old.state == new.state, "{}: {} was left", old.id, old.state);
    }
    let injects = effects.iter().any(|effect| matches!(effect, Effect::Inject(_)));
    assert!(!injects || before.phase < Phase::Reverting, "an injection in {}", before.phase);
    assert!(before.phase <= after.phase, "from {} back to {}", before.phase, after.phase);
    assert_eq!(after.phase == Phase::Finished, after.outcome.is_some());
}

//! Reports of hand-built journals, compared with what is checked in, and promises that hold for any journal.
//!
//! `CHAOS_UPDATE_GOLDEN=1 cargo test -p chaos-analysis` writes the expected files anew.

mod incidents;
mod journals;

use std::path::PathBuf;

use chaos_analysis::measures::{Measures, ProbeJudgement, TIMELINE_MAX};
use chaos_analysis::report::{Format, JsonReport, SCHEMA_VERSION, render};
use chaos_core::journal::{Record, RunSummary};
use chaos_core::run::{Event, Failure, InjectionState, Stop, StopCause, Timer, Verdict};
use chaos_core::spec::ProbePhase;
use proptest::prelude::*;
use quick_xml::Reader;
use quick_xml::events::Event as Xml;

use journals::{Journal, SECRETS, measured, report, resolved, sample};

fn rendered(format: Format, journal: &Journal) -> String {
    render(format, &journal.header, &journal.records).expect("a report")
}

fn extension(format: Format) -> &'static str {
    match format {
        Format::Text => "txt",
        Format::Markdown => "md",
        Format::Json => "json",
        Format::Junit => "xml",
    }
}

#[test]
fn reports_are_as_checked_in() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let update = std::env::var_os("CHAOS_UPDATE_GOLDEN").is_some();
    for (name, journal) in journals::all() {
        for format in Format::ALL {
            let path = folder.join(format!("{name}.{}", extension(format)));
            let text = rendered(format, &journal);
            if update {
                std::fs::write(&path, &text).expect("golden file is written");
            }
            let expected = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(text, expected, "{} differs", path.display());
        }
    }
}

/// Parses JUnit to the end; counts the cases and the elements that say how they ended.
fn junit_counts(text: &str) -> [usize; 4] {
    let mut reader = Reader::from_str(text);
    let (mut counts, mut depth) = ([0; 4], 0);
    loop {
        match reader.read_event().expect("well-formed") {
            Xml::Eof => break,
            Xml::Start(start) => {
                depth += 1;
                count(&mut counts, &start);
            }
            Xml::Empty(start) => count(&mut counts, &start),
            Xml::End(_) => depth -= 1,
            _ => {}
        }
    }
    assert_eq!(depth, 0, "everything is closed");
    counts
}

fn count(counts: &mut [usize; 4], start: &quick_xml::events::BytesStart<'_>) {
    for attribute in start.attributes() {
        attribute.expect("a well-formed attribute");
    }
    let names: [&str; 4] = ["testcase", "failure", "error", "skipped"];
    if let Some(index) = names.iter().position(|name| *name == start.name().as_ref()) {
        counts[index] += 1;
    }
}

#[test]
fn junit_says_what_failed_and_only_a_run_that_held_is_green() {
    let expected = [
        // cases: verdict, recovery, 3 gates, 5 probe phases, 2 injections
        ("held", [12, 0, 0, 0]),
        ("deviated", [12, 2, 0, 0]),
        ("stopped", [12, 1, 0, 3]),
        ("blocked", [10, 2, 0, 6]),
        ("revert_incomplete", [12, 0, 2, 3]),
        ("unfinished", [12, 0, 0, 6]),
    ];
    for ((name, journal), (same, counts)) in journals::all().iter().zip(expected) {
        assert_eq!(*name, same);
        let text = rendered(Format::Junit, journal);
        assert_eq!(junit_counts(&text), counts, "{name}:\n{text}");
        let [tests, failures, errors, skipped] = counts;
        let head =
            format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\"");
        assert_eq!(text.matches(&head).count(), 2, "{name}: {head}");
    }
}

#[test]
fn secrets_of_probes_are_in_no_report_not_even_when_an_answer_repeats_them() {
    for (name, journal) in journals::all() {
        let serialized = serde_json::to_string(&journal.header).expect("writes");
        assert!(SECRETS.iter().all(|secret| serialized.contains(secret)), "the journal has them");
        for format in Format::ALL {
            let text = rendered(format, &journal);
            for secret in SECRETS {
                assert!(!text.contains(secret), "{secret} in {format:?} of {name}");
            }
        }
    }
}

#[test]
fn text_fits_a_terminal_and_carries_no_control_characters() {
    for (name, journal) in journals::all() {
        for line in rendered(Format::Text, &journal).lines() {
            assert!(line.chars().count() <= 100, "{name}: {line}");
            assert!(!line.chars().any(char::is_control), "{name}: {line:?}");
        }
    }
}

#[test]
fn measures_are_those_of_the_journal() {
    let journal = journals::deviated();
    let measures = Measures::of(&journal.header, &journal.records).expect("measured");
    assert_eq!(measures.verdict, Some(Verdict::Deviated));
    assert_eq!(measures.exit_code, Some(3));
    assert_eq!(measures.detection_seconds, Some(2.073));
    assert!(measures.detected_by.as_deref().is_some_and(|by| by.starts_with("probe health")));
    assert_eq!(measures.recovery_seconds, Some(1.2));
    assert_eq!(measures.health.lowest, Some(0.9));
    let chaos = &measures.probes[0].phases[1];
    assert_eq!((chaos.phase, chaos.judgement), (ProbePhase::Chaos, ProbeJudgement::Beyond));
    assert_eq!((chaos.measured, chaos.passed, chaos.latency_p95_ms), (60, 54, Some(900.0)));
    let phases: f64 = measures.phases.iter().map(|one| one.duration_seconds).sum();
    assert!((phases - measures.duration_seconds).abs() < 1e-9, "phases fill the run");
}

#[test]
fn the_list_and_the_report_agree() {
    for (name, journal) in journals::all() {
        let latest = journal.records.last().map(|record| record.elapsed_ms).unwrap_or_default();
        let summary = RunSummary::of(&journal.header, &journal.state, latest);
        let measures = Measures::of(&journal.header, &journal.records).expect("measured");
        assert_eq!(summary.detection_seconds, measures.detection_seconds, "{name}");
        assert_eq!(summary.recovery_seconds, measures.recovery_seconds, "{name}");
        assert!((summary.duration_seconds - measures.duration_seconds).abs() < 1e-9, "{name}");
        assert_eq!(summary.exit_code, measures.exit_code, "{name}");
    }
}

#[test]
fn the_json_report_reads_back_and_has_a_schema() {
    for (name, journal) in journals::all() {
        let text = rendered(Format::Json, &journal);
        let report: JsonReport = serde_json::from_str(&text).expect("reads back");
        assert_eq!(report.schema_version, SCHEMA_VERSION);
        assert_eq!(report.measures, Measures::of(&journal.header, &journal.records).expect("measured"));
        let document = report.measures.replay.document.to_string();
        let again = chaos_core::spec::parse_documents(&document).expect("the replay document is valid");
        assert_eq!(again[0].spec.target.seed, Some(7), "{name}");
    }
    let schema = chaos_analysis::report::schema();
    assert!(schema.get("properties").is_some_and(|properties| properties.get("schema_version").is_some()));
}

#[test]
fn a_long_run_has_a_bounded_timeline() {
    let mut journal = journals::unfinished();
    for index in 0..2_000u64 {
        let event = sample("health", ProbePhase::Chaos, index % 2, 1, 5.0);
        assert!(journal.try_at(2_000 + index, event));
    }
    let measures = Measures::of(&journal.header, &journal.records).expect("measured");
    assert_eq!(measures.timeline.len(), TIMELINE_MAX);
    assert!(measures.timeline_omitted > 1_000);
    for format in Format::ALL {
        rendered(format, &journal);
    }
}

#[test]
fn a_journal_that_no_run_can_have_written_is_refused_by_its_record() {
    let mut journal = journals::held();
    journal.records.remove(1);
    let error = render(Format::Text, &journal.header, &journal.records).expect_err("damaged");
    assert!(error.to_string().contains("record 3 of run 4f1c09a2b7de"), "{error}");
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
    let phases = prop_oneof![Just(ProbePhase::Before), Just(ProbePhase::Chaos), Just(ProbePhase::After)];
    let timers = prop_oneof![
        Just(Timer::Run),
        Just(Timer::Item(0)),
        Just(Timer::Repeat(0)),
        Just(Timer::Revert),
        Just(Timer::Recovery)
    ];
    prop_oneof![
        1 => any::<bool>().prop_map(|refused| resolved(refused.then_some("no | *way*"), false)),
        1 => Just(Event::BaselineEnded),
        6 => (0usize..3, states).prop_map(|(number, state)| report(number, state)),
        2 => timers.prop_map(Event::Elapsed),
        1 => any::<String>().prop_map(|reason| Event::StopRequested(Stop { cause: StopCause::Interrupt, reason })),
        1 => any::<String>().prop_map(|text| Event::Failed(Failure::Node(text))),
        1 => Just(Event::Redrawn { item: 0, chosen: vec![journals::instance(2)] }),
        2 => (prop::option::of(0.0f64..=1.0), 0usize..5).prop_map(|(score, ready)| measured(score, ready)),
        4 => (phases, 0u64..3, any::<f64>()).prop_map(|(phase, passed, ms)| sample("health", phase, passed, 2, ms)),
        1 => (0u64..2, any::<f64>()).prop_map(|(passed, ms)| sample("queue", ProbePhase::Chaos, passed, 1, ms)),
    ]
}

/// A run that got at least through its baseline, then whatever could happen.
fn any_journal() -> impl Strategy<Value = Journal> {
    prop::collection::vec(any_event(), 0..30).prop_map(|events| {
        let mut journal = Journal::new(journals::header());
        journal.try_at(0, Event::Started);
        if events.len() % 4 != 0 {
            for event in [
                resolved(None, false),
                sample("health", ProbePhase::Before, 2, 2, 1.0),
                sample("queue", ProbePhase::Before, 1, 1, 1.0),
                Event::BaselineEnded,
            ] {
                journal.try_at(5, event);
            }
        }
        for (index, event) in events.into_iter().enumerate() {
            journal.try_at(10 + index as u64 * 700, event);
        }
        journal
    })
}

fn check(journal: &Journal, records: &[Record]) -> Result<(), TestCaseError> {
    for format in Format::ALL {
        let text = render(format, &journal.header, records).expect("a report");
        prop_assert_eq!(&text, &render(format, &journal.header, records).expect("a report"));
        for secret in SECRETS {
            prop_assert!(!text.contains(secret));
        }
        match format {
            Format::Text => prop_assert!(text.lines().all(|line| line.chars().count() <= 100), "{}", text),
            Format::Junit => {
                junit_counts(&text);
            }
            Format::Json => {
                serde_json::from_str::<JsonReport>(&text).expect("reads back");
            }
            Format::Markdown => {}
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Any beginning of any journal gives a report in every format: the same each time, well-formed, without secrets.
    #[test]
    fn any_prefix_of_a_journal_renders_in_every_format(journal in any_journal()) {
        for end in 0..=journal.records.len() {
            check(&journal, &journal.records[..end])?;
        }
    }
}

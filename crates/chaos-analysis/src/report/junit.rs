//! The report as JUnit XML: a suite for the experiment, a case for each thing that could have gone wrong.
//!
//! Owns what counts as failure (out of tolerance, refused), error (could not measure, apply or undo) and skipped
//! (inconclusive, not reached). The case `verdict` sees to it that only a run that held is green.

use std::io;

use chaos_core::run::{InjectionState, Verdict};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::escape::xml;
use super::{ReportError, figures};
use crate::measures::{InjectionMeasures, Measures, ProbeJudgement, named};

enum End {
    Passed,
    Failure,
    Error,
    Skipped,
}

impl End {
    fn element(&self) -> Option<&'static str> {
        match self {
            Self::Passed => None,
            Self::Failure => Some("failure"),
            Self::Error => Some("error"),
            Self::Skipped => Some("skipped"),
        }
    }
}

struct Case {
    class: &'static str,
    name: String,
    seconds: f64,
    end: End,
    message: String,
}

pub(super) fn write(run: &Measures) -> Result<String, ReportError> {
    let mut cases = vec![verdict(run)];
    cases.extend(run.gates.iter().map(|gate| Case {
        class: "gate",
        name: gate.gate.name().to_owned(),
        seconds: 0.0,
        end: if gate.passed { End::Passed } else { End::Failure },
        message: format!("{}: {}", figures::gate_word(gate), gate.message),
    }));
    cases.extend(probes(run));
    cases.extend(run.injections.iter().map(injection));
    cases.push(recovery(run));

    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let count = |element| cases.iter().filter(|case| case.end.element() == Some(element)).count().to_string();
    let counts = [
        ("tests", cases.len().to_string()),
        ("failures", count("failure")),
        ("errors", count("error")),
        ("skipped", count("skipped")),
        ("time", format!("{:.3}", run.duration_seconds)),
    ];
    let attributes = || counts.iter().map(|(name, value)| (*name, value.as_str()));
    let key = xml(&run.key());
    let created = format!("{:.0}", run.created_at);
    writer
        .create_element("testsuites")
        .with_attribute(("name", "chaos"))
        .with_attributes(attributes())
        .write_inner_content(|writer| {
            writer
                .create_element("testsuite")
                .with_attribute(("name", key.as_str()))
                .with_attributes(attributes())
                .with_attribute(("timestamp", created.as_str()))
                .write_inner_content(|writer| {
                    properties(writer, run)?;
                    cases.iter().try_for_each(|one| case(writer, &key, one))
                })?;
            Ok(())
        })?;
    let mut text = String::from_utf8(writer.into_inner())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    text.push('\n');
    Ok(text)
}

fn verdict(run: &Measures) -> Case {
    let end = match run.verdict {
        Some(Verdict::Held) => End::Passed,
        Some(Verdict::Deviated | Verdict::Stopped | Verdict::Blocked) => End::Failure,
        Some(Verdict::Error) => End::Error,
        Some(Verdict::Inconclusive) | None => End::Skipped,
    };
    let message = format!("{}: {}", run.headline(), run.why());
    Case { class: "run", name: "verdict".into(), seconds: run.duration_seconds, end, message }
}

fn probes(run: &Measures) -> impl Iterator<Item = Case> {
    run.probes.iter().flat_map(|probe| {
        probe.phases.iter().map(|one| Case {
            class: "probe",
            name: format!("{} {}", probe.name, figures::phase(one.phase)),
            seconds: 0.0,
            end: match one.judgement {
                ProbeJudgement::Within => End::Passed,
                ProbeJudgement::Beyond => End::Failure,
                ProbeJudgement::NoData => End::Error,
                ProbeJudgement::Inconclusive | ProbeJudgement::NotReached => End::Skipped,
            },
            message: figures::judgement(one),
        })
    })
}

fn injection(one: &InjectionMeasures) -> Case {
    let end = match one.state {
        InjectionState::RevertFailed | InjectionState::ApplyFailed => End::Error,
        _ if one.undone => End::Passed,
        _ => End::Skipped,
    };
    Case {
        class: "undo",
        name: format!("{} on {} ({})", one.kind, one.instance, one.id),
        seconds: one.revert_ms.unwrap_or_default() / 1000.0,
        end,
        message: figures::undo(one),
    }
}

fn recovery(run: &Measures) -> Case {
    let waited = run.phases.iter().any(|one| one.phase == chaos_core::run::Phase::Recovering);
    let (end, message) = match run.recovery_seconds {
        Some(took) => (End::Passed, format!("{} after the undo", figures::seconds(took))),
        None if run.verdict == Some(Verdict::Deviated) && waited => {
            (End::Failure, format!("steady state did not come back: {}", run.why()))
        }
        None if run.finished => (End::Skipped, "the run ended before recovery was judged".to_owned()),
        None => (End::Skipped, "the run is not finished".to_owned()),
    };
    let seconds = run.recovery_seconds.unwrap_or_default();
    Case { class: "run", name: "recovery".into(), seconds, end, message }
}

fn properties(writer: &mut Writer<Vec<u8>>, run: &Measures) -> io::Result<()> {
    let seconds = |value: Option<f64>| value.map(|value| format!("{value:.3}"));
    let properties = [
        ("run", Some(run.run.to_string())),
        ("type", Some(run.kind.clone())),
        ("verdict", run.verdict.map(|verdict| verdict.to_string())),
        ("seed", Some(run.target.seed.to_string())),
        ("target", Some(run.target.description.clone())),
        ("chosen", Some(named(&run.target.chosen))),
        ("overrides", (!run.overrides.is_empty()).then(|| run.overrides.join(", "))),
        ("override_reason", run.override_reason.clone()),
        ("exit_code", run.exit_code.map(|code| code.to_string())),
        ("detection_seconds", seconds(run.detection_seconds)),
        ("revert_seconds", seconds(run.revert_seconds)),
        ("recovery_seconds", seconds(run.recovery_seconds)),
    ];
    writer.create_element("properties").write_inner_content(|writer| {
        for (name, value) in properties {
            let Some(value) = value else { continue };
            let attributes = [("name", name), ("value", &xml(&value))];
            writer.create_element("property").with_attributes(attributes).write_empty()?;
        }
        Ok(())
    })?;
    Ok(())
}

fn case(writer: &mut Writer<Vec<u8>>, key: &str, case: &Case) -> io::Result<()> {
    let (class, name) = (format!("{key}.{}", case.class), xml(&case.name));
    let (seconds, message) = (format!("{:.3}", case.seconds), xml(&case.message));
    let element = writer.create_element("testcase").with_attributes([
        ("classname", class.as_str()),
        ("name", name.as_str()),
        ("time", seconds.as_str()),
    ]);
    element.write_inner_content(|writer| {
        match case.end.element() {
            Some("skipped") => writer
                .create_element("skipped")
                .with_attribute(("message", message.as_str()))
                .write_empty()?,
            Some(name) => writer
                .create_element(name)
                .with_attributes([("message", message.as_str()), ("type", case.class)])
                .write_text_content(BytesText::new(&message))?,
            None => writer.create_element("system-out").write_text_content(BytesText::new(&message))?,
        };
        Ok(())
    })?;
    Ok(())
}

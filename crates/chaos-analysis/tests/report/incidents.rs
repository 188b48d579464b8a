//! Which runs have an incident, and the post-mortem that is made of it.

use std::path::PathBuf;

use chaos_analysis::{incident, post_mortem};
use chaos_core::incident::{Incident, IncidentCause, RUNBOOK_ANNOTATION};

use crate::journals::{self, Journal};

fn of(journal: &Journal) -> Option<Incident> {
    incident(&journal.header, &journal.records)
}

#[test]
fn only_an_alarm_or_an_unproven_undo_is_an_incident() {
    let causes: Vec<(&str, Option<IncidentCause>)> =
        journals::all().iter().map(|(name, journal)| (*name, of(journal).map(|one| one.cause))).collect();
    for (name, cause) in causes {
        let expected = match name {
            "stopped" => Some(IncidentCause::Guardrail),
            "revert_incomplete" => Some(IncidentCause::RevertIncomplete),
            _ => None,
        };
        assert_eq!(cause, expected, "{name}");
    }
}

#[test]
fn a_post_mortem_is_as_checked_in() {
    let mut journal = journals::revert_incomplete();
    let runbook = "https://runbooks.example.org/orchestrator".to_owned();
    journal.header.experiment.metadata.annotations.insert(RUNBOOK_ANNOTATION.to_owned(), runbook);
    let incident = of(&journal).expect("an incident");
    let text = post_mortem(&incident);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/post-mortem.md");
    if std::env::var_os("CHAOS_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("golden file is written");
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default());
    for secret in journals::SECRETS {
        assert!(!serde_json::to_string(&incident).expect("JSON").contains(secret));
    }
}

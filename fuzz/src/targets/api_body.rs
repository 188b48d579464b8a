//! Bodies of requests: a document or the short form of one, and the words of a stop.
//!
//! Promises: what is accepted is a valid document and survives printing; the configuration's app is used where the body
//! has none; a refusal is a brief problem with a status that blames the caller.

use chaos_api::Problem;
use chaos_core::spec::HostTarget;
use chaos_server::{FileConfig, foreign};

use super::{choice_and_rest, is_brief, survives_json, survives_printing};

pub(crate) fn check(bytes: &[u8]) {
    let (choice, rest) = choice_and_rest(bytes);
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let namespace = (choice % 2 == 1).then_some("staging");
    let config = FileConfig { target_app: Some("configured".to_owned()), ..FileConfig::default() };
    match foreign::experiment(text, namespace, &config) {
        Ok(document) => {
            assert_eq!(document.validate(), Ok(()));
            if let (Some(HostTarget::App(app)), false) = (&document.spec.target.host, text.contains("app")) {
                assert_eq!(app, "configured", "{text}");
            }
            survives_printing(&document);
        }
        Err(problem) => is_refusal(&problem),
    }
    match foreign::stop_request(text) {
        Ok(stop) => survives_json(&stop),
        Err(problem) => is_refusal(&problem),
    }
}

fn is_refusal(problem: &Problem) {
    assert!((400..500).contains(&problem.status), "{problem:?}");
    is_brief(&problem.detail);
}

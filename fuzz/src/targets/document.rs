//! Experiment documents as written by users: YAML or JSON.
//!
//! Promises: what is read stays within the limits, also after aliases are expanded; no shape of value makes `validate`
//! panic; what is valid reads back the same from every form that it is printed in; a refusal is brief.

use chaos_core::spec::{
    DEPTH_MAX, DOCUMENTS_MAX, Experiment, NODES_MAX, parse_documents, parse_value, plain_values,
};
use serde_json::Value;

use super::{is_brief, survives_printing};

pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(values) = plain_values(text) {
        check_limits(&values);
        for value in values {
            if let Ok(document) = parse_value::<Experiment>(value) {
                let _ = document.validate();
            }
        }
    }
    match parse_documents(text) {
        Ok(documents) => documents.iter().for_each(survives_printing),
        Err(errors) => {
            assert!((1..=DOCUMENTS_MAX).contains(&errors.len()), "{} errors", errors.len());
            errors.iter().for_each(|error| is_brief(&error.to_string()));
        }
    }
}

fn check_limits(values: &[Value]) {
    assert!((1..=DOCUMENTS_MAX).contains(&values.len()), "{} documents", values.len());
    let (mut nodes, mut deepest) = (0, 0);
    let mut open: Vec<(&Value, usize)> = values.iter().map(|value| (value, 1)).collect();
    while let Some((value, depth)) = open.pop() {
        nodes += 1;
        deepest = deepest.max(depth);
        match value {
            Value::Array(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(fields) => open.extend(fields.values().map(|field| (field, depth + 1))),
            _ => {}
        }
    }
    assert!(nodes <= NODES_MAX, "{nodes} values");
    // A value that holds none is no level of nesting.
    assert!(deepest <= DEPTH_MAX + 1, "nesting of {deepest}");
}

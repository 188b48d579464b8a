//! Schemas and request bodies of the OpenAPI document.
//!
//! Owns names. Every schema is generated.

use schemars::generate::SchemaGenerator;
use serde_json::{Map, Value, json};

use crate::{ExperimentBody, Operation, StopRequest};

/// `create_experiment` for [`Operation::CreateExperiment`].
pub(super) fn operation_id(operation: Operation) -> String {
    let mut id = String::new();
    for letter in format!("{operation:?}").chars() {
        if letter.is_ascii_uppercase() && !id.is_empty() {
            id.push('_');
        }
        id.push(letter.to_ascii_lowercase());
    }
    id
}

pub(super) fn experiment_body(generator: &mut SchemaGenerator) -> Value {
    let schema = generator.subschema_for::<ExperimentBody>();
    let media = json!({ "schema": schema });
    json!({
        "required": true,
        "description": "An experiment document (it has an `apiVersion`) or the short form.",
        "content": { "application/json": media, "application/yaml": media },
    })
}

pub(super) fn stop_body(generator: &mut SchemaGenerator) -> Value {
    let schema = generator.subschema_for::<StopRequest>();
    json!({ "required": false, "content": { "application/json": { "schema": schema } } })
}

/// Every schema that was referred to.
pub(super) fn schemas(mut generator: SchemaGenerator) -> Map<String, Value> {
    generator.take_definitions(true)
}

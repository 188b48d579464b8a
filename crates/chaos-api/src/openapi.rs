//! The OpenAPI 3.1 document, generated from the list of operations and the types.
//!
//! Owns how they are put together. It never names a field by hand.

mod components;
mod responses;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{Operation, QueryParameter};

/// The whole document.
pub fn openapi() -> Value {
    let mut generator = generator();
    let mut paths = Map::new();
    for operation in Operation::ALL {
        let item = paths.entry(operation.path()).or_insert_with(|| json!({}));
        if let Some(methods) = item.as_object_mut() {
            methods.insert(operation.method().to_owned(), describe(operation, &mut generator));
        }
    }
    let schemas = components::schemas(generator);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "chaos",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Chaos experiments: start, watch, stop, report.",
            "description": "Errors are RFC 9457 problem documents with a stable `code`. Times are RFC 3339 in UTC. \
                Documents are camelCase, records snake_case.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": { "Problem": responses::problem_response() },
            "securitySchemes": {
                "token": {
                    "type": "http", "scheme": "bearer",
                    "description": "`chaos_<id>_<secret>`. Needed for every write but engaging the lever, and for \
                        everything from another machine.",
                },
            },
        },
    })
}

/// Schemas that refer to each other where OpenAPI keeps them, as answers show them (with every default).
fn generator() -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    settings.into_generator()
}

fn describe(operation: Operation, generator: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = path_parameters(operation.path());
    parameters.extend(operation.parameters(generator).iter().map(query_parameter));
    if operation == Operation::StreamEvents {
        parameters.push(json!({
            "name": "Last-Event-ID", "in": "header", "required": false,
            "description": "Goes on after this position.", "schema": { "type": "integer", "minimum": 0 },
        }));
    }
    let mut description = json!({
        "operationId": components::operation_id(operation),
        "summary": operation.summary(),
        "tags": [tag(operation)],
        "parameters": parameters,
        "responses": responses::responses(operation, generator),
    });
    let Some(object) = description.as_object_mut() else { return description };
    if let Some(permission) = operation.permission() {
        object.insert("security".into(), components::security(operation));
        object.insert("x-permission".into(), json!(permission.name()));
        object.insert("x-roles".into(), json!(components::roles(permission)));
    }
    if let Some(body) = components::body(operation, generator) {
        object.insert("requestBody".into(), body);
    }
    description
}

fn tag(operation: Operation) -> &'static str {
    match operation.path() {
        path if path.starts_with("/api/v1/experiments") => "experiments",
        path if path.starts_with("/api/v1/tokens") || path.starts_with("/api/v1/audit") => "access",
        path if path.starts_with("/api/v1/incidents") => "incidents",
        path if path.starts_with("/api/v1/") => "system",
        _ => "service",
    }
}

fn path_parameters(path: &str) -> Vec<Value> {
    let id = match path {
        path if path.starts_with("/api/v1/tokens") => "Id of the token.",
        path if path.starts_with("/api/v1/incidents") => "Id of the incident.",
        _ => "Id of the run.",
    };
    [("name", "Name of the experiment."), ("id", id)]
        .into_iter()
        .filter(|(name, _)| path.contains(&format!("{{{name}}}")))
        .map(|(name, description)| {
            json!({
                "name": name, "in": "path", "required": true,
                "description": description, "schema": { "type": "string" },
            })
        })
        .collect()
}

fn query_parameter(parameter: &QueryParameter) -> Value {
    json!({
        "name": parameter.name,
        "in": "query",
        "required": false,
        "description": parameter.description,
        "schema": parameter.schema,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get("$ref") {
                    found.insert(reference.clone());
                }
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = openapi();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("a local reference");
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
    }

    #[test]
    fn every_operation_has_an_id_of_its_own_and_its_answers() {
        let document = openapi();
        let mut ids = BTreeSet::new();
        for operation in Operation::ALL {
            let item = &document["paths"][operation.path()][operation.method()];
            assert!(ids.insert(item["operationId"].to_string()), "{item}");
            let answers = item["responses"].as_object().expect("answers");
            assert!(answers.keys().any(|status| status.starts_with(['1', '2'])), "{operation:?}");
            assert!(answers.contains_key("default"), "{operation:?}");
        }
        let listed: usize = document["paths"]
            .as_object()
            .expect("paths")
            .values()
            .map(|item| item.as_object().map_or(0, Map::len))
            .sum();
        assert_eq!(listed, Operation::ALL.len());
    }
}

//! Schemas and request bodies of the OpenAPI document.
//!
//! Owns names. Every schema is generated.

use chaos_core::access::{Permission, Role};
use schemars::JsonSchema;
use schemars::generate::SchemaGenerator;
use serde_json::{Map, Value, json};

use crate::{
    ApprovalRequest, BodyKind, CloseRequest, ExperimentBody, LeverRequest, Operation, StopRequest,
    TokenRequest,
};

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

/// Reading, and engaging the lever, need no token on the machine itself.
pub(super) fn security(operation: Operation) -> Value {
    match operation.permission() {
        Some(Permission::Read | Permission::EngageLever) => json!([{ "token": [] }, {}]),
        _ => json!([{ "token": [] }]),
    }
}

/// Names of the roles that have a permission.
pub(super) fn roles(permission: Permission) -> Vec<&'static str> {
    Role::ALL.into_iter().filter(|role| role.may(permission)).map(Role::name).collect()
}

/// The body of an operation that takes one.
pub(super) fn body(operation: Operation, generator: &mut SchemaGenerator) -> Option<Value> {
    match operation.body() {
        BodyKind::None => None,
        BodyKind::Experiment => Some(experiment_body(generator)),
        BodyKind::Stop => Some(json_body::<StopRequest>(false, generator)),
        BodyKind::Lever => Some(json_body::<LeverRequest>(true, generator)),
        BodyKind::Approval => Some(json_body::<ApprovalRequest>(false, generator)),
        BodyKind::Token => Some(json_body::<TokenRequest>(true, generator)),
        BodyKind::Close => Some(json_body::<CloseRequest>(true, generator)),
    }
}

fn experiment_body(generator: &mut SchemaGenerator) -> Value {
    let schema = generator.subschema_for::<ExperimentBody>();
    let media = json!({ "schema": schema });
    json!({
        "required": true,
        "description": "An experiment document (it has an `apiVersion`) or the short form.",
        "content": { "application/json": media, "application/yaml": media },
    })
}

fn json_body<T: JsonSchema>(required: bool, generator: &mut SchemaGenerator) -> Value {
    let schema = generator.subschema_for::<T>();
    json!({ "required": required, "content": { "application/json": { "schema": schema } } })
}

/// Every schema that was referred to.
pub(super) fn schemas(mut generator: SchemaGenerator) -> Map<String, Value> {
    generator.take_definitions(true)
}

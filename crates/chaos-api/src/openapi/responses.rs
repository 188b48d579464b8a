//! Answers of the OpenAPI document.
//!
//! Owns which type each operation answers with. Every schema is generated.

use chaos_core::journal::{Record, RunSummary};
use schemars::JsonSchema;
use schemars::generate::SchemaGenerator;
use serde_json::{Map, Value, json};

use crate::{
    DryRun, EventEnvelope, ExperimentDetail, ExperimentRecord, FaultDescription, Live, Operation,
    PROBLEM_MEDIA_TYPE, Problem, ProblemCode, RunDetail, StopResponse, SystemHealth, TargetsPreview,
};

/// The answer to whatever goes wrong.
pub(super) fn problem_response() -> Value {
    json!({
        "description": "An RFC 9457 problem document; `code` is stable.",
        "content": { PROBLEM_MEDIA_TYPE: { "schema": { "$ref": "#/components/schemas/Problem" } } },
    })
}

pub(super) fn responses(operation: Operation, generator: &mut SchemaGenerator) -> Value {
    let _ = generator.subschema_for::<Problem>();
    let mut answers = successes(operation, generator);
    for code in problems(operation) {
        let title = format!("{} (`{code}`)", code.title());
        let status = code.status().to_string();
        let answer = answers.entry(status).or_insert_with(|| {
            let mut answer = problem_response();
            answer["description"] = title.clone().into();
            answer
        });
        let described = answer["description"].as_str().unwrap_or_default();
        if !described.contains(code.name()) {
            answer["description"] = format!("{described}; {title}").into();
        }
    }
    answers.insert("default".into(), json!({ "$ref": "#/components/responses/Problem" }));
    Value::Object(answers)
}

fn successes(operation: Operation, generator: &mut SchemaGenerator) -> Map<String, Value> {
    let mut answers = Map::new();
    let mut answer = |status: &str, value: Value| answers.insert(status.to_owned(), value);
    match operation {
        Operation::CreateExperiment => {
            let mut created =
                json_of::<ExperimentDetail>("Created; started unless `start=false`.", generator);
            created["headers"] =
                json!({ "Location": { "description": "The experiment.", "schema": { "type": "string" } } });
            answer("201", created);
            answer("200", json_of::<DryRun>("What would be done (`dryRun=true`).", generator))
        }
        Operation::StartRun => answer("201", json_of::<ExperimentDetail>("Started.", generator)),
        Operation::ListExperiments => answer("200", page_of::<ExperimentRecord>(generator)),
        Operation::ListRuns => answer("200", page_of::<RunSummary>(generator)),
        Operation::GetExperiment => answer("200", json_of::<ExperimentDetail>("The experiment.", generator)),
        Operation::DeleteExperiment => {
            answer("200", json_of::<StopResponse>("Deleted; what was stopped before.", generator))
        }
        Operation::StopExperiment | Operation::StopAll => answer(
            "200",
            json_of::<StopResponse>("Stopped; every fault is proven reverted or named.", generator),
        ),
        Operation::GetRun => answer("200", json_of::<RunDetail>("The run.", generator)),
        Operation::GetRunEvents => {
            let mut journal = json_of::<Vec<Record>>("The journal, in order.", generator);
            journal["content"]["text/event-stream"] = events(generator);
            answer("200", journal)
        }
        Operation::GetRunReport => {
            let text = json!({ "schema": { "type": "string" } });
            let content = json!({
                "application/json": { "schema": { "type": "object" } },
                "text/plain": text, "text/markdown": text, "application/xml": text,
            });
            answer("200", json!({ "description": "The report.", "content": content }))
        }
        Operation::StreamEvents => {
            let content = json!({ "text/event-stream": events(generator) });
            answer("200", json!({ "description": "Events as they are committed.", "content": content }))
        }
        Operation::GetSystemHealth => answer("200", json_of::<SystemHealth>("Measured now.", generator)),
        Operation::ListFaults => answer("200", json_of::<Vec<FaultDescription>>("The catalogue.", generator)),
        Operation::PreviewTargets => answer("200", json_of::<TargetsPreview>("What matches.", generator)),
        Operation::GetLive => answer("200", json_of::<Live>("It answers.", generator)),
        Operation::GetReady => answer("200", json_of::<Live>("Ready.", generator)),
        Operation::GetMetrics => {
            let content = json!({ "text/plain": { "schema": { "type": "string" } } });
            answer("200", json!({ "description": "Metrics.", "content": content }))
        }
        Operation::GetOpenApi => {
            let content = json!({ "application/json": { "schema": { "type": "object" } } });
            answer("200", json!({ "description": "OpenAPI 3.1.", "content": content }))
        }
    };
    answers
}

/// What an operation refuses for reasons of its own.
fn problems(operation: Operation) -> Vec<ProblemCode> {
    use ProblemCode as Code;
    let mut codes = vec![Code::BadRequest, Code::Forbidden];
    if operation.writes() {
        codes.extend([Code::Unauthorized, Code::StoreUnavailable, Code::PayloadTooLarge]);
    }
    if operation.path().contains("{name}") {
        codes.push(Code::NotFound);
    }
    if matches!(operation, Operation::CreateExperiment | Operation::StartRun) {
        codes.extend([
            Code::NameInUse,
            Code::Blocked,
            Code::InvalidDocument,
            Code::TargetNotFound,
            Code::QueueFull,
            Code::ShuttingDown,
        ]);
    }
    if operation == Operation::CreateExperiment {
        codes.push(Code::UnsupportedMediaType);
    }
    if operation == Operation::GetReady {
        codes.extend([Code::ShuttingDown, Code::StoreUnavailable]);
    }
    codes
}

fn json_of<T: JsonSchema>(description: &str, generator: &mut SchemaGenerator) -> Value {
    let schema = generator.subschema_for::<T>();
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

fn page_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    let mut page = json_of::<Vec<T>>("A page, in a stable order.", generator);
    page["headers"] = json!({
        "Link": { "description": "The next page, `rel=\"next\"`, when there is one.", "schema": { "type": "string" } },
    });
    page
}

/// The `data` of each event.
fn events(generator: &mut SchemaGenerator) -> Value {
    json!({ "schema": generator.subschema_for::<EventEnvelope>() })
}

//! Answers of the OpenAPI document.
//!
//! Owns which type each operation answers with. Every schema is generated.

use chaos_core::access::Permission;
use chaos_core::audit::AuditEntry;
use chaos_core::incident::Incident;
use chaos_core::journal::{Record, RunSummary};
use chaos_core::link::HostInfo;
use chaos_core::safety::{Approval, Lever};
use schemars::JsonSchema;
use schemars::generate::SchemaGenerator;
use serde_json::{Map, Value, json};

use crate::{
    AuditVerification, DryRun, EventEnvelope, ExperimentDetail, ExperimentRecord, FaultDescription,
    LeverResponse, Live, NewToken, Operation, PROBLEM_MEDIA_TYPE, Problem, ProblemCode, RunDetail,
    StopResponse, SystemHealth, TargetsPreview, TokenInfo,
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
        Operation::ListAgents => answer("200", json_of::<Vec<HostInfo>>("The hosts, by name.", generator)),
        Operation::ConnectAgent => {
            answer("101", json!({ "description": "From here on frames of the agents' protocol." }))
        }
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
        other => answers.insert(governed(other).to_owned(), governance(other, generator)),
    };
    answers
}

/// The status of a success of those operations that [`governance`] describes.
fn governed(operation: Operation) -> &'static str {
    match operation {
        Operation::ApproveExperiment | Operation::CreateToken | Operation::RotateToken => "201",
        _ => "200",
    }
}

/// Successes of the operations about who may do what, and what became of it.
fn governance(operation: Operation, generator: &mut SchemaGenerator) -> Value {
    match operation {
        Operation::GetLever => json_of::<Lever>("The lever.", generator),
        Operation::SetLever => json_of::<LeverResponse>(
            "Moved and on disk; every fault of what was stopped is proven reverted or named.",
            generator,
        ),
        Operation::ApproveExperiment => json_of::<Approval>("Approved.", generator),
        Operation::ListTokens => json_of::<Vec<TokenInfo>>("The tokens.", generator),
        Operation::CreateToken | Operation::RotateToken => {
            json_of::<NewToken>("Made; the secret is shown this once.", generator)
        }
        Operation::RevokeToken => json_of::<TokenInfo>("Revoked.", generator),
        Operation::ListAudit => json_of::<Vec<AuditEntry>>("Entries, in order.", generator),
        Operation::VerifyAudit => json_of::<AuditVerification>("What came of it.", generator),
        Operation::ListIncidents => json_of::<Vec<Incident>>("Incidents, the latest first.", generator),
        Operation::GetIncident => {
            let mut incident = json_of::<Incident>("The incident.", generator);
            incident["content"]["text/markdown"] = json!({ "schema": { "type": "string" } });
            incident
        }
        Operation::CloseIncident => json_of::<Incident>("Closed.", generator),
        _ => json!({ "description": "Done." }),
    }
}

/// What an operation refuses for reasons of its own.
fn problems(operation: Operation) -> Vec<ProblemCode> {
    use ProblemCode as Code;
    let mut codes = vec![Code::BadRequest, Code::Forbidden];
    if !matches!(operation, Operation::GetLive | Operation::GetReady) {
        codes.push(Code::RateLimited);
    }
    if let Some(permission) = operation.permission() {
        codes.push(Code::Unauthorized);
        // Every caller but a node agent reads.
        codes.extend((permission != Permission::Read).then_some(Code::RoleMissing));
    }
    if operation.writes() {
        codes.extend([Code::StoreUnavailable, Code::PayloadTooLarge]);
    }
    if operation.path().contains('{') {
        codes.push(Code::NotFound);
    }
    codes.extend(own_problems(operation));
    codes
}

fn own_problems(operation: Operation) -> &'static [ProblemCode] {
    use ProblemCode as Code;
    const START: [ProblemCode; 8] = [
        Code::NameInUse,
        Code::Blocked,
        Code::LeverEngaged,
        Code::InvalidDocument,
        Code::TargetNotFound,
        Code::QueueFull,
        Code::ShuttingDown,
        Code::UnsupportedMediaType,
    ];
    match operation {
        Operation::CreateExperiment => &START,
        Operation::StartRun => START.split_last().map_or(&[], |(_, rest)| rest),
        Operation::GetReady => &[Code::ShuttingDown, Code::StoreUnavailable],
        Operation::SetLever => &[Code::InvalidDocument],
        Operation::ApproveExperiment
        | Operation::CreateToken
        | Operation::RotateToken
        | Operation::CloseIncident => &[Code::InvalidDocument, Code::Conflict],
        Operation::ConnectAgent => &[Code::TooManyAgents],
        _ => &[],
    }
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

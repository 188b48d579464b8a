//! What a call asks for, as the audit log and the permissions see it.
//!
//! Owns the names of actions and what is kept of a request: bounded, and never a secret. It is a pure function of the
//! request and decides nothing.

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::http::Uri;
use chaos_api::{CreateQuery, Operation};
use chaos_core::access::Permission;
use chaos_core::spec::plain_values;
use serde_json::Value;

use crate::limits::AUDIT_VALUE_CHARS_MAX;

/// Fields of a query that are kept.
const QUERY_FIELDS: [&str; 4] = ["override", "reason", "lenient", "format"];
/// Fields of a body that are kept.
const BODY_FIELDS: [&str; 7] = ["reason", "interrupted", "name", "role", "expires_at", "valid_for", "note"];

/// A call for an operation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    /// What, e.g. `experiment.create`.
    pub(crate) action: &'static str,
    /// To what, e.g. `default/checkout`.
    pub(crate) subject: String,
    /// What else is worth keeping.
    pub(crate) detail: BTreeMap<String, String>,
    operation: Operation,
    namespace: String,
    dry_run: bool,
    overrides: bool,
}

impl Call {
    /// What the request line says.
    pub(crate) fn of(operation: Operation, uri: &Uri) -> Self {
        let query = Query::<BTreeMap<String, String>>::try_from_uri(uri).map(|query| query.0);
        let query = query.unwrap_or_default();
        let namespace = query.get("namespace").map_or("default", String::as_str).to_owned();
        let kept = query.iter().filter(|(name, _)| QUERY_FIELDS.contains(&name.as_str()));
        // Read as the handler reads it: what can't be read here is refused there.
        let start = match operation {
            Operation::CreateExperiment | Operation::StartRun => Query::<CreateQuery>::try_from_uri(uri).ok(),
            _ => None,
        };
        let start = start.map(|query| query.0).unwrap_or_default();
        Self {
            action: match operation {
                Operation::CreateExperiment if start.start == Some(false) => "experiment.register",
                operation => action(operation),
            },
            subject: subject(operation, uri.path(), &namespace),
            detail: kept.map(|(name, value)| (name.clone(), bounded(value))).collect(),
            operation,
            namespace,
            dry_run: start.dry_run == Some(true),
            overrides: start.overrides.is_some_and(|names| !names.trim().is_empty()),
        }
    }

    /// What the body adds. A body that can't be read adds nothing: whoever carries the call out says so.
    pub(crate) fn read(&mut self, body: &str) {
        let Ok(body) = plain_values(body).map(|mut values| values.swap_remove(0)) else { return };
        match self.operation {
            Operation::CreateExperiment => {
                let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
                let from = body.get("metadata").unwrap_or(&body);
                let namespace = text(from.get("namespace")).unwrap_or_else(|| self.namespace.clone());
                if let Some(name) = text(from.get("name")) {
                    self.subject = bounded(&format!("{namespace}/{name}"));
                }
            }
            Operation::SetLever if body.get("engaged") == Some(&Value::Bool(false)) => {
                self.action = "lever.release";
                self.keep(&body);
            }
            _ => self.keep(&body),
        }
    }

    fn keep(&mut self, body: &Value) {
        for name in BODY_FIELDS {
            let text = match body.get(name) {
                None | Some(Value::Null) => continue,
                Some(Value::String(text)) => bounded(text),
                Some(other) => bounded(&other.to_string()),
            };
            self.detail.insert(name.to_owned(), text);
        }
    }

    /// What it needs beyond what its operation declares.
    pub(crate) fn needs(&self) -> Option<Permission> {
        match self.operation {
            Operation::SetLever if self.action == "lever.release" => Some(Permission::ReleaseLever),
            _ => self.overrides.then_some(Permission::Override),
        }
    }

    /// It is carried out first and written down after.
    pub(crate) fn is_urgent(&self) -> bool {
        matches!(self.action, "experiment.stop" | "experiment.stop_all" | "lever.engage")
    }

    /// It changes nothing, so there is nothing to write down.
    pub(crate) fn is_harmless(&self) -> bool {
        self.dry_run
    }
}

/// So many characters of a value and no more.
pub(super) fn bounded(text: &str) -> String {
    text.chars().take(AUDIT_VALUE_CHARS_MAX).collect()
}

fn action(operation: Operation) -> &'static str {
    match operation {
        Operation::CreateExperiment => "experiment.create",
        Operation::StartRun => "experiment.start",
        Operation::DeleteExperiment => "experiment.delete",
        Operation::StopExperiment => "experiment.stop",
        Operation::StopAll => "experiment.stop_all",
        Operation::ApproveExperiment => "experiment.approve",
        Operation::SetLever => "lever.engage",
        Operation::CreateToken => "token.create",
        Operation::RotateToken => "token.rotate",
        Operation::RevokeToken => "token.revoke",
        Operation::ListTokens => "token.list",
        Operation::CloseIncident => "incident.close",
        _ => "read",
    }
}

fn subject(operation: Operation, path: &str, namespace: &str) -> String {
    let part = |name: &str| {
        let pairs = operation.path().split('/').zip(path.split('/'));
        pairs.into_iter().find(|(pattern, _)| *pattern == name).map(|(_, part)| part.to_owned())
    };
    let subject = match operation {
        Operation::SetLever => "lever".to_owned(),
        Operation::StopAll => "all".to_owned(),
        _ => match (part("{name}"), part("{id}")) {
            (Some(name), _) => format!("{namespace}/{name}"),
            (None, Some(id)) => format!("{}/{id}", path.split('/').nth(3).unwrap_or_default()),
            (None, None) => path.to_owned(),
        },
    };
    bounded(&subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(operation: Operation, uri: &str, body: &str) -> Call {
        let mut call = Call::of(operation, &uri.parse().expect("a path"));
        call.read(body);
        call
    }

    #[test]
    fn a_call_names_what_is_done_to_what() {
        let create = "/api/v1/experiments?override=max_affected&reason=why";
        for (operation, uri, body, action, subject) in [
            (
                Operation::CreateExperiment,
                create,
                "metadata: { name: a, namespace: n }",
                "experiment.create",
                "n/a",
            ),
            (Operation::CreateExperiment, create, "{ \"name\": \"a\" }", "experiment.create", "default/a"),
            (
                Operation::CreateExperiment,
                "/api/v1/experiments?start=false&namespace=n",
                "name: a",
                "experiment.register",
                "n/a",
            ),
            (Operation::CreateExperiment, create, "[[[", "experiment.create", "/api/v1/experiments"),
            (Operation::StopAll, "/api/v1/stop", "", "experiment.stop_all", "all"),
            (Operation::DeleteExperiment, "/api/v1/experiments/a", "", "experiment.delete", "default/a"),
            (Operation::RevokeToken, "/api/v1/tokens/0a", "", "token.revoke", "tokens/0a"),
            (Operation::CloseIncident, "/api/v1/incidents/i/close", "", "incident.close", "incidents/i"),
            (Operation::SetLever, "/api/v1/lever", "{\"engaged\": true}", "lever.engage", "lever"),
            (Operation::SetLever, "/api/v1/lever", "{\"engaged\": false}", "lever.release", "lever"),
        ] {
            let call = call(operation, uri, body);
            assert_eq!((call.action, call.subject.as_str()), (action, subject), "{uri} {body}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_holds_no_document() {
        let create = call(
            Operation::CreateExperiment,
            &format!("/api/v1/experiments?override=window&reason={}&wait=1s", "x".repeat(2000)),
            "{ \"metadata\": { \"name\": \"a\" }, \"reason\": \"hunter2\", \"spec\": { \"secret\": \"hunter2\" } }",
        );
        assert_eq!(create.detail["reason"].len(), AUDIT_VALUE_CHARS_MAX);
        assert_eq!(create.detail.keys().collect::<Vec<_>>(), ["override", "reason"]);
        assert_eq!(create.needs(), Some(Permission::Override));
        let lever = call(Operation::SetLever, "/api/v1/lever", "{\"engaged\": false, \"reason\": \"r\"}");
        assert_eq!((lever.needs(), lever.is_urgent()), (Some(Permission::ReleaseLever), false));
        assert_eq!(lever.detail["reason"], "r");
    }

    #[test]
    fn a_dry_run_changes_nothing_and_a_stop_is_urgent() {
        let dry = call(Operation::CreateExperiment, "/api/v1/experiments?dryRun=true", "");
        assert!(dry.is_harmless() && dry.needs().is_none());
        assert!(!call(Operation::DeleteExperiment, "/api/v1/experiments/a?dryRun=true", "").is_harmless());
        assert!(call(Operation::StopExperiment, "/api/v1/experiments/a/stop", "").is_urgent());
    }
}

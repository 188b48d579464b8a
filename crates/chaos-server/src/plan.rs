//! From a request to a run: the document, its threshold, seed and overrides.
//!
//! Owns what is filled in from the configuration. It starts nothing.

use std::collections::BTreeSet;

use chaos_api::{CreateQuery, DryRun, Problem, ProblemCode};
use chaos_core::access::Permission;
use chaos_core::journal::RunHeader;
use chaos_core::port::Clock;
use chaos_core::run::Failure;
use chaos_core::safety::Override;
use chaos_core::spec::{
    DocumentError, Experiment, HostTarget, Select, ShortRequest, Target, parse_documents, parse_value,
    plain_values,
};
use chaos_core::text::nearest;

use crate::access::Caller;
use crate::app::App;
use crate::config::FileConfig;
use crate::error::ApiError;
use crate::extract;
use crate::random;

/// Keys that only a full document has.
const DOCUMENT_KEYS: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];

/// The one document of a body; what a short form leaves out comes from the query and the configuration.
pub(crate) fn document(
    text: &str,
    namespace: Option<&str>,
    config: &FileConfig,
) -> Result<Experiment, ApiError> {
    let mut values = plain_values(text)?;
    if values.len() > 1 {
        return Err(ApiError::from(DocumentError {
            document: 1,
            path: String::new(),
            value: None,
            problem: format!("the body has {} documents", values.len()),
            expected: Some("one for each request".into()),
            nearest: None,
        }));
    }
    let value = values.swap_remove(0);
    if DOCUMENT_KEYS.iter().any(|key| value.get(key).is_some()) {
        let mut documents = parse_documents(text).map_err(Problem::invalid)?;
        let document = documents.swap_remove(0);
        return match namespace {
            Some(other) if other != document.metadata.namespace => Err(ApiError::bad_request(format!(
                "the query says namespace {other:?}, the document {:?}",
                document.metadata.namespace
            ))),
            _ => Ok(document),
        };
    }
    let mut short: ShortRequest = parse_value(value)?;
    short.namespace = short.namespace.or_else(|| namespace.map(str::to_owned));
    short.target_app.get_or_insert_with(|| config.target_app().to_owned());
    Ok(short.into_experiment()?)
}

impl App {
    /// What is known of a run before its first event.
    pub(crate) fn header(
        &self,
        caller: &Caller,
        experiment: Experiment,
        query: &CreateQuery,
    ) -> Result<RunHeader, ApiError> {
        let random = |error: std::io::Error| ApiError::internal("no randomness", &error);
        let overrides = overrides(query.overrides.as_deref())?;
        let reason = extract::reason(query.reason.clone(), "")?;
        if !overrides.is_empty() {
            caller.require(Permission::Override)?;
            if reason.is_empty() {
                return Err(ApiError::bad_request("an override needs a reason: add `reason=…`"));
            }
        }
        let seed = match experiment.spec.target.seed {
            Some(seed) => seed,
            None => random::seed().map_err(random)?,
        };
        Ok(RunHeader {
            run: random::run_id().map_err(random)?,
            seed,
            threshold: experiment.spec.safety.threshold.unwrap_or_else(|| self.config.threshold()),
            overrides,
            reason: Some(reason).filter(|reason| !reason.is_empty()),
            actor: caller.actor.clone(),
            lenient: query.lenient == Some(true),
            owner: self.owner,
            created_at: self.clock().now(),
            experiment,
        })
    }

    /// What a start would do; changes and writes nothing.
    pub(crate) async fn dry_run(&self, header: RunHeader) -> Result<DryRun, ApiError> {
        let resolution = self.engine.look(&header).await.map_err(not_resolved)?;
        let mut plan = header.experiment;
        plan.spec.target.seed = Some(header.seed);
        plan.spec.safety.threshold = Some(header.threshold);
        let blocked = resolution.decisions.iter().any(|decision| !decision.passed);
        Ok(DryRun { plan, threshold: header.threshold, resolution, blocked })
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.engine.ports().clock.as_ref()
    }
}

/// All of what a way to name processes matches, on these hosts.
pub(crate) fn target_of(host: HostTarget, hosts: Vec<String>) -> Target {
    Target { host: Some(host), hosts, kubernetes: None, select: Select::default(), seed: None }
}

/// Why a target could not be resolved, as a problem.
pub(crate) fn not_resolved(failure: Failure) -> ApiError {
    match failure {
        Failure::Target(text) => {
            let apps = text
                .split_once("; apps seen: ")
                .map(|(_, apps)| apps.split(", ").map(str::to_owned).collect());
            let problem = Problem::new(ProblemCode::TargetNotFound, text);
            Problem { apps: apps.unwrap_or_default(), ..problem }.into()
        }
        Failure::Node(text) => ApiError::internal("the node can't be asked", &text),
        other => ApiError::internal("the target can't be resolved", &format!("{other:?}")),
    }
}

fn overrides(given: Option<&str>) -> Result<BTreeSet<Override>, ApiError> {
    let names = given.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| Override::parse(name).ok_or_else(|| unknown_override(name))).collect()
}

fn unknown_override(name: &str) -> ApiError {
    let known = Override::ALL.map(Override::name);
    let near = nearest(name, known).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    ApiError::bad_request(format!("unknown override {name:?}; expected one of {}{near}", known.join(", ")))
}

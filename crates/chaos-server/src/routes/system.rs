//! Health, the catalogue, and what could be hit.
//!
//! Owns the answers. Nothing here changes anything.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chaos_api::{FaultDescription, HealthQuery, SystemHealth, TargetsPreview, TargetsQuery, catalogue};
use chaos_core::spec::{HostTarget, ProcessMatch, Safety, ShortRequest, Target};
use chaos_core::target::select;
use serde_json::Map;

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Params;
use crate::plan::target_of;
use crate::random;

/// `GET /api/v1/system/health`.
pub(super) async fn health(
    State(app): State<Arc<App>>,
    Params(query): Params<HealthQuery>,
) -> Result<Json<SystemHealth>, ApiError> {
    match query.app {
        None => app.system_health().await.map(Json),
        Some(name) => {
            checked(target_of(HostTarget::App(name.clone()), Vec::new()))?;
            app.measure_health(name).await.map(Json)
        }
    }
}

/// `GET /api/v1/faults`.
pub(super) async fn faults() -> Json<Vec<FaultDescription>> {
    Json(catalogue())
}

/// `GET /api/v1/targets`.
pub(super) async fn targets(
    State(app): State<Arc<App>>,
    Params(query): Params<TargetsQuery>,
) -> Result<Json<TargetsPreview>, ApiError> {
    let how = query.select.unwrap_or_default();
    let max_affected = query.max_affected.unwrap_or(Safety::default().max_affected);
    let seed = match query.seed {
        Some(seed) => seed,
        None => random::seed().map_err(|error| ApiError::internal("no randomness", &error))?,
    };
    let hosts = query.hosts.as_deref().unwrap_or_default().split(',').map(str::trim);
    let hosts: Vec<String> = hosts.filter(|host| !host.is_empty()).map(str::to_owned).collect();
    let target = target(&app, query)?;
    let looked_at = checked(target_of(target.clone(), hosts))?;
    let inventory = app.engine.ports().node.inventory(&looked_at).await?;
    let drawn = select(&target, how, &inventory, seed, 0);
    let unready = inventory.instances.len() - inventory.ready();
    let affected = drawn.as_ref().map_or(unready, |selection| selection.affected);
    let affected_max = max_affected.of(inventory.instances.len());
    Ok(Json(TargetsPreview {
        target: target.to_string(),
        ready: inventory.ready(),
        problem: drawn.as_ref().err().map(ToString::to_string),
        selected: drawn.ok(),
        affected,
        max_affected,
        affected_max,
        within_cap: affected <= affected_max,
        instances: inventory.instances,
        protected: inventory.protected,
        apps: inventory.apps,
    }))
}

/// The one way that the query names processes; the configured app when there is none.
fn target(app: &App, query: TargetsQuery) -> Result<HostTarget, ApiError> {
    let process = ProcessMatch {
        name: query.process_name,
        cmdline: query.process_cmdline,
        user: query.process_user,
        port: query.process_port,
    };
    let given = [
        query.app.map(HostTarget::App),
        query.pid.map(HostTarget::Pid),
        query.unit.map(HostTarget::Unit),
        query.container.map(HostTarget::Container),
        query.cgroup.map(HostTarget::Cgroup),
        (process != ProcessMatch::default()).then_some(HostTarget::Process(process)),
    ];
    let mut given = given.into_iter().flatten();
    match (given.next(), given.next()) {
        (None, _) => Ok(HostTarget::App(app.config.target_app().to_owned())),
        (Some(target), None) => Ok(target),
        (Some(one), Some(other)) => {
            Err(ApiError::bad_request(format!("two targets: {one} and {other}; expected one")))
        }
    }
}

/// The same checks as a document's.
fn checked(target: Target) -> Result<Target, ApiError> {
    let short = ShortRequest {
        name: "preview".to_owned(),
        kind: "process_pause".to_owned(),
        target_app: None,
        namespace: None,
        duration: None,
        percent: None,
        safety_threshold: None,
        parameters: Map::new(),
    };
    let mut document = short.into_experiment()?;
    document.spec.target = target.clone();
    document.validate().map_err(|error| ApiError::bad_request(error.to_string()))?;
    Ok(target)
}

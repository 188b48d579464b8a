//! The router, made from the list of operations: none can be served that the API document does not name, or the
//! other way round.
//!
//! Owns the pairing of operations and handlers.

mod agents;
mod approve;
mod audit;
mod create;
mod events;
mod experiments;
mod incidents;
mod lever;
mod runs;
mod service;
mod stop;
mod system;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, delete, get, post, put};
use chaos_api::{Operation, ProblemCode};

use crate::access::enforce::{Gate, enforce};
use crate::access::{guard, reader};
use crate::app::App;
use crate::error::ApiError;

/// Every route, behind the checks on who may call: those of its operation, and those of every request.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let mut router = Router::new();
    for operation in Operation::ALL {
        let gate = Gate { app: Arc::clone(app), operation };
        let handler = handler(operation).route_layer(from_fn_with_state(gate, enforce));
        router = router.route(operation.path(), handler);
    }
    router
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(Arc::clone(app), guard))
        .with_state(Arc::clone(app))
}

fn handler(operation: Operation) -> MethodRouter<Arc<App>> {
    match operation {
        Operation::CreateExperiment => post(create::create),
        Operation::StartRun => post(create::start_again),
        Operation::ListExperiments => get(experiments::list),
        Operation::GetExperiment => get(experiments::one),
        Operation::DeleteExperiment => delete(experiments::delete),
        Operation::StopExperiment => post(stop::one),
        Operation::StopAll => post(stop::all),
        Operation::ListRuns => get(runs::list),
        Operation::GetRun => get(runs::one),
        Operation::GetRunEvents => get(runs::journal),
        Operation::GetRunReport => get(runs::report),
        Operation::StreamEvents => get(events::all),
        Operation::GetSystemHealth => get(system::health),
        Operation::ListFaults => get(system::faults),
        Operation::PreviewTargets => get(system::targets),
        Operation::GetLever => get(lever::show),
        Operation::SetLever => put(lever::set),
        Operation::ApproveExperiment => post(approve::approve),
        Operation::ListTokens => get(tokens::list),
        Operation::CreateToken => post(tokens::create),
        Operation::RotateToken => post(tokens::rotate),
        Operation::RevokeToken => delete(tokens::revoke),
        Operation::ListAudit => get(audit::list),
        Operation::VerifyAudit => get(audit::verify),
        Operation::ListIncidents => get(incidents::list),
        Operation::GetIncident => get(incidents::one),
        Operation::CloseIncident => post(incidents::close),
        Operation::ListAgents => get(agents::list),
        Operation::ConnectAgent => get(agents::connect),
        Operation::GetLive => get(service::live),
        Operation::GetReady => get(service::ready),
        Operation::GetMetrics => get(service::metrics),
        Operation::GetOpenApi => get(service::openapi),
    }
}

async fn no_route(request: Request<Body>) -> ApiError {
    let path = request.uri().path();
    let missing = || ApiError::not_found(format!("no route {path}; every route is in /openapi.json"));
    reader(&request).err().unwrap_or_else(missing)
}

async fn no_method(request: Request<Body>) -> ApiError {
    let (method, path) = (request.method(), request.uri().path());
    let detail = format!("{method} is not allowed on {path}");
    let refused = || ApiError::new(ProblemCode::MethodNotAllowed, detail);
    reader(&request).err().unwrap_or_else(refused)
}

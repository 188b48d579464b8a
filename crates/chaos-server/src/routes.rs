//! The router, made from the list of operations: none can be served that the API document does not name, or the
//! other way round.
//!
//! Owns the pairing of operations and handlers.

mod create;
mod events;
mod experiments;
mod runs;
mod service;
mod stop;
mod system;

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, delete, get, post};
use chaos_api::{Operation, ProblemCode};

use crate::access::guard;
use crate::app::App;
use crate::error::ApiError;

/// Every route, behind the checks on who may call.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let mut router = Router::new();
    for operation in Operation::ALL {
        router = router.route(operation.path(), handler(operation));
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
        Operation::GetLive => get(service::live),
        Operation::GetReady => get(service::ready),
        Operation::GetMetrics => get(service::metrics),
        Operation::GetOpenApi => get(service::openapi),
    }
}

async fn no_route(uri: Uri) -> ApiError {
    ApiError::not_found(format!("no route {}; every route is in /openapi.json", uri.path()))
}

async fn no_method(method: Method, uri: Uri) -> ApiError {
    ApiError::new(ProblemCode::MethodNotAllowed, format!("{method} is not allowed on {}", uri.path()))
}

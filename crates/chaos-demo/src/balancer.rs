//! Owns the public port: routes, and the tasks that check on the replicas. It never starts or stops one.

mod checks;
pub(crate) mod fleet;
mod forward;
mod metrics;

use std::sync::Arc;

use anyhow::Context as _;
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::{fleet::Fleet, forward::Forwarder, metrics::Metrics};
use crate::{config::Tuning, wire::ReplicaInfo};

/// Connections kept open to one replica while idle.
const IDLE_CONNECTIONS: usize = 16;

struct Balancer {
    fleet: Arc<Fleet>,
    forwarder: Forwarder,
    metrics: Arc<Metrics>,
}

/// Starts the checks and returns the server, which runs until `end`.
pub(crate) fn serve(
    listener: TcpListener,
    fleet: Arc<Fleet>,
    tuning: &Tuning,
    end: CancellationToken,
) -> anyhow::Result<impl Future<Output = std::io::Result<()>> + use<>> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        // Replicas speak plain HTTP on this host: reading the system's certificates would only cost time.
        .tls_certs_only([])
        .connect_timeout(tuning.attempt_timeout)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .build()
        .context("building the client for the replicas")?;
    for slot in fleet.slots() {
        tokio::spawn(checks::watch(Arc::clone(slot), client.clone(), tuning.clone(), end.clone()));
    }
    let metrics = Arc::new(Metrics::new());
    let forwarder = Forwarder::new(Arc::clone(&fleet), client, tuning, Arc::clone(&metrics));
    let router = Router::new()
        .route("/health", get(health))
        .route("/work", get(work))
        .route("/metrics", get(exposed_metrics))
        .route("/replicas", get(replicas))
        .with_state(Arc::new(Balancer { fleet, forwarder, metrics }));
    let server = axum::serve(listener, router).with_graceful_shutdown(end.cancelled_owned());
    Ok(server.into_future())
}

/// A registry as the text that Prometheus scrapes.
pub(crate) fn exposition(registry: &Registry) -> Response {
    let mut text = String::new();
    match encode(&mut text, registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn health(State(balancer): State<Arc<Balancer>>) -> Response {
    let health = balancer.fleet.health();
    let code = if health.in_rotation > 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(health)).into_response()
}

async fn work(State(balancer): State<Arc<Balancer>>) -> Response {
    balancer.forwarder.forward("/work").await
}

async fn exposed_metrics(State(balancer): State<Arc<Balancer>>) -> Response {
    balancer.metrics.refresh(&balancer.fleet);
    exposition(balancer.metrics.registry())
}

async fn replicas(State(balancer): State<Arc<Balancer>>) -> Json<Vec<ReplicaInfo>> {
    Json(balancer.fleet.infos())
}

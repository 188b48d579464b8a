//! The hosts, and the door for their agents.
//!
//! Owns the handshake of the upgrade. What follows on the connection is [`crate::agents`]'s.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use axum::{Extension, Json};
use chaos_core::link::HostInfo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::access::Caller;
use crate::app::App;
use crate::error::ApiError;

/// `GET /api/v1/agents`.
pub(super) async fn list(State(app): State<Arc<App>>) -> Json<Vec<HostInfo>> {
    Json(app.agents.hub.hosts())
}

/// `GET /api/v1/agents/connect`.
pub(super) async fn connect(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    mut request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let key = websocket_key(request.headers())?;
    let accepted = derive_accept_key(key.as_bytes());
    let tokens = Arc::clone(&app);
    let token_over = async move { tokens.tokens.over(caller.token.as_deref(), tokens.clock().now()).await };
    app.agents.serve(hyper::upgrade::on(&mut request), caller.actor.name, token_over)?;
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accepted)
        .body(Body::empty())
        .map_err(|error| ApiError::internal("no answer to the handshake", &error))
}

/// The key of a handshake; whoever does not ask for a WebSocket is told what is here.
fn websocket_key(headers: &HeaderMap) -> Result<String, ApiError> {
    let has = |name: header::HeaderName, wanted: &str| {
        let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(wanted)))
    };
    let asks = has(header::CONNECTION, "upgrade")
        && has(header::UPGRADE, "websocket")
        && has(header::SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    key.filter(|_| asks).map(str::to_owned).ok_or_else(|| {
        ApiError::bad_request("here agents connect by WebSocket: `chaos agent --server URL` on their hosts")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_handshake_is_answered() {
        let headers = |connection: &str, version: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONNECTION, connection.parse().expect("a value"));
            headers.insert(header::UPGRADE, "websocket".parse().expect("a value"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, version.parse().expect("a value"));
            headers.insert(header::SEC_WEBSOCKET_KEY, "a2V5".parse().expect("a value"));
            headers
        };
        assert_eq!(websocket_key(&headers("keep-alive, Upgrade", "13")).expect("a handshake"), "a2V5");
        assert!(websocket_key(&headers("keep-alive", "13")).is_err());
        assert!(websocket_key(&headers("Upgrade", "8")).is_err());
        assert!(websocket_key(&HeaderMap::new()).is_err());
    }

    #[test]
    fn the_door_is_where_agents_look_for_it() {
        assert_eq!(chaos_agent::link::CONNECT_PATH, chaos_api::Operation::ConnectAgent.path());
    }
}

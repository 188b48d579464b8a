//! Consent to one document as it is.
//!
//! Owns what an approval is bound to. Whether it counts for a run is the gate's.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use chaos_api::{ApprovalRequest, NamespaceQuery, ProblemCode};
use chaos_core::safety::{Approval, document_hash};
use jiff::SignedDuration;

use crate::access::Caller;
use crate::app::App;
use crate::audit::Told;
use crate::error::ApiError;
use crate::extract::{self, Names, Params, Text};
use crate::limits::APPROVAL_LIFETIME;

/// `POST /api/v1/experiments/{name}/approve`.
pub(super) async fn approve(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    names: Names,
    Params(query): Params<NamespaceQuery>,
    Extension(body): Extension<Text>,
) -> Result<Response, ApiError> {
    if !caller.known {
        return Err(ApiError::new(ProblemCode::Unauthorized, "a consent needs somebody with a name"));
    }
    let request: ApprovalRequest = body.parse()?;
    let lifetime = request.valid_for.map_or(APPROVAL_LIFETIME, |span| span.0);
    if lifetime.is_zero() {
        return Err(ApiError::bad_request("valid_for is nothing; expected a time such as 1d"));
    }
    let reason = extract::reason(request.reason, "")?;
    let row = app.row(&names.key(query.namespace)).await?;
    let registered = document_hash(&row.document);
    if let Some(looked_at) = request.document_hash.filter(|looked_at| *looked_at != registered) {
        let detail = format!(
            "the document of {} that is registered by now is {registered}, not {looked_at}: look at it again",
            row.key
        );
        return Err(ApiError::new(ProblemCode::Conflict, detail));
    }
    let at = app.clock().now();
    let lifetime: SignedDuration = lifetime.try_into().unwrap_or(SignedDuration::MAX);
    let approval = Approval {
        document_hash: registered,
        experiment: row.key,
        approver: caller.actor.name,
        reason: Some(reason).filter(|reason| !reason.is_empty()),
        at,
        expires_at: at
            .checked_add(lifetime)
            .map_err(|error| ApiError::bad_request(format!("valid_for: {error}")))?,
    };
    app.store.add_approval(&approval).await?;
    let told = Told::default().and("document", &approval.document_hash);
    Ok((StatusCode::CREATED, Extension(told), Json(approval)).into_response())
}

//! The audit log as it is read and checked.
//!
//! Owns pages. The log is written by [`crate::audit`].

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chaos_api::{AuditQuery, AuditVerification};
use chaos_core::audit::AuditEntry;
use chaos_store::AuditError;

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Params;
use crate::routes::experiments::page_rows;

/// `GET /api/v1/audit`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Params(query): Params<AuditQuery>,
) -> Result<Json<Vec<AuditEntry>>, ApiError> {
    let limit = page_rows(query.limit)?;
    Ok(Json(app.store.audit_page(query.after.unwrap_or(0), limit as usize).await?))
}

/// `GET /api/v1/audit/verify`.
pub(super) async fn verify(State(app): State<Arc<App>>) -> Result<Json<AuditVerification>, ApiError> {
    match app.store.verify_audit().await {
        Ok(entries) => Ok(Json(AuditVerification { intact: true, entries, tampered_at: None, reason: None })),
        Err(AuditError::Tampered(tampered)) => Ok(Json(AuditVerification {
            intact: false,
            entries: tampered.seq.saturating_sub(1),
            tampered_at: Some(tampered.seq),
            reason: Some(tampered.reason),
        })),
        Err(AuditError::Store(error)) => Err(error.into()),
    }
}

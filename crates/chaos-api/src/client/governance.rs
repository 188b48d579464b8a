//! One method for each route about who may do what, and what became of it: lever, approvals, tokens, audit, incidents.
//!
//! Owns nothing but the pairing of an operation with the types of its question and answer.

use chaos_core::audit::AuditEntry;
use chaos_core::incident::{Incident, IncidentStatus};
use chaos_core::safety::{Approval, Lever};
use chaos_core::spec::ExperimentKey;

use super::{Client, ClientError};
use crate::{
    ApprovalRequest, AuditQuery, AuditVerification, CloseRequest, IncidentFormat, IncidentQuery,
    IncidentsQuery, LeverRequest, LeverResponse, NewToken, Operation, TokenInfo, TokenRequest,
};

impl Client {
    /// The safety lever.
    ///
    /// # Errors
    /// [`ClientError`], as for every method of this type.
    pub async fn lever(&self) -> Result<Lever, ClientError> {
        self.json(self.request(Operation::GetLever, "", None)).await
    }

    /// Engages or releases the safety lever. When it is engaged, returns when every fault is proven reverted or named.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn set_lever(&self, request: &LeverRequest) -> Result<LeverResponse, ClientError> {
        self.json(self.request(Operation::SetLever, "", None).json(request)).await
    }

    /// Consents to the document of an experiment as it is registered now.
    ///
    /// # Errors
    /// [`ClientError`]; a conflict when the request names another document than the one that is registered.
    pub async fn approve(
        &self,
        key: &ExperimentKey,
        request: &ApprovalRequest,
    ) -> Result<Approval, ClientError> {
        self.json(self.of(Operation::ApproveExperiment, key, None).json(request)).await
    }

    /// Every token, the revoked ones among them.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn tokens(&self) -> Result<Vec<TokenInfo>, ClientError> {
        self.json(self.request(Operation::ListTokens, "", None)).await
    }

    /// Makes a token; the answer alone has its secret.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn create_token(&self, request: &TokenRequest) -> Result<NewToken, ClientError> {
        self.json(self.request(Operation::CreateToken, "", None).json(request)).await
    }

    /// Replaces a token by one with the same name, role and lifetime.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn rotate_token(&self, id: &str) -> Result<NewToken, ClientError> {
        self.json(self.request_of(Operation::RotateToken, "", id)).await
    }

    /// Revokes a token.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn revoke_token(&self, id: &str) -> Result<TokenInfo, ClientError> {
        self.json(self.request_of(Operation::RevokeToken, "", id)).await
    }

    /// Entries of the audit log after a `seq` (0: from the first), in order, at most `limit` (1 to 1000). Empty only when
    /// there are no more.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn audit(&self, after: u64, limit: Option<u32>) -> Result<Vec<AuditEntry>, ClientError> {
        let query = AuditQuery { after: Some(after), limit };
        self.json(self.request(Operation::ListAudit, "", None).query(&query)).await
    }

    /// Checks the whole audit log.
    ///
    /// # Errors
    /// [`ClientError`]; a log that was changed is an answer, not an error.
    pub async fn verify_audit(&self) -> Result<AuditVerification, ClientError> {
        self.json(self.request(Operation::VerifyAudit, "", None)).await
    }

    /// Incidents, the latest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn incidents(
        &self,
        status: Option<IncidentStatus>,
        limit: Option<u32>,
    ) -> Result<Vec<Incident>, ClientError> {
        let query = IncidentsQuery { status, limit };
        self.json(self.request(Operation::ListIncidents, "", None).query(&query)).await
    }

    /// One incident.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn incident(&self, id: &str) -> Result<Incident, ClientError> {
        self.json(self.request_of(Operation::GetIncident, "", id)).await
    }

    /// The skeleton of a post-mortem of an incident, in Markdown.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post_mortem(&self, id: &str) -> Result<String, ClientError> {
        let query = IncidentQuery { format: Some(IncidentFormat::Md) };
        self.text(self.request_of(Operation::GetIncident, "", id).query(&query)).await
    }

    /// Closes an incident with what was found out.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn close_incident(&self, id: &str, note: &str) -> Result<Incident, ClientError> {
        let request = CloseRequest { note: note.to_owned() };
        self.json(self.request_of(Operation::CloseIncident, "", id).json(&request)).await
    }
}

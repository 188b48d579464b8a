//! Who approved which document: one consent of each approver, the latest.

use std::time::Duration;

use chaos_core::port::StoreError;
use chaos_core::safety::Approval;
use chaos_core::spec::ExperimentKey;
use sqlx::AnyConnection;

use crate::SqlStore;
use crate::dialect::plain;
use crate::read::{column, parse};
use crate::write::{Answer, Done, Work, text};

/// How long an approval is kept after it has expired; the audit log keeps for ever who approved what.
const EXPIRED_KEPT: Duration = Duration::from_hours(30 * 24);

pub(crate) const APPROVALS: &str = "SELECT approval FROM approvals \
    WHERE namespace = $1 AND name = $2 AND document_hash = $3 ORDER BY approver";

#[derive(Debug)]
pub(crate) struct AddApproval {
    key: ExperimentKey,
    document_hash: String,
    approver: String,
    expires_at: i64,
    /// What expired before is forgotten.
    forgotten: i64,
    text: String,
}

impl SqlStore {
    /// Keeps an approval; an earlier one by the same approver of the same document is replaced.
    ///
    /// # Errors
    /// When it can't be written.
    pub async fn add_approval(&self, approval: &Approval) -> Result<(), StoreError> {
        let key = &approval.experiment;
        let action = format!("keep the approval of {}/{} by {}", key.namespace, key.name, approval.approver);
        let work = Work::Approval(Box::new(AddApproval {
            key: ExperimentKey { namespace: plain(&key.namespace), name: plain(&key.name) },
            document_hash: plain(&approval.document_hash),
            approver: plain(&approval.approver),
            expires_at: approval.expires_at.as_millisecond(),
            forgotten: approval.at.as_millisecond() - EXPIRED_KEPT.as_millis() as i64,
            text: text(&action, approval)?,
        }));
        self.write(action, work).await.map(|_| ())
    }

    /// Approvals of a document by approver, expired ones among them.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn approvals(
        &self,
        experiment: &ExperimentKey,
        document_hash: &str,
    ) -> Result<Vec<Approval>, StoreError> {
        let action = format!("read the approvals of {}/{}", experiment.namespace, experiment.name);
        let query = sqlx::query(APPROVALS)
            .bind(plain(&experiment.namespace))
            .bind(plain(&experiment.name))
            .bind(plain(document_hash));
        let rows = self.all(&action, query, |action, row| {
            let text: String = column(action, row, 0)?;
            Ok((parse(action, &text)?, text.len()))
        });
        rows.await
    }
}

pub(crate) async fn add(
    connection: &mut AnyConnection,
    approval: &AddApproval,
) -> Result<Answer, sqlx::Error> {
    sqlx::query("DELETE FROM approvals WHERE namespace = $1 AND name = $2 AND expires_at < $3")
        .bind(&*approval.key.namespace)
        .bind(&*approval.key.name)
        .bind(approval.forgotten)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO approvals (namespace, name, document_hash, approver, expires_at, approval) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (namespace, name, document_hash, approver) DO UPDATE \
         SET expires_at = excluded.expires_at, approval = excluded.approval",
    )
    .bind(&*approval.key.namespace)
    .bind(&*approval.key.name)
    .bind(&*approval.document_hash)
    .bind(&*approval.approver)
    .bind(approval.expires_at)
    .bind(&*approval.text)
    .execute(connection)
    .await?;
    Ok(Ok(Done::Changed(true)))
}

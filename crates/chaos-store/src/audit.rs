//! The audit log: entries in the order they were committed, each bound to the one before.
//!
//! Owns that the chain has no gap and no fork: entries are made inside the transaction that keeps them, by the one task
//! that writes. What the chain is made of is the core's.

use chaos_core::audit::{AuditEntry, AuditEvent, Tampered, Verification};
use chaos_core::port::StoreError;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::error::{failed, refused};
use crate::read::{column, number, rows_limit};
use crate::write::{Answer, Done, Work};
use crate::{PAGE_MAX, SqlStore};

/// The largest event, in bytes of JSON.
pub const AUDIT_EVENT_BYTES_MAX: usize = 64 * 1024;

pub(crate) const PAGE: &str =
    "SELECT seq, event, previous, hash FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2";
const HEAD: &str = "SELECT seq, hash FROM audit_head WHERE id = 1";

/// Why an audit log could not be shown to be whole.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// It was changed by another hand.
    #[error(transparent)]
    Tampered(#[from] Tampered),
    /// It could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug)]
pub(crate) struct AppendAudit(AuditEvent);

impl SqlStore {
    /// Appends an event to the audit log. When it returns, the entry is on disk.
    ///
    /// # Errors
    /// When it can't be written, and as a conflict when it is larger than [`AUDIT_EVENT_BYTES_MAX`].
    pub async fn append_audit(&self, event: &AuditEvent) -> Result<AuditEntry, StoreError> {
        let action = format!("write {} of {} to the audit log", event.action, event.actor.name);
        let text = serde_json::to_string(event).map_err(|error| refused(&action, error.to_string()))?;
        if text.len() > AUDIT_EVENT_BYTES_MAX {
            let reason = format!("it has {} bytes, at most {AUDIT_EVENT_BYTES_MAX}", text.len());
            return Err(refused(action, reason));
        }
        let work = Work::Audit(Box::new(AppendAudit(event.clone())));
        match self.write(action.clone(), work).await? {
            Done::Entry(entry) => Ok(entry),
            other => Err(failed(action, format!("the answer was {other:?}"))),
        }
    }

    /// Entries after the one numbered `after` (0: from the first), at most `limit` ([`PAGE_MAX`]).
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn audit_page(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        let limit = rows_limit(limit);
        let query = sqlx::query(PAGE).bind(number(after)).bind(limit as i64);
        Ok(self.rows("read the audit log", query, limit, entry_row).await?.0)
    }

    /// Number and hash of the last entry that was written, kept apart from the entries.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn audit_head(&self) -> Result<Option<(u64, String)>, StoreError> {
        let rows = self.rows("read the end of the audit log", sqlx::query(HEAD), 1, |action, row| {
            Ok(((seq(action, row)?, column(action, row, 1)?), 0))
        });
        Ok(rows.await?.0.pop())
    }

    /// Goes through the whole audit log, a page at a time, also while it is written to. Returns how many entries it has.
    ///
    /// # Errors
    /// [`AuditError::Tampered`] names the first entry that is not as it was written.
    pub async fn verify_audit(&self) -> Result<u64, AuditError> {
        let mut verification = Verification::default();
        let mut remembered = None;
        loop {
            let after = verification.head().map_or(0, |(seq, _)| seq);
            let page = self.audit_page(after, PAGE_MAX as usize).await?;
            page.iter().try_for_each(|entry| verification.take(entry))?;
            if !page.is_empty() {
                continue;
            }
            // What was appended between the two looks is ahead now, and there at the next.
            let head = self.audit_head().await?;
            let as_seen = |head: &Option<(u64, String)>| {
                verification.head() == head.as_ref().map(|(seq, hash)| (*seq, hash.as_str()))
            };
            if as_seen(&head) || head == remembered {
                let head = head.as_ref().map(|(seq, hash)| (*seq, hash.as_str()));
                return Ok(verification.end(head)?);
            }
            remembered = head;
        }
    }
}

fn seq(action: &str, row: &AnyRow) -> Result<u64, StoreError> {
    u64::try_from(column::<i64>(action, row, 0)?).map_err(|error| failed(action, error))
}

fn entry_row(action: &str, row: &AnyRow) -> Result<(AuditEntry, usize), StoreError> {
    let entry = AuditEntry {
        seq: seq(action, row)?,
        event: column(action, row, 1)?,
        previous: column(action, row, 2)?,
        hash: column(action, row, 3)?,
    };
    let size = entry.event.len();
    Ok((entry, size))
}

/// The end of the log during one transaction.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    /// Number and hash of the last entry, once it was read; `None` inside for an empty log.
    last: Option<Option<(u64, String)>>,
    appended: bool,
}

impl Chain {
    pub(crate) async fn append(
        &mut self,
        connection: &mut AnyConnection,
        event: &AppendAudit,
    ) -> Result<Answer, sqlx::Error> {
        let last = match self.last.take() {
            Some(last) => last,
            None => read_head(connection).await?,
        };
        let made = AuditEntry::after(last.as_ref().map(|(seq, hash)| (*seq, hash.as_str())), &event.0);
        self.last = Some(last);
        let entry = match made {
            Ok(entry) => entry,
            Err(error) => return Ok(Err(error.to_string())),
        };
        sqlx::query("INSERT INTO audit (seq, event, previous, hash) VALUES ($1, $2, $3, $4)")
            .bind(number(entry.seq))
            .bind(&*entry.event)
            .bind(&*entry.previous)
            .bind(&*entry.hash)
            .execute(connection)
            .await?;
        self.last = Some(Some((entry.seq, entry.hash.clone())));
        self.appended = true;
        Ok(Ok(Done::Entry(entry)))
    }

    /// Writes down where the log ends.
    pub(crate) async fn remember(self, connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
        let (true, Some(Some((seq, hash)))) = (self.appended, self.last) else { return Ok(()) };
        sqlx::query(
            "INSERT INTO audit_head (id, seq, hash) VALUES (1, $1, $2) ON CONFLICT (id) DO UPDATE \
             SET seq = excluded.seq, hash = excluded.hash",
        )
        .bind(number(seq))
        .bind(hash)
        .execute(connection)
        .await
        .map(|_| ())
    }
}

async fn read_head(connection: &mut AnyConnection) -> Result<Option<(u64, String)>, sqlx::Error> {
    let Some(row) = sqlx::query(HEAD).fetch_optional(connection).await? else { return Ok(None) };
    let seq = u64::try_from(row.try_get::<i64, _>(0)?).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(Some((seq, row.try_get(1)?)))
}

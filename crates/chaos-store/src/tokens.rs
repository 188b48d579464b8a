//! What is kept of tokens; never a secret.
//!
//! Owns that a name belongs to one token that is not revoked, and that the change from one to the next is one step.

use std::time::Duration;

use chaos_core::access::TokenRecord;
use chaos_core::port::StoreError;
use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::SqlStore;
use crate::dialect::plain;
use crate::error::refused;
use crate::read::{column, parse};
use crate::write::{Answer, Done, Work, text};

/// The most tokens that are not revoked.
pub const TOKENS_MAX: i64 = 1000;
/// How long a token is remembered after it was revoked; the audit log remembers for ever.
const REVOKED_KEPT: Duration = Duration::from_hours(90 * 24);

pub(crate) const TOKEN: &str = "SELECT record FROM tokens WHERE id = $1";
const TOKENS: &str = "SELECT record FROM tokens ORDER BY name, id";

#[derive(Debug)]
pub(crate) struct AddToken {
    id: String,
    name: String,
    record: String,
    created_at: Timestamp,
    replaces: Option<String>,
}

#[derive(Debug)]
pub(crate) struct RevokeToken {
    id: String,
    at: Timestamp,
}

impl SqlStore {
    /// Keeps a token. The one with the id `replaces` is revoked in the same step, when this one was made.
    ///
    /// # Errors
    /// When it can't be written, and as a conflict when an id is in use, when another token of that name is not
    /// revoked, when there is none to replace, or when there are [`TOKENS_MAX`].
    pub async fn add_token(&self, token: &TokenRecord, replaces: Option<&str>) -> Result<(), StoreError> {
        let action = format!("keep token {} of {}", token.id, token.name);
        if [&token.id, &token.name].into_iter().any(|text| text.is_empty() || text.contains('\0')) {
            return Err(refused(action, "its id or name is no name"));
        }
        let work = Work::AddToken(Box::new(AddToken {
            id: token.id.clone(),
            name: token.name.clone(),
            record: text(&action, token)?,
            created_at: token.created_at,
            replaces: replaces.map(plain),
        }));
        self.write(action, work).await.map(|_| ())
    }

    /// The token with that id, revoked or not.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn token(&self, id: &str) -> Result<Option<TokenRecord>, StoreError> {
        let query = sqlx::query(TOKEN).bind(plain(id));
        Ok(self.rows("read a token", query, 1, token_row).await?.0.pop())
    }

    /// Every token by name, those that were revoked in the last 90 days among them.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.all("list tokens", sqlx::query(TOKENS), token_row).await
    }

    /// Revokes a token. Returns whether there was one that was not revoked.
    ///
    /// # Errors
    /// When it can't be written.
    pub async fn revoke_token(&self, id: &str, at: Timestamp) -> Result<bool, StoreError> {
        let work = Work::RevokeToken(RevokeToken { id: plain(id), at });
        Ok(self.write(format!("revoke token {id}"), work).await?.changed())
    }
}

fn token_row(action: &str, row: &AnyRow) -> Result<(TokenRecord, usize), StoreError> {
    let text: String = column(action, row, 0)?;
    Ok((parse(action, &text)?, text.len()))
}

pub(crate) async fn add(connection: &mut AnyConnection, token: &AddToken) -> Result<Answer, sqlx::Error> {
    if let Some(reason) = refusal(connection, token).await? {
        return Ok(Err(reason));
    }
    if let Some(id) = &token.replaces
        && !revoke_at(connection, id, token.created_at).await?
    {
        return Ok(Err(format!("there is no token {id} to replace")));
    }
    let forgotten = token.created_at.as_millisecond() - REVOKED_KEPT.as_millis() as i64;
    sqlx::query("DELETE FROM tokens WHERE revoked_at > 0 AND revoked_at < $1")
        .bind(forgotten)
        .execute(&mut *connection)
        .await?;
    sqlx::query("INSERT INTO tokens (id, name, revoked_at, record) VALUES ($1, $2, 0, $3)")
        .bind(&*token.id)
        .bind(&*token.name)
        .bind(&*token.record)
        .execute(connection)
        .await?;
    Ok(Ok(Done::Changed(true)))
}

/// Why a token can't be kept.
async fn refusal(connection: &mut AnyConnection, token: &AddToken) -> Result<Option<String>, sqlx::Error> {
    let replaces = token.replaces.as_deref().unwrap_or_default();
    let taken =
        sqlx::query("SELECT id FROM tokens WHERE id = $1 OR (name = $2 AND revoked_at = 0 AND id <> $3)")
            .bind(&*token.id)
            .bind(&*token.name)
            .bind(replaces)
            .fetch_optional(&mut *connection)
            .await?;
    if let Some(row) = taken {
        let id: String = row.try_get(0)?;
        return Ok(Some(format!("token {id} has that name or id")));
    }
    let count = sqlx::query("SELECT COUNT(*) FROM tokens WHERE revoked_at = 0").fetch_one(connection).await?;
    let full = token.replaces.is_none() && count.try_get::<i64, _>(0)? >= TOKENS_MAX;
    Ok(full.then(|| format!("there are {TOKENS_MAX} tokens; revoke some")))
}

pub(crate) async fn revoke(
    connection: &mut AnyConnection,
    token: &RevokeToken,
) -> Result<Answer, sqlx::Error> {
    revoke_at(connection, &token.id, token.at).await.map(|changed| Ok(Done::Changed(changed)))
}

/// Returns whether there was a token of that id that was not revoked.
async fn revoke_at(connection: &mut AnyConnection, id: &str, at: Timestamp) -> Result<bool, sqlx::Error> {
    let row = sqlx::query("SELECT record FROM tokens WHERE id = $1 AND revoked_at = 0")
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(false) };
    let text: String = row.try_get(0)?;
    let undecodable = |error: serde_json::Error| sqlx::Error::Decode(error.into());
    let mut record: TokenRecord = serde_json::from_str(&text).map_err(undecodable)?;
    record.revoked_at = Some(at);
    let text = serde_json::to_string(&record).map_err(undecodable)?;
    sqlx::query("UPDATE tokens SET record = $1, revoked_at = $2 WHERE id = $3")
        .bind(text)
        // Not revoked is 0, so a time before 1970 can't be told.
        .bind(at.as_millisecond().max(1))
        .bind(id)
        .execute(connection)
        .await?;
    Ok(true)
}

//! What a batch of writes does inside a transaction.
//!
//! Owns the order of the writes. A write that is refused has changed nothing, so the
//! rest of its batch can be committed.

use sqlx::{AnyConnection, Connection, Row};

use super::{Answer, Work, runs};
use crate::dialect::Database;
use crate::{SWEEP_RECORDS_MAX, approvals, audit, incidents, lever, owner, retention, tokens};

/// Applies writes in order. Returns their answers.
pub(super) async fn all<'w>(
    connection: &mut AnyConnection,
    database: Database,
    works: impl Iterator<Item = &'w Work>,
) -> Result<Vec<Answer>, sqlx::Error> {
    let mut answers = Vec::new();
    let mut chain = audit::Chain::default();
    for work in works {
        answers.push(one(connection, database, work, &mut chain).await?);
    }
    chain.remember(connection).await?;
    Ok(answers)
}

async fn one(
    connection: &mut AnyConnection,
    database: Database,
    work: &Work,
    chain: &mut audit::Chain,
) -> Result<Answer, sqlx::Error> {
    match work {
        Work::Register(document) => runs::register(connection, document).await,
        Work::Delete(key) => runs::delete(connection, key).await,
        Work::Create(run) => runs::create(connection, run).await,
        Work::Append(append) => runs::append(connection, database, append).await,
        Work::Lever(text) => lever::set(connection, text).await,
        Work::AddToken(token) => tokens::add(connection, token).await,
        Work::RevokeToken(token) => tokens::revoke(connection, token).await,
        Work::Audit(event) => chain.append(connection, event).await,
        Work::Incident(incident) => incidents::put(connection, incident).await,
        Work::Approval(approval) => approvals::add(connection, approval).await,
        Work::Prune(numbers) => retention::prune(connection, numbers).await,
        Work::Announce(address) => owner::set_address(connection, address).await,
    }
}

/// Removes some records of deleted runs. Returns whether there may be more.
pub(super) async fn sweep(connection: &mut AnyConnection, database: Database) -> Result<bool, sqlx::Error> {
    let doomed =
        sqlx::query("SELECT run_number FROM doomed LIMIT 1").fetch_optional(&mut *connection).await?;
    let Some(row) = doomed else { return Ok(false) };
    let number: i64 = row.try_get(0)?;
    let mut transaction = connection.begin_with(database.begin()).await?;
    // The last position that was given out is remembered, so that none is given out twice.
    sqlx::query(
        "UPDATE journal SET position = (SELECT MAX(position) FROM records) \
         WHERE id = 1 AND position < (SELECT MAX(position) FROM records)",
    )
    .execute(&mut *transaction)
    .await?;
    let removed = sqlx::query(
        "DELETE FROM records WHERE position IN (SELECT position FROM records WHERE run_number = $1 LIMIT $2)",
    )
    .bind(number)
    .bind(i64::from(SWEEP_RECORDS_MAX))
    .execute(&mut *transaction)
    .await?;
    if removed.rows_affected() < u64::from(SWEEP_RECORDS_MAX) {
        sqlx::query("DELETE FROM doomed WHERE run_number = $1")
            .bind(number)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(true)
}

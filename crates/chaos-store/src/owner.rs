//! Who writes to a database that several hosts can reach.
//!
//! Owns the lock that lets one server write, and the row that says who that is. A file needs neither: the state folder
//! it is in has a lock of its own.
//!
//! The lock belongs to the connection that writes, and to no other: whatever is committed was written while it was held,
//! also when the network breaks between this process and the database. A pool between the two (PgBouncer) has to hand
//! out whole sessions.

use std::time::{Duration, Instant};

use chaos_core::port::StoreError;
use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::SqlStore;
use crate::dialect::Database;
use crate::error::{ConnectError, failed};
use crate::read::{column, time};
use crate::write::{Answer, Done, Work};

/// How long a connection waits for the lock: the server frees that of a process that was killed a moment later.
const LOCK_WAIT: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// First half of the lock's key, for whoever looks at `pg_locks`: the letters "chao".
const LOCK_CLASS: i32 = 0x6368_616f;
/// Second half: installations in different schemas of one database don't disturb each other.
const LOCK_OBJECT: &str = "(hashtext(CAST(current_schema() AS TEXT)) & 2147483647)";
/// Where the kernel tells the name of this host.
const HOSTNAME: &str = "/proc/sys/kernel/hostname";
/// Longest address that is kept, in characters.
const ADDRESS_CHARS_MAX: usize = 300;

const OWNER: &str = "SELECT host, pid, address, since FROM owner WHERE id = 1";

/// The server that writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOwner {
    /// Name of its host.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// Where it can be asked; empty until it has said so.
    pub address: String,
    /// Since when, to the millisecond.
    pub since: Timestamp,
}

impl StoreOwner {
    /// This process, from now on.
    pub(crate) fn this_process() -> Self {
        let host = std::fs::read_to_string(HOSTNAME)
            .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned());
        let now = Timestamp::now();
        let since = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
        Self { host, pid: std::process::id(), address: String::new(), since }
    }
}

impl SqlStore {
    /// Tells others where this server can be asked: whoever is refused the database reads it. Nothing happens for a
    /// file.
    ///
    /// # Errors
    /// When it can't be written.
    pub async fn announce(&self, address: &str) -> Result<(), StoreError> {
        if self.place.database == Database::Sqlite {
            return Ok(());
        }
        let address = address.chars().take(ADDRESS_CHARS_MAX).collect();
        self.write("announce the address of this server".to_owned(), Work::Announce(address))
            .await
            .map(|_| ())
    }

    /// The server that writes to the database, or did last. Always `None` for a file.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn owner(&self) -> Result<Option<StoreOwner>, StoreError> {
        let rows = self.rows("read who owns the database", sqlx::query(OWNER), 1, |action, row| {
            Ok((owner_row(action, row)?, 0))
        });
        Ok(rows.await?.0.pop())
    }
}

/// Takes the lock for this connection, whose number on the server is returned. `previous` is the number of a connection
/// of this process that was lost: its lock may outlive it there, and is taken from it.
pub(crate) async fn lock(connection: &mut AnyConnection, previous: Option<i64>) -> Result<i64, ConnectError> {
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        let text = format!(
            "SELECT pg_try_advisory_lock({LOCK_CLASS}, {LOCK_OBJECT}), CAST(pg_backend_pid() AS BIGINT)"
        );
        let row = sqlx::query(AssertSqlSafe(text)).fetch_one(&mut *connection).await?;
        if row.try_get(0)? {
            return Ok(row.try_get(1)?);
        }
        if let Some(previous) = previous {
            end(connection, previous).await?;
        }
        if Instant::now() >= deadline {
            return Err(ConnectError::Owned(explain(connection).await));
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
}

/// Ends a connection of ours on the server, if it is the one that holds the lock.
async fn end(connection: &mut AnyConnection, previous: i64) -> Result<(), sqlx::Error> {
    let text = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND CAST(classid AS BIGINT) = {LOCK_CLASS} AND CAST(objid AS BIGINT) = {LOCK_OBJECT} \
         AND CAST(pid AS BIGINT) = $1"
    );
    sqlx::query(AssertSqlSafe(text)).bind(previous).fetch_all(connection).await.map(|_| ())
}

/// Who has the lock, in words.
async fn explain(connection: &mut AnyConnection) -> String {
    // A database whose tables are only being made has no such row yet.
    let row = sqlx::query(OWNER).fetch_optional(connection).await.ok().flatten();
    match row.and_then(|row| owner_row("", &row).ok()) {
        Some(StoreOwner { host, pid, address, since }) => {
            let address = if address.is_empty() { "address not known yet" } else { &address };
            format!(
                "chaos on host {host} (process {pid}, {address}) has written to it since {since}, and only one may"
            )
        }
        None => "another server writes to it, and only one may".to_owned(),
    }
}

/// Writes down who has the lock.
pub(crate) async fn claim(connection: &mut AnyConnection, owner: &StoreOwner) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO owner (id, host, pid, address, since) VALUES (1, $1, $2, $3, $4) ON CONFLICT (id) DO UPDATE \
         SET host = excluded.host, pid = excluded.pid, address = excluded.address, since = excluded.since",
    )
    .bind(&*owner.host)
    .bind(i64::from(owner.pid))
    .bind(&*owner.address)
    .bind(owner.since.as_millisecond())
    .execute(connection)
    .await
    .map(|_| ())
}

fn owner_row(action: &str, row: &AnyRow) -> Result<StoreOwner, StoreError> {
    let pid: i64 = column(action, row, 1)?;
    Ok(StoreOwner {
        host: column(action, row, 0)?,
        pid: u32::try_from(pid).map_err(|error| failed(action, error))?,
        address: column(action, row, 2)?,
        since: time(action, row, 3)?,
    })
}

/// Changes the address of whoever has the lock: us, since we write.
pub(crate) async fn set_address(
    connection: &mut AnyConnection,
    address: &str,
) -> Result<Answer, sqlx::Error> {
    let result =
        sqlx::query("UPDATE owner SET address = $1 WHERE id = 1").bind(address).execute(connection).await?;
    Ok(Ok(Done::Changed(result.rows_affected() > 0)))
}

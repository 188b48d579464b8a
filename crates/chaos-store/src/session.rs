//! The connection that writes.
//!
//! Owns its settings, the lock that comes with it, and when it is replaced: what a failed statement leaves of a
//! transaction is never relied on.

use std::time::{Duration, Instant};

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection, Executor, Row};

use crate::BUSY_TIMEOUT;
use crate::dialect::{Database, busy_timeout};
use crate::error::ConnectError;
use crate::owner::{self, StoreOwner};
use crate::place::{Place, set};

/// Time between two tries to switch a new file to write-ahead logging, for which SQLite does not wait by itself.
const SWITCH_PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) place: Place,
    /// Absent after a failure, until the next use.
    connection: Option<AnyConnection>,
    /// Number of the latest connection on a server.
    backend: Option<i64>,
    /// Who we are, once that was written down.
    owner: Option<StoreOwner>,
}

impl Session {
    pub(crate) fn new(place: Place) -> Self {
        Self { place, connection: None, backend: None, owner: None }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    pub(crate) async fn connected(&mut self) -> Result<&mut AnyConnection, ConnectError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(self.connection.insert(connection))
    }

    async fn connect(&mut self) -> Result<AnyConnection, ConnectError> {
        let mut connection = self.place.connect().await?;
        if self.place.database == Database::Sqlite {
            set(&mut connection, vec![busy_timeout()]).await?;
            use_write_ahead_log(&mut connection).await?;
        }
        set(&mut connection, self.place.database.writer_settings()).await?;
        if self.place.database == Database::Postgres {
            self.backend = Some(owner::lock(&mut connection, self.backend).await?);
            if let Some(owner) = &self.owner {
                owner::claim(&mut connection, owner).await?;
            }
        }
        Ok(connection)
    }

    /// Writes down that this process writes to a database of a server, whose tables are there now.
    pub(crate) async fn claim(&mut self) -> Result<(), ConnectError> {
        if self.place.database == Database::Postgres {
            let owner = StoreOwner::this_process();
            owner::claim(self.connected().await?, &owner).await?;
            self.owner = Some(owner);
        }
        Ok(())
    }

    /// Remembers the address of this server for the next connection.
    pub(crate) fn announced(&mut self, address: &str) {
        if let Some(owner) = &mut self.owner {
            address.clone_into(&mut owner.address);
        }
    }

    /// Gives the connection up, in whatever state it is.
    pub(crate) fn abandon(&mut self) {
        self.connection = None;
    }

    pub(crate) async fn close(mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "closing the journal");
        }
    }
}

async fn use_write_ahead_log(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match connection.fetch_one("PRAGMA journal_mode = WAL").await.and_then(|row: AnyRow| row.try_get(0)) {
            Ok::<String, _>(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                let reason = format!("write-ahead logging is not possible there (SQLite chose {mode})");
                return Err(sqlx::Error::Configuration(reason.into()));
            }
            Err(error) if is_busy(&error) && Instant::now() < deadline => {
                tokio::time::sleep(SWITCH_PAUSE).await
            }
            Err(error) => return Err(error),
        }
    }
}

/// SQLITE_BUSY, also in its extended forms.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    let code =
        error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

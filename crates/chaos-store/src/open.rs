//! Opening a store: connect, bring the format up to date, start the writer.
//!
//! Owns the order of these. It never reads a run.

use std::path::Path;
use std::sync::Arc;

use chaos_core::port::StoreError;
use tokio::sync::watch;

use crate::cache::Lists;
use crate::error::{failed, refused};
use crate::place::{Access, Place, create_file};
use crate::session::Session;
use crate::{SCHEMA_VERSION, SqlStore, read, schema, write};

impl SqlStore {
    /// Opens the database in the file `path`, creates it and its folder (modes 0600 and 0700) when they are absent,
    /// and brings its format up to date.
    ///
    /// # Errors
    /// When the file can't be opened, is no database, or was written by a newer build.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        create_file(path).map_err(|error| failed(format!("open the journal {}", path.display()), error))?;
        start(Place::file(path, Access::ReadWrite)?).await
    }

    /// Opens the database of a PostgreSQL server by its address, `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, creates
    /// the tables when they are absent, and brings its format up to date. Add `?sslmode=verify-full` (and
    /// `&sslrootcert=FILE`) wherever somebody else could listen.
    ///
    /// # Errors
    /// When the server can't be reached or refuses, when the format is of a newer build, and as a conflict when another
    /// server writes to this database: the reason says which one. No error shows the password.
    pub async fn open_url(url: &str) -> Result<Self, StoreError> {
        start(Place::url(url)?).await
    }

    /// Opens the database in the file `path` to read it only, also beside a process that writes to it. Nothing is
    /// created, and every write is refused.
    ///
    /// # Errors
    /// When the file can't be opened, is no database, or was written by another version of the format.
    pub async fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        to_read(Place::file(path, Access::ReadOnly)?).await
    }

    /// Opens the database of a PostgreSQL server to read it only, also beside the server that writes to it. Every write
    /// is refused.
    ///
    /// # Errors
    /// When the server can't be reached or refuses, or the format is of another version. No error shows the password.
    pub async fn open_url_to_read(url: &str) -> Result<Self, StoreError> {
        to_read(Place::url(url)?).await
    }
}

async fn start(place: Place) -> Result<SqlStore, StoreError> {
    let action = format!("open {}", place.what);
    let mut session = Session::new(place.clone());
    let connection = session.connected().await.map_err(|error| error.while_doing(&action))?;
    schema::migrate(connection, &place).await?;
    session.claim().await.map_err(|error| error.while_doing(&action))?;
    let readers = place.readers().await.map_err(|error| failed(&action, error))?;
    let position = read::latest_position(&readers).await?;
    let lists = Arc::new(Lists::default());
    let (writer, position) = write::start(session, position, Arc::clone(&lists));
    Ok(SqlStore { place, readers, writer: Some(writer), position, lists })
}

pub(crate) async fn to_read(place: Place) -> Result<SqlStore, StoreError> {
    let action = format!("open {}", place.what);
    let readers = place.readers().await.map_err(|error| failed(&action, error))?;
    let found = schema::version(&readers).await.map_err(|error| failed(&action, error))?;
    if found != SCHEMA_VERSION {
        let reason = format!("it has format {found}, this build reads {SCHEMA_VERSION}");
        return Err(refused(action, reason));
    }
    let position = read::latest_position(&readers).await?;
    // Positions don't move for whoever only reads.
    let (_, position) = watch::channel(position);
    Ok(SqlStore { place, readers, writer: None, position, lists: Arc::default() })
}

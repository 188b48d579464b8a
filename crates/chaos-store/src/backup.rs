//! A copy of the file while it is in use, and the way back.
//!
//! Owns that nothing is overwritten unasked, that what is put in place was checked, and that a crash at any time leaves
//! either what was there or what was asked for. PostgreSQL has programs of its own for both.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chaos_core::port::StoreError;
use sqlx::{AnyConnection, Connection, Executor, Row};

use crate::dialect::Database;
use crate::error::{failed, refused};
use crate::place::{Access, Place, folder_of, set};
use crate::session::is_busy;
use crate::{SCHEMA_VERSION, SqlStore, schema};

/// What to do with PostgreSQL instead.
const OTHER_TOOLS: &str =
    "PostgreSQL has its own programs for that: use pg_dump to make a copy and pg_restore to bring it back";

impl SqlStore {
    /// Copies the database to the new file `to` (mode 0600), as it is at one moment, while it is read and written. The
    /// copy is on disk when this returns.
    ///
    /// # Errors
    /// When `to` is there already (a conflict), when it can't be written, and always on PostgreSQL.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let action = format!("copy {} to {}", self.place.what, to.display());
        if self.place.database == Database::Postgres {
            return Err(refused(action, OTHER_TOOLS));
        }
        // The name is taken first, so that no other copy can be written over it or it over another.
        let reserved = Unfinished::create(to.to_owned()).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => refused(&action, "that file is there already"),
            _ => failed(&action, error),
        })?;
        let partial = Unfinished::beside(to, "partial").map_err(|error| failed(&action, error))?;
        let path = partial.path.canonicalize().map_err(|error| failed(&action, error))?;
        let path = path.to_str().ok_or_else(|| refused(&action, "the path is not UTF-8"))?;
        copy(&self.place, path).await.map_err(|error| failed(&action, error))?;
        partial.rename(to).map_err(|error| failed(&action, error))?;
        reserved.keep();
        Ok(())
    }

    /// Puts the copy `from` in the place of the database in the file `to`. The copy is checked first: that it is whole, is
    /// one of ours, and of a format that this build knows. A database that is there is overwritten only with `replace`,
    /// and only when no process has it open.
    ///
    /// # Errors
    /// When any of these is not so (a conflict), when a file can't be read or written, and always for an address of
    /// PostgreSQL. The database that was there is then as it was.
    pub async fn restore(from: &Path, to: &Path, replace: bool) -> Result<(), StoreError> {
        let action = format!("restore {} to {}", from.display(), to.display());
        if [from, to].iter().any(|path| is_url(path)) {
            return Err(refused("restore a database of PostgreSQL", OTHER_TOOLS));
        }
        if to.exists() && !replace {
            return Err(refused(action, "there is a database already"));
        }
        let log = with_suffix(from, "-wal");
        if log.metadata().is_ok_and(|log| log.len() > 0) {
            let reason = "it is in use or was not closed; copy it with `chaos store backup` instead";
            return Err(refused(action, reason));
        }
        let partial = tokio::task::spawn_blocking({
            let (from, to) = (from.to_owned(), to.to_owned());
            move || copy_file(&from, &to)
        });
        let partial = match partial.await {
            Ok(copied) => copied.map_err(|error| failed(&action, error))?,
            Err(error) => return Err(failed(action, error)),
        };
        // What is checked is what is put in place.
        inspect(&partial.path, &action).await?;
        free(to, &action).await?;
        partial.rename(to).map_err(|error| failed(&action, error))
    }
}

fn is_url(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.starts_with("postgres://") || text.starts_with("postgresql://"))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A file that goes away unless it is finished.
struct Unfinished {
    path: PathBuf,
    finished: bool,
}

impl Unfinished {
    /// A new empty file that nobody else can read.
    fn create(path: PathBuf) -> io::Result<Self> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { path, finished: false })
    }

    /// A new empty file in the same folder. One that an earlier process left goes.
    fn beside(path: &Path, suffix: &str) -> io::Result<Self> {
        let path = with_suffix(path, &format!(".{suffix}"));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Self::create(path)
    }

    /// Puts it in its place, on disk.
    fn rename(self, to: &Path) -> io::Result<()> {
        File::open(&self.path)?.sync_all()?;
        std::fs::rename(&self.path, to)?;
        self.keep();
        File::open(folder_of(to))?.sync_all()
    }

    fn keep(mut self) {
        self.finished = true;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            // Whatever led here is the error that is told.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Copies the database into an empty file.
async fn copy(place: &Place, path: &str) -> Result<(), sqlx::Error> {
    let mut connection = place.connect().await?;
    let copied = sqlx::query("VACUUM INTO $1").bind(path).execute(&mut connection).await;
    connection.close().await?;
    copied.map(|_| ())
}

fn copy_file(from: &Path, to: &Path) -> io::Result<Unfinished> {
    let mut source = File::open(from)?;
    let partial = Unfinished::beside(to, "partial")?;
    let mut target = OpenOptions::new().write(true).open(&partial.path)?;
    io::copy(&mut source, &mut target)?;
    Ok(partial)
}

/// Refuses what is not a whole database of ours in a format that this build knows.
async fn inspect(path: &Path, action: &str) -> Result<(), StoreError> {
    let mut connection =
        Place::file(path, Access::Still)?.connect().await.map_err(|error| failed(action, error))?;
    let found = look(&mut connection).await;
    let closed = connection.close().await;
    let version =
        found.map_err(|error| refused(action, format!("what is to be restored is damaged: {error}")))?;
    closed.map_err(|error| failed(action, error))?;
    if (1..=SCHEMA_VERSION).contains(&version) {
        return Ok(());
    }
    let reason =
        format!("what is to be restored has format {version}, this build knows 1 to {SCHEMA_VERSION}");
    Err(refused(action, reason))
}

/// Returns the version of the format.
async fn look(connection: &mut AnyConnection) -> Result<i64, sqlx::Error> {
    for statement in Database::Sqlite.integrity() {
        for row in connection.fetch_all(*statement).await? {
            let said: String = row.try_get(0)?;
            if said != "ok" {
                return Err(sqlx::Error::Protocol(said));
            }
        }
    }
    connection.fetch_one(schema::VERSION).await?.try_get(0)
}

/// Makes sure that no process has the database open, and that nothing of it is left in side files, which would be taken
/// for a part of the new one.
async fn free(path: &Path, action: &str) -> Result<(), StoreError> {
    if !path.exists() {
        return Ok(());
    }
    match leave_write_ahead_log(path).await {
        Err(error) if is_busy(&error) => {
            return Err(refused(action, "a process has the database open; stop it first"));
        }
        // It may be damaged: that is why another is put in its place.
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "the database that is replaced can't be read")
        }
        Ok(()) => {}
    }
    for suffix in ["-wal", "-shm"] {
        match std::fs::remove_file(with_suffix(path, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(action, error)),
            _ => {}
        }
    }
    Ok(())
}

/// Only who is alone with a database can do this.
async fn leave_write_ahead_log(path: &Path) -> Result<(), sqlx::Error> {
    let place =
        Place::file(path, Access::ReadWrite).map_err(|error| sqlx::Error::Protocol(error.to_string()))?;
    let mut connection = place.connect().await?;
    set(&mut connection, vec!["PRAGMA busy_timeout = 0".to_owned()]).await?;
    let left = connection.fetch_one("PRAGMA journal_mode = DELETE").await;
    connection.close().await?;
    left.map(|_| ())
}

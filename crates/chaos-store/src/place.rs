//! Where a store is, and how to connect to it.
//!
//! Owns addresses, the modes of files and the pool of readers. It never shows a password, and never reads or writes a
//! row.

use std::fmt::{self, Write as _};
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use chaos_core::port::StoreError;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Connection, Executor};

use crate::READERS_MAX;
use crate::dialect::Database;
use crate::error::{failed, refused};

/// How long a reader waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may take to answer a new connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// What an address of PostgreSQL may say behind its question mark.
const URL_PARAMETERS: [&str; 16] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// May what is opened be changed?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    ReadWrite,
    ReadOnly,
    /// A file that nobody writes to: not even SQLite's side files are made.
    Still,
}

/// A database that can be connected to.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) database: Database,
    /// What is opened, in words; without a password.
    pub(crate) what: String,
    options: AnyConnectOptions,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("what", &self.what).finish_non_exhaustive()
    }
}

impl Place {
    /// The database in a file, which has to be there.
    pub(crate) fn file(path: &Path, access: Access) -> Result<Self, StoreError> {
        let what = format!("the journal {}", path.display());
        let options = path
            .canonicalize()
            .map_err(sqlx::Error::Io)
            .and_then(|path| file_options(&path, access))
            .map_err(|error| failed(format!("open {what}"), error))?;
        Ok(Self::new(Database::Sqlite, what, options))
    }

    /// The database of a server.
    pub(crate) fn url(url: &str) -> Result<Self, StoreError> {
        let action = "open the database of DATABASE_URL";
        // An address that can't be read is not shown: its password could be anywhere in it.
        let options = AnyConnectOptions::from_str(url).map_err(|error| refused(action, error.to_string()))?;
        let address = &options.database_url;
        if !matches!(address.scheme(), "postgres" | "postgresql") {
            return Err(refused(action, "expected an address that starts with postgres://"));
        }
        let known = |key: &str| URL_PARAMETERS.contains(&key) || key.starts_with("options[");
        if let Some((key, _)) = address.query_pairs().find(|(key, _)| !known(key)) {
            return Err(refused(action, format!("its parameter {key:?} is not known")));
        }
        let given = |name| address.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value);
        let host = given("host").or_else(|| address.host_str().map(Into::into)).unwrap_or_default();
        let port = address.port().map(|port| format!(":{port}")).unwrap_or_default();
        let what = format!("the database {:?} at {host}{port}", address.path().trim_start_matches('/'));
        Ok(Self::new(Database::Postgres, what, options))
    }

    fn new(database: Database, what: String, options: AnyConnectOptions) -> Self {
        sqlx::any::install_default_drivers();
        Self { database, what, options }
    }

    /// A connection without any setting.
    pub(crate) async fn connect(&self) -> Result<AnyConnection, sqlx::Error> {
        let connecting = AnyConnection::connect_with(&self.options);
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(result) => result,
            Err(_) => Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Connections that can't change anything.
    pub(crate) async fn readers(&self) -> Result<AnyPool, sqlx::Error> {
        let database = self.database;
        AnyPoolOptions::new()
            .max_connections(READERS_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // A file is in this process and can't go away between two uses; a server can.
            .test_before_acquire(database == Database::Postgres)
            .after_connect(move |connection, _| {
                Box::pin(async move { set(connection, database.reader_settings()).await })
            })
            .connect_with(self.options.clone())
            .await
    }
}

/// Changes settings of a connection. They are made of constants.
pub(crate) async fn set(connection: &mut AnyConnection, settings: Vec<String>) -> Result<(), sqlx::Error> {
    for setting in settings {
        connection.execute(AssertSqlSafe(setting)).await?;
    }
    Ok(())
}

/// The database file is created here rather than by SQLite so that nobody else can ever read it; SQLite gives its side
/// files the same mode.
pub(crate) fn create_file(path: &Path) -> io::Result<()> {
    let folder = folder_of(path);
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            file.sync_all()?;
            File::open(folder)?.sync_all()
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mode = path.metadata()?.permissions().mode();
            let private = Permissions::from_mode(mode & 0o700);
            if mode & 0o077 == 0 { Ok(()) } else { std::fs::set_permissions(path, private) }
        }
        Err(error) => Err(error),
    }
}

/// The folder that a file is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Connections can only be described by an address, in which every byte of a path that means something has to be
/// written in hexadecimal.
fn file_options(path: &Path, access: Access) -> Result<AnyConnectOptions, sqlx::Error> {
    let text = path.to_str().ok_or_else(|| sqlx::Error::Configuration("the path is not UTF-8".into()))?;
    let mut address = "sqlite://".to_owned();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_') {
            address.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(address, "%{byte:02X}");
        }
    }
    address.push_str(match access {
        Access::ReadWrite => "?mode=rw",
        Access::ReadOnly => "?mode=ro",
        Access::Still => "?mode=ro&immutable=true",
    });
    AnyConnectOptions::from_str(&address)
}

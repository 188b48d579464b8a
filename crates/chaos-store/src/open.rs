//! Files and connections.
//!
//! Owns modes, settings and the number of connections. It never reads or writes a row.

use std::fmt::Write as _;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use chaos_core::port::StoreError;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::{AnyConnection, AnyPool, Connection, Executor, Row};

use crate::error::failed;
use crate::{BUSY_TIMEOUT, READERS_MAX, SqlStore, schema, write};

/// How long a reader waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two tries to switch a new file to write-ahead logging, for which SQLite does not wait by itself.
const SWITCH_PAUSE: Duration = Duration::from_millis(20);

pub(crate) async fn open(path: &Path) -> Result<SqlStore, StoreError> {
    let what = format!("the journal {}", path.display());
    let action = format!("open {what}");
    sqlx::any::install_default_drivers();
    create_file(path).map_err(|error| failed(&action, error))?;
    let path = path.canonicalize().map_err(|error| failed(&action, error))?;
    let options = options(&path).map_err(|error| failed(&action, error))?;
    let mut connection = connect_writer(&options).await.map_err(|error| failed(&action, error))?;
    schema::migrate(&mut connection, &what).await?;
    let readers = readers(options.clone()).await.map_err(|error| failed(&action, error))?;
    let position = crate::read::latest_position(&readers).await?;
    let (writer, position) = write::start(connection, options, position);
    Ok(SqlStore { readers, writer, position })
}

/// The database file is created here rather than by SQLite so that nobody else can ever read it; SQLite gives its side
/// files the same mode.
fn create_file(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
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

/// Connections can only be described by an address, in which every byte of a path that means something has to be
/// written in hexadecimal.
fn options(path: &Path) -> Result<AnyConnectOptions, sqlx::Error> {
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
    address.push_str("?mode=rw");
    AnyConnectOptions::from_str(&address)
}

/// The connection that writes: acknowledged means on disk.
pub(crate) async fn connect_writer(options: &AnyConnectOptions) -> Result<AnyConnection, sqlx::Error> {
    let mut connection = AnyConnection::connect_with(options).await?;
    set_busy_timeout(&mut connection).await?;
    use_write_ahead_log(&mut connection).await?;
    connection.execute("PRAGMA synchronous = FULL").await?;
    connection.execute("PRAGMA trusted_schema = OFF").await?;
    connection.execute("PRAGMA journal_size_limit = 67108864").await?;
    Ok(connection)
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
fn is_busy(error: &sqlx::Error) -> bool {
    let code =
        error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

async fn set_busy_timeout(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let pragma = format!("PRAGMA busy_timeout = {}", BUSY_TIMEOUT.as_millis());
    connection.execute(sqlx::AssertSqlSafe(pragma)).await.map(|_| ())
}

async fn readers(options: AnyConnectOptions) -> Result<AnyPool, sqlx::Error> {
    AnyPoolOptions::new()
        .max_connections(READERS_MAX)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // The database is in this process: a connection can't go away between two uses.
        .test_before_acquire(false)
        .after_connect(|connection, _| {
            Box::pin(async move {
                set_busy_timeout(connection).await?;
                connection.execute("PRAGMA query_only = ON").await.map(|_| ())
            })
        })
        .connect_with(options)
        .await
}

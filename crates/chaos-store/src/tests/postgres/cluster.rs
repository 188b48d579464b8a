//! A PostgreSQL server of a test's own: a folder for its data, a Unix socket in it, no network.
//!
//! Owns its processes: they end with the value, also when the test fails. It never touches another server.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, User, chown, geteuid};
use sqlx::{AnyConnection, Connection as _, Executor as _};

/// A password in which every character means something in an address.
pub(super) const PASSWORD: &str = "s3cret/p@ss?&=#%word";
const PASSWORD_IN_URL: &str = "s3cret%2Fp%40ss%3F%26%3D%23%25word";
const VERSION_MIN: u32 = 15;

pub(super) struct Cluster {
    server: Option<Child>,
    /// What the server is told beside its folder.
    settings: Vec<String>,
    programs: Programs,
    folder: tempfile::TempDir,
}

/// Where PostgreSQL is, and as whom it runs: it refuses to be root.
struct Programs {
    postgres: PathBuf,
    initdb: PathBuf,
    user: Option<(Uid, Gid)>,
}

impl Cluster {
    /// A running server, or why there can be none here.
    pub(super) fn start() -> Result<Self, String> {
        let programs = Programs::find()?;
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        if let Some((user, group)) = programs.user {
            chown(folder.path(), Some(user), Some(group)).map_err(|error| error.to_string())?;
        }
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).map_err(|error| error.to_string())?;
        let made = programs
            .command(&programs.initdb, folder.path())
            .args(["--username=chaos", "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync"])
            .arg("--locale=C")
            .arg(format!("--pwfile={}", password.display()))
            .arg(format!("--pgdata={}", folder.path().join("data").display()))
            .output()
            .map_err(|error| format!("initdb: {error}"))?;
        if !made.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr)));
        }
        let settings = ["listen_addresses=", "fsync=on", "shared_buffers=16MB"].map(str::to_owned).into();
        let mut cluster = Self { server: None, settings, programs, folder };
        cluster.run()?;
        Ok(cluster)
    }

    /// Starts the server and waits until it takes connections.
    pub(super) fn run(&mut self) -> Result<(), String> {
        let mut server = self
            .programs
            .command(&self.programs.postgres, self.folder.path())
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .arg("-k")
            .arg(self.folder.path())
            .args(self.settings.iter().flat_map(|setting| ["-c", setting]))
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("postgres: {error}"))?;
        let mut said = String::new();
        let output = server.stderr.take();
        self.server = Some(server);
        let mut lines = BufReader::new(output.ok_or("no output")?);
        while !said.ends_with("ready to accept connections\n") {
            if lines.read_line(&mut said).map_err(|error| error.to_string())? == 0 {
                return Err(format!("postgres: {said}"));
            }
        }
        // Nobody else reads it, and a full pipe would stop the server.
        std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
        Ok(())
    }

    /// Ends every process of the server at once, as a crash would.
    pub(super) fn crash(&mut self) {
        if let Some(mut server) = self.server.take() {
            // "Immediate shutdown": nothing is written any more.
            let _ = kill(Pid::from_raw(server.id().cast_signed()), Signal::SIGQUIT);
            let _ = server.wait();
        }
    }

    /// Starts it again with a port on the loopback interface, and encryption with a certificate for `localhost` that only
    /// whoever has the returned file trusts. Or says why not.
    pub(super) fn encrypt(&mut self) -> Result<(u16, PathBuf), String> {
        let openssl = program("openssl").ok_or("openssl is not installed (Debian package openssl)")?;
        let (key, certificate) =
            (self.folder.path().join("server.key"), self.folder.path().join("server.crt"));
        let made = self
            .programs
            .command(&openssl, self.folder.path())
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .map_err(|error| format!("openssl: {error}"))?;
        if !made.status.success() {
            return Err(format!("openssl: {}", String::from_utf8_lossy(&made.stderr)));
        }
        self.crash();
        // Free a moment ago, which is as good as it gets: the server can't be handed a socket.
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let port = port.map_err(|error| error.to_string())?.port();
        self.settings.extend([
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", certificate.display()),
            format!("ssl_key_file={}", key.display()),
        ]);
        self.run()?;
        Ok((port, certificate))
    }

    /// Makes a database and returns its address. Its language has another order of texts than that of their bytes.
    pub(super) async fn database(&self, name: &str) -> String {
        sqlx::any::install_default_drivers();
        let mut connection = AnyConnection::connect(&self.url("postgres")).await.unwrap();
        let statement = format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
        );
        let statement = sqlx::AssertSqlSafe(statement);
        connection.execute(statement).await.unwrap();
        connection.close().await.unwrap();
        self.url(name)
    }

    pub(super) fn url(&self, name: &str) -> String {
        self.url_with(PASSWORD_IN_URL, name)
    }

    /// An address with another password.
    pub(super) fn url_with(&self, password: &str, name: &str) -> String {
        format!("postgres://chaos:{password}@localhost/{name}?host={}", self.folder.path().display())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.crash();
    }
}

impl Programs {
    fn find() -> Result<Self, String> {
        let find = |name| program(name).ok_or(format!("{name} is not installed (Debian package postgresql)"));
        let (postgres, initdb) = (find("postgres")?, find("initdb")?);
        let said = Command::new(&postgres).arg("--version").output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let version = said.split(|c: char| !c.is_ascii_digit()).find_map(|part| part.parse::<u32>().ok());
        if version.is_none_or(|version| version < VERSION_MIN) {
            return Err(format!("PostgreSQL {VERSION_MIN} or newer is needed, this is {said:?}"));
        }
        let user = if geteuid().is_root() {
            let nobody = User::from_name("nobody").ok().flatten().ok_or("there is no user `nobody`")?;
            Some((nobody.uid, nobody.gid))
        } else {
            None
        };
        Ok(Self { postgres, initdb, user })
    }

    fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).env_clear().env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::null());
        if let Some((user, group)) = self.user {
            command.uid(user.as_raw()).gid(group.as_raw());
        }
        command
    }
}

/// A program in the path, or where Debian puts those of PostgreSQL; there the newest.
fn program(name: &str) -> Option<PathBuf> {
    let mut places: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    places.sort_by_key(|place| place.parent().and_then(|at| at.file_name()?.to_str()?.parse::<u32>().ok()));
    places.reverse();
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    places.into_iter().map(|place| place.join(name)).find(|path| path.is_file())
}

//! A server whose journals are in a real PostgreSQL that the test starts: the same verbs, also after a kill.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use e2e::terminal::{SERVER, Terminal, field, get, orchestrator, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, User, chown, geteuid};

/// A database server with a folder of its own and a Unix socket in it; it ends with the value.
struct Cluster {
    server: Child,
    folder: tempfile::TempDir,
}

impl Cluster {
    /// A running one, or why there can be none here.
    fn start() -> Result<Self, String> {
        let words = |error: std::io::Error| error.to_string();
        let find = |name| program(name).ok_or(format!("{name} is not installed (Debian package postgresql)"));
        let (postgres, initdb, user) = (find("postgres")?, find("initdb")?, user()?);
        let folder = tempfile::tempdir().map_err(words)?;
        if let Some((user, group)) = user {
            chown(folder.path(), Some(user), Some(group)).map_err(|error| error.to_string())?;
        }
        let command = |program: &Path| {
            let mut command = Command::new(program);
            command.current_dir(folder.path()).env_clear().env("LC_ALL", "C");
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            if let Some((user, group)) = user {
                command.uid(user.as_raw()).gid(group.as_raw());
            }
            command
        };
        let data = folder.path().join("data");
        let options = ["--username=chaos", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"];
        let made = command(&initdb).args(options).arg("--pgdata").arg(&data).output().map_err(words)?;
        if !made.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr)));
        }
        let mut server = command(&postgres);
        server.args(["-c", "listen_addresses=", "-c", "shared_buffers=16MB", "-D"]).arg(&data);
        let mut server = server.arg("-k").arg(folder.path()).spawn().map_err(words)?;
        let mut lines = BufReader::new(server.stderr.take().ok_or("no output")?);
        let cluster = Self { server, folder };
        let mut said = String::new();
        while !said.ends_with("ready to accept connections\n") {
            if lines.read_line(&mut said).map_err(words)? == 0 {
                return Err(format!("postgres: {said}"));
            }
        }
        // Nobody else reads it, and a full pipe would stop the server.
        std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
        Ok(cluster)
    }

    fn url(&self) -> String {
        format!("postgres://chaos@localhost/postgres?host={}", self.folder.path().display())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // "Immediate shutdown" of all its processes; its folder goes anyway.
        let _ = kill(Pid::from_raw(self.server.id().cast_signed()), Signal::SIGQUIT);
        let _ = self.server.wait();
    }
}

/// As whom it runs: it refuses to be root.
fn user() -> Result<Option<(Uid, Gid)>, String> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let nobody = User::from_name("nobody").ok().flatten().ok_or("there is no user `nobody`")?;
    // In the room of a plain user nobody else is there to become.
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let is_whole = map.split_whitespace().nth(2).and_then(|count| count.parse::<u64>().ok()) > Some(65_534);
    if is_whole { Ok(Some((nobody.uid, nobody.gid))) } else { Err("PostgreSQL refuses to be root".into()) }
}

/// A program in the path, or where Debian puts those of PostgreSQL; there the newest.
fn program(name: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let mut places: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    places.sort_by_key(|place| place.parent().and_then(|at| at.file_name()?.to_str()?.parse::<u32>().ok()));
    places.reverse();
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    places.into_iter().map(|place| place.join(name)).find(|path| path.is_file())
}

#[test]
fn runs_lever_and_tokens_are_in_the_database_and_survive_a_kill_of_the_server() {
    e2e::in_a_room!();
    let cluster = match Cluster::start() {
        Ok(cluster) => cluster,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let (mut terminal, _house) = (Terminal::new(), orchestrator(env!("CARGO_BIN_EXE_soak")));
    terminal.environment.push(("DATABASE_URL".to_owned(), cluster.url()));
    let mut server = terminal.serve();
    assert!(!terminal.state.join("journal.db").exists(), "nothing is kept in a file");
    terminal.expect(0, &["run", "--type", "process_pause", "--name", "first", "--duration", "1"]);
    let viewer = Terminal::of_caller(&terminal.token("vera", "viewer"));
    viewer.expect(0, &["lever", "engage", "--reason", "drill"]);
    let runs = terminal.json(&["list"]);
    server.signal(Signal::SIGKILL);
    let _ = server.end();
    let server = terminal.serve();
    assert_eq!(terminal.json(&["list"]), runs);
    assert_eq!(field(&runs[0], "verdict"), "held", "{runs}");
    assert_eq!(field(&viewer.json(&["lever", "show"]), "engaged"), "true");
    terminal.expect(0, &["lever", "release", "--reason", "it is over"]);
    terminal.expect(0, &["run", "--type", "pod_kill", "--name", "second", "--duration", "1"]);
    assert_eq!(terminal.json(&["list"]).as_array().map(Vec::len), Some(2));
    terminal.expect(0, &["report", "first", "--format", "md"]);
    terminal.expect(0, &["audit", "verify"]);
    refused_beside(&terminal);
    drop(server);
}

/// Only one may write to a database, whatever folder it has.
fn refused_beside(terminal: &Terminal) {
    let other = Terminal { environment: terminal.environment.clone(), ..Terminal::new() };
    let second = other.run(&["serve", "--listen", "127.0.0.1:9081"]);
    assert!(second.code.is_some_and(|code| code != 0), "{second:?}");
    assert!(second.errors.contains(SERVER), "it says who has it: {second:?}");
}

#[test]
fn a_server_waits_for_no_database_that_is_not_there() {
    e2e::in_a_room!();
    let mut terminal = Terminal::new();
    let url = format!("postgres://chaos:s3cret@localhost/chaos?host={}", terminal.folder.path().display());
    terminal.environment.push(("DATABASE_URL".to_owned(), url));
    let ended = terminal.run(&["serve"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("database") && !ended.errors.contains("s3cret"), "{ended:?}");
    wait_for("nobody", || get(SERVER, "/health").is_none());
}

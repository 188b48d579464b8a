//! A user's terminal: the program `chaos` with a state folder, run to its end or left running, always within a limit.
//!
//! Owns the finding of the programs and the bounded waits of the tests. It never looks into the program.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::world::House;

/// Longest life of one command.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(100);
/// Longest wait for a condition.
pub const WAIT_LIMIT: Duration = Duration::from_secs(20);
/// Where a server of a test listens: the room has this port to itself.
pub const SERVER: &str = "127.0.0.1:8081";
const POLL: Duration = Duration::from_millis(10);

/// A program of the workspace, built by `cargo build --workspace --bins`.
///
/// # Panics
/// It is not there.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let folder = test.parent().and_then(Path::parent).expect("the target folder");
    let program = folder.join(name);
    assert!(program.is_file(), "{} is not there: cargo build --workspace --bins", program.display());
    program
}

/// A state folder, and commands that use it.
#[derive(Debug)]
pub struct Terminal {
    /// Everything of this terminal is below; removed at the end.
    pub folder: tempfile::TempDir,
    /// The state folder.
    pub state: PathBuf,
    /// More environment of every command.
    pub environment: Vec<(String, String)>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub errors: String,
}

impl Terminal {
    /// One with an empty state folder.
    ///
    /// # Panics
    /// No folder can be made.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("state");
        Self { folder, state, environment: Vec::new() }
    }

    /// The terminal of somebody else, who has a token for the server on the usual port.
    ///
    /// # Panics
    /// No folder can be made.
    #[must_use]
    pub fn of_caller(token: &str) -> Self {
        let environment = [("CHAOS_SERVER", format!("http://{SERVER}")), ("CHAOS_TOKEN", token.to_owned())];
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        Self { environment: environment.to_vec(), ..Self::new() }
    }

    /// `chaos` with these arguments.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("chaos"));
        command.args(arguments).env("CHAOS_STATE", &self.state).env("XDG_CONFIG_HOME", self.folder.path());
        // What is set where the tests run is nobody's business here, a database least of all.
        for name in ["CHAOS_SERVER", "CHAOS_TOKEN", "CHAOS_CA", "CHAOS_CONFIG_FILE", "DATABASE_URL"] {
            command.env_remove(name);
        }
        command.env("NO_COLOR", "1").envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).end()
    }

    /// Runs it, wants this exit code, and returns what it printed.
    ///
    /// # Panics
    /// It ends otherwise.
    pub fn expect(&self, code: i32, arguments: &[&str]) -> Ended {
        let ended = self.run(arguments);
        assert_eq!(
            ended.code,
            Some(code),
            "chaos {}\n{}\n{}",
            arguments.join(" "),
            ended.output,
            ended.errors
        );
        ended
    }

    /// Its standard output as JSON, exit code 0.
    ///
    /// # Panics
    /// It fails or prints something else.
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.expect(0, &[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&ended.output).unwrap_or_else(|error| panic!("{error}: {}", ended.output))
    }

    /// Starts it.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(&self, arguments: &[&str]) -> Running {
        Running::of(self.command(arguments))
    }

    /// Starts a server on the usual port of the room and waits until it answers.
    ///
    /// # Panics
    /// It does not answer in time.
    #[must_use]
    pub fn serve(&self) -> Running {
        self.serve_with(&[])
    }

    /// The same with more options.
    ///
    /// # Panics
    /// It does not answer in time.
    #[must_use]
    pub fn serve_with(&self, options: &[&str]) -> Running {
        let mut server = self.start(&[&["serve"], options].concat());
        wait_for("the server", || {
            assert!(server.is_running(), "{:?}", server.take_output());
            get(SERVER, "/health").is_some()
        });
        server
    }

    /// A new token of the server of this state folder.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn token(&self, name: &str, role: &str) -> String {
        let made = self.expect(0, &["token", "create", "--name", name, "--role", role]);
        made.output.trim().to_owned()
    }

    /// Writes a file that only its owner can read, and names it.
    ///
    /// # Panics
    /// The disk refuses.
    #[must_use]
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        let mut file = OpenOptions::new();
        let mut file =
            file.write(true).create(true).truncate(true).mode(0o600).open(&path).expect("a folder");
        file.write_all(content.as_bytes()).expect("room on the disk");
        path.display().to_string()
    }

    /// Waits until `status NAME` says this phase.
    ///
    /// # Panics
    /// It does not in time.
    pub fn wait_for_phase(&self, name: &str, phase: &str) {
        wait_for(&format!("{name} in phase {phase}"), || {
            let status = self.run(&["status", name, "--output", "json"]);
            let status: Value = serde_json::from_str(&status.output).unwrap_or_default();
            field(&status, "phase") == phase
        });
    }
}

/// A field by name, wherever it is nearest to the top; empty when it is nowhere.
#[must_use]
pub fn field(value: &Value, name: &str) -> String {
    fn find<'a>(value: &'a Value, name: &str, depth: usize) -> Option<&'a Value> {
        let Value::Object(fields) = value else { return None };
        let own = fields.get(name).filter(|found| !found.is_null());
        own.or_else(|| (depth > 0).then(|| fields.values().find_map(|below| find(below, name, depth - 1)))?)
    }
    let found = find(value, name, 3);
    found.map_or_else(String::new, |found| found.as_str().map_or_else(|| found.to_string(), str::to_owned))
}

/// A command that was started; killed when it is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    /// Starts a command, with its output kept for later.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn of(mut command: Command) -> Self {
        Self { child: command.spawn().expect("a program that starts") }
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// It has ended.
    pub fn signal(&mut self, signal: Signal) {
        assert!(self.is_running(), "it has ended before the signal");
        kill(Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")), signal).expect("a signal");
    }

    /// Waits for its end; one that takes too long is killed and fails the test.
    ///
    /// # Panics
    /// It does not end in time.
    #[must_use]
    pub fn end(mut self) -> Ended {
        // Read beside the wait: a full pipe would hold it up.
        let mut pipes = (self.child.stdout.take(), self.child.stderr.take());
        let errors = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = pipes.1.as_mut().map(|pipe| pipe.read_to_end(&mut text));
            text
        });
        let output = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = pipes.0.as_mut().map(|pipe| pipe.read_to_end(&mut text));
            text
        });
        let begun = Instant::now();
        let mut late = false;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            if begun.elapsed() > COMMAND_LIMIT {
                late = true;
                let _ = self.child.kill();
            }
            std::thread::sleep(POLL);
        };
        let text = |thread: std::thread::JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&thread.join().unwrap_or_default()).into_owned()
        };
        let ended = Ended { code: status.code(), output: text(output), errors: text(errors) };
        assert!(!late, "still running after {COMMAND_LIMIT:?}: {ended:?}");
        ended
    }

    /// Kills it and returns what it had printed.
    fn take_output(&mut self) -> String {
        let _ = self.child.kill();
        let mut text = String::new();
        if let Some(mut pipe) = self.child.stderr.take() {
            let _ = pipe.read_to_string(&mut text);
        }
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Polls until it is true.
///
/// # Panics
/// It is not in time.
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT_LIMIT;
    while !done() {
        assert!(Instant::now() < deadline, "waited {WAIT_LIMIT:?} for {what}");
        std::thread::sleep(POLL);
    }
}

/// The body of a `GET`, whatever its status; none when nobody answers.
#[must_use]
pub fn get(address: &str, path: &str) -> Option<String> {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
        .map(|(_, body)| body)
}

/// Status and body of a JSON request to the server on the usual port, with a token or without.
///
/// # Panics
/// Nobody answers.
#[must_use]
pub fn call(method: &str, path: &str, token: Option<&str>, body: &str) -> (u16, String) {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {SERVER}\r\n{authorization}Content-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    exchange(SERVER, &format!("{head}{body}")).expect("an answer")
}

/// Status and body of a request that is written out in full; none when nobody answers.
#[must_use]
pub fn exchange(address: &str, request: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(WAIT_LIMIT)).ok()?;
    // A server that refuses a body early closes before all of it is written; what it said can be read all the same.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// The orchestrator on its usual port of the room.
///
/// # Panics
/// It does not start.
#[must_use]
pub fn orchestrator(soak: &str) -> House {
    House::start(soak.into(), chaos_demo::DEFAULT_PORT, 4).expect("the sample system")
}

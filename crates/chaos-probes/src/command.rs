//! `command`: a program, started without a shell, and how it ended.
//!
//! Owns its process group from start to end: at the end of the measurement, however it ends, every process still in
//! the group is killed and the program is reaped. A program that leaves its group (`setsid`) leaves our reach. A
//! program that can't or must not be started is no data: nothing was measured.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use chaos_core::spec::CommandProbe;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::os::unix::process::ExitStatusExt;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use crate::measured::{Measured, milliseconds, shortened};

/// The most programs of one probe that may run at one time.
pub const COMMANDS_IN_FLIGHT_MAX: usize = 16;
/// The most bytes of standard output that are looked at; the rest is read and forgotten.
pub const STDOUT_BYTES_MAX: usize = 64 * 1024;
/// How long a killed program may take to be gone before its end is left to the runtime.
const REAP_WITHIN: Duration = Duration::from_secs(5);

/// Which programs probes may start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CommandPolicy {
    /// Every program.
    Any,
    /// These, as `argv[0]` names them to the letter: a name that is looked for in `PATH`, or a path. Each with whatever
    /// arguments a document gives it.
    Allow(Vec<String>),
}

impl Default for CommandPolicy {
    /// No program.
    fn default() -> Self {
        Self::Allow(Vec::new())
    }
}

impl CommandPolicy {
    fn allows(&self, program: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Allow(programs) => programs.iter().any(|allowed| allowed == program),
        }
    }
}

/// A program to be started many times.
#[derive(Debug)]
pub(crate) struct CommandCheck {
    argv: Vec<String>,
    exit_code: i32,
    stdout_contains: Option<String>,
}

/// A started program and its process group; dropping it kills the group.
struct Group(Child);

impl Group {
    /// Kills every process of the group. As long as the program is not reaped, its number is nobody else's.
    fn kill(&self) {
        if let Some(pid) = self.pid() {
            // Nothing can be done about a refusal (a program that changed its user) here, and reaping is bounded.
            let _ = killpg(pid, Signal::SIGKILL);
        }
    }

    fn pid(&self) -> Option<Pid> {
        self.0.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

impl CommandCheck {
    pub(crate) fn new(probe: &CommandProbe, policy: &CommandPolicy) -> Result<Self, String> {
        let program = probe.argv.first().ok_or("argv is empty")?;
        if !policy.allows(program) {
            let program = shortened(program);
            return Err(format!("refused: {program:?} is not among the commands that probes may start here"));
        }
        Ok(Self {
            argv: probe.argv.clone(),
            exit_code: probe.exit_code,
            stdout_contains: probe.stdout_contains.clone(),
        })
    }

    /// Starts it and waits for its end and the end of its output.
    pub(crate) async fn measure(&self, limit: Duration) -> Measured {
        let begin = Instant::now();
        let mut group = match self.start() {
            Ok(group) => group,
            Err(reason) => return Measured::no_data(reason),
        };
        let finished = timeout(limit, finish(&mut group)).await;
        let took = begin.elapsed();
        group.kill();
        let ended = timeout(REAP_WITHIN, group.0.wait()).await;
        let Ok(stdout) = finished else {
            return Measured::failed(format!("not finished within {}", milliseconds(limit))).took(took);
        };
        match (stdout, ended) {
            (Ok(stdout), Ok(Ok(status))) => self.judge(&stdout, status, took),
            (Err(error), _) => {
                Measured::no_data(format!("cannot read the output of {}: {error}", self.program()))
            }
            (_, Ok(Err(error))) => Measured::no_data(format!("cannot wait for {}: {error}", self.program())),
            (_, Err(_)) => Measured::no_data(format!("{} does not end, not even killed", self.program())),
        }
    }

    fn program(&self) -> &str {
        self.argv.first().map_or("", String::as_str)
    }

    fn start(&self) -> Result<Group, String> {
        let (program, arguments) = self.argv.split_first().ok_or("argv is empty")?;
        Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map(Group)
            .map_err(|error| format!("cannot start {program}: {error}"))
    }

    fn judge(&self, stdout: &[u8], status: ExitStatus, took: Duration) -> Measured {
        let text = String::from_utf8_lossy(stdout);
        let problem = match (status.code(), &self.stdout_contains) {
            (None, _) => Some(format!("killed by signal {}", status.signal().unwrap_or_default())),
            (Some(code), _) if code != self.exit_code => {
                Some(format!("exit code {code}, expected {}", self.exit_code))
            }
            (_, Some(part)) if !text.contains(part.as_str()) => {
                Some(format!("the output does not contain {:?}", shortened(part)))
            }
            _ => None,
        };
        let measured =
            problem.map_or_else(|| Measured::passed(took), |text| Measured::failed(text).took(took));
        // A program that prints one number has measured it.
        measured.with_value(text.trim().parse().ok().filter(|value: &f64| value.is_finite()))
    }
}

/// Reads the output to its end and waits until the program has ended, without reaping it: its number must stay ours
/// until the rest of its group is killed.
async fn finish(group: &mut Group) -> std::io::Result<Vec<u8>> {
    let pid = group.pid();
    let stdout = match group.0.stdout.take() {
        Some(pipe) => read_bounded(pipe).await?,
        None => Vec::new(),
    };
    if let Some(pid) = pid {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        // The thread comes back at the latest when the group is killed.
        tokio::task::spawn_blocking(move || waitid(Id::Pid(pid), flags)).await??;
    }
    Ok(stdout)
}

async fn read_bounded(mut pipe: impl AsyncRead + Unpin) -> std::io::Result<Vec<u8>> {
    let (mut kept, mut buffer) = (Vec::new(), [0_u8; 4096]);
    loop {
        let length = pipe.read(&mut buffer).await?;
        if length == 0 {
            return Ok(kept);
        }
        let room = STDOUT_BYTES_MAX - kept.len();
        kept.extend_from_slice(&buffer[..length.min(room)]);
    }
}

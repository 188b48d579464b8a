//! One program of the configuration, run to its end: argv, no shell, an environment of nothing but `PATH`, bounded in
//! time and output. It never decides which.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// How long a command may take; then it is killed, with everything that it started and that did not leave it.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of its output that are kept; the rest is read and forgotten.
pub const COMMAND_OUTPUT_BYTES_MAX: usize = 4 << 10;
/// How long a killed program may take to be gone before its end is left to the runtime.
const REAP_WITHIN: Duration = Duration::from_secs(5);

/// A program and its process group; dropped before its end, the group is killed.
struct Group(Child);

impl Group {
    /// As long as the program is not reaped, its number is nobody else's.
    fn kill(&self) {
        if let Some(pid) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            // A program that changed its user can't be killed, and then nothing more can be done.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a program and gives what it printed.
pub(super) async fn run(argv: &[String]) -> Result<String, String> {
    run_within(argv, COMMAND_TIMEOUT).await
}

async fn run_within(argv: &[String], limit: Duration) -> Result<String, String> {
    let (mut group, mut pipe) = start(argv)?;
    let program = argv.first().map_or("", String::as_str);
    let (mut output, mut buffer, mut is_open) = (Vec::new(), [0_u8; 4096], true);
    let mut deadline = std::pin::pin!(sleep(limit));
    let ended = loop {
        tokio::select! {
            biased;
            () = &mut deadline => break None,
            ended = group.0.wait() => break Some(ended),
            read = pipe.read(&mut buffer), if is_open => match read {
                Ok(length @ 1..) => keep(&mut output, buffer.get(..length).unwrap_or_default()),
                _ => is_open = false,
            },
        }
    };
    let Some(ended) = ended else {
        group.kill();
        let _ = timeout(REAP_WITHIN, group.0.wait()).await;
        return Err(format!(
            "{program} was killed: not done within {} s{}",
            limit.as_secs_f32(),
            said(&output)
        ));
    };
    // What it printed last is still in the pipe. What it started may hold that open and write on.
    while output.len() < COMMAND_OUTPUT_BYTES_MAX
        && let Ok(length @ 1..) = pipe.try_read(&mut buffer)
    {
        keep(&mut output, buffer.get(..length).unwrap_or_default());
    }
    match ended {
        Ok(status) if status.success() => Ok(text(&output)),
        Ok(status) => Err(format!("{program} ended with {}{}", outcome(status), said(&output))),
        Err(error) => Err(format!("waiting for {program}: {error}")),
    }
}

fn start(argv: &[String]) -> Result<(Group, Receiver), String> {
    let (program, arguments) = argv.split_first().ok_or("the command has no program")?;
    let failed = |error: std::io::Error| format!("cannot start {program}: {error}");
    let (ours, theirs) = std::io::pipe().map_err(failed)?;
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .stdin(Stdio::null())
        .stdout(theirs.try_clone().map_err(failed)?)
        .stderr(theirs)
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let group = Group(child);
    Ok((group, Receiver::from_owned_fd(ours.into()).map_err(failed)?))
}

fn keep(output: &mut Vec<u8>, bytes: &[u8]) {
    let room = COMMAND_OUTPUT_BYTES_MAX.saturating_sub(output.len());
    output.extend(bytes.iter().take(room));
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).trim().to_owned()
}

fn said(output: &[u8]) -> String {
    let text = text(output);
    if text.is_empty() { String::new() } else { format!("; it said: {text}") }
}

fn outcome(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(argv: &[&str], limit: Duration) -> Result<String, String> {
        let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run_within(&argv, limit))
    }

    #[test]
    fn a_command_gives_what_it_printed_on_both_streams() {
        let printed = run(&["sh", "-c", "echo one; echo two >&2"], COMMAND_TIMEOUT).unwrap();
        assert_eq!(printed, "one\ntwo");
    }

    #[test]
    fn a_command_has_no_shell_and_nothing_of_our_environment() {
        assert_eq!(run(&["echo", "$HOME; ls"], COMMAND_TIMEOUT).unwrap(), "$HOME; ls");
        let environment = run(&["env"], COMMAND_TIMEOUT).unwrap();
        assert!(environment.lines().all(|line| line.starts_with("PATH=")), "{environment}");
    }

    #[test]
    fn a_command_that_fails_says_how_and_what_it_printed() {
        let failed = run(&["sh", "-c", "echo no such unit; exit 3"], COMMAND_TIMEOUT).unwrap_err();
        assert_eq!(failed, "sh ended with exit code 3; it said: no such unit");
        let missing = run(&["/nowhere/program"], COMMAND_TIMEOUT).unwrap_err();
        assert!(missing.starts_with("cannot start /nowhere/program"), "{missing}");
        assert!(run(&[], COMMAND_TIMEOUT).is_err());
    }

    #[test]
    fn a_command_that_takes_too_long_is_killed_with_its_children_however_much_it_prints() {
        let script = "sleep 600 & echo child $!; while :; do echo more; done";
        let killed = run(&["sh", "-c", script], Duration::from_millis(300)).unwrap_err();
        assert!(killed.starts_with("sh was killed: not done within 0.3 s"), "{killed}");
        assert!(killed.len() <= COMMAND_OUTPUT_BYTES_MAX + 100, "the output is bounded");
        let child = killed.split_once("child ").unwrap().1.lines().next().unwrap().parse().unwrap();
        crate::sys::testing::eventually("the child is gone", || crate::sys::proc::identity(child).is_err());
    }

    #[test]
    fn a_command_may_leave_something_running() {
        let printed = run(&["sh", "-c", "sleep 60 & echo $!"], COMMAND_TIMEOUT).unwrap();
        let left: i32 = printed.parse().unwrap();
        assert!(crate::sys::proc::identity(left).is_ok(), "what a command started stays");
        nix::sys::signal::kill(Pid::from_raw(left), Signal::SIGKILL).unwrap();
    }
}

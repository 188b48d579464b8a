//! Runs a child process within a time limit, with its output shown line by line.
//!
//! Ends only processes that descend from the child it started, each by its id.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How often the child is looked at while it prints nothing.
const WAIT_STEP: Duration = Duration::from_millis(50);
/// How long output may still arrive after the child has ended (a grandchild may hold the pipe open).
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// How a bounded child process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It exited with success.
    Success,
    /// It exited with failure, or by a signal.
    Failure(ExitStatus),
    /// It was still running at the limit and was killed.
    TimedOut(Duration),
}

impl std::fmt::Display for Ending {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ending::Success => formatter.write_str("succeeded"),
            Ending::Failure(status) => write!(formatter, "failed: {status}"),
            Ending::TimedOut(limit) => write!(formatter, "killed after {} s", limit.as_secs()),
        }
    }
}

/// Which of the two output streams a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Runs a command whose output goes straight to ours.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<Ending> {
    let mut child = command.stdin(Stdio::null()).spawn().with_context(|| starting(command))?;
    let deadline = Instant::now() + limit;
    loop {
        if let Some(ending) = ended(&mut child, deadline, limit)? {
            return Ok(ending);
        }
        std::thread::sleep(WAIT_STEP);
    }
}

/// Runs a command and hands each line it prints to `line`.
pub(crate) fn run_lines(
    command: &mut Command,
    limit: Duration,
    mut line: impl FnMut(Stream, &str),
) -> Result<Ending> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| starting(command))?;
    let (sender, lines) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        read_lines(Stream::Stdout, stdout, sender.clone());
    }
    if let Some(stderr) = child.stderr.take() {
        read_lines(Stream::Stderr, stderr, sender);
    }
    let mut deadline = Instant::now() + limit;
    let mut ending = None;
    loop {
        match lines.recv_timeout(WAIT_STEP) {
            Ok((stream, text)) => line(stream, &text),
            Err(RecvTimeoutError::Disconnected) if ending.is_some() => break,
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(WAIT_STEP),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if ending.is_some() {
            if Instant::now() > deadline {
                break;
            }
        } else {
            ending = ended(&mut child, deadline, limit)?;
            if ending.is_some() {
                deadline = Instant::now() + DRAIN_LIMIT;
            }
        }
    }
    ending.context("a child process ended without a status")
}

fn starting(command: &Command) -> String {
    format!("starting {}", command.get_program().to_string_lossy())
}

fn ended(child: &mut Child, deadline: Instant, limit: Duration) -> Result<Option<Ending>> {
    if let Some(status) = child.try_wait().context("waiting for a child process")? {
        return Ok(Some(if status.success() { Ending::Success } else { Ending::Failure(status) }));
    }
    if Instant::now() < deadline {
        return Ok(None);
    }
    for pid in descendants(child.id()) {
        // One that ended meanwhile is no error.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    child.kill().context("killing a child process")?;
    child.wait().context("waiting for a killed child process")?;
    Ok(Some(Ending::TimedOut(limit)))
}

fn read_lines(stream: Stream, source: impl Read + Send + 'static, sender: Sender<(Stream, String)>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(source);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&bytes);
            if sender.send((stream, text.trim_end_matches(['\n', '\r']).to_owned())).is_err() {
                return;
            }
            bytes.clear();
        }
    });
}

/// The ids of all processes below `ancestor`, nearest first.
fn descendants(ancestor: u32) -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in
        entries.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()))
    {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The name in parentheses may hold anything, so fields are counted from the last parenthesis.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        if let Some(parent) = fields.split_whitespace().nth(1).and_then(|field| field.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut queue = vec![ancestor.cast_signed()];
    while let Some(parent) = queue.pop() {
        let below = children.remove(&parent).unwrap_or_default();
        queue.extend(&below);
        found.extend(below);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_hangs_is_killed_with_its_children() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 300 & echo $!; wait"]);
        let mut printed = Vec::new();
        let ending =
            run_lines(&mut command, Duration::from_millis(500), |_, text| printed.push(text.to_owned()))
                .unwrap();
        assert_eq!(ending, Ending::TimedOut(Duration::from_millis(500)));
        let grandchild: i32 = printed[0].parse().unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while is_running(grandchild) {
            assert!(Instant::now() < deadline, "process {grandchild} is still there");
            std::thread::yield_now();
        }
    }

    fn is_running(pid: i32) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
            !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
        })
    }

    #[test]
    fn both_streams_arrive_whole_and_the_status_is_kept() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; printf three; exit 7"]);
        let mut printed = Vec::new();
        let ending = run_lines(&mut command, Duration::from_secs(20), |stream, text| {
            printed.push((stream == Stream::Stdout, text.to_owned()));
        })
        .unwrap();
        assert!(matches!(ending, Ending::Failure(status) if status.code() == Some(7)));
        printed.sort();
        assert_eq!(
            printed,
            [(false, "two".to_owned()), (true, "one".to_owned()), (true, "three".to_owned())]
        );
    }
}

//! What can go wrong at the kernel's edge: one typed error that says what was attempted on what.
//! It never decides what a failure means for a run.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::Identity;

/// A failed conversation with the kernel.
#[derive(Debug, thiserror::Error)]
pub enum SysError {
    /// A system call or a file access failed.
    #[error("{attempted}: {source}")]
    Io {
        /// What was attempted, on what, in words.
        attempted: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The process does not exist (any more); a zombie counts as gone.
    #[error("process {pid} is gone")]
    Gone {
        /// The process that was asked for.
        pid: i32,
    },
    /// The pid now belongs to another process: nothing was done to it.
    #[error("pid {} was reused: the process that started at tick {} is gone", expected.pid, expected.start_time)]
    Replaced {
        /// The process that was meant.
        expected: Identity,
    },
    /// Another tracer (a debugger, strace, another pause) holds the process.
    #[error("process {pid} is already traced by process {tracer}")]
    AlreadyTraced {
        /// The process that should have been paused.
        pid: i32,
        /// The process that traces it.
        tracer: i32,
    },
    /// The kernel refused for lack of privilege.
    #[error("not permitted: {attempted}{}", hint(needs))]
    NotPermitted {
        /// What was attempted, on what.
        attempted: String,
        /// The capability that would allow it, when known.
        needs: Option<&'static str>,
    },
    /// A kernel file did not have the shape this program knows.
    #[error("{} is malformed: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was wrong in it.
        what: String,
    },
    /// A file was larger than the named limit for it.
    #[error("{} is larger than the limit of {limit_bytes} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit_bytes: usize,
    },
    /// Something did not happen in time.
    #[error("{attempted}: not done after {} ms", waited.as_millis())]
    Timeout {
        /// What was waited for.
        attempted: String,
        /// How long.
        waited: Duration,
    },
    /// An effect was not what it had to be when read back.
    #[error("{attempted}: not proven: {observed}")]
    NotProven {
        /// What should have been so.
        attempted: String,
        /// What was seen instead.
        observed: String,
    },
    /// A worker may be forked only by a process with one thread.
    #[error("a worker can be forked only from a single-threaded process, and this one has {threads} threads")]
    NotSingleThreaded {
        /// Threads that were counted.
        threads: usize,
    },
    /// This host has no such cgroup controller, or the process is outside what can be seen of it.
    #[error("no cgroup of controller {controller} for process {pid}")]
    NoCgroup {
        /// The controller, `unified` for the v2 tree itself.
        controller: String,
        /// The process.
        pid: i32,
    },
    /// A parameter was outside what the function can do.
    #[error("{name} = {value}: expected {expected}")]
    InvalidParameter {
        /// Name of the parameter.
        name: &'static str,
        /// The value given.
        value: String,
        /// What it must be.
        expected: &'static str,
    },
}

fn hint(needs: &Option<&'static str>) -> String {
    needs.map(|capability| format!(" (needs {capability})")).unwrap_or_default()
}

impl SysError {
    /// Wraps a failed call, naming what was attempted.
    pub fn io(attempted: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io { attempted: attempted.into(), source: source.into() }
    }

    /// Wraps the current `errno`, naming what was attempted.
    pub fn last_os(attempted: impl Into<String>) -> Self {
        Self::io(attempted, io::Error::last_os_error())
    }

    /// True when the process that was acted on does not exist (any more).
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Gone { .. } | Self::Replaced { .. } => true,
            Self::Io { source, .. } => {
                source.kind() == io::ErrorKind::NotFound || source.raw_os_error() == Some(libc::ESRCH)
            }
            _ => false,
        }
    }
}

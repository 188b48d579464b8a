//! Real processes for tests: started here, ended by pid when dropped.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Identity, proc};

/// A child process that ends with its value.
pub(crate) struct Child(std::process::Child, Identity);

impl Child {
    pub(crate) fn sleeping() -> Self {
        Self::start("sleep", &["300"])
    }

    pub(crate) fn start(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self::from_command(&mut command)
    }

    pub(crate) fn from_command(command: &mut Command) -> Self {
        let child = command.spawn().expect("the program of the test starts");
        let identity = proc::identity(i32::try_from(child.id()).unwrap()).expect("the child lives");
        Self(child, identity)
    }

    pub(crate) fn identity(&self) -> Identity {
        self.1
    }

    pub(crate) fn pid(&self) -> i32 {
        self.1.pid
    }

    pub(crate) fn inner(&mut self) -> &mut std::process::Child {
        &mut self.0
    }

    /// Kills and reaps.
    pub(crate) fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}

/// A forked copy of this process that runs `body` on one thread (and may start more); killed when dropped,
/// and with the thread of the test.
pub(crate) struct Forked(Identity);

impl Forked {
    pub(crate) fn start(body: impl FnOnce()) -> Self {
        // SAFETY: the child runs only the body; glibc keeps its allocator usable after a fork.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
            body();
            // SAFETY: ends the child at once, running nothing of the parent's.
            unsafe { libc::_exit(0) };
        }
        Self(proc::identity(pid).expect("the child lives"))
    }

    pub(crate) fn identity(&self) -> Identity {
        self.0
    }

    pub(crate) fn pid(&self) -> i32 {
        self.0.pid
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.pid);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        let _ = nix::sys::wait::waitpid(pid, None);
    }
}

/// Polls until the condition holds, for at most five seconds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < deadline, "did not happen within 5 s: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs a body in a forked, hence single-threaded, process and fails with its message.
/// The body ends with the process: it must clean up by itself.
pub(crate) fn in_single_threaded_process(body: impl FnOnce() -> Result<(), String>) {
    use std::io::{Read, Write};
    let (mut reader, mut writer) = std::os::unix::net::UnixStream::pair().unwrap();
    // SAFETY: the child uses only this thread; glibc keeps its allocator usable after a fork.
    let forked = unsafe { libc::fork() };
    assert!(forked >= 0, "fork");
    if forked == 0 {
        drop(reader);
        let answer = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
            Ok(Ok(())) => "ok".to_owned(),
            Ok(Err(message)) => message,
            Err(panic) => panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
                .unwrap_or_else(|| "panic".to_owned()),
        };
        let _ = writer.write_all(answer.as_bytes());
        // SAFETY: ends the child at once, running nothing of the parent's.
        unsafe { libc::_exit(0) };
    }
    drop(writer);
    reader.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut answer = String::new();
    let read = reader.read_to_string(&mut answer);
    if read.is_err() {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(forked), nix::sys::signal::Signal::SIGKILL);
    }
    let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(forked), None);
    read.expect("the forked test answers within a minute");
    assert_eq!(answer, "ok");
}

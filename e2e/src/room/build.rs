//! Building a room, seen from outside: its cgroups, the builder that leaves this host's namespaces, its end in time.
//!
//! It never runs what the room is for; that is the first process of the room.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::unistd::{getegid, geteuid};

use super::cgroups::{self, Place};

/// `argv[0]` of the process that leaves the namespaces of the host.
pub(super) const BUILDER: &str = "room-builder";
/// `argv[0]` of the first process of a room.
pub(super) const INIT: &str = "room-init";
const POLL: Duration = Duration::from_millis(2);

/// `room SECONDS PROGRAM ARGUMENTS…`: makes a room, runs the program in it, takes the room down.
#[expect(clippy::print_stderr, reason = "a program that talks to whoever runs it")]
pub(super) fn outside(arguments: &[OsString]) -> ExitCode {
    let seconds = arguments.first().and_then(|text| text.to_str()?.parse().ok());
    let (Some(seconds), Some(program)) = (seconds, arguments.get(1..).filter(|program| !program.is_empty()))
    else {
        eprintln!("usage: room SECONDS PROGRAM [ARGUMENT]…");
        return ExitCode::from(2);
    };
    // The end of whoever asked, and Ctrl-C, take the room down in order.
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGTERM);
    let mut asked = SigSet::empty();
    asked.add(Signal::SIGTERM);
    asked.add(Signal::SIGINT);
    let _ = asked.thread_block();
    let places = cgroups::create();
    let status = run(&places, program, Duration::from_secs(seconds));
    let left = cgroups::remove(&places);
    match status {
        Ok(Some(status)) if left.is_empty() => code(status),
        Ok(Some(_)) => {
            eprintln!("room: cgroups are still there: {left:?}");
            ExitCode::FAILURE
        }
        Ok(None) => {
            eprintln!("room: ended before its program was done (limit {seconds} s)");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("room: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The status of the builder; none when it was ended for taking too long.
fn run(places: &[Place], program: &[OsString], limit: Duration) -> Result<Option<ExitStatus>> {
    let mut builder = itself(BUILDER)?;
    builder.arg(cgroups::encode(places)).args(program);
    let mut builder = builder.spawn().context("starting the builder of a room")?;
    let deadline = Instant::now() + limit;
    let asked = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    loop {
        if let Some(status) = builder.try_wait().context("waiting for a room")? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline
            || matches!(asked.read_signal(), Ok(Some(signal)) if !is_of_child(&signal))
        {
            // The first process of the room dies with its builder, and everything in the room with that.
            end(&mut builder);
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

fn is_of_child(signal: &siginfo) -> bool {
    i32::try_from(signal.ssi_signo).is_ok_and(|number| number == Signal::SIGCHLD as i32)
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn itself(role: &str) -> Result<Command> {
    let program = std::env::current_exe().context("the path of this program")?;
    let mut command = Command::new(program);
    command.arg0(role);
    Ok(command)
}

/// Leaves the namespaces of the host, and starts the first process of the room.
#[expect(clippy::print_stderr, reason = "a program that talks to whoever runs it")]
pub(super) fn builder(arguments: &[OsString]) -> ExitCode {
    let places = arguments.first().and_then(|text| text.to_str()).map(cgroups::decode).unwrap_or_default();
    if let Err(error) = leave_host(&places) {
        eprintln!("skipped: no room on this machine: {error:#}");
        return ExitCode::from(super::NO_ROOM);
    }
    let started = itself(INIT).and_then(|mut init| {
        init.args(arguments.get(1..).unwrap_or_default())
            .status()
            .context("starting the first process of a room")
    });
    match started {
        Ok(status) => code(status),
        Err(error) => {
            eprintln!("room: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn leave_host(places: &[Place]) -> Result<()> {
    // Blocked for the process outside only; a program that is started inherits what is blocked.
    SigSet::all().thread_unblock().context("unblocking signals")?;
    // A builder that outlives whoever waits for it would keep the room open.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("asking to end with the parent")?;
    cgroups::enter(places);
    let (user, group) = (geteuid(), getegid());
    if !user.is_root() {
        unshare(CloneFlags::CLONE_NEWUSER).context("making a user namespace")?;
        fs::write("/proc/self/setgroups", "deny").context("giving up groups")?;
        fs::write("/proc/self/uid_map", format!("0 {user} 1")).context("mapping the user")?;
        fs::write("/proc/self/gid_map", format!("0 {group} 1")).context("mapping the group")?;
    }
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWCGROUP;
    unshare(namespaces).context("making namespaces")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("making mounts private")?;
    for place in places {
        bind(&place.directory, &place.mount)?;
    }
    Ok(())
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("mounting {} at {}", from.display(), to.display()))
}

pub(super) fn code(status: ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

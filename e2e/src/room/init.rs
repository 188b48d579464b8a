//! The first process of a room: mounts its `/proc`, brings its loopback up, runs the program, reaps orphans.
//!
//! It never outlives the program; with its end the kernel ends the room.

use std::ffi::OsString;
use std::os::fd::AsRawFd as _;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// A request to the kernel that sets `IFF_UP` on interface 1, which is the loopback of every network namespace:
/// `nlmsghdr` (length 32, `RTM_NEWLINK`, request with acknowledgement, sequence 1) and `ifinfomsg`.
fn loopback_up() -> Vec<u8> {
    let mut message = Vec::with_capacity(32);
    message.extend(32_u32.to_ne_bytes());
    message.extend(16_u16.to_ne_bytes());
    message.extend(5_u16.to_ne_bytes());
    message.extend(1_u32.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    message.extend(1_i32.to_ne_bytes());
    message.extend(1_u32.to_ne_bytes());
    message.extend(1_u32.to_ne_bytes());
    message
}

/// Brings the loopback of the calling thread's network namespace up.
///
/// # Errors
/// The kernel refuses.
pub fn bring_loopback_up() -> Result<()> {
    let route =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
            .context("opening a netlink socket")?;
    sendto(route.as_raw_fd(), &loopback_up(), &NetlinkAddr::new(0, 0), MsgFlags::empty())
        .context("asking for the loopback")?;
    let mut answer = [0_u8; 256];
    let length =
        recv(route.as_raw_fd(), &mut answer, MsgFlags::empty()).context("bringing the loopback up")?;
    // An acknowledgement is an error message with the number 0.
    match answer.get(16..20).filter(|_| length >= 20) {
        Some([0, 0, 0, 0]) => Ok(()),
        _ => bail!("the kernel refuses to bring the loopback up"),
    }
}

/// Runs the program that `arguments` name, and returns its exit code.
#[expect(clippy::print_stderr, reason = "a program that talks to whoever runs it")]
#[must_use]
pub fn init(arguments: &[OsString]) -> ExitCode {
    run(arguments).unwrap_or_else(|error| {
        eprintln!("room: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(arguments: &[OsString]) -> Result<ExitCode> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
        .context("asking to end with the builder")?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>).context("mounting /proc")?;
    bring_loopback_up()?;
    let (program, arguments) = arguments.split_first().context("no program")?;
    let child = Command::new(program)
        .args(arguments)
        .env(super::INSIDE, "1")
        .spawn()
        .with_context(|| format!("starting {}", program.to_string_lossy()))?;
    let child = Pid::from_raw(i32::try_from(child.id())?);
    loop {
        match waitpid(None, None).context("waiting for the program")? {
            WaitStatus::Exited(pid, code) if pid == child => return Ok(ExitCode::from(u8::try_from(code)?)),
            WaitStatus::Signaled(pid, signal, _) if pid == child => {
                bail!("the program was ended by {signal}")
            }
            _ => {}
        }
    }
}

//! Starting a fault process: the executable again, another name, one socket. It never speaks with it.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use chaos_core::run::RunId;

use crate::holder;
use crate::sys::SysError;
use crate::sys::pidfd::PidFd;

/// Room for the titles of workers, which overwrite the arguments.
const TITLE_ROOM: &str = "----------------------------------------------------------------------------";

/// A fault process that was just started.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) child: Child,
    pub(super) process: PidFd,
    pub(super) control: UnixStream,
}

/// Starts a fault process. Nothing but the child's end of the socket is handed over, and no hook runs between fork
/// and exec, so that the standard library may use the fast way (`posix_spawn`), which costs the same however large
/// this process is.
pub(super) fn holder(executable: &Path, run: &RunId) -> Result<Spawned, SysError> {
    let failed = |source| SysError::io(format!("starting {} as a fault process", executable.display()), source);
    let (control, theirs) = UnixStream::pair().map_err(failed)?;
    let mut child = Command::new(executable)
        .arg0(holder::NAME)
        .arg(&run.0)
        .arg(TITLE_ROOM)
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let opened = i32::try_from(child.id()).map_err(|_| SysError::Gone { pid: 0 }).and_then(PidFd::open_pid);
    match opened {
        Ok(process) => Ok(Spawned { child, process, control }),
        Err(error) => {
            // It has ended at once, or can't be watched: without a link it does nothing and ends.
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

//! Starting a fault process: the executable again, another name, one socket. It never speaks with it.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::process::Stdio;

use chaos_core::run::RunId;
use tokio::net::UnixStream;
use tokio::process::Command;

use super::machine::HolderProcess;
use crate::holder;
use crate::sys::SysError;

/// Room for the titles of workers, which overwrite the arguments.
const TITLE_ROOM: &str = "----------------------------------------------------------------------------";

/// Starts a fault process. Nothing but the child's end of the socket is handed over, and no hook runs between fork
/// and exec, so that the standard library may use the fast way (`posix_spawn`), which costs the same however large
/// this process is.
pub(super) fn holder(executable: &Path, run: &RunId) -> Result<HolderProcess, SysError> {
    let failed =
        |source| SysError::io(format!("starting {} as a fault process", executable.display()), source);
    let (control, theirs) = StdStream::pair().map_err(failed)?;
    control.set_nonblocking(true).map_err(failed)?;
    let control = UnixStream::from_std(control).map_err(failed)?;
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
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
    // One that can't be identified sees its socket close, does nothing and ends.
    let identity = crate::sys::proc::identity(pid)?;
    let ended = Box::pin(async move { child.wait().await.is_ok_and(|status| status.success()) });
    Ok(HolderProcess { identity, control: Box::new(control), ended })
}

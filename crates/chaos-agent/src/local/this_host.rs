//! The machine that this process runs on: `/proc`, child processes, and the runtime's own threads for what blocks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chaos_core::duration::Span;
use chaos_core::port::{Evidence, InjectionPlan};
use chaos_core::run::{InjectionId, RunId};
use chaos_core::spec::{Fault, HostTarget, PodKill};
use chaos_core::target::{Instance, Inventory, ProcessRef};
use futures_util::future::BoxFuture;

use super::machine::{HolderProcess, Machine};
use super::{command, spawn};
use crate::faults::{self, FaultError, Step, Surroundings};
use crate::host::{self, Asker, HostError};
use crate::sweep::{self, Remains};
use crate::sys::pidfd::PidFd;
use crate::sys::{self, SysError};

/// How long an instance may take to end by itself that is to be started again.
const RESTART_GRACE: Duration = Duration::from_secs(5);
/// How long one that was killed may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// This host, with the undo records below one state folder.
pub(super) struct ThisHost {
    executable: PathBuf,
    remains: sweep::ThisHost,
}

impl ThisHost {
    pub(super) fn new(executable: PathBuf, state: &Path) -> Self {
        Self { executable, remains: sweep::ThisHost::new(state) }
    }
}

impl Machine for ThisHost {
    fn remains(&self) -> &dyn Remains {
        &self.remains
    }

    fn own_identity(&self) -> Result<ProcessRef, SysError> {
        sys::proc::identity(sys::own_pid())
    }

    fn start_holder(&self, run: &RunId) -> Result<HolderProcess, SysError> {
        spawn::holder(&self.executable, run)
    }

    fn terminate(&self, holder: ProcessRef) -> Result<(), SysError> {
        PidFd::open(holder)?.send_signal(libc::SIGTERM)
    }

    fn kill(&self, holder: ProcessRef) -> Result<(), SysError> {
        PidFd::open(holder)?.send_signal(libc::SIGKILL)
    }

    fn inventory(&self, target: &HostTarget, asker: &Asker) -> Result<Inventory, HostError> {
        host::inventory(target, asker)
    }

    fn processes_of_apps(&self, apps: &[String]) -> Result<BTreeSet<ProcessRef>, HostError> {
        host::processes_of_apps(apps)
    }

    /// As the fault does that kills, which knows how to miss nobody.
    fn end_instance(&self, instance: &Instance) -> Result<Vec<Evidence>, FaultError> {
        let kill = PodKill { grace_period: Span(RESTART_GRACE), ..PodKill::default() };
        let plan = InjectionPlan {
            id: InjectionId("restart".to_owned()),
            fault: Fault::PodKill(kill),
            instance: instance.clone(),
            duration: Duration::ZERO,
        };
        let mut killer = faults::injector(&plan, &Surroundings::default());
        killer.plan()?;
        while killer.apply()? != Step::Done {
            std::thread::sleep(LOOK_EVERY);
        }
        let deadline = Instant::now() + GONE_WITHIN;
        loop {
            match killer.prove_active()? {
                Some(evidence) => return Ok(evidence),
                None if Instant::now() < deadline => std::thread::sleep(LOOK_EVERY),
                None => {
                    let observed = format!("it still runs {} s after SIGKILL", GONE_WITHIN.as_secs());
                    return Err(FaultError::NotProven { observed });
                }
            }
        }
    }

    fn run_program<'a>(&'a self, argv: &'a [String]) -> BoxFuture<'a, Result<String, String>> {
        Box::pin(command::run(argv))
    }

    fn apart(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        // Who waits for the work sees by its answer whether it was done.
        Box::pin(async move { drop(tokio::task::spawn_blocking(work).await) })
    }
}

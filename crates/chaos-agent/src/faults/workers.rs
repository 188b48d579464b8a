//! What `cpu_stress` and `memory_pressure` share: workers that carry their injection's id as their title, their
//! place in the victim's cgroup, and the proof that none is left. It never decides how much a worker does.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chaos_core::port::Evidence;
use chaos_core::run::InjectionId;
use chaos_core::target::{Instance, ProcessRef};

use super::{FaultError, members};
use crate::sys::cgroup::{CgroupPaths, Hierarchies};
use crate::sys::pidfd::PidFd;
use crate::sys::worker::{Job, Worker, WorkerOptions};
use crate::sys::{SysError, proc};

/// How long a killed worker may take to be gone.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the kernel may take to end the workers of a dead holder before they are ended by hand.
const KERNEL_ENDS_WITHIN: Duration = Duration::from_millis(200);
/// How long everything may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(3);
/// The kernel's OOM killer takes this process first.
pub(super) const OOM_FIRST: i32 = 1000;

/// The workers of one injection.
pub(super) struct Workers {
    title: String,
    running: Vec<Worker>,
    stopped: Vec<ProcessRef>,
}

/// Where workers go: the cgroup that the instance has to itself, or wherever the holder is.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    /// The cgroups of the instance and the controllers to join.
    pub(super) cgroups: Option<(CgroupPaths, Vec<String>)>,
}

impl Place {
    /// The place for work that `controllers` account for.
    pub(super) fn of(
        instance: &Instance,
        hierarchies: &Hierarchies,
        controllers: &[&str],
    ) -> Result<Self, SysError> {
        let paths = proc::cgroups(instance.process.pid)?;
        let pids: BTreeSet<i32> = members(instance)?.iter().map(|process| process.pid).collect();
        let mut own = Vec::new();
        for controller in controllers {
            if hierarchies.is_own(controller, &paths, &pids)? {
                own.push((*controller).to_owned());
            }
        }
        Ok(Self { cgroups: (!own.is_empty()).then_some((paths, own)) })
    }

    /// That a worker is where it has to be.
    fn check(&self, worker: ProcessRef) -> Result<Evidence, FaultError> {
        let source = format!("cgroup of worker {}", worker.pid);
        let Some((paths, controllers)) = &self.cgroups else {
            return Ok(Evidence::new(source, "the holder's: the instance has none of its own"));
        };
        let actual = proc::cgroups(worker.pid)?;
        for controller in controllers {
            if actual.of(controller) != paths.of(controller) {
                let found = actual.of(controller).unwrap_or("none");
                return Err(FaultError::not_proven(format!(
                    "worker {} is in {controller} cgroup {found}",
                    worker.pid
                )));
            }
        }
        let path = controllers.first().and_then(|controller| paths.of(controller)).unwrap_or("/");
        Ok(Evidence::new(source, format!("the instance's: {path}")))
    }
}

impl Workers {
    pub(super) fn new(kind: &str, injection: &InjectionId) -> Self {
        Self { title: title(kind, injection), running: Vec::new(), stopped: Vec::new() }
    }

    pub(super) fn start(&mut self, job: Job, place: &Place, oom_score_adj: i32) -> Result<(), FaultError> {
        let options = WorkerOptions {
            name: self.title.clone(),
            cgroups: place.cgroups.clone(),
            oom_score_adj: Some(oom_score_adj),
        };
        self.running.push(Worker::start(job, &options)?);
        Ok(())
    }

    pub(super) fn running(&self) -> &[Worker] {
        &self.running
    }

    /// That all run, and where.
    pub(super) fn check(&self, place: &Place) -> Result<Evidence, FaultError> {
        if let Some(dead) = self.dead() {
            return Err(FaultError::not_proven(dead));
        }
        let first = self.running.first().ok_or_else(|| FaultError::not_proven("there is no worker"))?;
        for worker in &self.running {
            place.check(worker.identity())?;
        }
        place.check(first.identity())
    }

    /// In words, a worker that was ended by somebody else.
    pub(super) fn dead(&self) -> Option<String> {
        let dead = self.running.iter().find(|worker| !worker.is_alive())?;
        Some(format!("worker {} was ended by somebody else or for lack of memory", dead.identity().pid))
    }

    pub(super) fn stop(&mut self) -> Result<(), FaultError> {
        while let Some(worker) = self.running.last_mut() {
            worker.stop(STOP_TIMEOUT)?;
            self.stopped.push(worker.identity());
            self.running.pop();
        }
        Ok(())
    }

    pub(super) fn prove_stopped(&self) -> Result<Vec<Evidence>, FaultError> {
        if let Some(alive) = self.stopped.iter().find(|worker| proc::runs(**worker)) {
            return Err(FaultError::not_proven(format!("worker {} still runs", alive.pid)));
        }
        Ok(vec![Evidence::new(
            self.title.clone(),
            format!("{} workers ended and reaped", self.stopped.len()),
        )])
    }
}

/// What `ps` shows of a worker, and by which it is found again.
fn title(kind: &str, injection: &InjectionId) -> String {
    format!("chaos-{kind} {injection}")
}

/// Workers die with their holder: waits for it, helps when it does not happen, and proves it.
pub(super) fn undo_from_record(injection: &InjectionId) -> Result<Vec<Evidence>, FaultError> {
    let titles = [title("cpu", injection), title("memory", injection)];
    let begun = Instant::now();
    loop {
        let left = titled(&titles)?;
        if left.is_empty() {
            return Ok(vec![Evidence::new("process table", format!("no worker of {injection} is left"))]);
        }
        if begun.elapsed() > GONE_WITHIN {
            return Err(FaultError::not_proven(format!("worker {} still runs", left[0].pid)));
        }
        if begun.elapsed() > KERNEL_ENDS_WITHIN {
            for worker in left {
                let _ = PidFd::open(worker).and_then(|held| held.send_signal(libc::SIGKILL));
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Living processes whose whole command line is one of the titles.
fn titled(titles: &[String]) -> Result<Vec<ProcessRef>, SysError> {
    let mut found = Vec::new();
    for pid in proc::pids()? {
        let Ok(identity) = proc::identity(pid) else { continue };
        // The title was written over the arguments of the holder: zeros follow it.
        let shown = proc::command_line(pid).unwrap_or_default();
        let shown = shown.first().map(String::as_str).unwrap_or_default();
        if titles.iter().any(|title| title == shown) {
            found.push(identity);
        }
    }
    Ok(found)
}

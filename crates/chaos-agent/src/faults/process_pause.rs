//! `process_pause`: every thread of every process of the instance is held in a tracing stop.
//! The kernel lets all of them go when the holder dies.

use std::time::{Duration, Instant};

use chaos_core::port::Evidence;
use chaos_core::target::{Instance, ProcessRef};

use super::members::members_quickly;
use super::{FaultError, Held, Injector, Step, members};
use crate::sys::pause::{Held as Stopped, Pause, Resumed};
use crate::sys::pidfd::PidFd;
use crate::sys::{SysError, proc};
use crate::undo::UndoData;

/// How long one process may take to be stopped.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);
/// How long one process may take to be let go.
const RESUME_TIMEOUT: Duration = Duration::from_millis(500);
/// How often the processes are looked at while held; an event of one of them comes as a signal before.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the kernel may take to let go what a dead holder held.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) struct Freeze {
    instance: Instance,
    pauses: Vec<Pause>,
    released: Vec<ProcessRef>,
}

impl Freeze {
    pub(super) fn new(instance: Instance) -> Self {
        Self { instance, pauses: Vec::new(), released: Vec::new() }
    }

    fn holds(&self, process: ProcessRef) -> bool {
        self.pauses.iter().any(|pause| pause.identity() == process)
    }
}

impl Injector for Freeze {
    fn plan(&mut self) -> Result<UndoData, FaultError> {
        drop(PidFd::open(self.instance.process)?);
        Ok(UndoData::Nothing)
    }

    /// One process at a time, the root first; a scan that finds nobody new after all are stopped is complete,
    /// because only running processes make new ones.
    fn apply(&mut self) -> Result<Step, FaultError> {
        // The quick way finds most; the sure way has the last word.
        let new = |found: Vec<ProcessRef>| found.into_iter().find(|process| !self.holds(*process));
        let quick = new(members_quickly(&self.instance)?);
        let Some(process) = quick.map_or_else(|| members(&self.instance).map(new), |one| Ok(Some(one)))?
        else {
            return Ok(Step::Done);
        };
        match Pause::seize(process, STOP_TIMEOUT) {
            Ok(pause) => self.pauses.push(pause),
            // A child that has just ended; the end of the root is the end of the target.
            Err(error) if error.is_gone() && process != self.instance.process => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Step::Again(Duration::ZERO))
    }

    fn prove_active(&mut self) -> Result<Option<Vec<Evidence>>, FaultError> {
        if self.pauses.is_empty() {
            return Err(FaultError::not_proven("no process is held"));
        }
        let mut evidence = Vec::with_capacity(self.pauses.len());
        for pause in &self.pauses {
            let process = pause.identity();
            match pause.prove_stopped() {
                Ok(()) => evidence.push(Evidence::new(
                    format!("threads of process {}", process.pid),
                    "all in tracing stop, CPU time stands still",
                )),
                Err(error) if error.is_gone() && process != self.instance.process => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(evidence))
    }

    fn hold(&mut self) -> Result<Held, FaultError> {
        let mut gone = Vec::new();
        for pause in &mut self.pauses {
            if pause.pump()? == Stopped::Gone {
                gone.push(pause.identity());
            }
        }
        self.pauses.retain(|pause| !gone.contains(&pause.identity()));
        Ok(Held::For(LOOK_EVERY))
    }

    fn undo(&mut self) -> Result<(), FaultError> {
        // The root last: what supervises its children sees them alive.
        while let Some(pause) = self.pauses.last_mut() {
            let resumed = pause.resume(RESUME_TIMEOUT)?;
            if resumed != Resumed::Gone {
                self.released.push(pause.identity());
            }
            self.pauses.pop();
        }
        Ok(())
    }

    fn prove_reverted(&mut self) -> Result<Vec<Evidence>, FaultError> {
        free(&self.released, crate::sys::own_pid())
    }
}

/// The kernel has let the processes go when their tracer died: proves it.
pub(super) fn undo_from_record(instance: &Instance, holder: ProcessRef) -> Result<Vec<Evidence>, FaultError> {
    let deadline = Instant::now() + RELEASE_TIMEOUT;
    loop {
        match free(&members(instance)?, holder.pid) {
            Err(FaultError::NotProven { .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            proof => return proof,
        }
    }
}

/// That none of the processes is traced by `tracer`.
fn free(processes: &[ProcessRef], tracer: i32) -> Result<Vec<Evidence>, FaultError> {
    let mut evidence = Vec::new();
    for process in processes {
        let source = format!("threads of process {}", process.pid);
        match traced_thread(process.pid, tracer) {
            Ok(Some(tid)) => {
                return Err(FaultError::not_proven(format!("thread {tid} is still traced by us")));
            }
            Ok(None) => evidence.push(Evidence::new(source, "not traced, let go")),
            Err(error) if error.is_gone() => evidence.push(Evidence::new(source, "ended")),
            Err(error) => return Err(error.into()),
        }
    }
    if evidence.is_empty() {
        evidence.push(Evidence::new("threads of the instance", "none is held"));
    }
    Ok(evidence)
}

fn traced_thread(pid: i32, tracer: i32) -> Result<Option<i32>, SysError> {
    for tid in proc::threads(pid)? {
        if proc::thread_tracer(pid, tid) == tracer {
            return Ok(Some(tid));
        }
    }
    Ok(None)
}

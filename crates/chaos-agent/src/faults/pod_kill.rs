//! `pod_kill`: every process of the instance is ended, the root asked first when there is a grace period.
//! Nothing of it can be undone, and nothing is left to undo.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use chaos_core::port::Evidence;
use chaos_core::spec::{KillSignal, PodKill};
use chaos_core::target::Instance;

use super::{FaultError, Held, Injector, Step, members};
use crate::sys::SysError;
use crate::sys::pidfd::PidFd;
use crate::undo::UndoData;

const NOTHING: &str = "nothing to undo";

pub(super) struct Kill {
    parameters: PodKill,
    instance: Instance,
    victims: Vec<PidFd>,
    stage: Stage,
}

enum Stage {
    /// Nothing was sent.
    Untouched,
    /// The root was asked to end; the rest follows at the deadline, or when it has ended.
    Asked(Instant),
    /// SIGKILL was sent to all.
    Killed,
}

impl Kill {
    pub(super) fn new(parameters: PodKill, instance: Instance) -> Self {
        Self { parameters, instance, victims: Vec::new(), stage: Stage::Untouched }
    }

    fn root(&self) -> Result<&PidFd, FaultError> {
        let pid = self.instance.process.pid;
        self.victims.first().ok_or_else(|| SysError::Gone { pid }.into())
    }

    /// Holds by descriptor every process of the instance that is not held yet.
    fn open_new(&mut self) -> Result<(), FaultError> {
        for process in members(&self.instance)? {
            if self.victims.iter().any(|victim| victim.identity() == process) {
                continue;
            }
            match PidFd::open(process) {
                Ok(victim) => self.victims.push(victim),
                // It has ended since.
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Ends all, with those that were born since the plan.
    fn kill_all(&mut self) -> Result<(), FaultError> {
        self.open_new()?;
        for victim in &self.victims {
            send(victim, libc::SIGKILL)?;
        }
        self.stage = Stage::Killed;
        Ok(())
    }
}

impl Injector for Kill {
    fn plan(&mut self) -> Result<UndoData, FaultError> {
        self.victims.push(PidFd::open(self.instance.process)?);
        self.open_new()?;
        Ok(UndoData::Nothing)
    }

    fn apply(&mut self) -> Result<Step, FaultError> {
        let grace = self.parameters.grace_period.0;
        match self.stage {
            Stage::Untouched if grace.is_zero() => self.kill_all().map(|()| Step::Done),
            Stage::Untouched => {
                send(self.root()?, number(self.parameters.signal))?;
                self.stage = Stage::Asked(Instant::now() + grace);
                Ok(Step::Again(grace))
            }
            Stage::Asked(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if self.root()?.is_alive() && !left.is_zero() {
                    return Ok(Step::Again(left));
                }
                self.kill_all().map(|()| Step::Done)
            }
            Stage::Killed => Ok(Step::Done),
        }
    }

    fn prove_active(&mut self) -> Result<Option<Vec<Evidence>>, FaultError> {
        if self.victims.iter().any(PidFd::is_alive) {
            return Ok(None);
        }
        let exited = |victim: &PidFd| Evidence::new(format!("pidfd of {}", victim.identity().pid), "exited");
        Ok(Some(self.victims.iter().map(exited).collect()))
    }

    fn hold(&mut self) -> Result<Held, FaultError> {
        Ok(Held::For(Duration::MAX))
    }

    fn undo(&mut self) -> Result<(), FaultError> {
        Ok(())
    }

    fn prove_reverted(&mut self) -> Result<Vec<Evidence>, FaultError> {
        let observed = match self.stage {
            Stage::Untouched => "nothing was sent",
            Stage::Asked(_) => "it was asked to end and not killed; nothing to undo",
            Stage::Killed => NOTHING,
        };
        Ok(vec![Evidence::new("pod_kill", observed)])
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        // The end of the root is what a grace period waits for.
        let asked = matches!(self.stage, Stage::Asked(_));
        self.victims.iter().take(usize::from(asked)).map(AsFd::as_fd).collect()
    }
}

pub(super) fn nothing_to_undo() -> Vec<Evidence> {
    vec![Evidence::new("pod_kill", NOTHING)]
}

/// One that has ended meanwhile needs no signal.
fn send(victim: &PidFd, signal: i32) -> Result<(), FaultError> {
    match victim.send_signal(signal) {
        Err(SysError::Gone { .. }) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn number(signal: KillSignal) -> i32 {
    match signal {
        KillSignal::Term => libc::SIGTERM,
        KillSignal::Interrupt => libc::SIGINT,
        KillSignal::Hangup => libc::SIGHUP,
        KillSignal::Quit => libc::SIGQUIT,
        KillSignal::Abort => libc::SIGABRT,
    }
}

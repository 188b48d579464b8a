//! `memory_pressure`: a worker that holds touched memory, charged to the instance's cgroup when it has one of its
//! own; else it is taken from the host, which keeps a reserve. The worker dies with the holder.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use chaos_core::port::Evidence;
use chaos_core::run::InjectionId;
use chaos_core::spec::{MemoryPressure, MemorySize, OomVictim};
use chaos_core::target::Instance;
use chaos_core::units::{Bytes, Percent};

use super::workers::{OOM_FIRST, Place, Workers};
use super::{FaultError, Held, Injector, Step};
use crate::sys::cgroup::{Hierarchies, Limits};
use crate::sys::pidfd::PidFd;
use crate::sys::proc::{self, Memory};
use crate::sys::worker::{Job, MemoryHold, Worker};
use crate::undo::UndoData;

/// What a host keeps at least.
const RESERVE_BYTES_MIN: u64 = 256 << 20;
/// What a host keeps at least, as a part of its memory: one twentieth.
const RESERVE_PART: u64 = 20;

pub(super) struct Pressure {
    parameters: MemoryPressure,
    instance: Instance,
    workers: Workers,
    place: Place,
    bytes: u64,
}

impl Pressure {
    pub(super) fn new(injection: &InjectionId, parameters: MemoryPressure, instance: Instance) -> Self {
        let workers = Workers::new("memory", injection);
        Self { parameters, instance, workers, place: Place::default(), bytes: 0 }
    }
}

impl Injector for Pressure {
    fn plan(&mut self) -> Result<UndoData, FaultError> {
        drop(PidFd::open(self.instance.process)?);
        let hierarchies = Hierarchies::detect()?;
        self.place = Place::of(&self.instance, &hierarchies, &["memory"])?;
        let host = proc::memory()?;
        let limits = match &self.place.cgroups {
            Some((paths, _)) => hierarchies.limits(paths),
            // The worker is charged where the holder is, which may be limited as well.
            None => hierarchies.limits(&proc::cgroups(crate::sys::own_pid())?),
        };
        self.bytes = match self.parameters.size {
            MemorySize::Bytes(Bytes(bytes)) => bytes,
            MemorySize::Share(share) => bytes_of_share(share, limits, host)?,
        };
        if self.place.cgroups.is_none() {
            check_reserve(self.bytes, limits, host)?;
        }
        Ok(UndoData::Nothing)
    }

    fn apply(&mut self) -> Result<Step, FaultError> {
        if self.workers.running().is_empty() {
            let bytes = usize::try_from(self.bytes).map_err(|_| {
                FaultError::refused(format!("{} is more than a process can hold", Bytes(self.bytes)))
            })?;
            let hold = MemoryHold { bytes, bytes_per_second: self.parameters.rate.map(|rate| rate.0) };
            let oom_score_adj = match self.parameters.oom {
                OomVictim::Worker => OOM_FIRST,
                OomVictim::Victim => 0,
            };
            self.workers.start(Job::Memory(hold), &self.place, oom_score_adj)?;
        }
        Ok(Step::Done)
    }

    fn prove_active(&mut self) -> Result<Option<Vec<Evidence>>, FaultError> {
        let placed = self.workers.check(&self.place)?;
        let Some(worker) = self.workers.running().first() else { return Ok(None) };
        let touched = worker.touched_bytes();
        // Read after the count, so what was counted must be there.
        let resident = worker.private_bytes()?;
        if touched == 0 || resident < touched {
            return Ok(None);
        }
        let observed = format!("{touched} of {} bytes touched, {resident} resident and its own", self.bytes);
        Ok(Some(vec![Evidence::new(format!("memory of worker {}", worker.identity().pid), observed), placed]))
    }

    fn hold(&mut self) -> Result<Held, FaultError> {
        Ok(self.workers.dead().map_or(Held::For(Duration::MAX), Held::Lost))
    }

    fn undo(&mut self) -> Result<(), FaultError> {
        self.workers.stop()
    }

    fn prove_reverted(&mut self) -> Result<Vec<Evidence>, FaultError> {
        self.workers.prove_stopped()
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.workers.running().iter().map(Worker::process).map(AsFd::as_fd).collect()
    }
}

/// How much fills up to a share of the limit, or of the host's memory without one, counting what is used.
fn bytes_of_share(share: Percent, limits: Limits, host: Memory) -> Result<u64, FaultError> {
    let (limit, used, of) = match (limits.memory_bytes, limits.memory_usage_bytes) {
        (Some(limit), Some(used)) if limit < host.total_bytes => (limit, used, "the cgroup's limit"),
        _ => (host.total_bytes, host.total_bytes.saturating_sub(host.available_bytes), "the host's memory"),
    };
    let wanted = (limit as f64 * share.ratio()) as u64;
    match wanted.checked_sub(used) {
        Some(bytes) if bytes > 0 => Ok(bytes),
        _ => {
            let (limit, used) = (mebibytes(limit), mebibytes(used));
            Err(FaultError::refused(format!(
                "{used} of {of} ({limit}) are used already, which is {share} or more"
            )))
        }
    }
}

/// A host without its reserve is a host that nobody can log into.
fn check_reserve(bytes: u64, limits: Limits, host: Memory) -> Result<(), FaultError> {
    let reserve = RESERVE_BYTES_MIN.max(host.total_bytes / RESERVE_PART);
    let below_limit = match (limits.memory_bytes, limits.memory_usage_bytes) {
        (Some(limit), Some(used)) => limit.saturating_sub(used),
        _ => u64::MAX,
    };
    let available = host.available_bytes.min(below_limit);
    if available.saturating_sub(bytes) >= reserve {
        return Ok(());
    }
    let (bytes, available, reserve) = (mebibytes(bytes), mebibytes(available), mebibytes(reserve));
    Err(FaultError::refused(format!(
        "{bytes} of the host's {available} available would leave less than the reserve of {reserve}; \
         ask for a smaller size, or a target that has a memory cgroup of its own"
    )))
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn host(available_bytes: u64) -> Memory {
        Memory { total_bytes: 16 * GIB, available_bytes }
    }

    fn limited(limit: u64, used: u64) -> Limits {
        Limits { cpu_cores: None, memory_bytes: Some(limit), memory_usage_bytes: Some(used) }
    }

    #[test]
    fn a_share_counts_what_is_used_already() {
        let half = Percent::new(50.0).unwrap();
        assert_eq!(bytes_of_share(half, limited(4 * GIB, GIB), host(8 * GIB)).unwrap(), GIB);
        assert_eq!(bytes_of_share(half, Limits::default(), host(12 * GIB)).unwrap(), 4 * GIB);
        assert!(bytes_of_share(half, limited(4 * GIB, 3 * GIB), host(8 * GIB)).is_err());
    }

    #[test]
    fn a_host_keeps_its_reserve() {
        let none = Limits::default();
        assert!(check_reserve(7 * GIB, none, host(8 * GIB)).is_ok());
        assert!(check_reserve(8 * GIB, none, host(8 * GIB)).is_err());
        assert!(check_reserve(9 * GIB, none, host(8 * GIB)).is_err());
        assert!(
            check_reserve(2 * GIB, limited(2 * GIB, 0), host(8 * GIB)).is_err(),
            "the holder's own limit"
        );
    }
}

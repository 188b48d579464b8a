//! `cpu_stress`: workers that burn CPU time in the instance's cgroup, or on the host when it shares one.
//! They die with the holder.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use chaos_core::port::Evidence;
use chaos_core::run::InjectionId;
use chaos_core::spec::CpuStress;
use chaos_core::target::Instance;

use super::workers::{OOM_FIRST, Place, Workers};
use super::{FaultError, Held, Injector, Step};
use crate::sys::cgroup::Hierarchies;
use crate::sys::pidfd::PidFd;
use crate::sys::worker::{CpuLoad, Job, Worker};
use crate::undo::UndoData;

/// CPU time by which each worker must have grown to count as working: far above what its birth takes.
const GROWTH_MIN: Duration = Duration::from_micros(200);
/// Most workers of one injection, as the document allows.
const WORKERS_MAX: usize = 1024;

pub(super) struct Load {
    parameters: CpuStress,
    instance: Instance,
    workers: Workers,
    place: Place,
    /// Load in cores.
    cores: f64,
    wanted: usize,
    /// CPU time of each worker when it was first looked at.
    before: Vec<Duration>,
}

impl Load {
    pub(super) fn new(injection: &InjectionId, parameters: CpuStress, instance: Instance) -> Self {
        let workers = Workers::new("cpu", injection);
        Self {
            parameters,
            instance,
            workers,
            place: Place::default(),
            cores: 0.0,
            wanted: 0,
            before: Vec::new(),
        }
    }
}

impl Injector for Load {
    fn plan(&mut self) -> Result<UndoData, FaultError> {
        drop(PidFd::open(self.instance.process)?);
        let hierarchies = Hierarchies::detect()?;
        self.place = Place::of(&self.instance, &hierarchies, &["cpu", "cpuacct", "cpuset"])?;
        let limit = self.place.cgroups.as_ref().and_then(|(paths, _)| hierarchies.limits(paths).cpu_cores);
        let every = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        let cores = self.parameters.cores.map(f64::from).or(limit).unwrap_or(every);
        self.cores = cores * self.parameters.load.ratio();
        // One worker for each core that the load is a share of, so that none has to do more than the share.
        self.wanted = (cores.ceil() as usize).clamp(1, WORKERS_MAX);
        Ok(UndoData::Nothing)
    }

    fn apply(&mut self) -> Result<Step, FaultError> {
        if self.workers.running().len() >= self.wanted {
            return Ok(Step::Done);
        }
        let share = (self.cores / self.wanted as f64).min(1.0);
        self.workers.start(Job::Cpu(CpuLoad { share }), &self.place, OOM_FIRST)?;
        Ok(if self.workers.running().len() >= self.wanted { Step::Done } else { Step::Again(Duration::ZERO) })
    }

    fn prove_active(&mut self) -> Result<Option<Vec<Evidence>>, FaultError> {
        let placed = self.workers.check(&self.place)?;
        let mut now = Vec::with_capacity(self.wanted);
        for worker in self.workers.running() {
            now.push(worker.cpu_time()?);
        }
        if self.before.len() != now.len() {
            self.before = now;
            return Ok(None);
        }
        let grown = |(before, now): (&Duration, &Duration)| now.saturating_sub(*before);
        let growth: Vec<Duration> = self.before.iter().zip(&now).map(grown).collect();
        if growth.iter().any(|growth| *growth < GROWTH_MIN) {
            return Ok(None);
        }
        let total: Duration = growth.iter().sum();
        let grew = format!("grew by {} µs in {} workers", total.as_micros(), growth.len());
        Ok(Some(vec![Evidence::new("CPU time of the workers", grew), placed]))
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

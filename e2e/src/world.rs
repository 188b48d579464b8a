//! The systems that tests and the soak hit: orchestrators of the demo, one that shares the room's network and one in
//! a network of its own.
//!
//! Owns their start, their end and the way to name exactly them as a target. It never injects anything.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use chaos_agent::sys::proc;
use chaos_core::spec::{HostTarget, ProcessMatch};
use chaos_demo::{Config, Handle, Orchestrator, Tuning};
use nix::sched::{CloneFlags, unshare};

use crate::snapshot::{self, Difference, Network, Scope, Snapshot};

const POLL: Duration = Duration::from_millis(2);

/// One sample system.
#[derive(Debug)]
pub struct House {
    /// The running system.
    pub handle: Handle,
    /// The mark in the arguments of all its processes.
    pub family: String,
    /// How many replicas it has.
    pub replicas: u16,
}

impl House {
    /// Starts one on `port` (0: any) in the network of the calling thread. `program` must be an executable whose
    /// `main` turns into the system when called so.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(program: PathBuf, port: u16, replicas: u16) -> Result<Self> {
        let tuning = Tuning { restart_backoff: Duration::from_millis(10), ..Tuning::default() };
        let config = Config { program, port, replicas, tuning, ..Config::default() };
        let handle = Orchestrator::start(&config).context("starting a sample system")?;
        let pid = i32::try_from(handle.pid)?;
        let arguments = proc::command_line(pid)?;
        let family = arguments.iter().skip_while(|argument| *argument != "--family").nth(1);
        let family = family.context("the sample system has no mark")?.clone();
        Ok(Self { handle, family, replicas })
    }

    /// The same in a network namespace of its own.
    ///
    /// # Errors
    /// It does not start, or the namespace can't be made.
    pub fn start_apart(program: PathBuf, replicas: u16) -> Result<Self> {
        // A process starts in the network of the thread that makes it, and this thread ends here.
        let thread = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace")?;
            crate::room::bring_loopback_up()?;
            Self::start(program, 0, replicas)
        });
        thread.join().unwrap_or_else(|_| bail!("starting a sample system panicked"))
    }

    /// Its replicas as a target.
    #[must_use]
    pub fn target(&self) -> HostTarget {
        HostTarget::Process(ProcessMatch { cmdline: Some(self.family.clone()), ..ProcessMatch::default() })
    }

    /// The same in a document.
    #[must_use]
    pub fn target_yaml(&self) -> String {
        format!("host: {{ process: {{ cmdline: \"{}\" }} }}", self.family)
    }
}

/// What a soak has around it.
#[derive(Debug)]
pub struct World {
    /// The systems; the first shares the caller's network.
    pub houses: Vec<House>,
    /// What is looked at.
    pub scope: Scope,
    /// How everything was at the start.
    pub before: Snapshot,
}

impl World {
    /// Starts both systems and takes the first picture, also of these state folders.
    ///
    /// # Errors
    /// Something does not start or can't be read.
    pub fn start(program: &std::path::Path, states: Vec<PathBuf>) -> Result<Self> {
        let shared = House::start(program.to_owned(), 0, 3)?;
        let apart = House::start_apart(program.to_owned(), 3)?;
        let network = Network::of("network of the second system", apart.handle.pid)?;
        let scope = Scope { states, networks: vec![network], ..Scope::default() };
        let before = settled(&scope, Duration::from_secs(5))?;
        Ok(Self { houses: vec![shared, apart], scope, before })
    }

    /// Waits until nothing that acts on anybody differs from the start.
    ///
    /// # Errors
    /// Something can't be read.
    pub fn heal(&self, within: Duration) -> Result<Healing> {
        self.until(&self.scope, within, snapshot::matters)
    }

    /// The same beside these processes, which are there.
    ///
    /// # Errors
    /// Something can't be read.
    pub fn heal_beside(&self, present: &[u32], within: Duration) -> Result<Healing> {
        self.until(&self.beside(present), within, snapshot::matters)
    }

    /// Waits until nothing at all differs.
    ///
    /// # Errors
    /// Something can't be read.
    pub fn spotless(&self, within: Duration) -> Result<Vec<Difference>> {
        self.spotless_beside(&[], within)
    }

    /// The same beside these processes, which are there.
    ///
    /// # Errors
    /// Something can't be read.
    pub fn spotless_beside(&self, present: &[u32], within: Duration) -> Result<Vec<Difference>> {
        let healing = self.until(&self.beside(present), within, <[Difference]>::to_vec)?;
        Ok(healing.left)
    }

    fn beside(&self, present: &[u32]) -> Scope {
        let mut scope = self.scope.clone();
        scope.leave_out.extend(present.iter().map(|pid| pid.cast_signed()));
        scope
    }

    fn until(
        &self,
        scope: &Scope,
        within: Duration,
        judge: impl Fn(&[Difference]) -> Vec<Difference>,
    ) -> Result<Healing> {
        let begun = Instant::now();
        let mut last = Vec::new();
        loop {
            let left = judge(&snapshot::diff(&self.before, &Snapshot::take(scope)?));
            if left.is_empty() || begun.elapsed() >= within {
                return Ok(Healing { left, last, took: begun.elapsed() });
            }
            last = left;
            std::thread::sleep(POLL);
        }
    }

    /// Takes what is there now as the new normal, so that one residue is told once.
    ///
    /// # Errors
    /// Something can't be read.
    pub fn accept(&mut self) -> Result<()> {
        self.before = settled(&self.scope, Duration::from_secs(5))?;
        Ok(())
    }

    /// Pids of the systems' processes now.
    #[must_use]
    pub fn victims(&self) -> Vec<u32> {
        self.houses.iter().flat_map(|house| house.handle.processes()).collect()
    }
}

/// How a wait for the start's state ended.
#[derive(Debug)]
pub struct Healing {
    /// What still differs.
    pub left: Vec<Difference>,
    /// What differed at the last look before the end.
    pub last: Vec<Difference>,
    /// How long it took.
    pub took: Duration,
}

/// A picture that is the same twice in a row.
fn settled(scope: &Scope, within: Duration) -> Result<Snapshot> {
    let begun = Instant::now();
    let mut last = Snapshot::take(scope)?;
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let next = Snapshot::take(scope)?;
        if next == last {
            return Ok(next);
        }
        if begun.elapsed() >= within {
            bail!("the sample systems do not settle: {:?}", snapshot::diff(&last, &next));
        }
        last = next;
    }
}

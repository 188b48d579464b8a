//! Holding a whole group of processes still: the given ones and everything below them, also what is forked
//! while the first of them are being stopped. One [`Pause`] each; this only keeps them together.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::proc::table::ProcessTable;
use super::super::{Identity, SysError};
use super::{Held, Pause, Resumed};

/// Most scans for new descendants before the pause is given up.
const SCANS_MAX: usize = 100;
/// Most processes in one group.
pub const GROUP_PROCESSES_MAX: usize = 4096;

/// Processes that are held together.
#[derive(Debug, Default)]
pub struct PauseGroup {
    pauses: BTreeMap<Identity, Pause>,
}

impl PauseGroup {
    /// Seizes the processes and all of their descendants within `timeout`. One that ends meanwhile is left out.
    ///
    /// # Errors
    /// All of the given ones are gone, one can't be traced or stopped, or the group is too large; then all
    /// that were stopped are let go.
    pub fn seize(processes: &[Identity], timeout: Duration) -> Result<Self, SysError> {
        let deadline = Instant::now() + timeout;
        let mut group = Self::default();
        let mut wanted = processes.to_vec();
        for _ in 0..SCANS_MAX {
            for identity in wanted.drain(..) {
                match Pause::seize(identity, deadline.saturating_duration_since(Instant::now())) {
                    Ok(pause) => drop(group.pauses.insert(identity, pause)),
                    Err(error) if error.is_gone() => {}
                    Err(error) => return Err(error),
                }
            }
            // Only a member can make new members, so a scan that began with all of them stopped is final.
            wanted = group.descendants_not_held()?;
            if wanted.is_empty() {
                return group.or_gone(processes);
            }
            if group.pauses.len() + wanted.len() > GROUP_PROCESSES_MAX {
                let found = (group.pauses.len() + wanted.len()).to_string();
                let expected = "at most 4096 processes in one group";
                return Err(SysError::InvalidParameter { name: "processes", value: found, expected });
            }
        }
        let attempted = "stopping a group that keeps forking".to_owned();
        Err(SysError::Timeout { attempted, waited: timeout })
    }

    fn or_gone(self, processes: &[Identity]) -> Result<Self, SysError> {
        if self.pauses.is_empty() {
            return Err(SysError::Gone { pid: processes.first().map_or(0, |process| process.pid) });
        }
        Ok(self)
    }

    fn descendants_not_held(&self) -> Result<Vec<Identity>, SysError> {
        let table = ProcessTable::read()?;
        let below = self.pauses.keys().flat_map(|held| table.with_descendants(held.pid));
        let mut found: Vec<Identity> = below
            .filter_map(|pid| table.get(pid))
            .filter(|process| !process.is_dead())
            .map(|process| process.identity)
            .filter(|identity| !self.pauses.contains_key(identity))
            .collect();
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// The processes that are held.
    pub fn processes(&self) -> impl Iterator<Item = Identity> {
        self.pauses.keys().copied()
    }

    /// See [`Pause::pump`]: [`Held::Gone`] when the last member has ended. Members that ended are let go of.
    ///
    /// # Errors
    /// As [`Pause::pump`].
    pub fn pump(&mut self) -> Result<Held, SysError> {
        let mut ended = Vec::new();
        for (identity, pause) in &mut self.pauses {
            if pause.pump()? == Held::Gone {
                ended.push(*identity);
            }
        }
        for identity in ended {
            self.pauses.remove(&identity);
        }
        Ok(if self.pauses.is_empty() { Held::Gone } else { Held::Stopped })
    }

    /// See [`Pause::prove_stopped`]; takes two readings of the whole group.
    ///
    /// # Errors
    /// A member is not stopped or is gone.
    pub fn prove_stopped(&self) -> Result<(), SysError> {
        let read = || self.pauses.values().map(Pause::reading).collect::<Result<Vec<_>, _>>();
        let before = read()?;
        std::thread::sleep(super::PROOF_INTERVAL);
        if before == read()? {
            return Ok(());
        }
        let observed = "its CPU time or its threads changed".to_owned();
        Err(SysError::NotProven { attempted: "stopping a group".to_owned(), observed })
    }

    /// Lets all members go and proves it; tries every one of them also when one fails.
    ///
    /// # Errors
    /// The first member that could not be proven free.
    pub fn resume(&mut self, timeout: Duration) -> Result<Vec<(Identity, Resumed)>, SysError> {
        let deadline = Instant::now() + timeout;
        // All are let go before any is looked at: none should wait for the proof of another.
        for pause in self.pauses.values_mut() {
            pause.let_go(deadline);
        }
        let mut resumed = Vec::new();
        let mut failed = None;
        for (identity, pause) in &mut self.pauses {
            match pause.resume(deadline.saturating_duration_since(Instant::now())) {
                Ok(state) => resumed.push((*identity, state)),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(resumed), Err)
    }
}

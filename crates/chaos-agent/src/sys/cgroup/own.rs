//! A cgroup of our own below another one: made, filled, emptied and removed, each step idempotent, so that a
//! new process can finish what a dead one began. It holds no state of its own beyond the directory.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::{Identity, SysError, proc};
use super::{move_process, processes};

/// Most rounds of emptying before it is given up: a group that forks faster than that wins.
const EMPTYING_ROUNDS_MAX: usize = 100;

/// A cgroup made by us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCgroup {
    directory: PathBuf,
}

/// Where a process was before it was moved into a cgroup of ours.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Moved {
    /// The process.
    pub process: Identity,
    /// The directory of the cgroup that it was in.
    pub from: PathBuf,
}

impl OwnCgroup {
    /// Makes the cgroup `name` below `parent`; one that is there already is taken over.
    ///
    /// # Errors
    /// The name is not a plain one, the parent is gone, or the kernel refuses.
    pub fn create(parent: &Path, name: &str) -> Result<Self, SysError> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\n', '\0']) {
            let expected = "a plain name of a directory";
            return Err(SysError::InvalidParameter { name: "name", value: name.to_owned(), expected });
        }
        let directory = parent.join(name);
        match std::fs::create_dir(&directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(SysError::io(format!("making cgroup {}", directory.display()), error)),
        }
        Ok(Self { directory })
    }

    /// Names a cgroup that an earlier process made, from its record. It need not exist any more.
    #[must_use]
    pub fn recorded(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The kernel's id of the cgroup: the inode of its directory.
    ///
    /// # Errors
    /// It is gone.
    pub fn id(&self) -> Result<u64, SysError> {
        std::fs::metadata(&self.directory).map(|metadata| metadata.ino()).map_err(|source| {
            SysError::io(format!("reading the id of cgroup {}", self.directory.display()), source)
        })
    }

    /// How many cgroups lie above it, the root of its hierarchy (mounted at `mount_point`) being level 0.
    #[must_use]
    pub fn level(&self, mount_point: &Path) -> Option<u32> {
        let below = self.directory.strip_prefix(mount_point).ok()?;
        u32::try_from(below.components().count()).ok()
    }

    /// Moves a process into it and says where it was, for the undo record: so look up the place first with
    /// [`OwnCgroup::plan`], write it down, then move.
    ///
    /// # Errors
    /// The process is gone or was replaced, or the kernel refuses.
    pub fn admit(&self, process: Identity) -> Result<(), SysError> {
        if !proc::runs(process) {
            return Err(SysError::Gone { pid: process.pid });
        }
        move_process(process.pid, &self.directory)
    }

    /// What [`OwnCgroup::admit`] will change for a process that is in the cgroup `from` now.
    #[must_use]
    pub fn plan(process: Identity, from: PathBuf) -> Moved {
        Moved { process, from }
    }

    /// Moves every process out of it: those that were moved in go back to where they were, their later
    /// children to the place of their nearest known ancestor, everything else to `fallback`.
    ///
    /// # Errors
    /// The kernel refuses, or new processes come faster than they are moved.
    pub fn empty(&self, moved: &[Moved], fallback: &Path) -> Result<(), SysError> {
        let places: BTreeMap<i32, &Path> =
            moved.iter().map(|moved| (moved.process.pid, moved.from.as_path())).collect();
        for _ in 0..EMPTYING_ROUNDS_MAX {
            let inside = match processes(&self.directory) {
                Ok(inside) => inside,
                Err(error) if error.is_gone() => return Ok(()),
                Err(error) => return Err(error),
            };
            if inside.is_empty() {
                return Ok(());
            }
            for pid in inside {
                match move_process(pid, place(pid, &places).unwrap_or(fallback)) {
                    Err(error) if error.is_gone() && !self.directory.join("cgroup.procs").exists() => {
                        return Ok(());
                    }
                    Err(SysError::Gone { .. }) | Ok(()) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let attempted = format!("emptying cgroup {}", self.directory.display());
        Err(SysError::NotProven { attempted, observed: "processes are still in it".to_owned() })
    }

    /// Removes it; gone already is fine.
    ///
    /// # Errors
    /// Processes are still in it, or the kernel refuses.
    pub fn remove(&self) -> Result<(), SysError> {
        match std::fs::remove_dir(&self.directory) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(SysError::io(format!("removing cgroup {}", self.directory.display()), error)),
        }
    }

    /// True while the directory exists.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.directory.is_dir()
    }
}

/// The place of a process or of its nearest ancestor that has one.
fn place<'a>(pid: i32, places: &BTreeMap<i32, &'a Path>) -> Option<&'a Path> {
    let mut current = pid;
    for _ in 0..64 {
        if let Some(found) = places.get(&current) {
            return Some(found);
        }
        current = proc::stat(current).ok()?.parent;
        if current <= 1 {
            return None;
        }
    }
    None
}

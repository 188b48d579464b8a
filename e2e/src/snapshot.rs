//! A full picture of what could be left behind, and the difference of two pictures.
//!
//! Owns what counts as residue: rules with live elements, qdiscs, processes and their states, cgroups, mounts, undo
//! records. Nothing in it names a pid, so what was killed and started again is no difference. It only reads.

mod firewall;
mod processes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

/// What is looked at. The mounts, cgroups and processes are those of the room that the caller is in.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// State folders whose undo records are looked at.
    pub states: Vec<PathBuf>,
    /// Network namespaces beside the caller's own.
    pub networks: Vec<Network>,
    /// Processes that are not looked at, beside the caller and its ancestors.
    pub leave_out: BTreeSet<i32>,
}

/// A network namespace under a name.
#[derive(Debug, Clone)]
pub struct Network {
    name: String,
    namespace: Arc<File>,
}

impl Network {
    /// The namespace that a living process is in.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn of(name: &str, pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/ns/net");
        let namespace = File::open(&path).with_context(|| format!("opening {path}"))?;
        Ok(Self { name: name.to_owned(), namespace: Arc::new(namespace) })
    }
}

/// What a thing in a picture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A packet rule or a live element of a set.
    Rule,
    /// A rule of ours that matches only through empty sets: it does nothing.
    InertRule,
    /// A queueing discipline.
    Qdisc,
    /// A process, its state, its cgroups, its OOM score.
    Process,
    /// A directory of a cgroup hierarchy.
    Cgroup,
    /// A mount.
    Mount,
    /// A file of the undo folder.
    UndoRecord,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rule => "rule",
            Self::InertRule => "inert rule",
            Self::Qdisc => "qdisc",
            Self::Process => "process",
            Self::Cgroup => "cgroup",
            Self::Mount => "mount",
            Self::UndoRecord => "undo record",
        })
    }
}

/// The picture: things by description, with how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    things: BTreeMap<(Kind, String), usize>,
}

/// One thing that is there in one picture more often than in the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What it is.
    pub kind: Kind,
    /// In words.
    pub text: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.text)
    }
}

impl Snapshot {
    /// Takes a picture.
    ///
    /// # Errors
    /// Something can't be read. A program that is not installed (`nft`, `tc`) is an error too: without it rules would
    /// be left behind unseen.
    pub fn take(scope: &Scope) -> Result<Self> {
        let mut snapshot = Self::default();
        firewall::read(None, &mut |kind, text| snapshot.add(kind, text))?;
        for network in &scope.networks {
            firewall::read(Some(network), &mut |kind, text| snapshot.add(kind, text))?;
        }
        processes::read(&scope.leave_out, &mut |text| snapshot.add(Kind::Process, text))?;
        snapshot.mounts()?;
        for state in &scope.states {
            snapshot.files(&state.join("undo"));
        }
        Ok(snapshot)
    }

    fn add(&mut self, kind: Kind, text: String) {
        *self.things.entry((kind, text)).or_default() += 1;
    }

    fn mounts(&mut self) -> Result<()> {
        let table = fs::read_to_string("/proc/self/mountinfo").context("reading the mounts")?;
        for line in table.lines() {
            let Some((before, after)) = line.split_once(" - ") else { continue };
            let point = before.split(' ').nth(4).unwrap_or_default();
            let kind = after.split(' ').next().unwrap_or_default();
            self.add(Kind::Mount, format!("{kind} at {point}"));
            if kind.starts_with("cgroup") {
                self.cgroups(Path::new(point), 0);
            }
        }
        Ok(())
    }

    fn cgroups(&mut self, directory: &Path, depth: usize) {
        /// Deeper trees are cut, so that a loop can't hold us.
        const DEPTH_MAX: usize = 32;
        // One that ends while it is read is nobody's residue.
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if depth < DEPTH_MAX && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.add(Kind::Cgroup, entry.path().display().to_string());
                self.cgroups(&entry.path(), depth + 1);
            }
        }
    }

    fn files(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            self.add(Kind::UndoRecord, entry.path().display().to_string());
        }
    }
}

/// What `after` has more than `before`, and what it lacks. Inert rules are among them: whether they matter is the
/// caller's to say, see [`matters`].
#[must_use]
pub fn diff(before: &Snapshot, after: &Snapshot) -> Vec<Difference> {
    let keys: BTreeSet<_> = before.things.keys().chain(after.things.keys()).collect();
    let difference = |key: &(Kind, String)| {
        let count = |snapshot: &Snapshot| snapshot.things.get(key).copied().unwrap_or_default();
        let (was, is) = (count(before), count(after));
        let text = match is.cmp(&was) {
            std::cmp::Ordering::Equal => return None,
            std::cmp::Ordering::Greater => format!("{} × left: {}", is - was, key.1),
            std::cmp::Ordering::Less => format!("{} × missing: {}", was - is, key.1),
        };
        Some(Difference { kind: key.0, text })
    };
    keys.into_iter().filter_map(difference).collect()
}

/// The differences that act on anybody: all but inert rules and undo records, which wait for the next start.
#[must_use]
pub fn matters(differences: &[Difference]) -> Vec<Difference> {
    let acts = |difference: &&Difference| !matches!(difference.kind, Kind::InertRule | Kind::UndoRecord);
    differences.iter().filter(acts).cloned().collect()
}

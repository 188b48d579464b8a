//! What is written down about a cluster, before anything of it is made: enough to take it down again.
//!
//! Owns the folder of a cluster and the lock on all of them. It starts and ends nothing but the first process of a
//! cluster, which it knows by its id and the moment of its start, never by its name.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::components::KUBERNETES;
use super::{cgroups, host};

/// The most nodes of a cluster: more than a workstation bears.
pub(super) const NODES_MAX: u8 = 8;
/// The longest name of a cluster.
const NAME_LENGTH_MAX: usize = 30;
/// How long the processes of a cluster may take to end once its first is killed.
const END_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// The file of the state below the folder.
const FILE: &str = "state.json";
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// A process, for as long as it lives: its id alone could be somebody else's later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pid: i32,
    /// When it started, in the kernel's ticks since this boot.
    started: u64,
    boot: String,
}

impl Identity {
    /// That of a living process.
    pub(super) fn of(pid: i32) -> Result<Self> {
        let started = started(pid).with_context(|| format!("process {pid} has ended"))?;
        Ok(Self { pid, started, boot: boot() })
    }

    /// The id, while it lives.
    pub(super) fn pid(&self) -> Option<i32> {
        (self.boot == boot() && started(self.pid) == Some(self.started)).then_some(self.pid)
    }

    /// Kills it and waits until it has ended.
    fn end(&self) -> Result<()> {
        let deadline = Instant::now() + END_LIMIT;
        while let Some(pid) = self.pid() {
            match kill(Pid::from_raw(pid), Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => bail!("killing process {pid}: {error}"),
            }
            ensure!(Instant::now() < deadline, "process {pid} is still there");
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

fn boot() -> String {
    fs::read_to_string(BOOT).unwrap_or_default().trim().to_owned()
}

/// When a process started; none for one that has ended, even if nobody has waited for it.
fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so fields are counted from the last parenthesis.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ended = matches!(*fields.first()?, "Z" | "X");
    fields.get(19)?.parse().ok().filter(|_| !ended)
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Node {
    /// `node1` and so on.
    pub(super) name: String,
    /// From 1.
    pub(super) number: u8,
    /// Its cgroups as this host sees them.
    pub(super) cgroups: Vec<PathBuf>,
}

impl Node {
    /// Its own address.
    pub(super) fn address(&self) -> String {
        format!("198.18.255.{}", u16::from(self.number) * 4 + 2)
    }

    /// The other end of its link.
    pub(super) fn gateway(&self) -> String {
        format!("198.18.255.{}", u16::from(self.number) * 4 + 1)
    }

    /// The addresses of its pods.
    pub(super) fn pods(&self) -> String {
        format!("198.18.{}.0/24", self.number)
    }
}

/// Everything that is written down about a cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    /// What it is called.
    pub(super) name: String,
    /// Its nodes.
    pub(super) nodes: Vec<Node>,
    /// Where the API server is reached from this host, on the loopback.
    pub(super) port: u16,
    /// The folder of the components.
    pub(super) components: PathBuf,
    /// The file of Kubernetes in it.
    pub(super) kubernetes: String,
    /// The folder of the network plug-ins.
    pub(super) plugins: PathBuf,
    /// Its first process: everything of the cluster ends with it.
    pub(super) first: Option<Identity>,
    #[serde(skip)]
    folder: PathBuf,
}

impl State {
    /// The state of a cluster that is about to be made; nothing is written yet.
    pub(super) fn new(name: &str, nodes: u8, port: u16) -> Result<Self> {
        ensure!((1..=NODES_MAX).contains(&nodes), "a cluster has 1 to {NODES_MAX} nodes");
        let node = |number| {
            let node = format!("node{number}");
            Node { cgroups: cgroups::directories(name, &node), name: node, number }
        };
        Ok(Self {
            name: name.to_owned(),
            nodes: (1..=nodes).map(node).collect(),
            port,
            components: host::cache()?,
            kubernetes: KUBERNETES.key()?,
            plugins: host::plugins().context("no network plug-ins")?.into(),
            first: None,
            folder: folder(name)?,
        })
    }

    /// The state in a folder; none when nothing was written down there.
    pub(super) fn read_from(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        let state: Self =
            serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
        Ok(Some(Self { folder: folder.to_owned(), ..state }))
    }

    /// The state of the cluster with this name.
    pub(super) fn read(name: &str) -> Result<Self> {
        Self::read_from(&folder(name)?)?.with_context(|| format!("there is no cluster {name}"))
    }

    /// Writes it down, whole or not at all.
    pub(super) fn write(&self) -> Result<()> {
        fs::create_dir_all(&self.folder).with_context(|| format!("making {}", self.folder.display()))?;
        let mut draft = tempfile::NamedTempFile::new_in(&self.folder).context("writing the state down")?;
        serde_json::to_writer_pretty(&mut draft, self).context("writing the state down")?;
        draft.as_file().sync_all().context("writing the state down")?;
        draft.persist(self.folder.join(FILE)).context("writing the state down")?;
        Ok(())
    }

    /// The folder of this cluster.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file below the folder.
    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.folder.join(below)
    }

    /// The first process, while it lives.
    pub(super) fn first_process(&self) -> Result<i32> {
        let alive = self.first.as_ref().and_then(Identity::pid);
        alive.with_context(|| format!("cluster {} does not run; take it down and up again", self.name))
    }
}

/// The folder of the cluster with this name.
pub(super) fn folder(name: &str) -> Result<PathBuf> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure!(
        !name.is_empty() && name.len() <= NAME_LENGTH_MAX && name.chars().all(allowed),
        "the name of a cluster is up to {NAME_LENGTH_MAX} small letters, digits and dashes"
    );
    Ok(host::clusters()?.join(name))
}

/// Holds everybody else off until it is dropped.
pub(super) fn lock() -> Result<File> {
    let folder = host::clusters()?;
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let lock = File::open(&folder).with_context(|| format!("opening {}", folder.display()))?;
    if lock.try_lock().is_err() {
        eprintln!("waiting for another cluster that comes up or goes down");
        lock.lock().context("waiting for another cluster")?;
    }
    Ok(lock)
}

/// Takes down whatever was written down in this folder: the processes, the cgroups, the folder. Twice is fine.
pub(super) fn take_down(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    // Without a state nothing was made yet.
    if let Some(state) = State::read_from(folder)? {
        if let Some(first) = &state.first {
            first.end()?;
        }
        for node in &state.nodes {
            cgroups::remove(&node.cgroups)?;
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("reading the mounts")?;
    let below =
        |line: &&str| line.split(' ').nth(4).is_some_and(|place| Path::new(place).starts_with(folder));
    // Mounts belong to namespaces that are gone; through one that is not, removing would reach somewhere else.
    if let Some(mount) = mounts.lines().find(below) {
        bail!("something is mounted below {}: {mount}", folder.display());
    }
    fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_known_by_the_moment_it_started() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let identity = Identity::of(child.id().cast_signed()).unwrap();
        assert_eq!(identity.pid(), Some(child.id().cast_signed()));
        let earlier = Identity { started: identity.started - 1, ..identity.clone() };
        let before_boot = Identity { boot: "another".to_owned(), ..identity.clone() };
        assert_eq!((earlier.pid(), before_boot.pid()), (None, None));
        earlier.end().unwrap();
        assert!(child.try_wait().unwrap().is_none());
        identity.end().unwrap();
        // It has ended, though nobody has waited for it yet.
        assert_eq!(identity.pid(), None);
        child.wait().unwrap();
        identity.end().unwrap();
    }

    #[test]
    fn names_that_would_leave_the_folder_are_refused() {
        for name in ["", "..", "a/b", "A", "a b", &"a".repeat(NAME_LENGTH_MAX + 1)] {
            assert!(folder(name).is_err(), "{name}");
        }
        assert!(folder("chaos-1").unwrap().ends_with("chaos-1"));
    }

    #[test]
    fn a_folder_without_a_state_goes_and_so_does_one_that_is_not_there() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("half");
        fs::create_dir_all(folder.join("logs")).unwrap();
        take_down(&folder).unwrap();
        assert!(!folder.exists());
        take_down(&folder).unwrap();
    }

    #[test]
    fn nodes_have_addresses_of_their_own() {
        let node = |number| Node { name: format!("node{number}"), number, cgroups: Vec::new() };
        let (first, last) = (node(1), node(NODES_MAX));
        assert_eq!((first.gateway().as_str(), first.address().as_str()), ("198.18.255.5", "198.18.255.6"));
        assert_eq!((last.address().as_str(), last.pods().as_str()), ("198.18.255.34", "198.18.8.0/24"));
    }
}

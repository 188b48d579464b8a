//! The cgroups of nodes: one for each node in every hierarchy, which the node sees as the root.
//!
//! Makes, enters and removes them; never touches one that is not named for a node of a cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// The kernel may take a moment to let go of a cgroup whose last process has just ended.
const REMOVAL_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// What nodes need to account for and to limit pods.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];
/// Where a node's own processes are with cgroup version 2, which allows none in a cgroup that hands controllers on.
const SYSTEM: &str = "system";

/// One hierarchy: where it is mounted, and with which controllers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    mount: PathBuf,
    /// The mount options of version 1 (`cpu`, `name=systemd`); none for version 2.
    options: Option<String>,
}

/// All hierarchies that are mounted here.
pub(super) fn hierarchies() -> Vec<Hierarchy> {
    read(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

fn read(mounts: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mounts.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let mut after = after.split(' ');
        let kind = after.next().unwrap_or_default();
        let options = after.nth(1).unwrap_or_default();
        let Some(mount) = before.split(' ').nth(4).map(PathBuf::from) else { continue };
        let controllers = options.split(',').filter(|option| is_own(option));
        let options = match kind {
            "cgroup" => Some(controllers.collect::<Vec<_>>().join(",")),
            "cgroup2" => None,
            _ => continue,
        };
        // A hierarchy that is mounted in several places is entered through the first.
        if !found.iter().any(|known| known.options == options) {
            found.push(Hierarchy { mount, options });
        }
    }
    found
}

/// Whether a mount option of version 1 says which hierarchy it is.
fn is_own(option: &str) -> bool {
    let general = matches!(option, "rw" | "ro" | "xattr" | "noprefix" | "clone_children");
    !general && (!option.contains('=') || option.starts_with("name="))
}

/// Why nodes could not limit their pods here.
pub(super) fn obstacle() -> Option<String> {
    let hierarchies = hierarchies();
    let version_1: Vec<&str> = hierarchies
        .iter()
        .filter_map(|one| one.options.as_deref())
        .flat_map(|list| list.split(','))
        .collect();
    let version_2 = hierarchies
        .iter()
        .find(|one| one.options.is_none())
        .map(|one| fs::read_to_string(one.mount.join("cgroup.controllers")).unwrap_or_default());
    let version_2 = version_2.unwrap_or_default();
    let lacking: Vec<_> = CONTROLLERS
        .into_iter()
        .filter(|name| !version_1.contains(name) && !version_2.split_whitespace().any(|one| one == *name))
        .collect();
    (!lacking.is_empty()).then(|| format!("there is no cgroup controller for {}", lacking.join(", ")))
}

/// The directories of one node, one in each hierarchy.
pub(super) fn directories(cluster: &str, node: &str) -> Vec<PathBuf> {
    hierarchies().iter().map(|one| one.mount.join(format!("chaos-cluster-{cluster}-{node}"))).collect()
}

/// Makes the directories of a node.
pub(super) fn create(directories: &[PathBuf]) -> Result<()> {
    for directory in directories {
        let parent = directory.parent().context("a cgroup without a parent")?;
        if parent.join("cgroup.controllers").is_file() {
            hand_on(parent)?;
        }
        fs::create_dir(directory).with_context(|| format!("making {}", directory.display()))?;
        // A cpuset of version 1 starts empty, and takes no process before it has processors and memory.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if directory.join("cgroup.clone_children").is_file()
                && let Ok(inherited) = fs::read(parent.join(file))
            {
                let path = directory.join(file);
                fs::write(&path, inherited).with_context(|| format!("writing {}", path.display()))?;
            }
        }
    }
    Ok(())
}

/// Lets the cgroups below one of version 2 use all of its controllers.
fn hand_on(directory: &Path) -> Result<()> {
    let own = fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default();
    for controller in own.split_whitespace() {
        let path = directory.join("cgroup.subtree_control");
        let outcome = fs::write(&path, format!("+{controller}"));
        if CONTROLLERS.contains(&controller) {
            outcome.with_context(|| format!("handing {controller} on in {}", path.display()))?;
        }
    }
    Ok(())
}

/// Moves the calling process into a node; `deep` when the node has been set up with [`mount_as_roots`].
pub(super) fn enter(directories: &[PathBuf], deep: bool) -> Result<()> {
    for directory in directories {
        let system = directory.join(SYSTEM);
        let target = if deep && system.is_dir() { &system } else { directory };
        let path = target.join("cgroup.procs");
        fs::write(&path, "0").with_context(|| format!("entering {}", target.display()))?;
    }
    Ok(())
}

/// Mounts every hierarchy anew, so that the calling process and its children see their own cgroup as the root.
pub(super) fn mount_as_roots() -> Result<()> {
    for Hierarchy { mount: place, options } in hierarchies() {
        clear(&place)?;
        let (kind, options) = match &options {
            // A hierarchy with a name and no controller says so.
            Some(named) if named.starts_with("name=") => ("cgroup", Some(format!("none,{named}"))),
            Some(controllers) => ("cgroup", Some(controllers.clone())),
            None => ("cgroup2", None),
        };
        mount(Some("cgroup"), &place, Some(kind), MsFlags::empty(), options.as_deref())
            .with_context(|| format!("mounting {kind} at {}", place.display()))?;
        if options.is_none() {
            let system = place.join(SYSTEM);
            fs::create_dir(&system).with_context(|| format!("making {}", system.display()))?;
            fs::write(system.join("cgroup.procs"), "0")
                .with_context(|| format!("entering {}", system.display()))?;
            hand_on(&place)?;
        }
    }
    Ok(())
}

/// Unmounts everything at a place: where a cgroup stands in for the root already, there are two, one upon the other.
fn clear(place: &Path) -> Result<()> {
    /// More than anybody stacks.
    const MOUNTS_MAX: usize = 32;
    for _ in 0..MOUNTS_MAX {
        match umount2(place, MntFlags::MNT_DETACH) {
            Ok(()) => {}
            // It is no mount point any more.
            Err(Errno::EINVAL) => return Ok(()),
            Err(error) => bail!("unmounting {}: {error}", place.display()),
        }
    }
    bail!("more than {MOUNTS_MAX} mounts at {}", place.display())
}

/// Removes the directories with everything below them.
pub(super) fn remove(directories: &[PathBuf]) -> Result<()> {
    let deadline = Instant::now() + REMOVAL_LIMIT;
    loop {
        let left: Vec<_> = directories.iter().filter(|directory| !is_gone(directory)).collect();
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("cgroups are still there: {left:?}");
        }
        std::thread::sleep(POLL);
    }
}

/// One try, from the leaves up.
fn is_gone(directory: &Path) -> bool {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            is_gone(&entry.path());
        }
    }
    let _ = fs::remove_dir(directory);
    !directory.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIXED: &str = "\
30 20 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/lib/agent,name=systemd
33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
34 30 0:29 / /mnt/again rw - cgroup2 cgroup2 rw
";

    #[test]
    fn hierarchies_of_both_versions_are_found_once_each() {
        let found: Vec<_> =
            read(MIXED).into_iter().map(|one| (one.mount.display().to_string(), one.options)).collect();
        let expected = [
            ("/sys/fs/cgroup/cpu,cpuacct", Some("cpu,cpuacct")),
            ("/sys/fs/cgroup/systemd", Some("name=systemd")),
            ("/sys/fs/cgroup/unified", None),
        ];
        assert_eq!(found, expected.map(|(mount, options)| (mount.to_owned(), options.map(str::to_owned))));
    }
}

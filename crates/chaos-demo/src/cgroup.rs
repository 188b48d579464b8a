//! Owns the cgroups of the replicas: where the host allows it, one per replica and hierarchy (v1 memory and
//! cpu, v2), with limits. It never touches a cgroup that this system did not make, and never fails a start:
//! a host that allows none (a plain user, a read-only mount) simply gets none.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::processes;

/// Memory limit of one replica, in bytes.
const MEMORY_LIMIT: u64 = 256 << 20;
/// Processor quota of one replica: one core.
const CPU_PERIOD_US: u64 = 100_000;
/// The folders' names begin so; the supervisor's pid follows.
const PREFIX: &str = "chaos-demo-";
/// The kernel may take a moment to let go of a cgroup whose last process just ended.
const REMOVAL_DEADLINE: Duration = Duration::from_secs(2);
const REMOVAL_PAUSE: Duration = Duration::from_millis(10);

/// Which files of a hierarchy set limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    V1Memory,
    V1Cpu,
    V2,
}

/// One mounted hierarchy and our place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    kind: Kind,
    mount: PathBuf,
    own: PathBuf,
}

/// The folders of one system, one per hierarchy.
#[derive(Debug, Default)]
pub(crate) struct Cgroups {
    bases: Vec<PathBuf>,
}

impl Cgroups {
    /// Makes the folders of supervisor `pid` for `replicas` replicas wherever that works, and clears away
    /// those of supervisors that are gone.
    pub(crate) fn create(pid: u32, replicas: u16) -> Self {
        let mut bases = Vec::new();
        for hierarchy in hierarchies() {
            let parent = parent(&hierarchy);
            sweep(&parent);
            let base = parent.join(format!("{PREFIX}{pid}"));
            if populate(hierarchy.kind, &base, replicas).is_ok() {
                bases.push(base);
            } else {
                // Half made is worse than none: its limits would not be what we say.
                let _ = remove(std::slice::from_ref(&base));
            }
        }
        Self { bases }
    }

    /// The cgroups of replica `index`.
    pub(crate) fn of(&self, index: u16) -> Vec<PathBuf> {
        self.bases.iter().map(|base| base.join(format!("replica-{index}"))).collect()
    }

    /// All folders that [`remove`] has to remove.
    pub(crate) fn bases(&self) -> &[PathBuf] {
        &self.bases
    }
}

/// Moves the calling process into `cgroups`, before it has threads.
pub(crate) fn join(cgroups: &[PathBuf]) -> io::Result<()> {
    cgroups.iter().try_for_each(|cgroup| fs::write(cgroup.join("cgroup.procs"), "0"))
}

/// Removes these folders with what is in them, waiting a bounded time for their last processes to be gone;
/// returns those that are still there.
pub(crate) fn remove(bases: &[PathBuf]) -> Vec<PathBuf> {
    let deadline = Instant::now() + REMOVAL_DEADLINE;
    loop {
        let left: Vec<PathBuf> = bases.iter().filter(|base| !gone(base)).cloned().collect();
        if left.is_empty() || Instant::now() >= deadline {
            return left;
        }
        thread::sleep(REMOVAL_PAUSE);
    }
}

/// One try at `base`; true when it does not exist any more.
fn gone(base: &Path) -> bool {
    for child in children(base) {
        let _ = fs::remove_dir(child);
    }
    let _ = fs::remove_dir(base);
    !base.exists()
}

/// Removes the empty folders of supervisors that were killed together with whoever had started them.
fn sweep(parent: &Path) {
    for folder in children(parent) {
        let owner = folder.file_name().and_then(|name| name.to_str()?.strip_prefix(PREFIX)?.parse().ok());
        if owner.is_some_and(|pid| !processes::is_ours(pid)) {
            gone(&folder);
        }
    }
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn populate(kind: Kind, base: &Path, replicas: u16) -> io::Result<()> {
    fs::create_dir(base)?;
    if kind == Kind::V2 {
        // An empty v2 tree beside v1 has no controllers to hand on; it still serves to name the replica.
        for controller in ["+memory", "+cpu"] {
            let _ = fs::write(base.join("cgroup.subtree_control"), controller);
        }
    }
    for index in 0..replicas {
        let cgroup = base.join(format!("replica-{index}"));
        fs::create_dir(&cgroup)?;
        match kind {
            Kind::V1Memory => fs::write(cgroup.join("memory.limit_in_bytes"), MEMORY_LIMIT.to_string())?,
            Kind::V1Cpu => {
                fs::write(cgroup.join("cpu.cfs_period_us"), CPU_PERIOD_US.to_string())?;
                fs::write(cgroup.join("cpu.cfs_quota_us"), CPU_PERIOD_US.to_string())?;
            }
            Kind::V2 => {
                write_if_there(&cgroup.join("memory.max"), &MEMORY_LIMIT.to_string())?;
                write_if_there(&cgroup.join("cpu.max"), &format!("{CPU_PERIOD_US} {CPU_PERIOD_US}"))?;
            }
        }
    }
    Ok(())
}

fn write_if_there(file: &Path, text: &str) -> io::Result<()> {
    if file.exists() { fs::write(file, text) } else { Ok(()) }
}

/// Below what to make our folder. In v1 that is our own cgroup, so that limits around us hold for the
/// replicas. In v2 a cgroup with processes can't hand controllers on, so it is the nearest one above that
/// already does; nothing about it is changed.
fn parent(hierarchy: &Hierarchy) -> PathBuf {
    if hierarchy.kind != Kind::V2 {
        return hierarchy.own.clone();
    }
    let hands_on = |cgroup: &&Path| {
        fs::read_to_string(cgroup.join("cgroup.subtree_control")).is_ok_and(|controllers| {
            let has = |wanted: &str| controllers.split_whitespace().any(|name| name == wanted);
            has("memory") && has("cpu")
        })
    };
    hierarchy
        .own
        .ancestors()
        .take_while(|cgroup| cgroup.starts_with(&hierarchy.mount))
        .find(hands_on)
        .unwrap_or(&hierarchy.own)
        .to_path_buf()
}

fn hierarchies() -> Vec<Hierarchy> {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    locate(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"))
}

/// Finds the hierarchies of interest in the text of `mountinfo` and of `cgroup`.
fn locate(mountinfo: &str, cgroup: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let ([_, _, _, root, mount, ..], [filesystem, _, options]) = (left.as_slice(), right.as_slice())
        else {
            continue;
        };
        let kind = match *filesystem {
            "cgroup2" => Kind::V2,
            "cgroup" if options.split(',').any(|option| option == "memory") => Kind::V1Memory,
            "cgroup" if options.split(',').any(|option| option == "cpu") => Kind::V1Cpu,
            _ => continue,
        };
        let Some(path) = own_path(cgroup, kind) else { continue };
        // A container's mount shows only a part of the tree, and our path may lie outside of it.
        let inside = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
        if found.iter().all(|known| known.kind != kind) {
            found.push(Hierarchy { kind, mount: PathBuf::from(mount), own: Path::new(mount).join(inside) });
        }
    }
    found
}

fn own_path(cgroup: &str, kind: Kind) -> Option<&str> {
    cgroup.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let wanted = match kind {
            Kind::V1Memory => controllers.split(',').any(|name| name == "memory"),
            Kind::V1Cpu => controllers.split(',').any(|name| name == "cpu"),
            Kind::V2 => id == "0" && controllers.is_empty(),
        };
        wanted.then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mountinfo: &str, cgroup: &str, expected: &[(Kind, &str)]) {
        let found: Vec<(Kind, PathBuf)> =
            locate(mountinfo, cgroup).into_iter().map(|one| (one.kind, one.own)).collect();
        let expected: Vec<(Kind, PathBuf)> =
            expected.iter().map(|(kind, path)| (*kind, PathBuf::from(path))).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn each_layout_of_cgroups_is_understood() {
        let unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        check(unified, "0::/user.slice/a.scope\n", &[(Kind::V2, "/sys/fs/cgroup/user.slice/a.scope")]);

        let hybrid = "31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        check(
            hybrid,
            "5:cpu,cpuacct:/\n4:memory:/x/y\n0::/\n",
            &[
                (Kind::V1Cpu, "/sys/fs/cgroup/cpu,cpuacct"),
                (Kind::V1Memory, "/sys/fs/cgroup/memory/x/y"),
                (Kind::V2, "/sys/fs/cgroup/unified/"),
            ],
        );

        let container = "40 39 0:28 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        check(container, "4:memory:/docker/abc/inner\n", &[(Kind::V1Memory, "/sys/fs/cgroup/memory/inner")]);
        check(container, "4:memory:/elsewhere\n", &[(Kind::V1Memory, "/sys/fs/cgroup/memory/")]);

        check("25 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "", &[]);
    }
}

//! Control groups, version 1, version 2 and both at once: where a process is, what limits it, and how to put
//! a process into another's. Groups of our own are made and removed in [`own`]. It never changes a limit.

pub mod own;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::SysError;
use super::proc::{self, read_text};

/// Largest file of a cgroup that is read, in bytes.
pub const CGROUP_FILE_BYTES_MAX: usize = 4 << 20;
/// Most cgroups that are visited below one.
pub const CGROUPS_BELOW_MAX: usize = 4096;
/// Memory limits at and above this are how version 1 says "none".
const UNLIMITED_BYTES: u64 = 1 << 60;
/// How this module names the version 2 tree where a controller is asked for.
pub const UNIFIED: &str = "unified";

/// The cgroups of one process, as `/proc/<pid>/cgroup` shows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CgroupPaths {
    /// Path in the version 2 tree.
    pub unified: Option<String>,
    /// Path by version 1 controller; named hierarchies are `name=systemd` and the like.
    pub by_controller: BTreeMap<String, String>,
}

impl CgroupPaths {
    /// Parses the text of `/proc/<pid>/cgroup`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut paths = Self::default();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(number), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            let path = path.strip_suffix(" (deleted)").unwrap_or(path);
            if number == "0" && controllers.is_empty() {
                paths.unified = Some(path.to_owned());
                continue;
            }
            for controller in controllers.split(',') {
                paths.by_controller.insert(controller.to_owned(), path.to_owned());
            }
        }
        paths
    }

    /// All paths, the version 2 one first.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.unified.as_deref().into_iter().chain(self.by_controller.values().map(String::as_str))
    }

    /// Path of a controller, which version 2 keeps in its one tree.
    #[must_use]
    pub fn of(&self, controller: &str) -> Option<&str> {
        self.by_controller.get(controller).map(String::as_str).or(self.unified.as_deref())
    }
}

/// Which versions of control groups this host uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// No cgroups are mounted.
    None,
    /// Version 1 only.
    V1,
    /// Version 2 only.
    V2,
    /// Controllers in version 1, and a version 2 tree beside them.
    Hybrid,
}

/// Where a hierarchy is mounted, and which part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    root: String,
}

impl Mount {
    /// The directory of a cgroup path, when this mount shows it.
    fn directory(&self, path: &str) -> Option<PathBuf> {
        if path.starts_with("/..") {
            return None;
        }
        let below = if self.root == "/" { path } else { path.strip_prefix(self.root.as_str())? };
        if !below.is_empty() && !below.starts_with('/') {
            return None;
        }
        Some(self.point.join(below.trim_start_matches('/')))
    }
}

/// The mounted hierarchies of this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hierarchies {
    unified: Option<Mount>,
    by_controller: BTreeMap<String, Mount>,
}

/// What bounds a process, taken over its cgroup and all above it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    /// CPU quota in cores; none when unlimited.
    pub cpu_cores: Option<f64>,
    /// Memory limit in bytes; none when unlimited.
    pub memory_bytes: Option<u64>,
    /// Memory in use in bytes by the cgroup that has that limit, else by the process' own.
    pub memory_usage_bytes: Option<u64>,
}

impl Hierarchies {
    /// Finds the mounts of this host.
    ///
    /// # Errors
    /// The mount table can't be read.
    pub fn detect() -> Result<Self, SysError> {
        read_text("/proc/self/mountinfo".as_ref(), CGROUP_FILE_BYTES_MAX).map(|text| Self::parse(&text))
    }

    /// Parses the text of `/proc/self/mountinfo`. The first mount of a hierarchy that shows its root wins.
    #[must_use]
    pub fn parse(mountinfo: &str) -> Self {
        let mut found = Self::default();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let mut left = left.split(' ').skip(3);
            let (Some(root), Some(point)) = (left.next(), left.next()) else { continue };
            let mut right = right.splitn(3, ' ');
            let (kind, options) = (right.next().unwrap_or_default(), right.nth(1).unwrap_or_default());
            let mount = Mount { point: PathBuf::from(unescape(point)), root: unescape(root) };
            match kind {
                "cgroup2" => keep_better(&mut found.unified, mount),
                "cgroup" => {
                    for option in options.split(',').filter(|o| !matches!(*o, "rw" | "ro" | "xattr")) {
                        let mut kept = found.by_controller.remove(option);
                        keep_better(&mut kept, mount.clone());
                        found.by_controller.extend(kept.map(|mount| (option.to_owned(), mount)));
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Which versions are in use.
    #[must_use]
    pub fn layout(&self) -> Layout {
        let controllers = self.by_controller.keys().any(|name| !name.starts_with("name="));
        match (self.unified.is_some(), controllers) {
            (true, true) => Layout::Hybrid,
            (true, false) => Layout::V2,
            (false, true) => Layout::V1,
            (false, false) => Layout::None,
        }
    }

    /// The directory of a process' cgroup for a controller (`cpu`, `memory`, … or [`UNIFIED`]). A controller
    /// that version 1 does not hold is looked for in the version 2 tree.
    #[must_use]
    pub fn directory(&self, controller: &str, paths: &CgroupPaths) -> Option<PathBuf> {
        if let Some(mount) = self.by_controller.get(controller) {
            return mount.directory(paths.by_controller.get(controller)?);
        }
        self.unified.as_ref()?.directory(paths.unified.as_deref()?)
    }

    /// The mount point of a hierarchy.
    #[must_use]
    pub fn mount_point(&self, controller: &str) -> Option<&Path> {
        self.by_controller.get(controller).or(self.unified.as_ref()).map(|mount| mount.point.as_path())
    }

    /// The cgroup and those above it, up to the mount point.
    fn with_ancestors(&self, controller: &str, paths: &CgroupPaths) -> Vec<PathBuf> {
        let Some(directory) = self.directory(controller, paths) else { return Vec::new() };
        let Some(top) = self.mount_point(controller) else { return Vec::new() };
        directory.ancestors().take_while(|ancestor| ancestor.starts_with(top)).map(Path::to_owned).collect()
    }

    /// The limits that hold for a process in these cgroups: the least of its own and all above it.
    #[must_use]
    pub fn limits(&self, paths: &CgroupPaths) -> Limits {
        let mut limits = Limits::default();
        for directory in self.with_ancestors("cpu", paths) {
            if let Some(cores) = cpu_cores(&directory) {
                limits.cpu_cores = Some(limits.cpu_cores.map_or(cores, |least| least.min(cores)));
            }
        }
        for directory in self.with_ancestors("memory", paths) {
            let usage =
                number(&directory, "memory.current").or_else(|| number(&directory, "memory.usage_in_bytes"));
            let limit =
                number(&directory, "memory.max").or_else(|| number(&directory, "memory.limit_in_bytes"));
            let lower = limit
                .filter(|limit| *limit < UNLIMITED_BYTES)
                .filter(|limit| limits.memory_bytes.is_none_or(|least| *limit < least));
            if lower.is_some() {
                limits.memory_bytes = lower;
                limits.memory_usage_bytes = usage;
            } else if limits.memory_usage_bytes.is_none() {
                limits.memory_usage_bytes = usage;
            }
        }
        limits
    }

    /// True when the cgroup of these processes holds them and nothing else, below it included. The root of a
    /// hierarchy is nobody's own.
    ///
    /// # Errors
    /// The cgroup can't be read.
    pub fn is_own(
        &self,
        controller: &str,
        paths: &CgroupPaths,
        pids: &BTreeSet<i32>,
    ) -> Result<bool, SysError> {
        let Some(directory) = self.below_root(controller, paths) else { return Ok(false) };
        Ok(processes_below(&directory)?.is_subset(pids))
    }

    /// As [`Hierarchies::is_own`] for many groups, reading each cgroup once: what was `read` before is not read again.
    /// One that can't be read is nobody's own.
    #[must_use]
    pub fn is_own_as_read(
        &self,
        controller: &str,
        paths: &CgroupPaths,
        pids: &BTreeSet<i32>,
        read: &mut BTreeMap<PathBuf, Option<BTreeSet<i32>>>,
    ) -> bool {
        let Some(directory) = self.below_root(controller, paths) else { return false };
        let inside = read.entry(directory).or_insert_with_key(|directory| processes_below(directory).ok());
        inside.as_ref().is_some_and(|inside| inside.is_subset(pids))
    }

    fn below_root(&self, controller: &str, paths: &CgroupPaths) -> Option<PathBuf> {
        let directory = self.directory(controller, paths)?;
        (Some(directory.as_path()) != self.mount_point(controller)).then_some(directory)
    }

    /// Puts a process into the cgroups that `paths` names, for the controllers asked for; where it is there
    /// already, nothing is written. A controller that this host does not have is an error.
    ///
    /// # Errors
    /// A controller is not there, the cgroup is gone, or the kernel refuses.
    pub fn join(&self, pid: i32, paths: &CgroupPaths, controllers: &[&str]) -> Result<(), SysError> {
        let current = proc::cgroups(pid)?;
        for controller in controllers {
            let directory = self
                .directory(controller, paths)
                .ok_or_else(|| SysError::NoCgroup { controller: (*controller).to_owned(), pid })?;
            if self.directory(controller, &current).as_ref() != Some(&directory) {
                move_process(pid, &directory)?;
            }
        }
        Ok(())
    }
}

/// A mount that shows the whole hierarchy is better than a bind mount of a part of it.
fn keep_better(kept: &mut Option<Mount>, mount: Mount) {
    if kept.as_ref().is_none_or(|old| old.root != "/" && mount.root == "/") {
        *kept = Some(mount);
    }
}

/// Blanks in mount points are written in octal.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

fn number(directory: &Path, file: &str) -> Option<u64> {
    read_text(&directory.join(file), 4096).ok()?.trim().parse().ok()
}

/// Quota over period, in cores, of one cgroup of either version.
fn cpu_cores(directory: &Path) -> Option<f64> {
    let (quota, period): (f64, f64) = if let Ok(text) = read_text(&directory.join("cpu.max"), 4096) {
        let mut words = text.split_ascii_whitespace();
        (words.next()?.parse().ok()?, words.next()?.parse().ok()?)
    } else {
        let read = |file: &str| read_text(&directory.join(file), 4096).ok()?.trim().parse().ok();
        (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?)
    };
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

/// Writes a pid into a cgroup. Idempotent.
///
/// # Errors
/// The process or the cgroup is gone, or the kernel refuses.
pub fn move_process(pid: i32, directory: &Path) -> Result<(), SysError> {
    let attempted = || format!("moving process {pid} into cgroup {}", directory.display());
    std::fs::write(directory.join("cgroup.procs"), pid.to_string()).map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => SysError::NotPermitted { attempted: attempted(), needs: None },
        _ if source.raw_os_error() == Some(libc::ESRCH) => SysError::Gone { pid },
        _ => SysError::io(attempted(), source),
    })
}

/// The processes of one cgroup, without those below it.
///
/// # Errors
/// The cgroup can't be read.
pub fn processes(directory: &Path) -> Result<BTreeSet<i32>, SysError> {
    let text = read_text(&directory.join("cgroup.procs"), CGROUP_FILE_BYTES_MAX)?;
    // A process of another pid namespace shows as 0.
    Ok(text.lines().filter_map(|line| line.trim().parse().ok()).collect())
}

/// The processes of a cgroup and of all below it.
///
/// # Errors
/// The cgroup can't be read, or holds more than [`CGROUPS_BELOW_MAX`] others.
pub fn processes_below(directory: &Path) -> Result<BTreeSet<i32>, SysError> {
    let mut found = BTreeSet::new();
    let mut left = vec![directory.to_owned()];
    let mut visited = 0;
    while let Some(current) = left.pop() {
        visited += 1;
        if visited > CGROUPS_BELOW_MAX {
            return Err(SysError::TooLarge { path: directory.to_owned(), limit_bytes: CGROUPS_BELOW_MAX });
        }
        found.extend(processes(&current)?);
        let failed = |source| SysError::io(format!("listing cgroup {}", current.display()), source);
        for entry in std::fs::read_dir(&current).map_err(failed)?.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push(entry.path());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;

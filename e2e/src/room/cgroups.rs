//! The cgroups of a room: one per hierarchy, mounted in the room as if it were the root.
//!
//! Where a hierarchy allows none, the room shares the host's; it never fails for that.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The kernel may take a moment to let go of a cgroup whose last process has just ended.
const REMOVAL_LIMIT: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(5);

/// The room's cgroup in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Where the hierarchy is mounted.
    pub(super) mount: PathBuf,
    /// The directory of the room.
    pub(super) directory: PathBuf,
}

/// Makes a cgroup in each hierarchy below the one that this process is in.
pub(super) fn create() -> Vec<Place> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let name = format!("e2e-room-{}-{now}", std::process::id());
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut places = Vec::new();
    for (mount, controllers) in mounts() {
        let path = own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (listed, path) = (fields.next()?, fields.next()?);
            (listed == controllers).then_some(path)
        });
        let Some(path) = path else { continue };
        let parent = mount.join(path.trim_start_matches('/'));
        let directory = parent.join(&name);
        if fs::create_dir(&directory).is_ok() {
            // A cpuset starts empty, and takes no process before it has processors and memory.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(inherited) = fs::read(parent.join(file)) {
                    let _ = fs::write(directory.join(file), inherited);
                }
            }
            places.push(Place { mount, directory });
        }
    }
    places
}

/// Mount points of hierarchies with their controllers as `/proc/self/cgroup` writes them; empty for version 2.
fn mounts() -> Vec<(PathBuf, String)> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<(PathBuf, String)> = Vec::new();
    for line in table.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let mut after = after.split(' ');
        let kind = after.next().unwrap_or_default();
        let options = after.nth(1).unwrap_or_default();
        let Some(mount) = before.split(' ').nth(4).map(PathBuf::from) else { continue };
        if kind == "cgroup2" {
            found.push((mount, String::new()));
        } else if kind == "cgroup" {
            let own =
                options.split(',').filter(|option| !matches!(*option, "rw" | "ro" | "xattr" | "noprefix"));
            found.push((mount, own.collect::<Vec<_>>().join(",")));
        }
    }
    found
}

/// Moves the calling process into the room's cgroups.
pub(super) fn enter(places: &[Place]) {
    for place in places {
        let _ = fs::write(place.directory.join("cgroup.procs"), "0");
    }
}

/// Removes the room's cgroups with everything that was made below them; returns those that are still there.
pub(super) fn remove(places: &[Place]) -> Vec<PathBuf> {
    let deadline = Instant::now() + REMOVAL_LIMIT;
    loop {
        let left: Vec<PathBuf> =
            places.iter().map(|place| place.directory.clone()).filter(|directory| !gone(directory)).collect();
        if left.is_empty() || Instant::now() >= deadline {
            return left;
        }
        std::thread::sleep(POLL);
    }
}

/// One try, from the leaves up.
fn gone(directory: &Path) -> bool {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            gone(&entry.path());
        }
    }
    let _ = fs::remove_dir(directory);
    !directory.exists()
}

/// The places as one argument; paths of cgroup hierarchies hold no line breaks.
pub(super) fn encode(places: &[Place]) -> String {
    let lines =
        places.iter().map(|place| format!("{}\n{}", place.mount.display(), place.directory.display()));
    lines.collect::<Vec<_>>().join("\n")
}

pub(super) fn decode(text: &str) -> Vec<Place> {
    let lines: Vec<&str> = text.lines().collect();
    let pairs = lines.chunks_exact(2);
    pairs.map(|pair| Place { mount: pair[0].into(), directory: pair[1].into() }).collect()
}

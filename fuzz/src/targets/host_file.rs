//! Text of the host: `/proc` (status, stat, cgroup, mountinfo, socket tables) and unit files.
//!
//! Promises: nothing is read that is not there, and the directory of a cgroup stays below its mount.

use chaos_agent::foreign;
use chaos_agent::sys::cgroup::{CgroupPaths, Hierarchies, UNIFIED};
use chaos_agent::sys::proc::{Stat, Status};

pub(crate) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(stat) = Stat::parse(&text) {
        assert!(text.contains(&stat.comm));
        let _ = (stat.is_dead(), stat.is_exiting(), stat.is_kernel_thread());
    }
    let status = Status::parse(&text);
    assert!(status.namespace_pids.len() <= text.len());
    assert!(foreign::socket_table(&text).len() <= text.lines().count());
    assert!(foreign::restart_setting(&text).is_none_or(|setting| text.contains(&setting)));
    check_cgroups(&text);
}

/// The text is read as the cgroups of a process and as the mounts of a host.
fn check_cgroups(text: &str) {
    let (paths, mounts) = (CgroupPaths::parse(text), Hierarchies::parse(text));
    let _ = mounts.layout();
    let controllers = paths.by_controller.keys().map(String::as_str).chain([UNIFIED, "cpu", "memory"]);
    for controller in controllers {
        let (directory, mount) = (mounts.directory(controller, &paths), mounts.mount_point(controller));
        if let (Some(directory), Some(mount)) = (directory, mount) {
            assert!(directory.starts_with(mount), "{} of {}", directory.display(), mount.display());
        }
    }
}

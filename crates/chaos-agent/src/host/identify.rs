//! Names: what a process is called, and what its cgroup says of the unit or container it is in.

use std::collections::BTreeSet;

use chaos_core::target::Inventory;

use super::protection::Protection;
use crate::sys::cgroup::CgroupPaths;
use crate::sys::proc::table::{Process, ProcessTable};

/// Fewest hex digits of a path component that is taken for the id of a container.
const CONTAINER_ID_DIGITS_MIN: usize = 12;

/// The name that people know a process by: `argv[0]` when it is a plain name, else the executable.
pub(super) fn name(process: &Process) -> String {
    let plain = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || "._-+@".contains(c));
    process
        .argument_name()
        .filter(plain)
        .or_else(|| process.executable())
        .unwrap_or(process.comm.as_str())
        .to_owned()
}

/// True when the executable, `argv[0]` or, for a thread of the kernel, the task has this name.
pub(super) fn is_called(process: &Process, name: &str) -> bool {
    if process.kernel_thread {
        return process.comm == name;
    }
    process.executable() == Some(name) || process.argument_name() == Some(name)
}

/// The units that a process is in, innermost last, e.g. `nginx.service`.
pub(super) fn units(cgroups: &CgroupPaths) -> BTreeSet<&str> {
    cgroups.all().flat_map(|path| path.split('/')).filter(|part| part.ends_with(".service")).collect()
}

/// The container id in a part of a cgroup path, in the forms that the runtimes use: the bare id, and
/// `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`, `libpod-ID.scope`.
pub(super) fn container_id(part: &str) -> Option<&str> {
    let part = part.strip_suffix(".scope").unwrap_or(part);
    let id = part.rsplit(['-', ':']).next()?;
    (id.len() >= CONTAINER_ID_DIGITS_MIN && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// The containers that a process is in.
pub(super) fn containers(cgroups: &CgroupPaths) -> BTreeSet<&str> {
    cgroups.all().flat_map(|path| path.split('/')).filter_map(container_id).collect()
}

/// Names of apps that could be asked for: what runs and is not protected, bounded.
pub(super) fn apps(table: &ProcessTable, protection: &Protection) -> Vec<String> {
    let free = table
        .iter()
        .filter(|process| !process.kernel_thread && !process.is_dead())
        .filter(|process| protection.reason(process.identity.pid).is_none());
    let names: BTreeSet<String> = free.map(name).collect();
    names.into_iter().take(Inventory::APPS_MAX).collect()
}

//! Who belongs to an instance now: the processes that were recorded and still run, and all their descendants.
//! It reads only.
//!
//! Two ways: by the whole process table, which misses nobody, and by the kernel's lists of children, which is quicker
//! and may miss a process while a brother of it ends.

use chaos_core::target::{Instance, ProcessRef};

use crate::sys::proc::table::ProcessTable;
use crate::sys::{SysError, proc};

/// The living processes of an instance, the root first. Empty when all have ended.
///
/// # Errors
/// `/proc` can't be listed.
pub fn members(instance: &Instance) -> Result<Vec<ProcessRef>, SysError> {
    Ok(members_in(&ProcessTable::read()?, instance))
}

/// As [`members`], by a table that was read already.
pub(super) fn members_in(table: &ProcessTable, instance: &Instance) -> Vec<ProcessRef> {
    let living = |pid: &i32| {
        let process = table.get(*pid).filter(|process| !process.is_dead() && !process.kernel_thread)?;
        Some(process.identity)
    };
    closure(instance, |pid| table.children(pid).iter().filter_map(living).collect())
}

/// As [`members`], by the kernel's lists of children where it keeps them.
///
/// # Errors
/// `/proc` can't be listed.
pub(super) fn members_quickly(instance: &Instance) -> Result<Vec<ProcessRef>, SysError> {
    if proc::children(crate::sys::own_pid()).is_none() {
        return members(instance);
    }
    let identify = |pids: Vec<i32>| pids.into_iter().filter_map(|pid| proc::identity(pid).ok()).collect();
    Ok(closure(instance, |pid| identify(proc::children(pid).unwrap_or_default())))
}

fn closure(instance: &Instance, children_of: impl Fn(i32) -> Vec<ProcessRef>) -> Vec<ProcessRef> {
    let mut found: Vec<ProcessRef> = Vec::new();
    let mut next = 0;
    let recorded = std::iter::once(&instance.process).chain(&instance.processes);
    for process in recorded.filter(|process| proc::runs(**process)) {
        if !found.contains(process) {
            found.push(*process);
        }
    }
    while let Some(current) = found.get(next) {
        next += 1;
        for child in children_of(current.pid) {
            if !found.iter().any(|known| known.pid == child.pid) {
                found.push(child);
            }
        }
    }
    found
}

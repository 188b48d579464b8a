//! From a target to the processes that match it, and from those to groups that each become one instance.

use std::collections::{BTreeMap, BTreeSet};

use chaos_core::spec::{HostTarget, ProcessMatch};

use super::restart::RestartPolicies;
use super::{Group, HostError, identify};
use crate::sys::cgroup::CgroupPaths;
use crate::sys::proc::table::{Process, ProcessTable};
use crate::sys::proc::{self, sockets};

/// Processes that match, in the way that decides how they are grouped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Matched {
    /// By what they are called: roots and children are told apart.
    Called(BTreeSet<i32>),
    /// By where they are: everything in one unit, container or cgroup is one instance. Key is the place.
    Within(BTreeMap<String, BTreeSet<i32>>),
    /// By number: the process with its descendants.
    Numbered(i32),
}

/// Finds the processes that match a target.
///
/// # Errors
/// The target names an unknown user, or the whole host.
pub(super) fn find(
    target: &HostTarget,
    table: &ProcessTable,
    policies: &RestartPolicies,
) -> Result<Matched, HostError> {
    Ok(match target {
        HostTarget::App(name) => find_app(name, table, policies),
        HostTarget::Process(fields) => Matched::Called(find_processes(fields, table)?),
        HostTarget::Unit(name) => by_place(table, |cgroups| in_unit(cgroups, name)),
        HostTarget::Container(id) => by_place(table, |cgroups| in_container(cgroups, id)),
        HostTarget::Cgroup(path) => {
            let wanted = path.trim_matches('/');
            if wanted.is_empty() || wanted.split('/').any(|part| part == "..") {
                return Err(HostError::WholeHost { path: path.clone() });
            }
            by_place(table, |cgroups| in_cgroup(cgroups, wanted))
        }
        HostTarget::Pid(pid) => Matched::Numbered(*pid),
    })
}

fn alive(table: &ProcessTable) -> impl Iterator<Item = &Process> {
    table.iter().filter(|process| !process.is_dead())
}

/// Names win; a unit or container of that name is looked for when no process is called so.
fn find_app(name: &str, table: &ProcessTable, policies: &RestartPolicies) -> Matched {
    let called: BTreeSet<i32> = alive(table)
        .filter(|process| identify::is_called(process, name))
        .map(|process| process.identity.pid)
        .collect();
    if !called.is_empty() {
        return Matched::Called(called);
    }
    let container = policies.container_named(name);
    by_place(table, |cgroups| {
        in_last_part(cgroups, name)
            .or_else(|| in_container(cgroups, name))
            .or_else(|| in_container(cgroups, container.as_deref()?))
    })
}

fn find_processes(fields: &ProcessMatch, table: &ProcessTable) -> Result<BTreeSet<i32>, HostError> {
    let user = fields.user.as_deref().map(user_id).transpose()?;
    let fits = |process: &&Process| {
        fields.name.as_deref().is_none_or(|name| identify::is_called(process, name))
            && fields.cmdline.as_deref().is_none_or(|part| process.command_line().contains(part))
            && user.is_none_or(|user| runs_as(process, user))
    };
    let found = alive(table).filter(fits).map(|process| process.identity.pid);
    Ok(match fields.port {
        None => found.collect(),
        // The dearest test comes last, for all that are left at once.
        Some(port) => listening_on(port, &found.collect::<Vec<i32>>()),
    })
}

fn user_id(user: &str) -> Result<u32, HostError> {
    if let Ok(number) = user.parse() {
        return Ok(number);
    }
    match nix::unistd::User::from_name(user) {
        Ok(Some(found)) => Ok(found.uid.as_raw()),
        _ => Err(HostError::UnknownUser { user: user.to_owned() }),
    }
}

/// A process that hides itself from its user (it is not dumpable) seems to be root's in the table.
fn runs_as(process: &Process, user: u32) -> bool {
    let hidden = || proc::status(process.identity.pid).is_ok_and(|status| status.effective_uid == user);
    let uid = process.uid();
    uid == Some(user) || (uid == Some(0) && hidden())
}

fn listening_on(port: u16, pids: &[i32]) -> BTreeSet<i32> {
    let each: Vec<&[i32]> = pids.iter().map(std::slice::from_ref).collect();
    // Whose sockets can't be read is not found by them.
    let listens = |listeners: Vec<sockets::Listener>| listeners.iter().any(|one| one.address.port() == port);
    let found = pids.iter().zip(sockets::listeners_of_groups(&each));
    found.filter_map(|(pid, listeners)| listeners.is_ok_and(listens).then_some(*pid)).collect()
}

fn by_place(table: &ProcessTable, place: impl Fn(&CgroupPaths) -> Option<String>) -> Matched {
    let mut places: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    for process in alive(table).filter(|process| !process.kernel_thread) {
        if let Some(place) = place(process.cgroups()) {
            places.entry(place).or_default().insert(process.identity.pid);
        }
    }
    Matched::Within(places)
}

fn in_unit(cgroups: &CgroupPaths, name: &str) -> Option<String> {
    let unit = name.strip_suffix(".service").unwrap_or(name);
    let found = |part: &&str| part.strip_suffix(".service") == Some(unit);
    identify::units(cgroups).into_iter().find(found).map(ToOwned::to_owned)
}

fn in_container(cgroups: &CgroupPaths, id: &str) -> Option<String> {
    // Shorter could be the name of anything.
    if id.len() < 8 {
        return None;
    }
    identify::containers(cgroups).into_iter().find(|found| found.starts_with(id)).map(ToOwned::to_owned)
}

fn in_cgroup(cgroups: &CgroupPaths, wanted: &str) -> Option<String> {
    let inside = |path: &str| {
        let rest = path.trim_start_matches('/').strip_prefix(wanted);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    cgroups.all().any(inside).then(|| wanted.to_owned())
}

/// The last part of a path is the name, or the name as a unit.
fn in_last_part(cgroups: &CgroupPaths, name: &str) -> Option<String> {
    let fits = |part: &str| {
        part == name || part.strip_suffix(".service").or_else(|| part.strip_suffix(".scope")) == Some(name)
    };
    cgroups.all().find(|path| path.rsplit('/').next().is_some_and(fits)).map(ToOwned::to_owned)
}

impl Matched {
    /// The groups that become instances, and the supervisor when one root of the app is one.
    pub(super) fn groups(&self, table: &ProcessTable) -> (Vec<Group>, Option<i32>) {
        match self {
            Self::Called(pids) => by_name(pids, table),
            Self::Within(places) => {
                (places.values().filter_map(|pids| one_place(pids, table)).collect(), None)
            }
            Self::Numbered(pid) => {
                let found = table.get(*pid).filter(|process| !process.is_dead());
                (found.map(|_| with_descendants(*pid, table, false)).into_iter().collect(), None)
            }
        }
    }
}

fn with_descendants(pid: i32, table: &ProcessTable, supervised: bool) -> Group {
    let living = |pid: &i32| table.get(*pid).is_some_and(|process| !process.is_dead());
    let members = table.with_descendants(pid).into_iter().filter(living).collect();
    Group { root: pid, members, supervised }
}

/// When one root has children that match too, they are the instances and it is their supervisor; else each
/// root is an instance. Between a root and its child there may be others that don't match.
fn by_name(pids: &BTreeSet<i32>, table: &ProcessTable) -> (Vec<Group>, Option<i32>) {
    let nearest = |pid: i32| table.ancestors(pid).into_iter().find(|ancestor| pids.contains(ancestor));
    let (roots, below): (Vec<i32>, Vec<i32>) = pids.iter().partition(|pid| nearest(**pid).is_none());
    if let [root] = roots.as_slice() {
        let children: Vec<i32> = below.into_iter().filter(|pid| nearest(*pid) == Some(*root)).collect();
        if !children.is_empty() {
            let groups = children.into_iter().map(|pid| with_descendants(pid, table, true)).collect();
            return (groups, Some(*root));
        }
    }
    (roots.into_iter().map(|pid| with_descendants(pid, table, false)).collect(), None)
}

/// All processes of a place with the oldest root first: that is the one that was started there.
fn one_place(pids: &BTreeSet<i32>, table: &ProcessTable) -> Option<Group> {
    let mut members: Vec<&Process> = pids.iter().filter_map(|pid| table.get(*pid)).collect();
    members.sort_by_key(|process| {
        (pids.contains(&process.parent), process.identity.start_time, process.identity.pid)
    });
    let root = members.first()?.identity.pid;
    let members = members.into_iter().map(|process| process.identity.pid).collect();
    Some(Group { root, members, supervised: false })
}

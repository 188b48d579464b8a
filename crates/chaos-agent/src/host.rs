//! Targets of this host: which processes a document means, which of them are instances, what protects one,
//! and whether one is ready. It reads the process table and connects to ports; it never touches a process.

mod identify;
mod matching;
mod protection;
mod readiness;
pub(crate) mod restart;

use std::collections::{BTreeMap, BTreeSet};

use chaos_core::spec::HostTarget;
use chaos_core::target::{Instance, Inventory, ListeningPort, ProcessRef, Protected, Protocol};

use crate::sys::cgroup::{Hierarchies, UNIFIED};
use crate::sys::proc::sockets;
use crate::sys::proc::table::{Process, ProcessTable};
use crate::sys::{self, SysError};

pub use protection::Protection;
pub use readiness::{READY_TIMEOUT, is_ready};
pub use restart::RestartPolicies;

/// Longest command line that is shown, in characters.
const COMMAND_CHARACTERS_MAX: usize = 120;
/// The hierarchies in which an instance may have a cgroup to itself, version 2 before version 1.
const CONTROLLERS: [&str; 5] = [UNIFIED, "cpu", "memory", "pids", "name=systemd"];

/// Why a target of this host could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The kernel did not answer.
    #[error("looking up {target}: {source}")]
    Kernel {
        /// The target in words.
        target: String,
        /// What failed.
        source: SysError,
    },
    /// More matches than a run can hold.
    #[error("{target} matches {found} instances, at most {} are possible", Inventory::INSTANCES_MAX)]
    TooMany {
        /// The target in words.
        target: String,
        /// Instances that matched.
        found: usize,
    },
    /// The target names a user that this host does not have.
    #[error("user {user:?} is not known on this host")]
    UnknownUser {
        /// The name or number.
        user: String,
    },
    /// The target is the root of the cgroups, which is everything.
    #[error("cgroup {path:?} is the whole host: name one below it")]
    WholeHost {
        /// The path that was given.
        path: String,
    },
}

/// Who asks, and who may never be hit because of that.
#[derive(Debug, Clone, Default)]
pub struct Asker {
    /// Processes of our own that run now: service, agent, fault processes, workers. Exactly these, not their
    /// children: the demo application is fair game.
    pub registered: Vec<ProcessRef>,
    /// Pids whose ancestors are protected with them: the command line that asked. This process always is.
    pub callers: Vec<i32>,
}

/// A group of processes that becomes one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    root: i32,
    members: Vec<i32>,
    supervised: bool,
}

/// Looks up a target on this host, with the readiness of each instance at this moment.
///
/// # Errors
/// The process table can't be read, the target names an unknown user or the whole host, or it matches more
/// than [`Inventory::INSTANCES_MAX`] instances. Matching nothing is no error but an empty inventory.
pub fn inventory(target: &HostTarget, asker: &Asker) -> Result<Inventory, HostError> {
    let failed = |source| HostError::Kernel { target: target.to_string(), source };
    let table = ProcessTable::read().map_err(failed)?;
    let hierarchies = Hierarchies::detect().map_err(failed)?;
    let mut found = resolve(target, asker, &table, &RestartPolicies::of_this_host())?;
    if found.instances.len() > Inventory::INSTANCES_MAX {
        let found = found.instances.len();
        return Err(HostError::TooMany { target: target.to_string(), found });
    }
    complete(&mut found.instances, &table, &hierarchies);
    Ok(found)
}

/// Every process of these apps, called as in [`HostTarget::App`]: of their instances, and what supervises those.
///
/// # Errors
/// The process table can't be read.
pub fn processes_of_apps(apps: &[String]) -> Result<BTreeSet<ProcessRef>, HostError> {
    let failed = |source| HostError::Kernel { target: format!("apps {}", apps.join(", ")), source };
    let (table, policies) = (ProcessTable::read().map_err(failed)?, RestartPolicies::of_this_host());
    let mut found = BTreeSet::new();
    for app in apps {
        let matched = matching::find(&HostTarget::App(app.clone()), &table, &policies)?;
        let (groups, supervisor) = matched.groups(&table);
        let pids = groups.into_iter().flat_map(|group| group.members).chain(supervisor);
        found.extend(pids.filter_map(|pid| table.get(pid)).map(|process| process.identity));
    }
    Ok(found)
}

/// What the process table alone says; ports, cgroups and readiness are added by [`inventory`].
fn resolve(
    target: &HostTarget,
    asker: &Asker,
    table: &ProcessTable,
    policies: &RestartPolicies,
) -> Result<Inventory, HostError> {
    let protection = Protection::new(table, asker);
    let matched = matching::find(target, table, policies)?;
    let (groups, supervisor) = matched.groups(table);
    let supervisor = supervisor.and_then(|pid| table.get(pid)).map(|process| process.identity);
    let mut inventory = Inventory { supervisor, ..Inventory::default() };
    for group in groups {
        let Some(root) = table.get(group.root) else { continue };
        if let Some(reason) = protection.reason_of_group(table, &group.members) {
            let name = identify::name(root);
            inventory.protected.push(Protected { process: root.identity, name, reason });
            continue;
        }
        inventory.instances.push(instance(target, root, &group, table, policies));
    }
    inventory.instances.sort_by(|a, b| a.id.cmp(&b.id));
    // The names of everything that runs are wanted only to say what else could have been meant.
    if inventory.instances.is_empty() {
        inventory.apps = identify::apps(table, &protection);
    }
    Ok(inventory)
}

fn instance(
    target: &HostTarget,
    root: &Process,
    group: &Group,
    table: &ProcessTable,
    policies: &RestartPolicies,
) -> Instance {
    let name = match target {
        HostTarget::App(name) => name.clone(),
        _ => identify::name(root),
    };
    let others = group.members.iter().filter(|pid| **pid != group.root);
    let processes = std::iter::once(&group.root).chain(others);
    Instance {
        id: format!("{name}/{}", root.identity.pid),
        process: root.identity,
        processes: processes.filter_map(|pid| table.get(*pid)).map(|process| process.identity).collect(),
        command: command(root),
        ready: false,
        managed: group.supervised || policies.restarts(root.cgroups()),
        ports: Vec::new(),
        network_namespace: root.network_namespace().unwrap_or(0),
        shares_host_network: false,
        own_cgroup: None,
        host: String::new(),
    }
}

/// Adds what needs more than the process table: for all instances at once, so that nothing is read twice.
fn complete(instances: &mut [Instance], table: &ProcessTable, hierarchies: &Hierarchies) {
    let own_network = sys::proc::namespace_inode(sys::own_pid(), "net").unwrap_or(0);
    let pids: Vec<Vec<i32>> = instances
        .iter()
        .map(|instance| instance.processes.iter().map(|process| process.pid).collect())
        .collect();
    let listeners = sockets::listeners_of_groups(&pids.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let mut cgroups_read = BTreeMap::new();
    let mut known = Vec::with_capacity(instances.len());
    for ((instance, pids), listeners) in instances.iter_mut().zip(pids).zip(listeners) {
        instance.shares_host_network = instance.network_namespace == own_network;
        let members: BTreeSet<i32> = pids.into_iter().collect();
        instance.own_cgroup = table.get(instance.process.pid).and_then(|root| {
            let paths = root.cgroups();
            let own = |one: &&str| hierarchies.is_own_as_read(one, paths, &members, &mut cgroups_read);
            let controller = CONTROLLERS.into_iter().find(own)?;
            paths.of(controller).map(ToOwned::to_owned)
        });
        match listeners {
            Ok(listeners) => {
                instance.ports = listeners.iter().map(port).collect();
                known.push(instance);
            }
            // Not to know where it should accept is not to know that it does: such an instance is not ready.
            Err(_) => instance.ready = false,
        }
    }
    readiness::check_all(&mut known);
}

fn port(listener: &sockets::Listener) -> ListeningPort {
    let protocol = match listener.protocol {
        sockets::Protocol::Tcp => Protocol::Tcp,
        sockets::Protocol::Udp => Protocol::Udp,
    };
    ListeningPort { protocol, address: listener.address.ip(), port: listener.address.port() }
}

fn command(process: &Process) -> String {
    let full = process.command_line();
    let full = if full.is_empty() { format!("[{}]", process.comm) } else { full };
    if full.chars().count() <= COMMAND_CHARACTERS_MAX {
        return full;
    }
    full.chars().take(COMMAND_CHARACTERS_MAX - 1).chain(std::iter::once('…')).collect()
}

#[cfg(test)]
mod tests;

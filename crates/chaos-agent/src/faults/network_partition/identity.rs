//! How an instance is told from others that share its network namespace: its sockets, and a cgroup that holds it and
//! nothing else. A cgroup of its own is used as it is; else one of ours is made below the instance's, in which the
//! limits of the one above go on to hold. It never makes a rule.

use std::collections::BTreeSet;
use std::path::PathBuf;

use chaos_core::run::InjectionId;
use chaos_core::target::{Instance, ProcessRef};

use crate::faults::{FaultError, members};
use crate::sys::cgroup::own::{Moved, OwnCgroup};
use crate::sys::cgroup::{self, Hierarchies, UNIFIED};
use crate::sys::nft::{self, Cgroup, ProcessSockets};
use crate::sys::proc::{self, sockets};
use crate::undo::CgroupUndo;

/// The cgroup by which an instance is known.
pub(super) struct Identified {
    hierarchies: Hierarchies,
    directory: PathBuf,
    /// What has to be taken back when the cgroup is ours.
    ours: Option<CgroupUndo>,
}

impl Identified {
    /// Says how it will be done, changing nothing.
    pub(super) fn plan(injection: &InjectionId, instance: &Instance) -> Result<Self, FaultError> {
        let hierarchies = Hierarchies::detect()?;
        let paths = proc::cgroups(instance.process.pid)?;
        let members = members(instance)?;
        let Some(current) = paths.unified.as_ref().and_then(|_| hierarchies.directory(UNIFIED, &paths)) else {
            return Err(FaultError::refused(format!(
                "{} shares its network namespace, and this host has no cgroup v2 tree by which the connections \
                 that it opens from now on could be told from those of others",
                instance.id
            )));
        };
        let pids: BTreeSet<i32> = members.iter().map(|member| member.pid).collect();
        if hierarchies.is_own(UNIFIED, &paths, &pids)? {
            return Ok(Self { hierarchies, directory: current, ours: None });
        }
        let directory = current.join(format!("chaos-{injection}"));
        let moved = members.iter().filter_map(|member| moved(&hierarchies, *member)).collect();
        let ours = CgroupUndo { directory: directory.clone(), fallback: current, moved };
        Ok(Self { hierarchies, directory, ours: Some(ours) })
    }

    pub(super) fn undo(&self) -> Option<&CgroupUndo> {
        self.ours.as_ref()
    }

    /// Gathers the instance in its cgroup. When somebody would be moved who is not in the undo record, nobody is,
    /// and what the record has to say is returned.
    pub(super) fn gather(&mut self, instance: &Instance) -> Result<Option<CgroupUndo>, FaultError> {
        let Some(ours) = &mut self.ours else { return Ok(None) };
        let (parent, name) = (ours.fallback.clone(), ours.directory.file_name().unwrap_or_default());
        let own = OwnCgroup::create(&parent, &name.to_string_lossy())?;
        loop {
            let inside = cgroup::processes(own.directory())?;
            let outside: Vec<ProcessRef> =
                members(instance)?.into_iter().filter(|member| !inside.contains(&member.pid)).collect();
            if outside.is_empty() {
                return Ok(None);
            }
            let known = |process: &ProcessRef| ours.moved.iter().any(|moved| moved.process == *process);
            if let Some(new) = outside.iter().find(|process| !known(process)) {
                ours.moved.extend(moved(&self.hierarchies, *new));
                if ours.moved.iter().any(|moved| moved.process == *new) {
                    return Ok(Some(ours.clone()));
                }
                continue;
            }
            for process in outside {
                match own.admit(process) {
                    Err(error) if !error.is_gone() => return Err(error.into()),
                    _ => {}
                }
            }
        }
    }

    /// What the instance has open now, and its cgroup for what it opens later.
    pub(super) fn sockets(&self, instance: &Instance) -> Result<ProcessSockets, FaultError> {
        let pids: Vec<i32> = members(instance)?.iter().map(|member| member.pid).collect();
        let open = sockets::sockets(&pids)?;
        let own = OwnCgroup::recorded(self.directory.clone());
        let level = self.hierarchies.mount_point(UNIFIED).and_then(|mount_point| own.level(mount_point));
        let level = level.and_then(|level| u8::try_from(level).ok()).ok_or_else(|| {
            FaultError::refused(format!("cgroup {} is too deep to be matched", self.directory.display()))
        })?;
        Ok(ProcessSockets {
            listeners: open.listening.iter().map(listener).collect(),
            connections: open.established.iter().map(connection).collect(),
            cgroup: Some(Cgroup { id: own.id()?, level }),
        })
    }
}

/// Where a process is now; none when it has ended.
fn moved(hierarchies: &Hierarchies, process: ProcessRef) -> Option<Moved> {
    let paths = proc::cgroups(process.pid).ok()?;
    let from = hierarchies.directory(UNIFIED, &paths)?;
    proc::runs(process).then(|| OwnCgroup::plan(process, from))
}

fn listener(listener: &sockets::Listener) -> nft::Listener {
    let address = listener.address.ip();
    // `::` accepts IPv4 too, so it stands for every address.
    let address = (!address.is_unspecified()).then_some(address);
    nft::Listener { protocol: protocol(listener.protocol), address, port: listener.address.port() }
}

fn connection(connection: &sockets::Connection) -> nft::Connection {
    let sockets::Connection { protocol: kind, local, remote } = *connection;
    nft::Connection { protocol: protocol(kind), local, remote }
}

fn protocol(protocol: sockets::Protocol) -> nft::Protocol {
    match protocol {
        sockets::Protocol::Tcp => nft::Protocol::Tcp,
        sockets::Protocol::Udp => nft::Protocol::Udp,
    }
}

//! How an instance is told from others that share its network namespace: its sockets, and a cgroup that holds it and
//! nothing else, without which only what arrives can be cut. A cgroup of its own is used as it is; else one of ours is made below the instance's, in which the
//! limits of the one above go on to hold. Partitions of one instance share that cgroup: each has a token in it, and
//! the last to go takes it away. It never makes a rule.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chaos_core::port::Evidence;
use chaos_core::run::InjectionId;
use chaos_core::target::{Instance, ProcessRef};
use nix::unistd::{AccessFlags, access};

use crate::faults::FaultError;
use crate::faults::members::members_quickly;
use crate::sys::cgroup::own::{Moved, OwnCgroup};
use crate::sys::cgroup::{self, Hierarchies, UNIFIED};
use crate::sys::nft::{self, Cgroup, ProcessSockets};
use crate::sys::proc;
use crate::sys::proc::sockets::{self, SocketTable};
use crate::undo::CgroupUndo;

/// What came of gathering an instance.
pub(super) enum Gathered {
    /// All of it are in their cgroup, where it needs one.
    All(Vec<ProcessRef>),
    /// Somebody would be moved who is not in the undo record, which has to say this first.
    Record(CgroupUndo),
}

/// How an instance is known.
pub(super) struct Identified {
    hierarchies: Hierarchies,
    known: Known,
}

enum Known {
    /// By a cgroup that it has to itself, in this directory.
    Own(PathBuf),
    /// By a cgroup of ours, with what has to be taken back.
    Ours(CgroupUndo),
    /// By what it has open alone, because of this.
    Sockets(String),
}

impl Identified {
    /// Says how it will be done, changing nothing. `inbound` is whether only packets that arrive are meant: listeners
    /// and live connections are enough for these.
    ///
    /// # Errors
    /// The instance can't be told from others, or has ended.
    pub(super) fn plan(
        injection: &InjectionId,
        instance: &Instance,
        members: &[ProcessRef],
        inbound: bool,
    ) -> Result<Self, FaultError> {
        let hierarchies = Hierarchies::detect()?;
        let paths = proc::cgroups(instance.process.pid)?;
        let Some(current) = paths.unified.as_ref().and_then(|_| hierarchies.directory(UNIFIED, &paths))
        else {
            return Self::by_sockets(
                hierarchies,
                instance,
                inbound,
                "this host has no cgroup v2 tree".into(),
            );
        };
        // Another partition of the same instance may have made it already.
        let name = format!("chaos-{}-{}", instance.process.pid, instance.process.start_time);
        let is_made = current.file_name().is_some_and(|current| current == name.as_str());
        let pids: BTreeSet<i32> = members.iter().map(|member| member.pid).collect();
        if !is_made && hierarchies.is_own(UNIFIED, &paths, &pids)? {
            return Ok(Self { hierarchies, known: Known::Own(current) });
        }
        let fallback = current.parent().filter(|_| is_made).map_or_else(|| current.clone(), Path::to_owned);
        if let Err(reason) = may_make_below(&fallback) {
            return Self::by_sockets(hierarchies, instance, inbound, reason);
        }
        let directory = fallback.join(name);
        let moved = members.iter().filter_map(|member| moved(&hierarchies, *member, &directory)).collect();
        let token = directory.join(injection.to_string());
        let known = Known::Ours(CgroupUndo { directory, token, fallback, moved });
        Ok(Self { hierarchies, known })
    }

    fn by_sockets(
        hierarchies: Hierarchies,
        instance: &Instance,
        inbound: bool,
        reason: String,
    ) -> Result<Self, FaultError> {
        if inbound {
            return Ok(Self { hierarchies, known: Known::Sockets(reason) });
        }
        Err(FaultError::refused(format!(
            "{} shares its network namespace, and only by a cgroup of version 2 could the connections that it opens \
             from now on be told from those of others: {reason}; as root, or with `direction: in`, it can be done",
            instance.id
        )))
    }

    pub(super) fn undo(&self) -> Option<&CgroupUndo> {
        match &self.known {
            Known::Ours(ours) => Some(ours),
            Known::Own(_) | Known::Sockets(_) => None,
        }
    }

    /// Why the instance is known by what it has open alone, when it is.
    pub(super) fn without_cgroup(&self) -> Option<&str> {
        match &self.known {
            Known::Sockets(reason) => Some(reason),
            Known::Own(_) | Known::Ours(_) => None,
        }
    }

    /// Gathers the instance in its cgroup. When somebody would be moved who is not in the undo record, nobody is.
    pub(super) fn gather(&mut self, instance: &Instance) -> Result<Gathered, FaultError> {
        let Known::Ours(ours) = &mut self.known else {
            return Ok(Gathered::All(members_quickly(instance)?));
        };
        let own = make(&ours.directory)?;
        make(&ours.token)?;
        loop {
            let inside = cgroup::processes(own.directory())?;
            let members = members_quickly(instance)?;
            let outside: Vec<ProcessRef> =
                members.iter().copied().filter(|member| !inside.contains(&member.pid)).collect();
            if outside.is_empty() {
                return Ok(Gathered::All(members));
            }
            let known = |process: &ProcessRef| ours.moved.iter().any(|moved| moved.process == *process);
            if let Some(new) = outside.iter().find(|process| !known(process)) {
                ours.moved.extend(moved(&self.hierarchies, *new, own.directory()));
                if ours.moved.iter().any(|moved| moved.process == *new) {
                    return Ok(Gathered::Record(ours.clone()));
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

    /// What these members of the instance have open, and its cgroup for what they open later.
    pub(super) fn sockets(
        &self,
        members: &[ProcessRef],
        table: &SocketTable,
    ) -> Result<ProcessSockets, FaultError> {
        let pids: Vec<i32> = members.iter().map(|member| member.pid).collect();
        let open = table.held_by(&pids)?;
        let cgroup = match &self.known {
            Known::Own(directory) | Known::Ours(CgroupUndo { directory, .. }) => {
                Some(self.cgroup(directory)?)
            }
            Known::Sockets(_) => None,
        };
        Ok(ProcessSockets {
            listeners: open.listening.iter().map(listener).collect(),
            connections: open.established.iter().map(connection).collect(),
            cgroup,
        })
    }

    fn cgroup(&self, directory: &Path) -> Result<Cgroup, FaultError> {
        let own = OwnCgroup::recorded(directory.to_owned());
        let level = self.hierarchies.mount_point(UNIFIED).and_then(|mount_point| own.level(mount_point));
        let level = level.and_then(|level| u8::try_from(level).ok()).ok_or_else(|| {
            FaultError::refused(format!("cgroup {} is too deep to be matched", directory.display()))
        })?;
        Ok(Cgroup { id: own.id()?, level })
    }
}

/// Whether this user may make a cgroup below another one and move processes from there into it; else why not.
fn may_make_below(directory: &Path) -> Result<(), String> {
    for path in [directory.to_owned(), directory.join("cgroup.procs")] {
        access(&path, AccessFlags::W_OK).map_err(|errno| {
            format!("no right to make one in {} ({}: {})", directory.display(), path.display(), errno.desc())
        })?;
    }
    Ok(())
}

/// Takes back the token, and with the last token the cgroup: its processes go where they were.
pub(super) fn release(cgroup: &CgroupUndo) -> Result<(), FaultError> {
    OwnCgroup::recorded(cgroup.token.clone()).remove()?;
    let own = OwnCgroup::recorded(cgroup.directory.clone());
    if own.exists() && tokens(&cgroup.directory) == 0 {
        own.empty(&cgroup.moved, &cgroup.fallback)?;
        match own.remove() {
            // Somebody came with a token meanwhile, who gathers the processes again.
            Err(_) if tokens(&cgroup.directory) > 0 => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

/// That the token is gone, and the cgroup too unless others need it.
pub(super) fn prove_released(cgroup: &CgroupUndo) -> Result<Evidence, FaultError> {
    let CgroupUndo { directory, token, .. } = cgroup;
    if token.exists() {
        return Err(FaultError::not_proven(format!("cgroup {} is left", token.display())));
    }
    let observed = match (directory.exists(), tokens(directory)) {
        (false, _) => "removed, its processes moved back".to_owned(),
        (true, 0) => return Err(FaultError::not_proven(format!("cgroup {} is left", directory.display()))),
        (true, others) => format!("left to {others} other partitions of the same instance"),
    };
    Ok(Evidence::new(directory.display().to_string(), observed))
}

fn tokens(directory: &Path) -> usize {
    let entries =
        std::fs::read_dir(directory).map_or_else(|_| Vec::new(), |entries| entries.flatten().collect());
    entries.iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).count()
}

fn make(directory: &Path) -> Result<OwnCgroup, FaultError> {
    let parts = directory.parent().zip(directory.file_name());
    let (parent, name) = parts.ok_or_else(|| FaultError::refused("a cgroup needs a name"))?;
    Ok(OwnCgroup::create(parent, &name.to_string_lossy())?)
}

/// Where a process is now; none when it has ended or is where it should be.
fn moved(hierarchies: &Hierarchies, process: ProcessRef, directory: &Path) -> Option<Moved> {
    let paths = proc::cgroups(process.pid).ok()?;
    let from = hierarchies.directory(UNIFIED, &paths).filter(|from| from != directory)?;
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

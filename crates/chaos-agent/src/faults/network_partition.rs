//! `network_partition`: packets of the instance are dropped by rules whose elements the kernel forgets by itself.
//!
//! An instance that has a network namespace to itself is cut off as a whole. One that shares a namespace is known by
//! its listening ports, its live connections and its cgroup (its own, or one of ours that its processes are moved
//! into); without the right to make one, only what arrives can be cut. It never makes a rule that could match somebody
//! else's socket.

mod identity;
mod operator;

use std::os::fd::AsFd;
use std::time::Duration;

use chaos_core::port::Evidence;
use chaos_core::run::InjectionId;
use chaos_core::spec::{Direction, NetworkPartition};
use chaos_core::target::Instance;

use self::identity::Identified;
use super::{FaultError, Held, Injector, Step, Surroundings};
use crate::holder::monotonic;
use crate::sys::capability::{self, Capability};
use crate::sys::namespace::{Kind, Namespace};
use crate::sys::nft::{
    self, Cidr, InjectionName, Lease, NftError, NftSocket, PartitionSpec, ProofKind, Scope,
};
use crate::sys::{own_pid, proc};
use crate::undo::{CgroupUndo, NetworkUndo, UndoData};

/// The lease of the kernel is renewed when this part of it is over.
const REFRESH_PART: u32 = 3;
/// Times between the first looks for new sockets: what was being opened while the rules were made is found at once.
const FIRST_LOOKS: [Duration; 3] =
    [Duration::from_millis(2), Duration::from_millis(10), Duration::from_millis(40)];
/// Time between later looks for new sockets.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The same where no cgroup cuts off what is opened meanwhile.
const LOOK_OFTEN: Duration = Duration::from_millis(200);

pub(super) struct Cut {
    injection: InjectionId,
    parameters: NetworkPartition,
    instance: Instance,
    surroundings: Surroundings,
    made: Option<Made>,
}

/// A partition that was planned.
struct Made {
    socket: NftSocket,
    /// The target's namespace, unless it is ours.
    namespace: Option<Namespace>,
    spec: PartitionSpec,
    lease: Lease,
    /// How the instance is told from others in its namespace; none when there are no others.
    identified: Option<Identified>,
    undo: NetworkUndo,
    installed: bool,
    refresh_at: Duration,
    looks: usize,
}

impl Cut {
    pub(super) fn new(
        injection: &InjectionId,
        parameters: NetworkPartition,
        instance: Instance,
        surroundings: Surroundings,
    ) -> Self {
        Self { injection: injection.clone(), parameters, instance, surroundings, made: None }
    }

    fn spec(&self, name: InjectionName, scope: Scope) -> Result<PartitionSpec, FaultError> {
        let direction = match self.parameters.direction {
            Direction::In => nft::Direction::In,
            Direction::Out => nft::Direction::Out,
            Direction::Both => nft::Direction::Both,
        };
        let peers = self.parameters.peers.iter().map(|peer| Cidr::new(peer.address, peer.prefix));
        let ports = self.parameters.ports.iter().map(|range| nft::PortRange::new(range.first, range.last));
        let (peers, ports) = (peers.collect::<Result<_, _>>()?, ports.collect::<Result<_, _>>()?);
        Ok(PartitionSpec { name, direction, scope, peers, ports })
    }

    fn made(&mut self) -> Result<&mut Made, FaultError> {
        self.made.as_mut().ok_or_else(|| FaultError::not_proven("the partition was not planned"))
    }
}

impl Injector for Cut {
    fn plan(&mut self) -> Result<UndoData, FaultError> {
        capability::require(Capability::NetAdmin, "dropping packets")?;
        let process = self.instance.process;
        let target = Namespace::of(process, Kind::Network)?;
        let members = operator::examine(&self.instance, target.inode(), &self.surroundings.registered)?;
        let inbound = self.parameters.direction == Direction::In;
        let identify = |members: Vec<_>| Identified::plan(&self.injection, &self.instance, &members, inbound);
        let identified = members.map(identify).transpose()?;
        let cgroup = identified.as_ref().and_then(Identified::undo).cloned();
        let name = InjectionName::new(self.injection.0.clone())?;
        let undo = NetworkUndo { name: name.to_string(), namespace: target.inode(), process, cgroup };
        // The sockets are read when they are recognised for sure: after the processes are in their cgroup.
        let scope = Scope::Namespace;
        let spec = self.spec(name, scope)?;
        spec.check()?;
        let (namespace, socket) = open(target)?;
        let lease = Lease::new(self.surroundings.kernel_lease)?;
        self.made = Some(Made {
            socket,
            namespace,
            spec,
            lease,
            identified,
            undo: undo.clone(),
            installed: false,
            refresh_at: Duration::ZERO,
            looks: 0,
        });
        Ok(UndoData::Network(undo))
    }

    fn apply(&mut self) -> Result<Step, FaultError> {
        let instance = self.instance.clone();
        let made = self.made()?;
        if made.installed {
            return Ok(Step::Done);
        }
        if let Some(identified) = &mut made.identified {
            if let Some(cgroup) = identified.gather(&instance)? {
                made.undo.cgroup = Some(cgroup);
                return Ok(Step::Record(UndoData::Network(made.undo.clone())));
            }
            let sockets = identified.sockets(&instance)?;
            if sockets.listeners.is_empty() && sockets.connections.is_empty() && sockets.cgroup.is_none() {
                return Err(FaultError::refused(format!(
                    "{} has nothing open that could be cut",
                    instance.id
                )));
            }
            made.spec.scope = Scope::Process(sockets);
        }
        made.refresh_at = monotonic() + made.lease.length() / REFRESH_PART;
        made.socket.install(&made.spec, made.lease)?;
        made.installed = true;
        Ok(Step::Done)
    }

    fn prove_active(&mut self) -> Result<Option<Vec<Evidence>>, FaultError> {
        let made = self.made()?;
        let proof = made.socket.prove(&made.spec, made.namespace.as_ref().map(AsFd::as_fd))?;
        let observed = match proof.kind {
            ProofKind::DroppedPacket => format!("{} packets dropped", proof.packets),
            ProofKind::KernelReadBack => "in effect as read back; no packet of ours can meet them".to_owned(),
        };
        let mut evidence = vec![Evidence::new(format!("counter of our rules {}", made.undo.name), observed)];
        if let Some(reason) = made.identified.as_ref().and_then(Identified::without_cgroup) {
            let bound = LOOK_OFTEN.as_millis();
            evidence.push(Evidence::new(
                "listeners and live connections",
                format!(
                    "connections that it opens itself are cut at the next look, within {bound} ms: {reason}"
                ),
            ));
        }
        Ok(Some(evidence))
    }

    fn hold(&mut self) -> Result<Held, FaultError> {
        let instance = self.instance.clone();
        let made = self.made()?;
        let now = monotonic();
        if now >= made.refresh_at {
            if let Some(reason) = lost(made.refresh(&instance))? {
                return Ok(Held::Lost(reason));
            }
            made.refresh_at = now + made.lease.length() / REFRESH_PART;
        } else if let Some(identified) = &mut made.identified {
            // Whoever was left out, or put elsewhere by somebody, is gathered again.
            if let Some(cgroup) = identified.gather(&instance)? {
                made.undo.cgroup = Some(cgroup);
                return Ok(Held::Record(UndoData::Network(made.undo.clone())));
            }
            if let Some(reason) = lost(made.add_new_sockets(&instance))? {
                return Ok(Held::Lost(reason));
            }
        }
        let until_refresh = made.refresh_at.saturating_sub(monotonic());
        if made.identified.is_none() {
            return Ok(Held::For(until_refresh));
        }
        let without_cgroup = made.identified.as_ref().is_some_and(|one| one.without_cgroup().is_some());
        let later = if without_cgroup { LOOK_OFTEN } else { LOOK_EVERY };
        let look = FIRST_LOOKS.get(made.looks).copied().unwrap_or(later);
        made.looks += 1;
        Ok(Held::For(look.min(until_refresh)))
    }

    fn undo(&mut self) -> Result<(), FaultError> {
        let Some(made) = &mut self.made else { return Ok(()) };
        made.socket.remove(&made.spec.name)?;
        made.undo.cgroup.as_ref().map_or(Ok(()), identity::release)
    }

    fn prove_reverted(&mut self) -> Result<Vec<Evidence>, FaultError> {
        let Some(made) = &mut self.made else { return Ok(Vec::new()) };
        prove_absent(&mut made.socket, &made.spec.name, made.undo.cgroup.as_ref())
    }
}

impl Made {
    /// Begins the kernel's lease anew, for the sockets that there are now, and sees that the rules are still there.
    fn refresh(&mut self, instance: &Instance) -> Result<(), FaultError> {
        if let Some(identified) = &self.identified {
            self.spec.scope = Scope::Process(identified.sockets(instance)?);
        }
        self.socket.refresh(&self.spec, self.lease)?;
        self.see_rules()
    }

    fn see_rules(&mut self) -> Result<(), FaultError> {
        if self.socket.has_rules(&self.spec.name)? {
            return Ok(());
        }
        let (injection, expected) = (self.spec.name.to_string(), 1);
        Err(NftError::NotInEffect { injection, expected, found: 0 }.into())
    }

    fn add_new_sockets(&mut self, instance: &Instance) -> Result<(), FaultError> {
        self.see_rules()?;
        let (Some(identified), Scope::Process(known)) = (&self.identified, &mut self.spec.scope) else {
            return Ok(());
        };
        let mut new = identified.sockets(instance)?;
        new.cgroup = None;
        new.listeners.retain(|listener| !known.listeners.contains(listener));
        new.connections.retain(|connection| !known.connections.contains(connection));
        if new.listeners.is_empty() && new.connections.is_empty() {
            return Ok(());
        }
        self.socket.add_elements(&self.spec.name, &new, self.lease)?;
        known.listeners.append(&mut new.listeners);
        known.connections.append(&mut new.connections);
        Ok(())
    }
}

/// In words, when what was to be kept going is not there any more: only somebody else removes it.
fn lost(kept: Result<(), FaultError>) -> Result<Option<String>, FaultError> {
    match kept {
        Ok(()) => Ok(None),
        Err(FaultError::Firewall(error))
            if error.is_gone() || matches!(error, NftError::NotInEffect { .. }) =>
        {
            Ok(Some(format!("the rules were removed by somebody else: {error}")))
        }
        Err(error) => Err(error),
    }
}

/// A socket in a namespace, and the namespace itself unless this process is in it.
fn open(namespace: Namespace) -> Result<(Option<Namespace>, NftSocket), FaultError> {
    if proc::namespace_inode(own_pid(), Kind::Network.name())? == namespace.inode() {
        return Ok((None, NftSocket::open()?));
    }
    let socket = NftSocket::open_in(namespace.as_fd())?;
    Ok((Some(namespace), socket))
}

fn prove_absent(
    socket: &mut NftSocket,
    name: &InjectionName,
    cgroup: Option<&CgroupUndo>,
) -> Result<Vec<Evidence>, FaultError> {
    let reading = socket.read(name)?;
    if !reading.is_absent() {
        let observed = format!("{} rules and {} sets of {name} are left", reading.rules, reading.sets);
        return Err(FaultError::not_proven(observed));
    }
    let mut evidence = vec![Evidence::new("nf_tables", format!("no rule and no set of {name}"))];
    if let Some(cgroup) = cgroup {
        evidence.push(identity::prove_released(cgroup)?);
    }
    Ok(evidence)
}

/// Finds the namespace by a process that is in it, and undoes there what the record says.
pub(super) fn undo_from_record(record: &NetworkUndo) -> Result<Vec<Evidence>, FaultError> {
    let name = InjectionName::new(record.name.clone())?;
    let found = find_namespace(record)?.map(open).transpose()?;
    match found {
        Some((_namespace, mut socket)) => {
            socket.remove(&name)?;
            record.cgroup.as_ref().map_or(Ok(()), identity::release)?;
            prove_absent(&mut socket, &name, record.cgroup.as_ref())
        }
        // Rules go with the last user of their namespace.
        None => {
            record.cgroup.as_ref().map_or(Ok(()), identity::release)?;
            let source = format!("network namespace {}", record.namespace);
            Ok(vec![Evidence::new(source, "no process is in it any more")])
        }
    }
}

fn find_namespace(record: &NetworkUndo) -> Result<Option<Namespace>, FaultError> {
    let recorded = Some(record.process).filter(|process| proc::runs(*process)).map(|process| process.pid);
    for pid in [own_pid()].into_iter().chain(recorded).chain(proc::pids()?) {
        let inode = proc::namespace_inode(pid, Kind::Network.name());
        if inode.is_ok_and(|inode| inode == record.namespace)
            && let Ok(process) = proc::identity(pid)
            && let Ok(namespace) = Namespace::of(process, Kind::Network)
            && namespace.inode() == record.namespace
        {
            return Ok(Some(namespace));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;

//! `network_partition`: packets of the instance are dropped by rules whose elements the kernel forgets by itself.
//!
//! An instance that has a network namespace to itself is cut off as a whole. One that shares a namespace is known by
//! its listening ports, its live connections and its cgroup (its own, or one of ours that its processes are moved
//! into); without the right to make one, only what arrives can be cut. It never makes a rule that could match somebody
//! else's socket.

mod identity;
mod operator;
mod readings;

use std::rc::Rc;
use std::time::Duration;

use chaos_core::port::Evidence;
use chaos_core::run::InjectionId;
use chaos_core::spec::{Direction, NetworkPartition};
use chaos_core::target::{Instance, ProcessRef};

use self::identity::{Gathered, Identified};
use self::readings::{Network, since_order};
use super::{FaultError, Held, Injector, Step, Surroundings};
use crate::holder::monotonic;
use crate::sys::capability::{self, Capability};
use crate::sys::namespace::{Kind, Namespace};
use crate::sys::nft::{
    self, Cidr, InjectionName, Lease, NftError, Partition, PartitionSpec, ProofKind, Scope,
};
use crate::sys::{own_pid, proc};
use crate::undo::{NetworkUndo, UndoData};

pub use self::readings::Readings;

/// The lease of the kernel is renewed when this part of it is over.
const REFRESH_PART: u32 = 3;
/// Times between the first looks for new sockets: what was being opened while the rules were made is found at once.
const FIRST_LOOKS: [Duration; 3] =
    [Duration::from_millis(2), Duration::from_millis(10), Duration::from_millis(40)];
/// Time between later looks for new sockets. They are due at whole multiples of it, so that one listing serves all.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The same where no cgroup cuts off what is opened meanwhile.
const LOOK_OFTEN: Duration = Duration::from_millis(200);

pub(super) struct Cut {
    injection: InjectionId,
    parameters: NetworkPartition,
    instance: Instance,
    surroundings: Surroundings,
    readings: Readings,
    ordered_at: Duration,
    made: Option<Made>,
}

/// A partition that was planned.
struct Made {
    network: Rc<Network>,
    partition: Partition,
    lease: Lease,
    /// How the instance is told from others in its namespace; none when there are no others.
    identified: Option<Identified>,
    undo: NetworkUndo,
    installed: bool,
    /// When the kernel's lease was begun last.
    renewed_at: Duration,
    look_at: Duration,
    looks: usize,
}

impl Cut {
    pub(super) fn new(
        injection: &InjectionId,
        parameters: NetworkPartition,
        instance: Instance,
        surroundings: Surroundings,
        readings: Readings,
    ) -> Self {
        let (injection, ordered_at) = (injection.clone(), monotonic());
        Self { injection, parameters, instance, surroundings, readings, ordered_at, made: None }
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
        let namespace = target.inode();
        let (readings, since) = (&self.readings, since_order(self.ordered_at));
        let (table, network) = (readings.processes(since)?, readings.network(target)?);
        let members = operator::members_among_others(&table, &self.instance, namespace);
        if let Some(members) = &members {
            let sockets = network.sockets(process.pid, since)?;
            operator::examine(&self.instance, members, &self.surroundings.registered, &table, &sockets)?;
        }
        let inbound = self.parameters.direction == Direction::In;
        let identify = |members: Vec<_>| Identified::plan(&self.injection, &self.instance, &members, inbound);
        let identified = members.map(identify).transpose()?;
        let cgroup = identified.as_ref().and_then(Identified::undo).cloned();
        let name = InjectionName::new(self.injection.0.clone())?;
        let undo = NetworkUndo { name: name.to_string(), namespace, process, cgroup };
        // The sockets are read when they are recognised for sure: after the processes are in their cgroup.
        let partition = Partition::new(self.spec(name, Scope::Namespace)?)?;
        let lease = Lease::new(self.surroundings.kernel_lease)?;
        self.made = Some(Made {
            network,
            partition,
            lease,
            identified,
            undo: undo.clone(),
            installed: false,
            renewed_at: Duration::ZERO,
            look_at: Duration::ZERO,
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
            let members = match identified.gather(&instance)? {
                Gathered::All(members) => members,
                Gathered::Record(cgroup) => {
                    made.undo.cgroup = Some(cgroup);
                    return Ok(Step::Record(UndoData::Network(made.undo.clone())));
                }
            };
            // Listed now: before its processes were gathered it may have opened something in their old cgroup.
            let sockets = made.network.sockets(instance.process.pid, monotonic())?;
            let sockets = identified.sockets(&members, &sockets)?;
            if sockets.listeners.is_empty() && sockets.connections.is_empty() && sockets.cgroup.is_none() {
                return Err(FaultError::refused(format!(
                    "{} has nothing open that could be cut",
                    instance.id
                )));
            }
            let scope = Scope::Process(sockets);
            made.partition = Partition::new(PartitionSpec { scope, ..made.partition.spec().clone() })?;
        }
        made.install()?;
        made.network.enter(made.partition.shape());
        (made.installed, made.look_at) = (true, monotonic());
        Ok(Step::Done)
    }

    fn prove_active(&mut self) -> Result<Option<Vec<Evidence>>, FaultError> {
        let made = self.made()?;
        let proof = made.network.nft.borrow_mut().prove(&made.partition, made.network.descriptor())?;
        let observed = match proof.kind {
            ProofKind::DroppedPacket => format!("{} packets dropped", proof.packets),
            ProofKind::KernelReadBack => "in effect as read back; no packet of ours can meet them".to_owned(),
        };
        let mut evidence =
            vec![Evidence::new(format!("counters of our elements {}", made.undo.name), observed)];
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
        let (instance, readings) = (self.instance.clone(), self.readings.clone());
        let made = self.made()?;
        if monotonic() >= made.refresh_at()
            && let Some(reason) = lost(made.refresh())?
        {
            return Ok(Held::Lost(reason));
        }
        let until_refresh = made.refresh_at().saturating_sub(monotonic());
        let Some(identified) = &mut made.identified else { return Ok(Held::For(until_refresh)) };
        let due = made.look_at;
        if monotonic() >= due {
            readings.forget_old();
            // Whoever was left out, or put elsewhere by somebody, is gathered again.
            let members = match identified.gather(&instance)? {
                Gathered::All(members) => members,
                Gathered::Record(cgroup) => {
                    made.undo.cgroup = Some(cgroup);
                    return Ok(Held::Record(UndoData::Network(made.undo.clone())));
                }
            };
            if let Some(reason) = lost(made.look(&members, due))? {
                return Ok(Held::Lost(reason));
            }
            made.look_at = made.next_look();
        }
        Ok(Held::For(made.look_at.saturating_sub(monotonic()).min(until_refresh)))
    }

    fn undo(&mut self) -> Result<(), FaultError> {
        let Some(made) = &mut self.made else { return Ok(()) };
        made.network.nft.borrow_mut().release(&mut made.partition)?;
        if std::mem::take(&mut made.installed) {
            made.network.leave(made.partition.shape());
        }
        made.network.clear(made.partition.shape());
        made.undo.cgroup.as_ref().map_or(Ok(()), identity::release)
    }

    fn prove_reverted(&mut self) -> Result<Vec<Evidence>, FaultError> {
        let Some(made) = &mut self.made else { return Ok(Vec::new()) };
        let left = made.network.nft.borrow_mut().live_marks(&made.partition)?;
        prove_absent(left, &made.undo)
    }
}

impl Made {
    fn install(&mut self) -> Result<(), FaultError> {
        let now = monotonic();
        self.network.nft.borrow_mut().install(&mut self.partition, self.lease)?;
        self.renewed_at = now;
        Ok(())
    }

    fn refresh_at(&self) -> Duration {
        self.renewed_at + self.lease.length() / REFRESH_PART
    }

    /// Begins the kernel's lease anew. One that has lapsed because this process was held up is taken up again.
    fn refresh(&mut self) -> Result<(), FaultError> {
        let now = monotonic();
        if now >= self.renewed_at + self.lease.length() {
            return self.install();
        }
        self.network.nft.borrow_mut().refresh(&mut self.partition, self.lease)?;
        self.renewed_at = now;
        Ok(())
    }

    /// Follows what the instance has open since the look was due, and sees that the rules are still there.
    fn look(&mut self, members: &[ProcessRef], due: Duration) -> Result<(), FaultError> {
        let Some(identified) = &self.identified else { return Ok(()) };
        if !self.network.rules(due)?.serve(&self.partition) {
            let (injection, expected) = (self.undo.name.clone(), 1);
            return Err(NftError::NotInEffect { injection, expected, found: 0 }.into());
        }
        let sockets = self.network.sockets(self.undo.process.pid, due)?;
        let sockets = identified.sockets(members, &sockets)?;
        Ok(self.network.nft.borrow_mut().follow(&mut self.partition, sockets, self.lease)?)
    }

    fn next_look(&mut self) -> Duration {
        let now = monotonic();
        let without_cgroup = self.identified.as_ref().is_some_and(|one| one.without_cgroup().is_some());
        let every = if without_cgroup { LOOK_OFTEN } else { LOOK_EVERY };
        let first = FIRST_LOOKS.get(self.looks).map(|after| now + *after);
        self.looks += 1;
        first.unwrap_or_else(|| next_multiple(now, every))
    }
}

/// The first whole multiple of a time that is still to come.
fn next_multiple(now: Duration, of: Duration) -> Duration {
    let passed = now.as_nanos() % of.as_nanos().max(1);
    now + of.saturating_sub(Duration::from_nanos(u64::try_from(passed).unwrap_or(0)))
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

fn prove_absent(left: usize, undo: &NetworkUndo) -> Result<Vec<Evidence>, FaultError> {
    let name = &undo.name;
    if left > 0 {
        return Err(FaultError::not_proven(format!("{left} elements of {name} are left")));
    }
    let mut evidence = vec![Evidence::new("nf_tables", format!("no element of {name}"))];
    if let Some(cgroup) = &undo.cgroup {
        evidence.push(identity::prove_released(cgroup)?);
    }
    Ok(evidence)
}

/// Finds the namespace by a process that is in it, and undoes there what the record says.
pub(super) fn undo_from_record(record: &NetworkUndo) -> Result<Vec<Evidence>, FaultError> {
    let name = InjectionName::new(record.name.clone())?;
    let Some(namespace) = find_namespace(record)? else {
        // Rules go with the last user of their namespace.
        record.cgroup.as_ref().map_or(Ok(()), identity::release)?;
        let source = format!("network namespace {}", record.namespace);
        return Ok(vec![Evidence::new(source, "no process is in it any more")]);
    };
    let network = Network::open(namespace)?;
    let mut nft = network.nft.borrow_mut();
    nft.remove(&name)?;
    // Where its elements have expired nothing is known to be its own any more; rules that nobody has an element for drop
    // nothing, and go too. What can't be removed does no harm.
    let _ = nft.remove_inert(None);
    record.cgroup.as_ref().map_or(Ok(()), identity::release)?;
    let proof = prove_absent(nft.read(&name)?.elements.len(), record)?;
    // A sweep looks for an empty table where it runs; nothing but this record leads here.
    if network.descriptor().is_some() {
        let _ = nft.remove_table_if_empty();
    }
    Ok(proof)
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

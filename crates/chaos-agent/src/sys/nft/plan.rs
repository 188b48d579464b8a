//! From a partition to sets and rules, as data.
//!
//! Owns the decision which sets exist, what they hold and which rules look into them. Every rule
//! looks into at least one set whose elements expire, so that nothing is dropped once they have.
//! It never encodes netlink and never touches the kernel.

mod elements;

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::error::NftError;
use super::spec::{Cidr, Direction, InjectionName, PartitionSpec, ProcessSockets, Scope};

pub(super) use elements::Element;
use elements::{canonical_listener, connection_element, exact, listener_element, peer_ranges, port_ranges};

/// Where a rule hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    /// Packets that arrive for this namespace.
    Input,
    /// Packets made in this namespace.
    Output,
}

impl Hook {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::Input, Self::Output];
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Its number, as `meta nfproto` yields it.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// One part of a set's key, taken from the packet. Local and remote are seen from this namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// IPv4 or IPv6.
    Network,
    /// The transport protocol's number.
    Transport,
    /// The local address.
    LocalAddress(Family),
    /// The remote address.
    RemoteAddress(Family),
    /// The local port.
    LocalPort,
    /// The remote port.
    RemotePort,
    /// The ancestor of the socket's cgroup at a level.
    SocketCgroup(u8),
}

impl Field {
    /// Bytes of the value, before padding to four.
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::Network | Self::Transport => 1,
            Self::LocalPort | Self::RemotePort => 2,
            Self::LocalAddress(Family::V4) | Self::RemoteAddress(Family::V4) => 4,
            Self::LocalAddress(Family::V6) | Self::RemoteAddress(Family::V6) => 16,
            Self::SocketCgroup(_) => 8,
        }
    }
}

/// How a set stores its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Exact keys.
    Exact,
    /// Ranges of a single field.
    Range,
    /// Ranges of several fields.
    RangeOfFields,
}

/// Which of an injection's sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SetKind {
    Any,
    Peers4,
    Peers6,
    Ports,
    Listeners,
    Listeners4,
    Listeners6,
    Connections4,
    Connections6,
    Cgroup,
}

impl SetKind {
    /// The end of the set's name.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Peers4 => "peers4",
            Self::Peers6 => "peers6",
            Self::Ports => "ports",
            Self::Listeners => "listeners",
            Self::Listeners4 => "listeners4",
            Self::Listeners6 => "listeners6",
            Self::Connections4 => "connections4",
            Self::Connections6 => "connections6",
            Self::Cgroup => "cgroup",
        }
    }

    /// The family that the set's addresses force on a rule.
    const fn family(self) -> Option<Family> {
        match self {
            Self::Peers4 | Self::Listeners4 | Self::Connections4 => Some(Family::V4),
            Self::Peers6 | Self::Listeners6 | Self::Connections6 => Some(Family::V6),
            Self::Any | Self::Ports | Self::Listeners | Self::Cgroup => None,
        }
    }

    /// How its elements are stored.
    const fn layout(self) -> Layout {
        match self {
            Self::Peers4 | Self::Peers6 => Layout::Range,
            Self::Ports => Layout::RangeOfFields,
            _ => Layout::Exact,
        }
    }

    /// What its key is made of. `ports` is looked up with either port, so its field is a stand-in.
    fn fields(self) -> Vec<Field> {
        use Field::{LocalAddress, LocalPort, Network, RemoteAddress, RemotePort, Transport};
        let connection =
            |family| vec![Transport, LocalAddress(family), LocalPort, RemoteAddress(family), RemotePort];
        match self {
            Self::Any => vec![Network],
            Self::Peers4 => vec![RemoteAddress(Family::V4)],
            Self::Peers6 => vec![RemoteAddress(Family::V6)],
            Self::Ports | Self::Listeners => vec![Transport, LocalPort],
            Self::Listeners4 => vec![Transport, LocalAddress(Family::V4), LocalPort],
            Self::Listeners6 => vec![Transport, LocalAddress(Family::V6), LocalPort],
            Self::Connections4 => connection(Family::V4),
            Self::Connections6 => connection(Family::V6),
            // The level matters to the lookup only, not to what is stored.
            Self::Cgroup => vec![Field::SocketCgroup(0)],
        }
    }
}

/// What is in front of every set name of ours.
const SET_PREFIX: &str = "f-";
/// What is in front of the injection's name in the comment of every rule of ours.
const COMMENT_PREFIX: &str = "fault ";

/// The full name of a set.
pub(super) fn set_name(injection: &InjectionName, kind: SetKind) -> String {
    format!("{SET_PREFIX}{injection}-{}", kind.suffix())
}

/// Whose set this is, if it is one of ours.
pub(super) fn set_owner(name: &str) -> Option<InjectionName> {
    let (owner, _) = name.strip_prefix(SET_PREFIX)?.rsplit_once('-')?;
    InjectionName::new(owner).ok()
}

/// The comment on every rule of an injection.
pub(super) fn rule_comment(injection: &InjectionName) -> String {
    format!("{COMMENT_PREFIX}{injection}")
}

/// Whose rule this is, if it is one of ours.
pub(super) fn rule_owner(comment: &str) -> Option<InjectionName> {
    InjectionName::new(comment.strip_prefix(COMMENT_PREFIX)?).ok()
}

/// One set and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SetPlan {
    /// Its full name.
    pub(super) name: String,
    /// How it stores its elements.
    pub(super) layout: Layout,
    /// What its key is made of.
    pub(super) fields: Vec<Field>,
    /// Its elements, each once.
    pub(super) elements: Vec<Element>,
}

/// One condition of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// The packet is of this family.
    Family(Family),
    /// The packet does not pass the loopback interface.
    NotLoopback,
    /// The packet is not ICMPv6.
    NotIcmp6,
    /// The packet is ICMPv6, but neither neighbour nor router discovery.
    Icmp6BeyondDiscovery,
    /// The fields are in the set.
    In {
        /// The set's full name.
        set: String,
        /// What is looked up in it.
        fields: Vec<Field>,
    },
}

/// One rule: all conditions hold, so count and drop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RulePlan {
    /// Where it hangs.
    pub(super) hook: Hook,
    /// What must hold.
    pub(super) conditions: Vec<Condition>,
}

/// A compiled partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// Whose it is.
    pub(super) name: InjectionName,
    /// Its sets.
    pub(super) sets: Vec<SetPlan>,
    /// Its rules.
    pub(super) rules: Vec<RulePlan>,
}

impl Plan {
    /// How many elements all sets hold together.
    pub(super) fn elements(&self) -> usize {
        self.sets.iter().map(|set| set.elements.len()).sum()
    }
}

/// Compiles a partition.
///
/// # Errors
/// [`NftError::Invalid`] when a named limit is exceeded.
pub(super) fn plan(spec: &PartitionSpec) -> Result<Plan, NftError> {
    spec.check()?;
    Ok(Plan { name: spec.name.clone(), sets: sets(spec), rules: rules(spec) })
}

/// The sets of live sockets alone, for adding what appeared meanwhile.
pub(super) fn socket_sets(name: &InjectionName, sockets: &ProcessSockets) -> Vec<SetPlan> {
    let listeners = |family: Option<Family>| {
        let chosen = sockets.listeners.iter().map(canonical_listener);
        chosen.filter(move |one| one.address.map(Family::of) == family).map(|one| listener_element(&one))
    };
    let connections = |family: Family| {
        let chosen = sockets.connections.iter();
        chosen.filter(move |one| Family::of(one.local.ip().to_canonical()) == family).map(connection_element)
    };
    let cgroup = sockets.cgroup.iter().map(|cgroup| exact(&[&cgroup.id.to_ne_bytes()]));
    let mut sets = vec![
        set(name, SetKind::Listeners, listeners(None)),
        set(name, SetKind::Listeners4, listeners(Some(Family::V4))),
        set(name, SetKind::Listeners6, listeners(Some(Family::V6))),
        set(name, SetKind::Connections4, connections(Family::V4)),
        set(name, SetKind::Connections6, connections(Family::V6)),
    ];
    if sockets.cgroup.is_some() {
        sets.push(set(name, SetKind::Cgroup, cgroup));
    }
    sets
}

fn sets(spec: &PartitionSpec) -> Vec<SetPlan> {
    let name = &spec.name;
    let mut sets = Vec::new();
    match &spec.scope {
        Scope::Namespace if spec.peers.is_empty() && spec.ports.is_empty() => {
            let families = [Family::V4, Family::V6].into_iter().map(|family| exact(&[&[family.number()]]));
            sets.push(set(name, SetKind::Any, families));
        }
        Scope::Namespace => {}
        Scope::Process(sockets) => sets.extend(socket_sets(name, sockets)),
    }
    for (kind, family) in [(SetKind::Peers4, Family::V4), (SetKind::Peers6, Family::V6)] {
        let blocks = peer_ranges(&spec.peers, family);
        if !blocks.is_empty() {
            sets.push(set(name, kind, blocks.into_iter()));
        }
    }
    if !spec.ports.is_empty() {
        sets.push(set(name, SetKind::Ports, port_ranges(&spec.ports).into_iter()));
    }
    sets
}

fn set(name: &InjectionName, kind: SetKind, elements: impl Iterator<Item = Element>) -> SetPlan {
    let elements: BTreeSet<Element> = elements.collect();
    SetPlan {
        name: set_name(name, kind),
        layout: kind.layout(),
        fields: kind.fields(),
        elements: elements.into_iter().collect(),
    }
}

fn rules(spec: &PartitionSpec) -> Vec<RulePlan> {
    let hooks: &[Hook] = match spec.direction {
        Direction::In => &[Hook::Input],
        Direction::Out => &[Hook::Output],
        Direction::Both => &Hook::ALL,
    };
    let bodies = rule_bodies(spec);
    let hang =
        |hook: Hook| bodies.iter().map(move |conditions| RulePlan { hook, conditions: conditions.clone() });
    hooks.iter().flat_map(|hook| hang(*hook)).collect()
}

/// Every combination of whose sockets, which peers and which port, as conditions.
fn rule_bodies(spec: &PartitionSpec) -> Vec<Vec<Condition>> {
    let mut bodies = Vec::new();
    for owner in owner_sets(spec) {
        for peer in peer_sets(&spec.peers) {
            let families = [owner, peer].map(|kind| kind.and_then(SetKind::family));
            if let [Some(one), Some(other)] = families
                && one != other
            {
                continue;
            }
            let family = families[0].or(families[1]);
            let mut conditions: Vec<Condition> = family.map(Condition::Family).into_iter().collect();
            if spec.scope == Scope::Namespace && !spec.peers.iter().any(Cidr::names_loopback) {
                conditions.push(Condition::NotLoopback);
            }
            conditions.extend(owner.map(|kind| lookup(spec, kind, kind_fields(spec, kind))));
            conditions.extend(peer.map(|kind| lookup(spec, kind, kind.fields())));
            bodies.extend(port_variants(spec, family, &conditions));
        }
    }
    bodies
}

/// The sets that say whose packet it is; none when the whole namespace is meant and a peer or port
/// set is looked into anyway.
fn owner_sets(spec: &PartitionSpec) -> Vec<Option<SetKind>> {
    match &spec.scope {
        Scope::Namespace if spec.peers.is_empty() && spec.ports.is_empty() => vec![Some(SetKind::Any)],
        Scope::Namespace => vec![None],
        Scope::Process(sockets) => {
            use SetKind::{Connections4, Connections6, Listeners, Listeners4, Listeners6};
            let live = [Listeners, Listeners4, Listeners6, Connections4, Connections6];
            let cgroup = sockets.cgroup.map(|_| SetKind::Cgroup);
            live.into_iter().chain(cgroup).map(Some).collect()
        }
    }
}

fn peer_sets(peers: &[Cidr]) -> Vec<Option<SetKind>> {
    if peers.is_empty() {
        return vec![None];
    }
    let has = |family| peers.iter().any(|peer| Family::of(peer.first()) == family);
    [(SetKind::Peers4, Family::V4), (SetKind::Peers6, Family::V6)]
        .into_iter()
        .filter_map(|(kind, family)| has(family).then_some(Some(kind)))
        .collect()
}

/// One rule per port that may match; or, with no ports asked for, one that spares discovery.
fn port_variants(spec: &PartitionSpec, family: Option<Family>, base: &[Condition]) -> Vec<Vec<Condition>> {
    let with = |more: Condition| base.iter().cloned().chain([more]).collect::<Vec<_>>();
    if !spec.ports.is_empty() {
        let port = |field| with(lookup(spec, SetKind::Ports, vec![Field::Transport, field]));
        return vec![port(Field::LocalPort), port(Field::RemotePort)];
    }
    if spec.scope == Scope::Namespace && family != Some(Family::V4) {
        return vec![with(Condition::NotIcmp6), with(Condition::Icmp6BeyondDiscovery)];
    }
    vec![base.to_vec()]
}

fn lookup(spec: &PartitionSpec, kind: SetKind, fields: Vec<Field>) -> Condition {
    Condition::In { set: set_name(&spec.name, kind), fields }
}

/// The fields of a lookup: those of the set, with the level of the cgroup filled in.
fn kind_fields(spec: &PartitionSpec, kind: SetKind) -> Vec<Field> {
    match (&spec.scope, kind) {
        (Scope::Process(ProcessSockets { cgroup: Some(cgroup), .. }), SetKind::Cgroup) => {
            vec![Field::SocketCgroup(cgroup.level)]
        }
        _ => kind.fields(),
    }
}

#[cfg(test)]
mod tests;

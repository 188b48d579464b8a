//! From a partition to sets and rules, as data.
//!
//! Owns the decision which sets exist, what they hold and which rules look into them. Rules and sets belong to a
//! group, which all partitions of one shape share; a partition itself is only the elements that recognise its victim,
//! its marks. Every rule looks last into a set of marks, which expire, so that nothing is dropped once they have.
//! It never encodes netlink and never touches the kernel.

mod elements;

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use super::spec::{Cidr, Direction, InjectionName, PartitionSpec, ProcessSockets, Scope};

pub(super) use elements::Range;
use elements::{canonical_listener, connection_key, key, listener_key, peer_ranges, port_ranges};

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

/// Which of a group's sets.
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

/// Changes with the rules that a shape has, so that two builds of this program never share rules.
const LAYOUT: u32 = 1;
/// What is in front of every set name of ours.
const SET_PREFIX: &str = "f-";
/// What is in front of the group's name in the comment of every rule of ours.
const RULE_PREFIX: &str = "faults ";
/// What is in front of the injection's name in the comment of every element of ours.
const ELEMENT_PREFIX: &str = "fault ";

/// Everything about a partition but its victim and its name: partitions of one shape share their rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape(String);

impl Shape {
    pub(super) fn of(spec: &PartitionSpec) -> Self {
        let direction = match spec.direction {
            Direction::In => "in",
            Direction::Out => "out",
            Direction::Both => "both",
        };
        let scope = match &spec.scope {
            Scope::Namespace => "net".to_owned(),
            Scope::Process(ProcessSockets { cgroup: None, .. }) => "sockets".to_owned(),
            Scope::Process(ProcessSockets { cgroup: Some(cgroup), .. }) => format!("cgroup{}", cgroup.level),
        };
        let narrowed = if spec.peers.is_empty() && spec.ports.is_empty() {
            String::new()
        } else {
            let peers: BTreeSet<String> = spec.peers.iter().map(Cidr::to_string).collect();
            let ports: BTreeSet<_> = spec.ports.iter().map(|range| (range.first(), range.last())).collect();
            let mut hasher = DefaultHasher::new();
            (peers, ports).hash(&mut hasher);
            format!("-{:016x}", hasher.finish())
        };
        Self(format!("{LAYOUT}-{direction}-{scope}{narrowed}"))
    }
}

/// The rules of a shape and the sets that they look into. An element has one owner: where two partitions of a shape
/// mean the same socket, one of them has it in the sets of another group of that shape, the next slot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    /// What its rules do.
    pub(super) shape: Shape,
    /// Counted from 0.
    pub(super) slot: u16,
}

impl Group {
    fn parse(text: &str) -> Option<Self> {
        let (shape, slot) = text.rsplit_once('-')?;
        Some(Self { shape: Shape(shape.to_owned()), slot: slot.parse().ok()? })
    }

    /// The full name of one of its sets.
    pub(super) fn set_name(&self, kind: SetKind) -> String {
        format!("{SET_PREFIX}{self}-{}", kind.suffix())
    }

    /// Whose set this is, if it is one of ours, and whether it keeps marks.
    pub(super) fn of_set(name: &str) -> Option<(Self, bool)> {
        let (group, suffix) = name.strip_prefix(SET_PREFIX)?.rsplit_once('-')?;
        let narrows = [SetKind::Peers4, SetKind::Peers6, SetKind::Ports];
        Some((Self::parse(group)?, !narrows.iter().any(|kind| kind.suffix() == suffix)))
    }

    /// The comment on every one of its rules.
    pub(super) fn rule_comment(&self) -> String {
        format!("{RULE_PREFIX}{self}")
    }

    /// Whose rule this is, if it is one of ours.
    pub(super) fn of_rule(comment: &str) -> Option<Self> {
        Self::parse(comment.strip_prefix(RULE_PREFIX)?)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.shape.0, self.slot)
    }
}

/// The comment on every element of an injection.
pub(super) fn element_comment(injection: &InjectionName) -> String {
    format!("{ELEMENT_PREFIX}{injection}")
}

/// Whose element this is, if it is one of ours.
pub(super) fn element_owner(comment: &str) -> Option<InjectionName> {
    InjectionName::new(comment.strip_prefix(ELEMENT_PREFIX)?).ok()
}

/// What recognises a victim: one element, and the kind of set that it goes to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    /// Which of a group's sets.
    pub(super) kind: SetKind,
    /// The key.
    pub(super) key: Vec<u8>,
}

/// One set, and what is always in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SetPlan {
    /// Its full name.
    pub(super) name: String,
    /// How it stores its elements.
    pub(super) layout: Layout,
    /// What its key is made of.
    pub(super) fields: Vec<Field>,
    /// Peers or ports, each once; none where victims are kept, whose elements expire.
    pub(super) constant: Option<Vec<Range>>,
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

/// What a group is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupPlan {
    /// Which.
    pub(super) group: Group,
    /// Its sets.
    pub(super) sets: Vec<SetPlan>,
    /// Its rules.
    pub(super) rules: Vec<RulePlan>,
}

/// Compiles the group in which a partition would have its victim.
pub(super) fn group(spec: &PartitionSpec, slot: u16) -> GroupPlan {
    let group = Group { shape: Shape::of(spec), slot };
    let set = |kind: SetKind, constant: Option<Vec<Range>>| SetPlan {
        name: group.set_name(kind),
        layout: kind.layout(),
        fields: kind.fields(),
        constant,
    };
    let mut sets: Vec<SetPlan> = victim_sets(spec).into_iter().map(|kind| set(kind, None)).collect();
    for (kind, family) in [(SetKind::Peers4, Family::V4), (SetKind::Peers6, Family::V6)] {
        let blocks = peer_ranges(&spec.peers, family);
        if !blocks.is_empty() {
            sets.push(set(kind, Some(blocks)));
        }
    }
    if !spec.ports.is_empty() {
        sets.push(set(SetKind::Ports, Some(port_ranges(&spec.ports))));
    }
    let rules = rules(spec, &group);
    GroupPlan { group, sets, rules }
}

/// What recognises the victim of a partition.
pub(super) fn marks(scope: &Scope) -> BTreeSet<Mark> {
    match scope {
        Scope::Namespace => [Family::V4, Family::V6]
            .into_iter()
            .map(|family| Mark { kind: SetKind::Any, key: key(&[&[family.number()]]) })
            .collect(),
        Scope::Process(sockets) => {
            let listeners = sockets.listeners.iter().map(|listener| {
                let listener = canonical_listener(listener);
                let kind = match listener.address.map(Family::of) {
                    None => SetKind::Listeners,
                    Some(Family::V4) => SetKind::Listeners4,
                    Some(Family::V6) => SetKind::Listeners6,
                };
                Mark { kind, key: listener_key(&listener) }
            });
            let connections = sockets.connections.iter().map(|connection| {
                let kind = match Family::of(connection.local.ip().to_canonical()) {
                    Family::V4 => SetKind::Connections4,
                    Family::V6 => SetKind::Connections6,
                };
                Mark { kind, key: connection_key(connection) }
            });
            let cgroup = sockets.cgroup.iter();
            let cgroup =
                cgroup.map(|cgroup| Mark { kind: SetKind::Cgroup, key: key(&[&cgroup.id.to_ne_bytes()]) });
            listeners.chain(connections).chain(cgroup).collect()
        }
    }
}

fn rules(spec: &PartitionSpec, group: &Group) -> Vec<RulePlan> {
    let hooks: &[Hook] = match spec.direction {
        Direction::In => &[Hook::Input],
        Direction::Out => &[Hook::Output],
        Direction::Both => &Hook::ALL,
    };
    let bodies = rule_bodies(spec, group);
    let hang =
        |hook: Hook| bodies.iter().map(move |conditions| RulePlan { hook, conditions: conditions.clone() });
    hooks.iter().flat_map(|hook| hang(*hook)).collect()
}

/// Every combination of which peers, which port and whose sockets, as conditions. The victim is looked up last, so
/// that its element counts only what is dropped.
fn rule_bodies(spec: &PartitionSpec, group: &Group) -> Vec<Vec<Condition>> {
    let mut bodies = Vec::new();
    for victim in victim_sets(spec) {
        for peer in peer_sets(&spec.peers) {
            let families = [victim.family(), peer.and_then(SetKind::family)];
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
            conditions.extend(peer.map(|kind| lookup(group, kind, kind.fields())));
            for mut variant in port_variants(spec, group, family, &conditions) {
                variant.push(lookup(group, victim, victim_fields(spec, victim)));
                bodies.push(variant);
            }
        }
    }
    bodies
}

/// The sets that say whose packet it is.
fn victim_sets(spec: &PartitionSpec) -> Vec<SetKind> {
    use SetKind::{Any, Cgroup, Connections4, Connections6, Listeners, Listeners4, Listeners6};
    match &spec.scope {
        Scope::Namespace => vec![Any],
        Scope::Process(sockets) => {
            let live = [Listeners, Listeners4, Listeners6, Connections4, Connections6];
            live.into_iter().chain(sockets.cgroup.map(|_| Cgroup)).collect()
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
fn port_variants(
    spec: &PartitionSpec,
    group: &Group,
    family: Option<Family>,
    base: &[Condition],
) -> Vec<Vec<Condition>> {
    let with = |more: Condition| base.iter().cloned().chain([more]).collect::<Vec<_>>();
    if !spec.ports.is_empty() {
        let port = |field| with(lookup(group, SetKind::Ports, vec![Field::Transport, field]));
        return vec![port(Field::LocalPort), port(Field::RemotePort)];
    }
    if spec.scope == Scope::Namespace && family != Some(Family::V4) {
        return vec![with(Condition::NotIcmp6), with(Condition::Icmp6BeyondDiscovery)];
    }
    vec![base.to_vec()]
}

fn lookup(group: &Group, kind: SetKind, fields: Vec<Field>) -> Condition {
    Condition::In { set: group.set_name(kind), fields }
}

/// The fields of a lookup: those of the set, with the level of the cgroup filled in.
fn victim_fields(spec: &PartitionSpec, kind: SetKind) -> Vec<Field> {
    match (&spec.scope, kind) {
        (Scope::Process(ProcessSockets { cgroup: Some(cgroup), .. }), SetKind::Cgroup) => {
            vec![Field::SocketCgroup(cgroup.level)]
        }
        _ => kind.fields(),
    }
}

#[cfg(test)]
mod tests;

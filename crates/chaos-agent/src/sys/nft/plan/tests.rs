//! What a partition compiles to.

use super::elements::merged;
use super::*;
use crate::sys::nft::spec::{Cgroup, Connection, Listener, PortRange, Protocol};

fn spec(scope: Scope, direction: Direction, peers: &[&str], ports: &[(u16, u16)]) -> PartitionSpec {
    PartitionSpec {
        name: InjectionName::new("abc").unwrap(),
        direction,
        scope,
        peers: peers.iter().map(|peer| peer.parse().unwrap()).collect(),
        ports: ports.iter().map(|(first, last)| PortRange::new(*first, *last).unwrap()).collect(),
    }
}

fn sockets() -> ProcessSockets {
    ProcessSockets {
        listeners: vec![
            Listener { protocol: Protocol::Tcp, address: None, port: 80 },
            Listener { protocol: Protocol::Tcp, address: Some("0.0.0.0".parse().unwrap()), port: 80 },
            Listener {
                protocol: Protocol::Udp,
                address: Some("::ffff:127.0.0.1".parse().unwrap()),
                port: 53,
            },
        ],
        connections: vec![Connection {
            protocol: Protocol::Tcp,
            local: "[::ffff:10.0.0.1]:80".parse().unwrap(),
            remote: "10.0.0.2:4660".parse().unwrap(),
        }],
        cgroup: Some(Cgroup { id: 7, level: 2 }),
    }
}

fn every_shape() -> Vec<PartitionSpec> {
    let mut shapes = Vec::new();
    for scope in [Scope::Namespace, Scope::Process(sockets()), Scope::Process(ProcessSockets::default())] {
        for direction in [Direction::In, Direction::Out, Direction::Both] {
            for peers in [&[][..], &["10.0.0.0/8"], &["2001:db8::/32"], &["10.0.0.0/8", "::1"]] {
                for ports in [&[][..], &[(80, 90), (443, 443)]] {
                    shapes.push(spec(scope.clone(), direction, peers, ports));
                }
            }
        }
    }
    shapes
}

#[test]
fn every_rule_looks_last_into_a_set_of_marks_which_expire() {
    for spec in every_shape() {
        let plan = group(&spec, 3);
        assert!(!plan.rules.is_empty());
        for rule in &plan.rules {
            let sets = rule.conditions.iter().map(|condition| {
                let Condition::In { set, fields } = condition else { return None };
                let found = plan.sets.iter().find(|one| one.name == *set).expect("the set exists");
                let sizes = |fields: &[Field]| fields.iter().map(|one| one.bytes()).collect::<Vec<_>>();
                assert_eq!(sizes(&found.fields), sizes(fields), "{set}");
                let keeps_marks = found.constant.is_none();
                assert_eq!(Group::of_set(set), Some((plan.group.clone(), keeps_marks)));
                Some(keeps_marks)
            });
            let sets: Vec<Option<bool>> = sets.collect();
            let (last, before) = sets.split_last().unwrap();
            assert_eq!(*last, Some(true), "{rule:?} would drop for ever, or count what it does not drop");
            assert!(!before.contains(&Some(true)), "{rule:?}");
        }
    }
}

#[test]
fn every_mark_has_a_set_of_its_group_and_a_key_of_its_length() {
    for spec in every_shape() {
        let plan = group(&spec, 0);
        for Mark { kind, key } in marks(&spec.scope) {
            let set =
                plan.sets.iter().find(|set| set.name == plan.group.set_name(kind)).expect("there is a set");
            assert!(set.constant.is_none());
            assert_eq!(key.len(), length(&set.fields), "{}", set.name);
        }
    }
}

#[test]
fn addresses_are_only_read_in_packets_of_their_family() {
    for spec in every_shape() {
        for rule in group(&spec, 0).rules {
            for condition in &rule.conditions {
                let Condition::In { fields, .. } = condition else { continue };
                for field in fields {
                    if let Field::LocalAddress(family) | Field::RemoteAddress(family) = field {
                        assert_eq!(rule.conditions[0], Condition::Family(*family), "{rule:?}");
                    }
                }
            }
        }
    }
}

fn length(fields: &[Field]) -> usize {
    match fields {
        [only] => only.bytes(),
        several => several.iter().map(|field| field.bytes().next_multiple_of(4)).sum(),
    }
}

#[test]
fn every_range_is_as_long_as_its_fields_say() {
    for spec in every_shape() {
        for set in group(&spec, 0).sets {
            assert_eq!(set.constant.is_none(), set.layout == Layout::Exact);
            for range in set.constant.iter().flatten() {
                assert_eq!(range.first.len(), length(&set.fields), "{}", set.name);
                assert_eq!(range.last.len(), length(&set.fields), "{}", set.name);
            }
        }
    }
}

#[test]
fn partitions_share_their_rules_exactly_when_these_are_the_same() {
    let mut seen: Vec<GroupPlan> = Vec::new();
    let mut specs = every_shape();
    for level in [1, 3] {
        let sockets = ProcessSockets { cgroup: Some(Cgroup { id: 1, level }), ..ProcessSockets::default() };
        specs.push(spec(Scope::Process(sockets), Direction::In, &[], &[]));
    }
    specs.push(spec(Scope::Namespace, Direction::In, &["::1", "10.0.0.0/8"], &[(443, 443), (80, 90)]));
    for spec in specs {
        let plan = group(&spec, 0);
        for other in &seen {
            let same = other.rules == plan.rules && other.sets == plan.sets;
            assert_eq!(other.group.shape == plan.group.shape, same, "{other:?} {plan:?}");
        }
        seen.push(plan);
    }
}

#[test]
fn loopback_is_spared_unless_a_peer_names_it() {
    let spared = |scope: Scope, peers: &[&str]| {
        let plan = group(&spec(scope, Direction::Both, peers, &[]), 0);
        plan.rules.iter().all(|rule| rule.conditions.contains(&Condition::NotLoopback))
    };
    assert!(spared(Scope::Namespace, &[]));
    assert!(spared(Scope::Namespace, &["0.0.0.0/0", "::/0"]));
    assert!(!spared(Scope::Namespace, &["10.0.0.0/8", "127.0.0.1"]));
    assert!(!spared(Scope::Process(sockets()), &[]));
}

#[test]
fn the_same_socket_is_marked_once_and_mapped_addresses_as_ipv4() {
    let marks = marks(&Scope::Process(sockets()));
    let keys = |kind: SetKind| {
        marks.iter().filter(|mark| mark.kind == kind).map(|mark| mark.key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(keys(SetKind::Listeners), [[6, 0, 0, 0, 0, 80, 0, 0]]);
    assert_eq!(keys(SetKind::Listeners4), [[17, 0, 0, 0, 127, 0, 0, 1, 0, 53, 0, 0]]);
    assert!(keys(SetKind::Listeners6).is_empty());
    let connection = [6, 0, 0, 0, 10, 0, 0, 1, 0, 80, 0, 0, 10, 0, 0, 2, 0x12, 0x34, 0, 0];
    assert_eq!(keys(SetKind::Connections4), [connection]);
    assert_eq!(keys(SetKind::Cgroup), [7_u64.to_ne_bytes()]);
}

#[test]
fn overlapping_and_touching_ranges_are_joined() {
    assert_eq!(merged(vec![(5, 9), (1, 3), (4, 4), (20, 30), (25, 26)]), vec![(1, 9), (20, 30)]);
    assert_eq!(merged(vec![(0, u128::MAX), (3, 4)]), vec![(0, u128::MAX)]);
    let peers = ["10.0.0.0/9", "10.128.0.0/9", "10.1.1.1"].map(|peer| peer.parse().unwrap());
    let ranges = peer_ranges(&peers, Family::V4);
    assert_eq!(ranges, vec![Range { first: vec![10, 0, 0, 0], last: vec![10, 255, 255, 255] }]);
}

#[test]
fn names_are_found_again_in_sets_and_comments() {
    let name = InjectionName::new("a-b_C").unwrap();
    assert_eq!(element_owner(&element_comment(&name)), Some(name));
    assert_eq!(element_owner("something else"), None);
    let group = Group { shape: Shape::of(&spec(Scope::Namespace, Direction::Out, &[], &[])), slot: 12 };
    assert_eq!(Group::of_set(&group.set_name(SetKind::Ports)), Some((group.clone(), false)));
    assert_eq!(Group::of_set(&group.set_name(SetKind::Any)), Some((group.clone(), true)));
    assert_eq!(Group::of_rule(&group.rule_comment()), Some(group));
    for foreign in ["f-abc", "f-1-out-net-any", "f--any", "__set0"] {
        assert_eq!(Group::of_set(foreign), None, "{foreign}");
    }
    assert_eq!(Group::of_rule("something else"), None);
}

#[test]
fn too_much_of_anything_is_refused_by_name() {
    let mut big = spec(Scope::Namespace, Direction::Both, &["10.0.0.1"], &[]);
    big.peers = vec![big.peers[0]; 4_097];
    assert!(big.check().unwrap_err().to_string().contains("at most 4096"));
    let mut mixed = sockets();
    mixed.connections[0].remote = "[::1]:1".parse().unwrap();
    assert!(spec(Scope::Process(mixed), Direction::Both, &[], &[]).check().is_err());
}

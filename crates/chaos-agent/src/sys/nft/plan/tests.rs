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
fn every_rule_looks_into_a_set_of_its_own_injection() {
    for spec in every_shape() {
        let plan = plan(&spec).unwrap();
        assert!(!plan.rules.is_empty());
        for rule in &plan.rules {
            let mut looked = 0;
            for condition in &rule.conditions {
                if let Condition::In { set, fields } = condition {
                    looked += 1;
                    let found = plan.sets.iter().find(|one| one.name == *set).expect("the set exists");
                    let sizes = |fields: &[Field]| fields.iter().map(|one| one.bytes()).collect::<Vec<_>>();
                    assert_eq!(sizes(&found.fields), sizes(fields), "{set}");
                    assert_eq!(set_owner(set).as_ref(), Some(&spec.name));
                }
            }
            assert!(looked > 0, "{rule:?} would drop for ever");
        }
    }
}

#[test]
fn addresses_are_only_read_in_packets_of_their_family() {
    for spec in every_shape() {
        for rule in plan(&spec).unwrap().rules {
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

#[test]
fn every_key_is_as_long_as_its_fields_say() {
    for spec in every_shape() {
        for set in plan(&spec).unwrap().sets {
            let long: usize = match set.fields.as_slice() {
                [only] => only.bytes(),
                several => several.iter().map(|field| field.bytes().next_multiple_of(4)).sum(),
            };
            for element in &set.elements {
                assert_eq!(element.first.len(), long, "{}", set.name);
                assert_eq!(element.last.is_some(), set.layout != Layout::Exact);
                assert!(element.last.as_ref().is_none_or(|last| last.len() == long));
            }
        }
    }
}

#[test]
fn loopback_is_spared_unless_a_peer_names_it() {
    let spared = |scope: Scope, peers: &[&str]| {
        let plan = plan(&spec(scope, Direction::Both, peers, &[])).unwrap();
        plan.rules.iter().all(|rule| rule.conditions.contains(&Condition::NotLoopback))
    };
    assert!(spared(Scope::Namespace, &[]));
    assert!(spared(Scope::Namespace, &["0.0.0.0/0", "::/0"]));
    assert!(!spared(Scope::Namespace, &["10.0.0.0/8", "127.0.0.1"]));
    assert!(!spared(Scope::Process(sockets()), &[]));
}

#[test]
fn the_same_socket_is_stored_once_and_mapped_addresses_as_ipv4() {
    let plan = plan(&spec(Scope::Process(sockets()), Direction::Both, &[], &[])).unwrap();
    let elements = |suffix: &str| {
        let found = plan.sets.iter().find(|set| set.name == format!("f-abc-{suffix}"));
        found.map(|set| set.elements.iter().map(|one| one.first.clone()).collect::<Vec<_>>())
    };
    assert_eq!(elements("listeners"), Some(vec![vec![6, 0, 0, 0, 0, 80, 0, 0]]));
    assert_eq!(elements("listeners4"), Some(vec![vec![17, 0, 0, 0, 127, 0, 0, 1, 0, 53, 0, 0]]));
    assert_eq!(elements("listeners6"), Some(vec![]));
    let connection = vec![6, 0, 0, 0, 10, 0, 0, 1, 0, 80, 0, 0, 10, 0, 0, 2, 0x12, 0x34, 0, 0];
    assert_eq!(elements("connections4"), Some(vec![connection]));
    assert_eq!(elements("cgroup"), Some(vec![7_u64.to_ne_bytes().to_vec()]));
}

#[test]
fn overlapping_and_touching_ranges_are_joined() {
    assert_eq!(merged(vec![(5, 9), (1, 3), (4, 4), (20, 30), (25, 26)]), vec![(1, 9), (20, 30)]);
    assert_eq!(merged(vec![(0, u128::MAX), (3, 4)]), vec![(0, u128::MAX)]);
    let peers = ["10.0.0.0/9", "10.128.0.0/9", "10.1.1.1"].map(|peer| peer.parse().unwrap());
    let ranges = peer_ranges(&peers, Family::V4);
    assert_eq!(ranges, vec![Element { first: vec![10, 0, 0, 0], last: Some(vec![10, 255, 255, 255]) }]);
}

#[test]
fn names_are_found_again_in_sets_and_comments() {
    let name = InjectionName::new("a-b_C").unwrap();
    assert_eq!(set_owner(&set_name(&name, SetKind::Peers4)).as_ref(), Some(&name));
    assert_eq!(rule_owner(&rule_comment(&name)).as_ref(), Some(&name));
    for foreign in ["f-abc", "x-abc-any", "f--any", "__set0"] {
        assert_eq!(set_owner(foreign), None, "{foreign}");
    }
    assert_eq!(rule_owner("something else"), None);
}

#[test]
fn too_much_of_anything_is_refused_by_name() {
    let mut big = spec(Scope::Namespace, Direction::Both, &["10.0.0.1"], &[]);
    big.peers = vec![big.peers[0]; 4_097];
    assert!(plan(&big).unwrap_err().to_string().contains("at most 4096"));
    let mut mixed = sockets();
    mixed.connections[0].remote = "[::1]:1".parse().unwrap();
    assert!(plan(&spec(Scope::Process(mixed), Direction::Both, &[], &[])).is_err());
}

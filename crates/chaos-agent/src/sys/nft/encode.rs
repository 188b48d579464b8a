//! nf_tables messages: from plans to bytes, and what an answer says.
//!
//! Owns every nf_tables number (message types, attributes, keys, hooks) and the names of our table
//! and chains. It is pure: no socket, no clock.

mod read;

use super::plan::{self, Condition, Family, Field, Group, Hook, Layout, Range, RulePlan, SetPlan};
use super::spec::InjectionName;
use super::wire::Attributes;

pub(crate) use read::read_every_way;
pub(super) use read::{
    FoundElement, FoundRule, RuleInTable, is_in_our_table, read_elements, read_generation, read_rule,
    read_set_name,
};

/// Our one table in each network namespace, of family `inet`.
pub const TABLE: &str = "chaos";
/// Just before the usual filter chains, so that a drop here is counted here.
const PRIORITY: i32 = -10;
/// `NFPROTO_INET`.
pub(super) const FAMILY_INET: u8 = 1;
/// The upper byte of every nf_tables message type.
pub(super) const SUBSYSTEM: u16 = 10;

/// `NFT_MSG_*`.
pub(super) mod message {
    pub(in super::super) const NEW_TABLE: u16 = 0;
    pub(in super::super) const GET_TABLE: u16 = 1;
    pub(in super::super) const DEL_TABLE: u16 = 2;
    pub(in super::super) const NEW_CHAIN: u16 = 3;
    pub(in super::super) const NEW_RULE: u16 = 6;
    pub(in super::super) const GET_RULE: u16 = 7;
    pub(in super::super) const DEL_RULE: u16 = 8;
    pub(in super::super) const NEW_SET: u16 = 9;
    pub(in super::super) const GET_SET: u16 = 10;
    pub(in super::super) const DEL_SET: u16 = 11;
    pub(in super::super) const NEW_ELEMENTS: u16 = 12;
    pub(in super::super) const GET_ELEMENTS: u16 = 13;
    pub(in super::super) const DEL_ELEMENTS: u16 = 14;
    pub(in super::super) const GET_GENERATION: u16 = 16;
}

/// `NFTA_TABLE_NAME`, `NFTA_CHAIN_TABLE`, `NFTA_RULE_TABLE`, `NFTA_SET_TABLE` and
/// `NFTA_SET_ELEM_LIST_TABLE` are all 1, as `NFTA_LIST_ELEM` and `NFTA_DATA_VALUE` are.
const TABLE_NAME: u16 = 1;
const LIST_ELEMENT: u16 = 1;
const DATA_VALUE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const RULE_CHAIN: u16 = 2;
const RULE_HANDLE: u16 = 3;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_USERDATA: u16 = 7;
const SET_NAME: u16 = 2;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_FLAGS: u16 = 3;
const ELEMENT_TIMEOUT: u16 = 4;
const ELEMENT_EXPIRATION: u16 = 5;
const ELEMENT_USERDATA: u16 = 6;
const ELEMENT_EXPRESSION: u16 = 7;
const ELEMENT_KEY_END: u16 = 10;
const ELEMENTS: u16 = 3;
const SET_EXPRESSION: u16 = 17;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const COUNTER: &str = "counter";
const COUNTER_BYTES: u16 = 1;
const COUNTER_PACKETS: u16 = 2;
const INTERVAL_END: u32 = 1;
/// The first of the sixteen 32-bit registers.
const REGISTER: u32 = 8;
/// Loopback is the first interface of every network namespace.
const LOOPBACK_INDEX: u32 = 1;
const ICMP6: u8 = 58;
/// Router solicitation to redirect: the ICMPv6 types of neighbour and router discovery.
const DISCOVERY: (u8, u8) = (133, 137);
/// Most bytes of elements in one attribute, whose length is 16 bits.
const CHUNK_BYTES: usize = 48 * 1024;
/// Upper bound on what one element adds: two keys of 64 bytes or a key, a lease and an owner; headers.
const ELEMENT_BYTES_MAX: usize = 192;
/// Elements in one message.
pub(super) const CHUNK_ELEMENTS: usize = CHUNK_BYTES / ELEMENT_BYTES_MAX;

/// The chain of a hook.
pub(super) fn chain_name(hook: Hook) -> &'static str {
    match hook {
        Hook::Input => "input",
        Hook::Output => "output",
    }
}

/// Attributes that name our table, for every request about it.
pub(super) fn table(out: &mut Attributes<'_>) {
    out.text(TABLE_NAME, TABLE);
}

/// Attributes of a chain that sees every packet of a hook and lets it pass.
pub(super) fn chain(out: &mut Attributes<'_>, hook: Hook) {
    table(out);
    out.text(CHAIN_NAME, chain_name(hook));
    out.nested(4, |hook_attributes| {
        hook_attributes.number(1, if hook == Hook::Input { 1 } else { 3 });
        hook_attributes.number(2, PRIORITY.cast_unsigned());
    });
    out.text(7, "filter");
}

/// Attributes that name the rules of one of our chains.
pub(super) fn rules_of(out: &mut Attributes<'_>, hook: Hook) {
    table(out);
    out.text(RULE_CHAIN, chain_name(hook));
}

/// Attributes of a new set. `id` tells sets of one batch apart.
pub(super) fn new_set(out: &mut Attributes<'_>, set: &SetPlan, id: u32) {
    const INTERVAL: u32 = 0x04;
    const TIMEOUT: u32 = 0x10;
    const CONCATENATED: u32 = 0x80;
    let layout = match set.layout {
        Layout::Exact => 0,
        Layout::Range => INTERVAL,
        Layout::RangeOfFields => INTERVAL | CONCATENATED,
    };
    let expires = if set.constant.is_none() { TIMEOUT } else { 0 };
    let length: usize = match set.fields.as_slice() {
        [only] => only.bytes(),
        several => several.iter().map(|field| field.bytes().next_multiple_of(4)).sum(),
    };
    set_named(out, &set.name);
    out.number(3, expires | layout);
    out.number(4, set.fields.iter().fold(0, |so_far, field| (so_far << 6) | listing_type(*field)));
    out.number(5, u32::try_from(length).unwrap_or(u32::MAX));
    // Exact keys are compared as a whole; only ranges need to know the fields.
    if set.layout == Layout::RangeOfFields {
        out.nested(9, |description| {
            description.nested(2, |fields| {
                for field in &set.fields {
                    let bytes = u32::try_from(field.bytes()).unwrap_or(u32::MAX);
                    fields.nested(LIST_ELEMENT, |one| one.number(1, bytes));
                }
            });
        });
    }
    out.number(10, id);
    if matches!(set.fields.as_slice(), [Field::SocketCgroup(_)]) {
        // For listings as well: the byte order of the key (type 0) is the host's (1).
        let order = 1_u32.to_ne_bytes();
        out.raw(13, &[0, 4, order[0], order[1], order[2], order[3]]);
    }
    // Each mark counts for itself: rules are shared, so their counts would prove nothing about one victim.
    if set.constant.is_none() {
        out.nested(SET_EXPRESSION, |counter| named_expression(counter, COUNTER, |_| {}));
    }
}

/// The type `nft list ruleset` shows; the kernel does not look at it.
const fn listing_type(field: Field) -> u32 {
    match field {
        Field::Network => 2,
        Field::LocalAddress(Family::V4) | Field::RemoteAddress(Family::V4) => 7,
        Field::LocalAddress(Family::V6) | Field::RemoteAddress(Family::V6) => 8,
        Field::Transport => 12,
        Field::LocalPort | Field::RemotePort => 13,
        Field::SocketCgroup(_) => 46,
    }
}

/// Attributes that name a set of ours.
pub(super) fn set_named(out: &mut Attributes<'_>, name: &str) {
    table(out);
    out.text(SET_NAME, name);
}

/// Attributes that put marks of an injection into a set until the lease is over.
pub(super) fn new_marks(
    out: &mut Attributes<'_>,
    set: &str,
    keys: &[&[u8]],
    owner: &InjectionName,
    lease_ms: u64,
) {
    let comment = comment(&plan::element_comment(owner));
    set_named(out, set);
    out.nested(ELEMENTS, |list| {
        for key in keys {
            list.nested(LIST_ELEMENT, |one| {
                one.nested(ELEMENT_KEY, |data| data.raw(DATA_VALUE, key));
                one.long(ELEMENT_TIMEOUT, lease_ms);
                one.raw(ELEMENT_USERDATA, &comment);
            });
        }
    });
}

/// Attributes that name elements of a set by their keys.
pub(super) fn keys(out: &mut Attributes<'_>, set: &str, keys: &[&[u8]]) {
    set_named(out, set);
    out.nested(ELEMENTS, |list| {
        for key in keys {
            list.nested(LIST_ELEMENT, |one| one.nested(ELEMENT_KEY, |data| data.raw(DATA_VALUE, key)));
        }
    });
}

/// Attributes that put ranges into a set, for as long as the set is there.
pub(super) fn new_ranges(out: &mut Attributes<'_>, set: &SetPlan, ranges: &[Range]) {
    set_named(out, &set.name);
    out.nested(ELEMENTS, |list| {
        for range in ranges {
            list.nested(LIST_ELEMENT, |one| {
                one.nested(ELEMENT_KEY, |key| key.raw(DATA_VALUE, &range.first));
                if set.layout == Layout::RangeOfFields {
                    one.nested(ELEMENT_KEY_END, |key| key.raw(DATA_VALUE, &range.last));
                }
            });
            // A range of one field ends with an element of its own, just behind the range.
            let end = (set.layout == Layout::Range).then(|| successor(&range.last)).flatten();
            if let Some(end) = end {
                list.nested(LIST_ELEMENT, |one| {
                    one.nested(ELEMENT_KEY, |key| key.raw(DATA_VALUE, &end));
                    one.number(ELEMENT_FLAGS, INTERVAL_END);
                });
            }
        }
    });
}

/// User data with one entry: a comment, as `nft` shows it.
fn comment(text: &str) -> Vec<u8> {
    const COMMENT: u8 = 0;
    let mut userdata = vec![COMMENT, u8::try_from(text.len() + 1).unwrap_or(u8::MAX)];
    userdata.extend_from_slice(text.as_bytes());
    userdata.push(0);
    userdata
}

/// The number after a big-endian one; none after the highest.
fn successor(value: &[u8]) -> Option<Vec<u8>> {
    let mut next = value.to_vec();
    for byte in next.iter_mut().rev() {
        let (sum, overflowed) = byte.overflowing_add(1);
        *byte = sum;
        if !overflowed {
            return Some(next);
        }
    }
    None
}

/// Attributes of a rule: conditions, drop, and its group in a comment.
pub(super) fn new_rule(out: &mut Attributes<'_>, group: &Group, rule: &RulePlan) {
    table(out);
    out.text(RULE_CHAIN, chain_name(rule.hook));
    out.nested(RULE_EXPRESSIONS, |list| {
        for condition in &rule.conditions {
            match_condition(list, rule.hook, condition);
        }
        expression(list, "immediate", |data| {
            data.number(1, 0);
            data.nested(2, |verdict| verdict.nested(2, |code| code.number(1, 0)));
        });
    });
    out.raw(RULE_USERDATA, &comment(&group.rule_comment()));
}

/// Attributes that delete one rule.
pub(super) fn del_rule(out: &mut Attributes<'_>, rule: &FoundRule) {
    table(out);
    out.text(RULE_CHAIN, &rule.chain);
    out.long(RULE_HANDLE, rule.handle);
}

fn expression(list: &mut Attributes<'_>, name: &str, data: impl FnOnce(&mut Attributes<'_>)) {
    list.nested(LIST_ELEMENT, |one| named_expression(one, name, data));
}

fn named_expression(out: &mut Attributes<'_>, name: &str, data: impl FnOnce(&mut Attributes<'_>)) {
    out.text(EXPRESSION_NAME, name);
    out.nested(EXPRESSION_DATA, data);
}

fn match_condition(list: &mut Attributes<'_>, hook: Hook, condition: &Condition) {
    const NFPROTO: u32 = 15;
    const L4PROTO: u32 = 16;
    match condition {
        Condition::Family(family) => {
            load_meta(list, REGISTER, NFPROTO);
            compare(list, true, &[family.number()]);
        }
        Condition::NotLoopback => {
            load_meta(list, REGISTER, if hook == Hook::Input { 4 } else { 5 });
            compare(list, false, &LOOPBACK_INDEX.to_ne_bytes());
        }
        Condition::NotIcmp6 => {
            load_meta(list, REGISTER, L4PROTO);
            compare(list, false, &[ICMP6]);
        }
        Condition::Icmp6BeyondDiscovery => {
            load_meta(list, REGISTER, L4PROTO);
            compare(list, true, &[ICMP6]);
            load_payload(list, REGISTER, 2, 0, 1);
            expression(list, "range", |data| {
                data.number(1, REGISTER);
                data.number(2, 1);
                data.nested(3, |value| value.raw(DATA_VALUE, &[DISCOVERY.0]));
                data.nested(4, |value| value.raw(DATA_VALUE, &[DISCOVERY.1]));
            });
        }
        Condition::In { set, fields } => {
            let mut register = REGISTER;
            for field in fields {
                load_field(list, register, hook, *field);
                register += u32::try_from(field.bytes().div_ceil(4)).unwrap_or(0);
            }
            expression(list, "lookup", |data| {
                data.text(1, set);
                data.number(2, REGISTER);
            });
        }
    }
}

fn load_field(list: &mut Attributes<'_>, register: u32, hook: Hook, field: Field) {
    // Local is the destination of what arrives and the source of what leaves.
    let is_source = match field {
        Field::LocalAddress(_) | Field::LocalPort => hook == Hook::Output,
        _ => hook == Hook::Input,
    };
    match field {
        Field::Network => load_meta(list, register, 15),
        Field::Transport => load_meta(list, register, 16),
        Field::LocalAddress(Family::V4) | Field::RemoteAddress(Family::V4) => {
            load_payload(list, register, 1, if is_source { 12 } else { 16 }, 4);
        }
        Field::LocalAddress(Family::V6) | Field::RemoteAddress(Family::V6) => {
            load_payload(list, register, 1, if is_source { 8 } else { 24 }, 16);
        }
        Field::LocalPort | Field::RemotePort => {
            load_payload(list, register, 2, if is_source { 0 } else { 2 }, 2);
        }
        Field::SocketCgroup(level) => expression(list, "socket", |data| {
            const CGROUP_V2: u32 = 3;
            data.number(1, CGROUP_V2);
            data.number(2, register);
            data.number(3, u32::from(level));
        }),
    }
}

fn load_meta(list: &mut Attributes<'_>, register: u32, key: u32) {
    expression(list, "meta", |data| {
        data.number(1, register);
        data.number(2, key);
    });
}

/// `base` is 1 for the network header and 2 for the transport header.
fn load_payload(list: &mut Attributes<'_>, register: u32, base: u32, offset: u32, length: u32) {
    expression(list, "payload", |data| {
        data.number(1, register);
        data.number(2, base);
        data.number(3, offset);
        data.number(4, length);
    });
}

fn compare(list: &mut Attributes<'_>, equal: bool, value: &[u8]) {
    expression(list, "cmp", |data| {
        data.number(1, REGISTER);
        data.number(2, u32::from(!equal));
        data.nested(3, |bytes| bytes.raw(DATA_VALUE, value));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::nft::wire::{self, Head, Writer};

    fn bytes(fill: impl FnOnce(&mut Attributes<'_>)) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.message(Head { kind: 0, flags: 0, sequence: 0, family: 1, resource: 0 }, fill);
        writer.bytes().to_vec()
    }

    fn group() -> Group {
        Group::of_rule("faults 1-out-net-0").unwrap()
    }

    /// Expressions of a rule as (name, numbers of attributes 1 and 2).
    fn expressions(rule: &RulePlan) -> Vec<(String, Option<u32>, Option<u32>)> {
        let raw = bytes(|out| new_rule(out, &group(), rule));
        let message = wire::messages(&raw).next().unwrap();
        let list = message.attributes().find(|(kind, _)| *kind == RULE_EXPRESSIONS).unwrap().1;
        wire::nested(list)
            .map(|(_, one)| {
                let data = wire::find(one, 2).unwrap_or_default();
                let value = |kind| wire::find(data, kind).and_then(wire::number);
                (wire::text(wire::find(one, 1).unwrap()), value(1), value(2))
            })
            .collect()
    }

    #[test]
    fn the_number_after_a_range_ends_it_and_the_highest_has_none() {
        assert_eq!(successor(&[10, 255, 255, 255]), Some(vec![11, 0, 0, 0]));
        assert_eq!(successor(&[0, 0, 0, 1]), Some(vec![0, 0, 0, 2]));
        assert_eq!(successor(&[255; 4]), None);
    }

    #[test]
    fn a_rule_loads_compares_looks_up_and_drops_in_that_order() {
        let fields = vec![Field::Transport, Field::LocalAddress(Family::V6), Field::LocalPort];
        let conditions = vec![Condition::Family(Family::V6), Condition::In { set: "f-abc-x".into(), fields }];
        let found = expressions(&RulePlan { hook: Hook::Input, conditions });
        let shown: Vec<_> = found.iter().map(|(name, one, two)| (name.as_str(), *one, *two)).collect();
        assert_eq!(
            shown,
            vec![
                ("meta", Some(8), Some(15)),
                ("cmp", Some(8), Some(0)),
                ("meta", Some(8), Some(16)),
                ("payload", Some(9), Some(1)),
                ("payload", Some(13), Some(2)),
                ("lookup", Some(u32::from_be_bytes(*b"f-ab")), Some(8)),
                ("immediate", Some(0), Some(u32::from_ne_bytes([12, 0, 2, 0x80]).to_be())),
            ]
        );
    }

    #[test]
    fn a_rule_reads_back_with_its_group() {
        let rule = RulePlan { hook: Hook::Output, conditions: vec![Condition::NotLoopback] };
        let raw = bytes(|out| new_rule(out, &group(), &rule));
        let message = wire::messages(&raw).next().unwrap();
        let Some(RuleInTable::Ours(found)) = read_rule(&message) else { panic!("not ours") };
        assert_eq!((found.group, found.chain.as_str()), (group(), "output"));
    }

    #[test]
    fn a_mark_reads_back_with_its_owner() {
        let owner = InjectionName::new("abc").unwrap();
        let raw = bytes(|out| new_marks(out, "f-abc-x", &[&[7; 8]], &owner, 15_000));
        let read = read_elements(&wire::messages(&raw).next().unwrap());
        assert_eq!(read.len(), 1);
        assert_eq!((&read[0].key, &read[0].owner), (&vec![7; 8], &Some(owner)));
    }

    #[test]
    fn a_full_message_of_the_longest_elements_fits_its_attribute() {
        let check = |raw: Vec<u8>| {
            assert!(raw.len() < usize::from(u16::MAX));
            assert_eq!(read_elements(&wire::messages(&raw).next().unwrap()).len(), CHUNK_ELEMENTS);
        };
        let range = Range { first: vec![1; 64], last: vec![2; 64] };
        let set = SetPlan {
            name: "f-abc-x".into(),
            layout: Layout::RangeOfFields,
            fields: vec![Field::Transport; 16],
            constant: None,
        };
        check(bytes(|out| new_ranges(out, &set, &vec![range; CHUNK_ELEMENTS])));
        let (key, owner) = ([1; 64], InjectionName::new("12345678901234567890").unwrap());
        check(bytes(|out| new_marks(out, &set.name, &vec![key.as_slice(); CHUNK_ELEMENTS], &owner, 15_000)));
    }
}

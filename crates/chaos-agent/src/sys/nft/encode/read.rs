//! What the kernel says back: rules, sets and elements of our table.

use std::time::Duration;

use super::super::plan::{self, Group};
use super::super::spec::InjectionName;
use super::super::wire;
use super::{
    COUNTER_BYTES, COUNTER_PACKETS, DATA_VALUE, ELEMENT_EXPIRATION, ELEMENT_EXPRESSION, ELEMENT_FLAGS,
    ELEMENT_KEY, ELEMENT_USERDATA, ELEMENTS, EXPRESSION_DATA, FAMILY_INET, INTERVAL_END, RULE_CHAIN,
    RULE_HANDLE, RULE_USERDATA, SET_NAME, TABLE, TABLE_NAME,
};

/// A rule of ours as a dump shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct FoundRule {
    /// Whose it is.
    pub(in super::super) group: Group,
    /// The chain it hangs in.
    pub(in super::super) chain: String,
    /// How the kernel names it.
    pub(in super::super) handle: u64,
}

/// An element as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct FoundElement {
    /// Its key (the lower end of a range), as the kernel stores it.
    pub(in super::super) key: Vec<u8>,
    /// Whose it is, if it is a mark of ours.
    pub(in super::super) owner: Option<InjectionName>,
    /// Time until the kernel lets it go.
    pub(in super::super) remaining: Duration,
    /// Packets that it has met.
    pub(in super::super) packets: u64,
    /// Bytes of those packets.
    pub(in super::super) bytes: u64,
}

/// Whether a dumped object belongs to our table (older kernels ignore the filter of a dump).
pub(in super::super) fn is_in_our_table(message: &wire::Message<'_>) -> bool {
    let name = message.attributes().find(|(kind, _)| *kind == TABLE_NAME);
    message.body.first() == Some(&FAMILY_INET) && name.is_some_and(|(_, value)| wire::text(value) == TABLE)
}

/// What a dump of our table's rules says; none about other tables.
pub(in super::super) fn read_rule(message: &wire::Message<'_>) -> Option<RuleInTable> {
    if !is_in_our_table(message) {
        return None;
    }
    let (mut group, mut chain, mut handle) = (None, String::new(), 0);
    for (kind, value) in message.attributes() {
        match kind {
            RULE_CHAIN => chain = wire::text(value),
            RULE_HANDLE => handle = wire::long(value).unwrap_or(0),
            RULE_USERDATA => group = read_comment(value).and_then(|text| Group::of_rule(&text)),
            _ => {}
        }
    }
    Some(match group {
        Some(group) => RuleInTable::Ours(FoundRule { group, chain, handle }),
        None => RuleInTable::Foreign,
    })
}

/// The comment in user data that begins with one.
fn read_comment(userdata: &[u8]) -> Option<String> {
    userdata.get(2..).map(wire::text)
}

/// A rule found in our table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum RuleInTable {
    /// Made by this module.
    Ours(FoundRule),
    /// Put there by someone else; never touched, but it keeps the table.
    Foreign,
}

/// The name of a set in our table.
pub(in super::super) fn read_set_name(message: &wire::Message<'_>) -> Option<String> {
    let name = message.attributes().find(|(kind, _)| *kind == SET_NAME)?;
    is_in_our_table(message).then(|| wire::text(name.1))
}

/// The elements in one message; ends of ranges are left out.
pub(in super::super) fn read_elements(message: &wire::Message<'_>) -> Vec<FoundElement> {
    let lists = message.attributes().filter(|(kind, _)| *kind == ELEMENTS);
    let elements = lists.flat_map(|(_, list)| wire::nested(list));
    let read = elements.filter_map(|(_, one)| {
        let flags = wire::find(one, ELEMENT_FLAGS).and_then(wire::number).unwrap_or(0);
        if flags & INTERVAL_END != 0 {
            return None;
        }
        let key = wire::find(wire::find(one, ELEMENT_KEY)?, DATA_VALUE)?;
        let left_ms = wire::find(one, ELEMENT_EXPIRATION).and_then(wire::long).unwrap_or(0);
        let owner = wire::find(one, ELEMENT_USERDATA).and_then(read_comment);
        let counter = wire::find(one, ELEMENT_EXPRESSION).and_then(|one| wire::find(one, EXPRESSION_DATA));
        let counted = |kind| counter.and_then(|data| wire::find(data, kind)).and_then(wire::long);
        Some(FoundElement {
            key: key.to_vec(),
            owner: owner.and_then(|text| plan::element_owner(&text)),
            remaining: Duration::from_millis(left_ms),
            packets: counted(COUNTER_PACKETS).unwrap_or(0),
            bytes: counted(COUNTER_BYTES).unwrap_or(0),
        })
    });
    read.collect()
}

/// The rule set's generation.
pub(in super::super) fn read_generation(message: &wire::Message<'_>) -> Option<u32> {
    message.attributes().find(|(kind, _)| *kind == 1).and_then(|(_, value)| wire::number(value))
}

/// Reads a datagram of answers in every way that one is read, whatever was asked; gives the bytes of texts and keys.
pub(crate) fn read_every_way(datagram: &[u8]) -> usize {
    let mut bytes = 0;
    for message in wire::messages(datagram) {
        let _ = (message.error_code(), read_generation(&message));
        bytes += message.error_text().map_or(0, |text| text.len());
        bytes += read_set_name(&message).map_or(0, |name| name.len());
        bytes += read_elements(&message).iter().map(|element| element.key.len()).sum::<usize>();
        if let Some(RuleInTable::Ours(rule)) = read_rule(&message) {
            bytes += rule.group.to_string().len() + rule.chain.len();
        }
    }
    bytes
}

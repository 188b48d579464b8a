//! Netlink framing: building messages and attributes, and reading them back.
//!
//! Owns the byte layout shared by every nf_tables message (header, `nfgenmsg`, padded and nested
//! attributes). Reading a datagram apart serves other netlink protocols as well. It never opens a
//! socket and never knows what a message means.

/// Bytes of a `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// Bytes of a `struct nfgenmsg`, which follows the header in every netfilter message.
const FAMILY_HEADER_BYTES: usize = 4;
/// The flag that marks an attribute as holding attributes (`NLA_F_NESTED`).
const NESTED: u16 = 0x8000;
/// The two flag bits of an attribute type, which are not part of its number.
const TYPE_FLAGS: u16 = 0xc000;

/// Netlink pads everything to four bytes.
const fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// What goes in front of a message's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Message type, subsystem in the upper byte.
    pub(super) kind: u16,
    /// `NLM_F_*` flags.
    pub(super) flags: u16,
    /// Sequence number that the kernel repeats in its answer.
    pub(super) sequence: u32,
    /// `NFPROTO_*`.
    pub(super) family: u8,
    /// `nfgenmsg.res_id`, host order; written in network order.
    pub(super) resource: u16,
}

/// A growing buffer of netlink messages.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Appends one message whose attributes `fill` writes.
    pub(super) fn message(&mut self, head: Head, fill: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&0_u32.to_ne_bytes());
        self.bytes.extend_from_slice(&head.kind.to_ne_bytes());
        self.bytes.extend_from_slice(&head.flags.to_ne_bytes());
        self.bytes.extend_from_slice(&head.sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&0_u32.to_ne_bytes());
        self.bytes.push(head.family);
        self.bytes.push(0);
        self.bytes.extend_from_slice(&head.resource.to_be_bytes());
        fill(&mut Attributes { bytes: &mut self.bytes });
        // A message of ours is far below 4 GiB: elements are sent in chunks.
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Gives the messages sequence numbers, one after the other.
    pub(super) fn number_from(&mut self, first: u32) {
        let (mut sequence, mut rest) = (first, self.bytes.as_mut_slice());
        while let Some(length) = rest.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes)) {
            let length = usize::try_from(length).unwrap_or(usize::MAX).clamp(HEADER_BYTES, rest.len());
            let (message, others) = rest.split_at_mut(length);
            message[8..12].copy_from_slice(&sequence.to_ne_bytes());
            (sequence, rest) = (sequence.wrapping_add(1), others);
        }
    }

    /// Everything written so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Writes the attributes of one message or of one nested attribute.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Attributes<'_> {
    /// An attribute of raw bytes.
    pub(super) fn raw(&mut self, kind: u16, value: &[u8]) {
        self.with_header(kind, |bytes| bytes.extend_from_slice(value));
    }

    /// A NUL-terminated string.
    pub(super) fn text(&mut self, kind: u16, value: &str) {
        self.with_header(kind, |bytes| {
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(0);
        });
    }

    /// A number in network order, as nf_tables wants all of its own.
    pub(super) fn number(&mut self, kind: u16, value: u32) {
        self.raw(kind, &value.to_be_bytes());
    }

    /// A 64-bit number in network order.
    pub(super) fn long(&mut self, kind: u16, value: u64) {
        self.raw(kind, &value.to_be_bytes());
    }

    /// An attribute that holds attributes.
    pub(super) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) {
        self.with_header(kind | NESTED, |bytes| fill(&mut Attributes { bytes }));
    }

    /// The header first, its length once the content is known, then the padding.
    fn with_header(&mut self, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        fill(self.bytes);
        let length = self.bytes.len() - start;
        debug_assert!(length <= usize::from(u16::MAX), "an attribute's length is 16 bits");
        let field = u16::try_from(length).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&field.to_ne_bytes());
        self.bytes.resize(start + padded(length), 0);
    }
}

/// One message as received.
#[derive(Debug, Clone, Copy)]
pub(in crate::sys) struct Message<'a> {
    /// Message type.
    pub(in crate::sys) kind: u16,
    /// `NLM_F_*` flags.
    pub(in crate::sys) flags: u16,
    /// The request's sequence number.
    pub(in crate::sys) sequence: u32,
    /// What follows the `nlmsghdr`.
    pub(in crate::sys) body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes behind the `nfgenmsg`.
    pub(super) fn attributes(&self) -> AttributeIter<'a> {
        AttributeIter { rest: self.body.get(FAMILY_HEADER_BYTES..).unwrap_or_default() }
    }

    /// The number at the start of an `NLMSG_ERROR` or `NLMSG_DONE` body: 0 or a negative errno.
    pub(in crate::sys) fn error_code(&self) -> i32 {
        self.body.first_chunk::<4>().map_or(0, |bytes| i32::from_ne_bytes(*bytes))
    }

    /// The kernel's own words about an error (extended acks, with capped request echo).
    pub(super) fn error_text(&self) -> Option<String> {
        const MESSAGE: u16 = 1;
        let start = 4 + HEADER_BYTES;
        AttributeIter { rest: self.body.get(start..)? }
            .find(|(kind, _)| *kind == MESSAGE)
            .map(|(_, value)| text(value))
    }
}

/// Splits a received buffer into messages; stops at the first malformed one.
pub(in crate::sys) fn messages(mut rest: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(*rest.first_chunk::<4>()?)).ok()?;
        if length < HEADER_BYTES {
            return None;
        }
        let whole = rest.get(..length)?;
        rest = rest.get(padded(length)..).unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes([whole[4], whole[5]]),
            flags: u16::from_ne_bytes([whole[6], whole[7]]),
            sequence: u32::from_ne_bytes([whole[8], whole[9], whole[10], whole[11]]),
            body: &whole[HEADER_BYTES..],
        })
    })
}

/// Attributes one after the other, as (number, content).
#[derive(Debug, Clone)]
pub(super) struct AttributeIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for AttributeIter<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header = self.rest.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & !TYPE_FLAGS;
        let value = self.rest.get(4..length)?;
        self.rest = self.rest.get(padded(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// The attributes inside a nested one.
pub(super) fn nested(value: &[u8]) -> AttributeIter<'_> {
    AttributeIter { rest: value }
}

/// The first attribute of a number inside a nested one.
pub(super) fn find(value: &[u8], kind: u16) -> Option<&[u8]> {
    nested(value).find(|(found, _)| *found == kind).map(|(_, content)| content)
}

/// A string without its terminator.
pub(super) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// A 32-bit number in network order.
pub(super) fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}

/// A 64-bit number in network order.
pub(super) fn long(value: &[u8]) -> Option<u64> {
    value.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head = Head { kind: 0x0a06, flags: 5, sequence: 7, family: 1, resource: 10 };

    #[test]
    fn a_message_is_laid_out_as_the_kernel_headers_say() {
        let mut writer = Writer::default();
        writer.message(HEAD, |attributes| {
            attributes.text(1, "ab");
            attributes.nested(2, |inner| inner.number(3, 0x0102_0304));
        });
        let mut expected = Vec::new();
        expected.extend_from_slice(&40_u32.to_ne_bytes());
        expected.extend_from_slice(&0x0a06_u16.to_ne_bytes());
        expected.extend_from_slice(&5_u16.to_ne_bytes());
        expected.extend_from_slice(&7_u32.to_ne_bytes());
        expected.extend_from_slice(&[0, 0, 0, 0, 1, 0, 0, 10]);
        expected.extend_from_slice(&7_u16.to_ne_bytes());
        expected.extend_from_slice(&1_u16.to_ne_bytes());
        expected.extend_from_slice(b"ab\0\0");
        expected.extend_from_slice(&12_u16.to_ne_bytes());
        expected.extend_from_slice(&0x8002_u16.to_ne_bytes());
        expected.extend_from_slice(&8_u16.to_ne_bytes());
        expected.extend_from_slice(&3_u16.to_ne_bytes());
        expected.extend_from_slice(&[1, 2, 3, 4]);
        assert_eq!(writer.bytes(), expected);
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let mut writer = Writer::default();
        writer.message(HEAD, |attributes| attributes.long(9, 77));
        writer.message(Head { sequence: 8, ..HEAD }, |attributes| attributes.text(4, "name"));
        let read: Vec<_> = messages(writer.bytes()).collect();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].kind, read[0].flags, read[0].sequence), (0x0a06, 5, 7));
        let (kind, value) = read[0].attributes().next().unwrap();
        assert_eq!((kind, long(value)), (9, Some(77)));
        let (kind, value) = read[1].attributes().next().unwrap();
        assert_eq!((kind, text(value).as_str()), (4, "name"));
    }

    #[test]
    fn messages_are_numbered_afterwards() {
        let mut writer = Writer::default();
        for text in ["a", "bcdef", ""] {
            writer.message(HEAD, |attributes| attributes.text(1, text));
        }
        writer.number_from(u32::MAX);
        let numbers: Vec<u32> = messages(writer.bytes()).map(|message| message.sequence).collect();
        assert_eq!(numbers, [u32::MAX, 0, 1]);
        Writer::default().number_from(7);
    }

    #[test]
    fn a_truncated_buffer_ends_the_reading_and_never_panics() {
        let mut writer = Writer::default();
        writer.message(HEAD, |attributes| attributes.nested(2, |inner| inner.number(3, 1)));
        for cut in 0..writer.bytes().len() {
            for message in messages(&writer.bytes()[..cut]) {
                for (_, value) in message.attributes() {
                    let _ = nested(value).count();
                }
            }
        }
    }
}

//! The netlink socket: bounded exchanges with the kernel, atomic batches, consistent dumps.
//!
//! Owns sequence numbers, acknowledgements, timeouts and retries of interrupted dumps. It never
//! decides what to send.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::encode::{FAMILY_INET, SUBSYSTEM};
use super::error::NftError;
use super::wire::{self, Attributes, Head, Writer};

/// How long one answer of the kernel is waited for, in milliseconds. The kernel works while the
/// request is sent, so answers are normally there at once.
const ANSWER_TIMEOUT_MS: u64 = 2_000;
/// How often a dump is repeated because the rule set changed under it.
const DUMP_ATTEMPTS_MAX: u32 = 32;
/// Room for one datagram of answers; the kernel never makes larger ones.
const RECEIVE_BYTES: usize = 64 * 1024;
/// Room for all acknowledgements of one batch.
const RECEIVE_QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// Questions that are asked before the first answer is read: their answers fit into the room that every socket has.
const QUESTIONS_AT_ONCE: usize = 16;
/// Bytes of a batch that need no larger send buffer than every socket has.
const SEND_BYTES_USUAL: usize = 64 * 1024;

const ACK: u16 = 0x04;
const REQUEST: u16 = 0x01;
const DUMP: u16 = 0x300;
const DUMP_INTERRUPTED: u16 = 0x10;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const BATCH_GENERATION: u16 = 1;

/// A netlink socket that speaks nf_tables to one network namespace: the one it was opened in.
#[derive(Debug)]
pub struct NftSocket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// Messages that are applied together or not at all.
#[derive(Debug)]
pub(super) struct Batch {
    writer: Writer,
    /// What each message between the opening and the closing one means, in words.
    meanings: Vec<String>,
}

impl Batch {
    /// A batch that the kernel refuses when the rule set is not of this generation any more.
    pub(super) fn for_generation(generation: u32) -> Self {
        let mut writer = Writer::default();
        writer.message(batch_head(BATCH_BEGIN), |out| out.number(BATCH_GENERATION, generation));
        Self { writer, meanings: Vec::new() }
    }

    /// Adds one message. `flags` are on top of request and acknowledgement.
    pub(super) fn add(
        &mut self,
        message: u16,
        flags: u16,
        meaning: impl Into<String>,
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        self.meanings.push(meaning.into());
        let (kind, flags) = ((SUBSYSTEM << 8) | message, REQUEST | ACK | flags);
        self.writer.message(Head { kind, flags, sequence: 0, family: FAMILY_INET, resource: 0 }, fill);
    }

    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.meanings.is_empty()
    }
}

fn batch_head(kind: u16) -> Head {
    // The opening and the closing message carry the subsystem and no family; numbers are given when it is sent.
    Head { kind, flags: REQUEST, sequence: 0, family: 0, resource: SUBSYSTEM }
}

/// What one pass of a dump came to.
enum DumpPass {
    Complete,
    Interrupted,
}

impl NftSocket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`NftError::Socket`] naming the step that failed.
    pub fn open() -> Result<Self, NftError> {
        let failed = |attempted| move |source| NftError::Socket { attempted, source };
        let fd = socket::socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        )
        .map_err(failed("open a netlink socket"))?;
        let timeout = TimeVal::milliseconds(i64::try_from(ANSWER_TIMEOUT_MS).unwrap_or(i64::MAX));
        socket::setsockopt(&fd, sockopt::ReceiveTimeout, &timeout).map_err(failed("bound the wait"))?;
        // Without the privilege for it the usual room has to do; the kernel then refuses every change.
        if socket::setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_QUEUE_BYTES).is_err() {
            socket::setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_QUEUE_BYTES)
                .map_err(failed("reserve room for answers"))?;
        }
        // An answer repeats the header of its request only, and says in words what was wrong.
        set_netlink_option(&fd, libc::NETLINK_CAP_ACK).map_err(failed("shorten answers"))?;
        set_netlink_option(&fd, libc::NETLINK_EXT_ACK).map_err(failed("ask for explained errors"))?;
        // A connected netlink socket takes no messages from other processes.
        socket::connect(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))
            .map_err(failed("connect a netlink socket"))?;
        Ok(Self { fd, sequence: 1, buffer: vec![0; RECEIVE_BYTES] })
    }

    /// Opens a socket in another network namespace. A short-lived thread enters it, so the calling
    /// thread stays where it is; when this returns that thread has ended.
    ///
    /// # Errors
    /// [`NftError::Namespace`] or [`NftError::Socket`] naming the step that failed.
    pub fn open_in(namespace: BorrowedFd<'_>) -> Result<Self, NftError> {
        in_namespace(namespace, Self::open)?
    }

    /// Returns when no change of the rule set is half made. The kernel counts the generation on before it takes away
    /// what a change removes, and a listing that falls in between leaves things out without saying so. A batch of
    /// nothing has to wait for its turn, changes nothing, and is done when it is sent.
    pub(super) fn wait_for_changes(&mut self) -> Result<(), NftError> {
        let mut writer = Writer::default();
        for kind in [BATCH_BEGIN, BATCH_END] {
            writer.message(batch_head(kind), |_| {});
        }
        writer.number_from(self.sequence);
        self.sequence = self.sequence.wrapping_add(2);
        self.send(writer.bytes(), "wait for changes of the rule set")
    }

    /// Sends a batch and waits until every message of it is acknowledged.
    pub(super) fn commit(&mut self, mut batch: Batch) -> Result<(), NftError> {
        let opening = self.sequence;
        batch.writer.message(batch_head(BATCH_END), |_| {});
        batch.writer.number_from(opening);
        let count = u32::try_from(batch.meanings.len()).unwrap_or(u32::MAX);
        self.sequence = opening.wrapping_add(count).wrapping_add(2);
        let meaning_of = |sequence: u32| {
            let index = sequence.wrapping_sub(opening).wrapping_sub(1);
            batch.meanings.get(usize::try_from(index).ok()?)
        };
        let first = batch.meanings.first().cloned().unwrap_or_default();
        self.send(batch.writer.bytes(), &first)?;
        let mut missing = batch.meanings.len();
        let mut refused: Option<NftError> = None;
        while missing > 0 {
            let received = match self.receive(&first) {
                // The kernel answers while the batch is sent: nothing more will come.
                Err(NftError::NoAnswer { .. }) if refused.is_some() => break,
                received => received?,
            };
            for message in wire::messages(&self.buffer[..received]) {
                let meaning = meaning_of(message.sequence);
                let is_opening = message.sequence == opening;
                if message.kind != ERROR || (meaning.is_none() && !is_opening) {
                    continue;
                }
                if meaning.is_some() {
                    missing -= 1;
                }
                if message.error_code() != 0 {
                    // An error of the opening message speaks for the whole batch.
                    missing = if is_opening { 0 } else { missing };
                    let attempted = meaning.cloned().unwrap_or_else(|| format!("apply the batch to {first}"));
                    refused.get_or_insert(refusal(attempted, &message));
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Dumps objects; `each` collects what one message says. A dump during which the rule set changed
    /// is thrown away and repeated. A missing table or set dumps as nothing.
    pub(super) fn dump<T>(
        &mut self,
        message: u16,
        meaning: &'static str,
        fill: impl Fn(&mut Attributes<'_>),
        each: impl Fn(&mut Vec<T>, &wire::Message<'_>),
    ) -> Result<Vec<T>, NftError> {
        for _ in 0..DUMP_ATTEMPTS_MAX {
            let mut found = Vec::new();
            match self.dump_once(message, meaning, &fill, |one| each(&mut found, one)) {
                Ok(DumpPass::Complete) => return Ok(found),
                Ok(DumpPass::Interrupted) => {}
                Err(error) if error.is_gone() => return Ok(Vec::new()),
                Err(error) => return Err(error),
            }
        }
        Err(NftError::Contended { attempted: meaning, attempts: DUMP_ATTEMPTS_MAX })
    }

    fn dump_once(
        &mut self,
        message: u16,
        meaning: &str,
        fill: &impl Fn(&mut Attributes<'_>),
        mut each: impl FnMut(&wire::Message<'_>),
    ) -> Result<DumpPass, NftError> {
        let sequence = self.request(message, DUMP, meaning, fill)?;
        let mut pass = DumpPass::Complete;
        loop {
            let received = self.receive(meaning)?;
            for message in wire::messages(&self.buffer[..received]) {
                if message.sequence != sequence {
                    continue;
                }
                if message.flags & DUMP_INTERRUPTED != 0 {
                    pass = DumpPass::Interrupted;
                }
                match message.kind {
                    ERROR | DONE => {
                        return match message.error_code() {
                            0 => Ok(pass),
                            code if code == -(Errno::EINTR as i32) => Ok(DumpPass::Interrupted),
                            _ => Err(refusal(meaning.to_owned(), &message)),
                        };
                    }
                    _ => each(&message),
                }
            }
        }
    }

    /// Asks for one thing and reads its one answer.
    pub(super) fn ask<T>(
        &mut self,
        message: u16,
        meaning: &'static str,
        read: impl Fn(&wire::Message<'_>) -> Option<T>,
    ) -> Result<T, NftError> {
        let sequence = self.request(message, 0, meaning, &|_: &mut Attributes<'_>| {})?;
        loop {
            let received = self.receive(meaning)?;
            for message in wire::messages(&self.buffer[..received]) {
                if message.sequence != sequence {
                    continue;
                }
                if message.kind == ERROR {
                    return Err(refusal(meaning.to_owned(), &message));
                }
                if let Some(answer) = read(&message) {
                    return Ok(answer);
                }
            }
        }
    }

    /// Asks for several things; for each what `read` makes of the answer, or none when it is not there.
    pub(super) fn ask_each<Q, T>(
        &mut self,
        message: u16,
        meaning: &'static str,
        questions: &[Q],
        fill: impl Fn(&mut Attributes<'_>, &Q),
        read: impl Fn(&wire::Message<'_>) -> Option<T>,
    ) -> Result<Vec<Option<T>>, NftError> {
        let mut answers = Vec::with_capacity(questions.len());
        for some in questions.chunks(QUESTIONS_AT_ONCE) {
            let first = self.sequence;
            let mut writer = Writer::default();
            for question in some {
                let kind = (SUBSYSTEM << 8) | message;
                let (flags, sequence) = (REQUEST | ACK, self.sequence);
                self.sequence = sequence.wrapping_add(1);
                let head = Head { kind, flags, sequence, family: FAMILY_INET, resource: 0 };
                writer.message(head, |out| fill(out, question));
            }
            self.send(writer.bytes(), meaning)?;
            self.answers(first, some.len(), meaning, &read, &mut answers)?;
        }
        Ok(answers)
    }

    /// Reads until each of `count` questions that begin with a sequence number is acknowledged.
    fn answers<T>(
        &mut self,
        first: u32,
        count: usize,
        meaning: &str,
        read: impl Fn(&wire::Message<'_>) -> Option<T>,
        answers: &mut Vec<Option<T>>,
    ) -> Result<(), NftError> {
        let start = answers.len();
        answers.extend((0..count).map(|_| None));
        let mut missing = count;
        while missing > 0 {
            let received = self.receive(meaning)?;
            for message in wire::messages(&self.buffer[..received]) {
                let index = usize::try_from(message.sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
                let Some(answer) = answers[start..].get_mut(index) else { continue };
                match message.kind {
                    ERROR if [0, -(Errno::ENOENT as i32)].contains(&message.error_code()) => missing -= 1,
                    ERROR => return Err(refusal(meaning.to_owned(), &message)),
                    _ => *answer = read(&message),
                }
            }
        }
        Ok(())
    }

    fn request(
        &mut self,
        message: u16,
        flags: u16,
        meaning: &str,
        fill: &impl Fn(&mut Attributes<'_>),
    ) -> Result<u32, NftError> {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let mut writer = Writer::default();
        let kind = (SUBSYSTEM << 8) | message;
        let head = Head { kind, flags: REQUEST | flags, sequence, family: FAMILY_INET, resource: 0 };
        writer.message(head, fill);
        self.send(writer.bytes(), meaning)?;
        Ok(sequence)
    }

    fn send(&self, bytes: &[u8], meaning: &str) -> Result<(), NftError> {
        let failed = |attempted| move |source| NftError::Socket { attempted, source };
        if bytes.len() > SEND_BYTES_USUAL {
            // A batch is one datagram, and one datagram must fit the send buffer.
            socket::setsockopt(&self.fd, sockopt::SndBufForce, &(bytes.len() * 2))
                .map_err(failed("reserve room for a batch"))?;
        }
        loop {
            match socket::send(self.fd.as_raw_fd(), bytes, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(source) => {
                    return Err(NftError::Refused { attempted: meaning.to_owned(), detail: None, source });
                }
            }
        }
    }

    /// Receives one datagram into the buffer and says how long it is.
    fn receive(&mut self, meaning: &str) -> Result<usize, NftError> {
        let fd: RawFd = self.fd.as_raw_fd();
        loop {
            match socket::recv(fd, &mut self.buffer, MsgFlags::MSG_TRUNC) {
                Ok(length) if length > self.buffer.len() => {
                    return Err(NftError::Socket { attempted: "hold an answer", source: Errno::EMSGSIZE });
                }
                Ok(length) => return Ok(length),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    let waited_ms = ANSWER_TIMEOUT_MS;
                    return Err(NftError::NoAnswer { attempted: meaning.to_owned(), waited_ms });
                }
                Err(source) => return Err(NftError::Socket { attempted: "receive an answer", source }),
            }
        }
    }
}

fn refusal(attempted: String, message: &wire::Message<'_>) -> NftError {
    let source = Errno::from_raw(message.error_code().saturating_neg());
    NftError::Refused { attempted, detail: message.error_text(), source }
}

/// Runs a body on a short-lived thread inside a network namespace and waits for it.
pub(super) fn in_namespace<T: Send>(
    namespace: BorrowedFd<'_>,
    body: impl FnOnce() -> T + Send,
) -> Result<T, NftError> {
    let enter = || {
        setns(namespace, CloneFlags::CLONE_NEWNET)
            .map_err(|source| NftError::Namespace { attempted: "enter a network namespace", source })?;
        Ok(body())
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, enter).map_err(|error| {
            let source = Errno::from_raw(error.raw_os_error().unwrap_or(libc::EAGAIN));
            NftError::Namespace { attempted: "start a thread for a network namespace", source }
        })?;
        match thread.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Switches a netlink option on.
fn set_netlink_option(fd: &impl AsFd, option: i32) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4);
    // SAFETY: the descriptor is open for the whole call, and the kernel reads `size` bytes of `on`.
    let result = unsafe {
        let value = (&raw const on).cast();
        libc::setsockopt(fd.as_fd().as_raw_fd(), libc::SOL_NETLINK, option, value, size)
    };
    Errno::result(result).map(drop)
}

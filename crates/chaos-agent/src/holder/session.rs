//! What a fault process is told and what it does next: lease, parent, requests, signals, and one step at a time.
//!
//! Owns when things end, and which step goes first. Between any two steps its shell hands over what has arrived, so
//! that a stop is never behind an injection. It has no socket, no file and no clock: bytes come in and go out, and
//! everything else is asked of a [`World`]. What a step is, each injection knows.
//!
//! ```text
//! shell: receive, control_closed, terminate, look_again ─▶ step ─▶ output ─▶ is_over? ─▶ sleep until wake_at ─┐
//!                    ▲                                                                                        │
//!                    └────────────────────────────────────────────────────────────────────────────────────────┘
//! ```

use std::os::fd::BorrowedFd;
use std::time::Duration;

use chaos_core::port::{InjectionReport, LEASE_DEFAULT, Owner};
use chaos_core::run::InjectionState;

use super::injection::{Injection, Shared, Turn};
use super::wire::{self, Begin, Command, Inject, Lines};
use super::world::{HeldProcess, World};
use crate::faults::Surroundings;
use crate::undo::UndoRecords;

/// Most injections of one run on one node at a time.
pub(crate) const INJECTIONS_MAX: usize = 10_000;
/// Most bytes that wait for a parent that does not read.
const OUTPUT_BYTES_MAX: usize = 16 << 20;
/// How long a parent may take to say that it heard, once this process was told to end.
const HEARD_WITHIN: Duration = Duration::from_millis(500);
/// Longest that effects held by the kernel outlive this process.
const KERNEL_LEASE_MAX: Duration = Duration::from_secs(5);

/// A fault process without its process: the faults of one run on one node.
pub struct Session<W: World> {
    world: W,
    /// The other end of the control channel still listens.
    connected: bool,
    lines: Lines,
    output: Vec<u8>,
    parent: Option<W::Process>,
    shared: Option<Shared<W>>,
    lease: Duration,
    lease_ends: Duration,
    injections: Vec<Injection<W>>,
    closing: Closing,
}

/// How far it is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// Nobody has told it to end.
    No,
    /// Everything is being undone.
    Undoing,
    /// Everything is undone; until then the parent may say that it heard.
    Hearing { until: Duration },
}

impl<W: World> Session<W> {
    /// A fault process that has not been told for whom it works.
    #[must_use]
    pub fn new(world: W) -> Self {
        let lease_ends = world.now() + LEASE_DEFAULT;
        Self {
            world,
            connected: true,
            lines: Lines::default(),
            output: Vec::new(),
            parent: None,
            shared: None,
            lease: LEASE_DEFAULT,
            lease_ends,
            injections: Vec::new(),
            closing: Closing::No,
        }
    }

    /// Takes what has arrived on the control channel.
    pub fn receive(&mut self, bytes: &[u8]) {
        if !self.connected {
            return;
        }
        let commands = self.lines.push(bytes).and_then(|lines| {
            lines.iter().map(|line| serde_json::from_slice(line).map_err(|error| error.to_string())).collect()
        });
        match commands {
            Ok(commands) => Vec::into_iter(commands).for_each(|command| self.obey(command)),
            // A parent that speaks another language can't be obeyed: what was made is undone.
            Err(_) => self.control_closed(),
        }
    }

    /// The other end of the control channel is closed, or its process has ended. A command line takes its faults with
    /// it. Those of a server wait for it until the lease ends when they were proven active; the others nobody may know of,
    /// and nobody could take them up.
    pub fn control_closed(&mut self) {
        self.connected = false;
        self.parent = None;
        self.output = Vec::new();
        let all = self.shared.as_ref().is_none_or(|shared| shared.owner == Owner::Command);
        self.revert(self.world.now(), |injection| all || !injection.is_active());
    }

    /// Told to end: everything is undone, then it is over.
    pub fn terminate(&mut self) {
        self.revert_all();
        if self.closing == Closing::No {
            self.closing = Closing::Undoing;
        }
    }

    /// Something about any target may have changed: a child or a traced process has.
    pub fn look_again(&mut self) {
        self.injections.iter_mut().for_each(Injection::look_again);
    }

    /// Something about the target of one injection has changed; the number is that of [`Session::descriptors`].
    pub fn look_again_at(&mut self, injection: usize) {
        self.injections.get_mut(injection).into_iter().for_each(Injection::look_again);
    }

    /// Notices what is over by now, and does one step of whatever is most urgent.
    pub fn step(&mut self) {
        self.check_lease();
        self.advance();
        self.settle();
    }

    /// When the next step is wanted though nothing happens; none when it waits for events alone.
    #[must_use]
    pub fn wake_at(&self) -> Option<Duration> {
        let steps = self.injections.iter().filter_map(Injection::due);
        // Once it is over everything is being undone, and there is nothing more to wake up for.
        let lease = self.injections.iter().any(|one| !one.is_final()).then_some(self.lease_ends);
        let lease = lease.filter(|ends| *ends > self.world.now());
        let hearing = match self.closing {
            Closing::Hearing { until } if !self.injections.is_empty() => Some(until),
            _ => None,
        };
        steps.chain(lease).chain(hearing).min()
    }

    /// Everything is final, and the parent is gone or has said all it had to say.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.injections.is_empty() && (!self.connected || self.closing != Closing::No)
    }

    /// False when the control channel serves no more and is to be closed.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// What is to be written to the control channel, as far as it takes it.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// So many bytes of [`Session::output`] were written.
    pub fn written(&mut self, bytes: usize) {
        self.output.drain(..bytes.min(self.output.len()));
    }

    /// What becomes readable when its parent ends.
    #[must_use]
    pub fn parent_descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.parent.as_ref().and_then(HeldProcess::descriptor)
    }

    /// What becomes readable when an injection should be looked at before its time, with the number of that injection,
    /// which holds until the next step.
    #[must_use]
    pub fn descriptors(&self) -> Vec<(usize, BorrowedFd<'_>)> {
        let mut descriptors = Vec::new();
        for (number, injection) in self.injections.iter().enumerate() {
            descriptors.extend(injection.descriptors().into_iter().map(|descriptor| (number, descriptor)));
        }
        descriptors
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Begin(begin) => self.begin(begin),
            Command::Inject(order) => self.take_order(order),
            Command::Renew => self.lease_ends = self.world.now() + self.lease,
            Command::Revert(revert) => {
                self.revert(revert.requested_at, |injection| revert.injections.contains(injection.id()));
            }
            Command::Heard(id) => {
                let heard = self.injections.iter_mut().filter(|injection| *injection.id() == id);
                heard.for_each(Injection::heard);
            }
        }
    }

    fn begin(&mut self, begin: Begin) {
        let Ok(holder) = self.world.own_identity() else { return self.control_closed() };
        self.lease = begin.lease;
        self.lease_ends = self.world.now() + begin.lease;
        self.parent = self.world.hold(begin.parent).ok();
        let records = self.world.undo_records(&begin.state);
        let surroundings =
            Surroundings { registered: begin.registered, kernel_lease: begin.lease.min(KERNEL_LEASE_MAX) };
        self.shared = Some(Shared { run: begin.run, owner: begin.owner, holder, records, surroundings });
    }

    fn take_order(&mut self, order: Inject) {
        // An order that comes twice is one order.
        if self.injections.iter().any(|injection| *injection.id() == order.plan.id) {
            return;
        }
        let refusal = match &self.shared {
            Some(_) if self.injections.len() >= INJECTIONS_MAX => {
                format!("more than {INJECTIONS_MAX} injections")
            }
            Some(shared) => {
                return self.injections.push(Injection::new(order, &self.world, &shared.surroundings));
            }
            None => "the fault process was not told for whom it works".to_owned(),
        };
        self.send(&[InjectionReport {
            injection: order.plan.id,
            state: InjectionState::ApplyFailed,
            evidence: Vec::new(),
            error: Some(refusal),
            took_ms: 0.0,
        }]);
    }

    fn check_lease(&mut self) {
        if self.world.now() >= self.lease_ends {
            self.revert_all();
        }
        if self.parent.as_ref().is_some_and(|parent| !parent.is_alive()) {
            self.control_closed();
        }
    }

    fn revert_all(&mut self) {
        self.revert(self.world.now(), |_| true);
    }

    fn revert(&mut self, requested_at: Duration, wanted: impl Fn(&Injection<W>) -> bool) {
        let Some(shared) = &self.shared else { return };
        let mut turn = Turn::new(&self.world, shared);
        for injection in self.injections.iter_mut().filter(|injection| wanted(injection)) {
            injection.revert(requested_at, &mut turn);
        }
        let reports = turn.reports;
        self.send(&reports);
    }

    /// One step of whatever is most urgent.
    fn advance(&mut self) {
        let Some(shared) = &self.shared else { return };
        let now = self.world.now();
        let due =
            self.injections.iter_mut().filter(|injection| injection.due().is_some_and(|due| due <= now));
        let Some(injection) = due.min_by_key(|injection| injection.urgency()) else { return };
        let mut turn = Turn::new(&self.world, shared);
        injection.advance(&mut turn);
        let reports = turn.reports;
        self.send(&reports);
    }

    /// Writes down how things ended when nobody hears it.
    fn settle(&mut self) {
        let now = self.world.now();
        if self.closing == Closing::Undoing && self.injections.iter().all(Injection::is_final) {
            self.closing = Closing::Hearing { until: now + HEARD_WITHIN };
        }
        if let Some(shared) = &self.shared
            && !self.injections.iter().any(|one| one.is_to_be_undone(now))
        {
            let heard = || self.injections.iter().filter(|one| one.is_heard());
            let ids: Vec<_> = heard().map(|one| one.id().clone()).collect();
            // One that can't be removed is found by the next start, which proves again and tells again.
            let _ = shared.records.remove_all(&ids);
            self.injections.iter_mut().filter(|one| one.is_heard()).for_each(Injection::forgotten);
        }
        let waited = matches!(self.closing, Closing::Hearing { until } if now >= until);
        if let Some(shared) = self.shared.as_ref().filter(|_| waited || !self.connected) {
            self.injections.iter_mut().filter(|one| one.is_final()).for_each(|one| one.unheard(shared));
        }
        // A run that kills again and again must not make this process grow.
        self.injections.retain(|injection| !injection.is_settled());
    }

    fn send(&mut self, reports: &[InjectionReport]) {
        if !self.connected {
            return;
        }
        for report in reports {
            // A report is far below the bound of a line.
            self.output.extend(wire::line(report).unwrap_or_default());
        }
        if self.output.len() > OUTPUT_BYTES_MAX {
            self.control_closed();
        }
    }
}

#[cfg(test)]
mod tests;

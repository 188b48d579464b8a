//! The loop of a fault process: one socket, signals, timers, descriptors of targets; one step at a time.
//!
//! Owns when things end: lease, parent, requests, signals. Between any two steps it reads the socket, so that a stop
//! is never behind an injection. What a step is, each injection knows.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use chaos_core::port::{InjectionReport, LEASE_DEFAULT, Owner};
use chaos_core::run::InjectionState;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;

use super::injection::{Injection, Shared};
use super::monotonic;
use super::wire::{self, Begin, Command, Inject, Lines};
use crate::faults::Surroundings;
use crate::sys::pidfd::PidFd;
use crate::sys::{SysError, own_pid, proc};
use crate::undo::UndoLog;

/// Most injections of one run on one node at a time.
pub(crate) const INJECTIONS_MAX: usize = 10_000;
/// Most bytes that wait for a parent that does not read.
const OUTPUT_BYTES_MAX: usize = 16 << 20;
/// How long a parent may take to say that it heard, once this process was told to end.
const HEARD_WITHIN: Duration = Duration::from_millis(500);
/// Longest that effects held by the kernel outlive this process.
const KERNEL_LEASE_MAX: Duration = Duration::from_secs(5);
/// Most time between two looks at everything.
const LOOK_EVERY: Duration = Duration::from_secs(60);

pub(super) struct Session {
    control: Option<UnixStream>,
    lines: Lines,
    output: Vec<u8>,
    signals: SignalFd,
    parent: Option<PidFd>,
    shared: Option<Shared>,
    lease: Duration,
    lease_ends: Duration,
    injections: Vec<Injection>,
    /// Told to end: when to stop waiting for the parent.
    closing: Option<Duration>,
}

impl Session {
    pub(super) fn open(control: UnixStream) -> Result<Self, SysError> {
        control
            .set_nonblocking(true)
            .map_err(|source| SysError::io("preparing the control socket", source))?;
        let mut wanted = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD] {
            wanted.add(signal);
        }
        wanted.thread_block().map_err(|errno| SysError::io("blocking signals", errno))?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let signals =
            SignalFd::with_flags(&wanted, flags).map_err(|errno| SysError::io("taking signals", errno))?;
        Ok(Self {
            control: Some(control),
            lines: Lines::default(),
            output: Vec::new(),
            signals,
            parent: None,
            shared: None,
            lease: LEASE_DEFAULT,
            lease_ends: monotonic() + LEASE_DEFAULT,
            injections: Vec::new(),
            closing: None,
        })
    }

    pub(super) fn run(mut self) -> Result<(), SysError> {
        loop {
            self.read_control();
            self.read_signals();
            self.check_lease();
            self.step();
            self.settle();
            self.write_control();
            if self.is_over() {
                return Ok(());
            }
            self.wait()?;
        }
    }

    /// Everything is final, and the parent is gone or has said all it had to say.
    fn is_over(&self) -> bool {
        self.injections.is_empty() && (self.control.is_none() || self.closing.is_some())
    }

    fn read_control(&mut self) {
        let mut buffer = [0_u8; 16 << 10];
        while let Some(control) = &mut self.control {
            let lines = match control.read(&mut buffer) {
                Ok(0) => return self.parent_gone(),
                Ok(length) => self.lines.push(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return self.parent_gone(),
            };
            let commands = lines.and_then(|lines| {
                lines
                    .iter()
                    .map(|line| serde_json::from_slice(line).map_err(|error| error.to_string()))
                    .collect()
            });
            match commands {
                Ok(commands) => Vec::into_iter(commands).for_each(|command| self.obey(command)),
                // A parent that speaks another language can't be obeyed: what was made is undone.
                Err(_) => return self.parent_gone(),
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Begin(begin) => self.begin(begin),
            Command::Inject(order) => self.take_order(order),
            Command::Renew => self.lease_ends = monotonic() + self.lease,
            Command::Revert(revert) => {
                let mut reports = Vec::new();
                for injection in &mut self.injections {
                    if revert.injections.contains(injection.id()) {
                        injection.revert(revert.requested_at, &mut reports);
                    }
                }
                self.send(&reports);
            }
            Command::Heard(id) => {
                let Some(shared) = &self.shared else { return };
                for injection in self.injections.iter_mut().filter(|injection| *injection.id() == id) {
                    injection.heard(shared);
                }
            }
        }
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
            Some(shared) => return self.injections.push(Injection::new(order, &shared.surroundings)),
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

    fn begin(&mut self, begin: Begin) {
        let Ok(holder) = proc::identity(own_pid()) else { return self.parent_gone() };
        let log = UndoLog::new(&begin.state);
        // A folder that can't be made shows when the first record can't be written.
        let _ = log.prepare();
        self.lease = begin.lease;
        self.lease_ends = monotonic() + begin.lease;
        self.parent = PidFd::open(begin.parent).ok();
        let surroundings =
            Surroundings { registered: begin.registered, kernel_lease: begin.lease.min(KERNEL_LEASE_MAX) };
        self.shared = Some(Shared { run: begin.run, owner: begin.owner, holder, log, surroundings });
    }

    fn read_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if i32::try_from(signal.ssi_signo).is_ok_and(|number| number == libc::SIGCHLD) {
                self.injections.iter_mut().for_each(Injection::poke);
            } else {
                self.revert_all();
                self.closing.get_or_insert(Duration::MAX);
            }
        }
    }

    fn check_lease(&mut self) {
        if monotonic() >= self.lease_ends {
            self.revert_all();
        }
        if self.parent.as_ref().is_some_and(|parent| !parent.is_alive()) {
            self.parent_gone();
        }
    }

    /// A command line takes its faults with it; those of a server wait for it until the lease ends.
    fn parent_gone(&mut self) {
        self.control = None;
        self.parent = None;
        self.output = Vec::new();
        if self.shared.as_ref().is_none_or(|shared| shared.owner == Owner::Command) {
            self.revert_all();
        }
    }

    fn revert_all(&mut self) {
        let (now, mut reports) = (monotonic(), Vec::new());
        self.injections.iter_mut().for_each(|injection| injection.revert(now, &mut reports));
        self.send(&reports);
    }

    /// One step of whatever is most urgent.
    fn step(&mut self) {
        let now = monotonic();
        let due =
            self.injections.iter_mut().filter(|injection| injection.due().is_some_and(|due| due <= now));
        let (Some(injection), Some(shared)) = (due.min_by_key(|injection| injection.urgency()), &self.shared)
        else {
            return;
        };
        let mut reports = Vec::new();
        injection.advance(shared, &mut reports);
        self.send(&reports);
    }

    /// Writes down how things ended when nobody hears it.
    fn settle(&mut self) {
        let now = monotonic();
        if let Some(until) = &mut self.closing
            && *until == Duration::MAX
            && self.injections.iter().all(Injection::is_final)
        {
            *until = now + HEARD_WITHIN;
        }
        let deaf = self.control.is_none() || self.closing.is_some_and(|until| now >= until);
        if let Some(shared) = self.shared.as_ref().filter(|_| deaf) {
            self.injections.iter_mut().filter(|one| one.is_final()).for_each(|one| one.unheard(shared));
        }
        // A run that kills again and again must not make this process grow.
        self.injections.retain(|injection| !injection.is_settled());
    }

    fn send(&mut self, reports: &[InjectionReport]) {
        if self.control.is_none() {
            return;
        }
        for report in reports {
            // A report is far below the bound of a line.
            self.output.extend(wire::line(report).unwrap_or_default());
        }
        if self.output.len() > OUTPUT_BYTES_MAX {
            self.parent_gone();
        }
    }

    fn write_control(&mut self) {
        while let Some(control) = self.control.as_mut().filter(|_| !self.output.is_empty()) {
            match control.write(&self.output) {
                Ok(written) => drop(self.output.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // What was said before the other end closed may still be there to be read.
                Err(_) => return self.output.clear(),
            }
        }
    }

    /// Sleeps until the next step is due or something happens.
    fn wait(&mut self) -> Result<(), SysError> {
        let now = monotonic();
        let wake = self.injections.iter().filter_map(Injection::due);
        let lease = (self.injections.iter().any(|one| !one.is_final())).then_some(self.lease_ends);
        let wake = wake.chain(lease).chain(self.closing).min().unwrap_or(Duration::MAX);
        let timeout = wake.saturating_sub(now).min(LOOK_EVERY);
        let mut owners = Vec::new();
        let mut polled = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if let Some(control) = &self.control {
            let writing = if self.output.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
            polled.push(PollFd::new(control.as_fd(), PollFlags::POLLIN | writing));
        }
        polled.extend(self.parent.iter().map(|parent| PollFd::new(parent.as_fd(), PollFlags::POLLIN)));
        let fixed = polled.len();
        for (index, injection) in self.injections.iter().enumerate() {
            for descriptor in injection.descriptors() {
                polled.push(PollFd::new(descriptor, PollFlags::POLLIN));
                owners.push(index);
            }
        }
        match ppoll(&mut polled, Some(TimeSpec::from(timeout)), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(SysError::io("waiting for events", errno)),
        }
        let ready = polled.iter().skip(fixed).zip(owners).filter(|(fd, _)| fd.any().unwrap_or(false));
        let woken: Vec<usize> = ready.map(|(_, index)| index).collect();
        for index in woken {
            self.injections.get_mut(index).into_iter().for_each(Injection::poke);
        }
        Ok(())
    }
}

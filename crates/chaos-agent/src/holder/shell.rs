//! The process around a session: its socket, its signals, its sleep.
//!
//! Owns the descriptors and the order "read everything, one step, write, sleep". It decides nothing.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;

use super::monotonic;
use super::session::Session;
use super::world::ThisHost;
use crate::sys::{SysError, supervision};

/// Most time between two looks at everything.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// While steps are due one after the other, descriptors are looked at this often: with a thousand victims that takes
/// longer than a step.
const POLL_EVERY: Duration = Duration::from_millis(5);

pub(super) struct Shell {
    session: Session<ThisHost>,
    control: Option<UnixStream>,
    signals: SignalFd,
    polled_at: Duration,
}

impl Shell {
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
            session: Session::new(ThisHost::default()),
            control: Some(control),
            signals,
            polled_at: Duration::ZERO,
        })
    }

    pub(super) fn run(mut self) -> Result<(), SysError> {
        loop {
            self.read_control();
            self.read_signals();
            self.session.step();
            self.write_control();
            if self.session.is_over() {
                return Ok(());
            }
            self.wait()?;
        }
    }

    fn read_control(&mut self) {
        let mut buffer = [0_u8; 16 << 10];
        while let Some(control) = self.control.as_mut().filter(|_| self.session.is_connected()) {
            match control.read(&mut buffer) {
                Ok(length @ 1..) => self.session.receive(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => self.session.control_closed(),
            }
        }
    }

    fn read_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if i32::try_from(signal.ssi_signo).is_ok_and(|number| number == libc::SIGCHLD) {
                // Whoever stops a process or ends a worker has waited for it already.
                if supervision::has_news_of_children() {
                    self.session.look_again();
                }
            } else {
                self.session.terminate();
            }
        }
    }

    fn write_control(&mut self) {
        if !self.session.is_connected() {
            self.control = None;
        }
        while let Some(control) = self.control.as_mut().filter(|_| !self.session.output().is_empty()) {
            match control.write(self.session.output()) {
                Ok(written) => self.session.written(written),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // What was said before the other end closed may still be there to be read.
                Err(_) => self.session.written(self.session.output().len()),
            }
        }
    }

    /// Sleeps until the next step is due or something happens.
    fn wait(&mut self) -> Result<(), SysError> {
        let until = self.session.wake_at().unwrap_or(Duration::MAX);
        let now = monotonic();
        if until <= now && now < self.polled_at + POLL_EVERY {
            return Ok(());
        }
        self.polled_at = now;
        let timeout = until.saturating_sub(now).min(LOOK_EVERY);
        let mut polled = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if let Some(control) = &self.control {
            let writing =
                if self.session.output().is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
            polled.push(PollFd::new(control.as_fd(), PollFlags::POLLIN | writing));
        }
        let parent = self.session.parent_descriptor();
        polled.extend(parent.map(|parent| PollFd::new(parent, PollFlags::POLLIN)));
        let own = polled.len();
        let (injections, descriptors): (Vec<usize>, Vec<_>) = self.session.descriptors().into_iter().unzip();
        polled.extend(descriptors.into_iter().map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN)));
        match ppoll(&mut polled, Some(TimeSpec::from(timeout)), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(SysError::io("waiting for events", errno)),
        }
        let ready = polled.iter().skip(own).zip(injections).filter(|(fd, _)| fd.any().unwrap_or(false));
        let ready: Vec<usize> = ready.map(|(_, injection)| injection).collect();
        ready.into_iter().for_each(|injection| self.session.look_again_at(injection));
        Ok(())
    }
}

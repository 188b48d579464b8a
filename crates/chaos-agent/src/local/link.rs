//! The link to one fault process: one task that writes commands, hands on reports, and sees the process die.
//!
//! Owns the list of injections that have no final report yet. It never waits for a consumer: the sink does not block
//! and the queue of commands is bounded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chaos_core::port::{Evidence, InjectionReport, ReportSink};
use chaos_core::run::{InjectionId, InjectionState, RunId};
use chaos_core::target::ProcessRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::State;
use super::spawn::Spawned;
use crate::holder::wire::{self, Command, Lines};
use crate::sweep;
use crate::sys::pidfd::PidFd;
use crate::undo::UndoLog;

/// Most commands that wait to be written to one fault process.
const COMMANDS_MAX: usize = 1024;

/// An injection without a final report.
#[derive(Clone)]
pub(super) struct Open {
    pub(super) sink: ReportSink,
    pub(super) active: bool,
}

type Injections = Mutex<BTreeMap<InjectionId, Open>>;

/// The node's end of a link.
pub(super) struct Link {
    process: ProcessRef,
    commands: mpsc::Sender<Vec<u8>>,
    open: Arc<Injections>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("open", &lock(&self.open).len()).finish()
    }
}

impl Link {
    /// Hands over more injections; false when this fault process takes no more.
    pub(super) fn add(&self, injections: &[(InjectionId, Open)], lines: &[u8]) -> bool {
        let mut open = lock(&self.open);
        let sent = self.commands.try_send(lines.to_vec()).is_ok();
        if sent {
            open.extend(injections.iter().cloned());
        }
        sent
    }

    /// Sends a command. A fault process that takes none is told by a signal to undo everything: a request to undo
    /// must never be lost in a queue.
    pub(super) fn send(&self, line: Vec<u8>) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.commands.try_send(line) {
            let told = PidFd::open(self.process).and_then(|holder| holder.send_signal(libc::SIGTERM));
            tracing::error!(
                process = self.process.pid,
                ?told,
                "a fault process takes no commands and is ended"
            );
        }
    }
}

fn lock(open: &Injections) -> MutexGuard<'_, BTreeMap<InjectionId, Open>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes up a new fault process: its first lines are on their way when this returns.
pub(super) fn attach(
    run: RunId,
    spawned: Spawned,
    first: Vec<u8>,
    injections: Vec<(InjectionId, Open)>,
    log: UndoLog,
    state: &Arc<State>,
) -> Result<(), String> {
    spawned.control.set_nonblocking(true).map_err(|error| error.to_string())?;
    let control = UnixStream::from_std(spawned.control).map_err(|error| error.to_string())?;
    let process = spawned.process;
    let (commands, queue) = mpsc::channel(COMMANDS_MAX);
    let open = Arc::new(Mutex::new(injections.into_iter().collect()));
    let _ = commands.try_send(first);
    state.links().insert(run.clone(), Link { process, commands, open: Arc::clone(&open) });
    let state = Arc::clone(state);
    let task =
        Task { run, control, queue, process, lines: Lines::default(), open, heard: Vec::new(), log, state };
    tokio::spawn(task.serve(spawned.child));
    Ok(())
}

struct Task {
    run: RunId,
    control: UnixStream,
    queue: mpsc::Receiver<Vec<u8>>,
    process: ProcessRef,
    lines: Lines,
    open: Arc<Injections>,
    /// Ended, told and undone: their records are not needed any more.
    heard: Vec<InjectionId>,
    log: UndoLog,
    state: Arc<State>,
}

impl Task {
    /// Serves the link until every injection is final and the fault process has ended.
    async fn serve(mut self, mut child: tokio::process::Child) {
        while !self.is_done() && self.turn().await {}
        // Closing the socket is how a fault process that has nothing left to do is told to end.
        let _ = self.control.shutdown().await;
        while self.read().await {}
        let ended = child.wait().await;
        self.state.registered().retain(|process| *process != self.process);
        if !ended.is_ok_and(|status| status.success()) {
            self.clear_away();
        }
        self.settle_what_is_left().await;
    }

    /// True when no injection is open; from then on this fault process takes no more.
    fn is_done(&mut self) -> bool {
        let mut links = self.state.links();
        let done = lock(&self.open).is_empty();
        if done {
            links.remove(&self.run);
        }
        done
    }

    /// One event; false when the fault process does not speak any more.
    async fn turn(&mut self) -> bool {
        let mut buffer = vec![0; 16 << 10];
        tokio::select! {
            command = self.queue.recv() => match command {
                Some(line) => self.control.write_all(&line).await.is_ok(),
                None => false,
            },
            read = self.control.read(&mut buffer) => match read {
                Ok(length) if length > 0 => self.take(buffer.get(..length).unwrap_or_default()).await,
                _ => false,
            },
        }
    }

    /// Reads on when nothing more is written; false at the end.
    async fn read(&mut self) -> bool {
        let mut buffer = vec![0; 16 << 10];
        match self.control.read(&mut buffer).await {
            Ok(length) if length > 0 => self.take(buffer.get(..length).unwrap_or_default()).await,
            _ => false,
        }
    }

    /// Hands on the reports that are whole now; false when it is no fault process that speaks.
    async fn take(&mut self, bytes: &[u8]) -> bool {
        let Ok(lines) = self.lines.push(bytes) else { return false };
        for line in lines {
            let Ok(report) = serde_json::from_slice::<InjectionReport>(&line) else { return false };
            let (id, state) = (report.injection.clone(), report.state);
            self.hand_on(report);
            if state.is_final() && state != InjectionState::RevertFailed {
                self.heard.push(id.clone());
            }
            if state.is_final()
                && let Ok(line) = wire::line(&Command::Heard(id))
            {
                // One that has ended meanwhile has its record swept.
                let _ = self.control.write_all(&line).await;
            }
        }
        true
    }

    fn hand_on(&self, report: InjectionReport) {
        let sink = {
            let mut open = lock(&self.open);
            let Some(injection) = open.get_mut(&report.injection) else { return };
            injection.active |= report.state == InjectionState::Active;
            let sink = Arc::clone(&injection.sink);
            if report.state.is_final() {
                open.remove(&report.injection);
            }
            sink
        };
        sink(report);
    }

    /// What a fault process that was killed between its last word and its end has not cleared away.
    fn clear_away(&self) {
        let writer = self.process.pid;
        let cleared = self.log.discard_unfinished(|pid| pid == writer);
        let removed = self.heard.iter().try_for_each(|id| self.log.remove(id));
        if let Err(error) = cleared.and(removed) {
            tracing::warn!(%error, "undo records that are not needed any more can't be removed");
        }
    }

    /// The fault process was killed: what it left is undone now, from its records.
    async fn settle_what_is_left(&mut self) {
        self.state.links().remove(&self.run);
        let left: Vec<(InjectionId, bool)> =
            lock(&self.open).iter().map(|(id, open)| (id.clone(), open.active)).collect();
        for (id, active) in left {
            let log = self.log.clone();
            let settled = tokio::task::spawn_blocking(move || settle(&log, &id, active)).await;
            // A panic in there must not be silence.
            if let Ok(report) = settled {
                self.hand_on(report);
            }
        }
        for id in lock(&self.open).keys().cloned().collect::<Vec<_>>() {
            self.hand_on(ended(
                id,
                InjectionState::RevertFailed,
                "undoing from its record failed".to_owned(),
            ));
        }
    }
}

fn settle(log: &UndoLog, id: &InjectionId, active: bool) -> InjectionReport {
    match log.read(id) {
        Ok(Some(record)) => {
            let mut report = sweep::settle(log, record);
            if report.state == InjectionState::Reverted && !active && report.error.is_some() {
                report.state = InjectionState::ApplyFailed;
            }
            report
        }
        Ok(None) => {
            let mut report =
                ended(id.clone(), InjectionState::ApplyFailed, "the fault process was ended".to_owned());
            report.evidence.push(Evidence::new("undo records", "none: nothing was changed"));
            report
        }
        Err(error) => ended(id.clone(), InjectionState::RevertFailed, error.to_string()),
    }
}

fn ended(injection: InjectionId, state: InjectionState, error: String) -> InjectionReport {
    InjectionReport { injection, state, evidence: Vec::new(), error: Some(error), took_ms: 0.0 }
}

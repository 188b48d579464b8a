//! The link to one fault process: one task that writes commands, hands on reports, and sees the process die.
//!
//! Owns when a link begins and ends. It never waits for a consumer: the sinks do not block and the queue of commands is
//! bounded.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chaos_core::port::{InjectionReport, ReportSink};
use chaos_core::run::{InjectionId, InjectionState, RunId};
use chaos_core::target::ProcessRef;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::State;
use super::machine::{Control, HolderProcess, Machine, apart};
use crate::holder::wire::{self, Command, Lines};
use crate::sweep;

/// Most commands that wait to be written to one fault process.
const COMMANDS_MAX: usize = 1024;
/// Most bytes that are read at once.
const READ_BYTES: usize = 16 << 10;

/// How long a fault process may say nothing once it was asked to undo, before it is killed. Whoever asked waits longer.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Injections of one run on their way to a fault process.
pub(super) struct Order {
    pub(super) run: RunId,
    pub(super) injections: Vec<InjectionId>,
    pub(super) lines: Vec<u8>,
    pub(super) sink: ReportSink,
}

/// The node's end of a link.
pub(super) struct Link {
    holder: ProcessRef,
    commands: mpsc::Sender<Vec<u8>>,
    /// It was asked to undo.
    asked: Arc<Notify>,
}

/// What became of an order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HandedOver {
    /// A fault process has it.
    Yes,
    /// The run has no fault process that takes orders.
    NoLink,
    /// Its fault process does not read: no other may be started beside it.
    Stuck,
}

impl State {
    /// Hands an order to the fault process that its run has.
    pub(super) fn hand_over(&self, order: &Order) -> HandedOver {
        self.hand_over_to(self.links().get(&order.run), order)
    }

    fn hand_over_to(&self, link: Option<&Link>, order: &Order) -> HandedOver {
        let Some(link) = link else { return HandedOver::NoLink };
        let mut outcome = HandedOver::NoLink;
        self.injections.take_on(&order.run, link.holder, &order.injections, &order.sink, || {
            outcome = match link.commands.try_send(order.lines.clone()) {
                Ok(()) => HandedOver::Yes,
                Err(TrySendError::Full(_)) => HandedOver::Stuck,
                Err(TrySendError::Closed(_)) => HandedOver::NoLink,
            };
            outcome == HandedOver::Yes
        });
        outcome
    }

    /// Sends a command to the fault process of a run. One that takes none is told by a signal to undo everything: a
    /// request to undo must never be lost in a queue.
    pub(super) fn send(&self, run: &RunId, line: Vec<u8>) {
        let stuck = match self.links().get(run) {
            Some(link) => {
                matches!(link.commands.try_send(line), Err(TrySendError::Full(_))).then_some(link.holder)
            }
            // A run without a link has no open injection: there is nothing to prolong or to undo.
            None => None,
        };
        if let Some(holder) = stuck {
            let told = self.machine.terminate(holder);
            self.injections.ask_back(run, None);
            self.await_answer(run);
            tracing::error!(process = holder.pid, ?told, "a fault process takes no commands and is ended");
        }
    }

    /// From now on the fault process of a run has to say something, as long as it was asked to undo what it holds.
    pub(super) fn await_answer(&self, run: &RunId) {
        if let Some(link) = self.links().get(run) {
            link.asked.notify_one();
        }
    }
}

/// Takes up a new fault process: `begin` and the order are on their way to it when this returns. Another order may have
/// started one for the same run meanwhile: then that one has both orders, and this one is kept for the next.
pub(super) fn open(state: &Arc<State>, holder: HolderProcess, begin: Vec<u8>, order: &Order) -> HandedOver {
    let mut links = state.links();
    let outcome = state.hand_over_to(links.get(&order.run), order);
    if outcome != HandedOver::NoLink {
        state.prepared().insert(order.run.clone(), holder);
        return outcome;
    }
    let HolderProcess { identity, control, ended } = holder;
    let (commands, queue) = mpsc::channel(COMMANDS_MAX);
    let first = [begin, order.lines.clone()].concat();
    let sent = || commands.try_send(first).is_ok();
    state.injections.take_on(&order.run, identity, &order.injections, &order.sink, sent);
    let (asked, heard) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    links.insert(order.run.clone(), Link { holder: identity, commands, asked: Arc::clone(&asked) });
    let silence = Silence {
        run: order.run.clone(),
        holder: identity,
        asked,
        heard: Arc::clone(&heard),
        state: Arc::clone(state),
    };
    let task = Task {
        run: order.run.clone(),
        holder: identity,
        control,
        queue,
        lines: Lines::default(),
        told: Vec::new(),
        heard,
        state: Arc::clone(state),
    };
    tokio::spawn(task.serve(ended, silence));
    HandedOver::Yes
}

struct Task {
    run: RunId,
    holder: ProcessRef,
    control: Box<dyn Control>,
    queue: mpsc::Receiver<Vec<u8>>,
    lines: Lines,
    /// Ended, told and undone: their records are not needed any more.
    told: Vec<InjectionId>,
    /// It has said something.
    heard: Arc<Notify>,
    state: Arc<State>,
}

/// The patience with a fault process, whatever its link waits for.
struct Silence {
    run: RunId,
    holder: ProcessRef,
    asked: Arc<Notify>,
    heard: Arc<Notify>,
    state: Arc<State>,
}

impl Silence {
    /// Kills the fault process when it was asked to undo and says nothing: it is stopped or stuck, and so are its lease,
    /// its deadlines and its signals. The link then sees it end.
    async fn end_it(self) -> Infallible {
        loop {
            if !self.state.injections.any_asked_back(&self.run, self.holder) {
                self.asked.notified().await;
            } else if timeout(SILENCE_MAX, self.heard.notified()).await.is_err() {
                let told = self.state.machine.kill(self.holder);
                tracing::error!(
                    process = self.holder.pid,
                    ?told,
                    "a fault process does not answer and is killed"
                );
            }
        }
    }
}

impl Task {
    /// Serves the link until every injection is final and the fault process has ended.
    async fn serve(mut self, ended: BoxFuture<'static, bool>, silence: Silence) {
        let everything_is_undone = tokio::select! {
            biased;
            undone = self.talk(ended) => undone,
            never = silence.end_it() => match never {},
        };
        self.state.registered().retain(|process| *process != self.holder);
        if !everything_is_undone {
            let told = std::mem::take(&mut self.told);
            clear_away(&self.state, self.holder, told).await;
        }
        self.settle_what_is_left().await;
    }

    /// Speaks with the fault process until it has ended; true when it has undone everything.
    async fn talk(&mut self, ended: BoxFuture<'static, bool>) -> bool {
        while !self.is_done() && self.turn().await {}
        // Closing the channel is how a fault process that has nothing left to do is told to end.
        let _ = self.control.shutdown().await;
        while self.read().await {}
        ended.await
    }

    /// True when no injection is open; from then on this fault process takes no more.
    fn is_done(&self) -> bool {
        let done = !self.state.injections.any_open(&self.run, self.holder);
        // Asked again with the list of links locked, where orders are handed over.
        done && self.close(|state| !state.injections.any_open(&self.run, self.holder))
    }

    /// Takes no more orders, if that is so. The run may have another fault process by now, whose link stays.
    fn close(&self, is_so: impl FnOnce(&State) -> bool) -> bool {
        let mut links = self.state.links();
        let closed = is_so(&self.state);
        if closed && links.get(&self.run).is_some_and(|link| link.holder == self.holder) {
            links.remove(&self.run);
        }
        closed
    }

    /// One event; false when the fault process does not speak any more.
    async fn turn(&mut self) -> bool {
        let mut buffer = vec![0; READ_BYTES];
        tokio::select! {
            biased;
            command = self.queue.recv() => match command {
                Some(line) => self.control.write_all(&line).await.is_ok(),
                None => false,
            },
            read = self.control.read(&mut buffer) => match read {
                Ok(length @ 1..) => self.take(buffer.get(..length).unwrap_or_default()).await,
                _ => false,
            },
        }
    }

    /// Reads on when nothing more is written; false at the end.
    async fn read(&mut self) -> bool {
        let mut buffer = vec![0; READ_BYTES];
        match self.control.read(&mut buffer).await {
            Ok(length @ 1..) => self.take(buffer.get(..length).unwrap_or_default()).await,
            _ => false,
        }
    }

    /// Hands on the reports that are whole now; false when it is no fault process that speaks.
    async fn take(&mut self, bytes: &[u8]) -> bool {
        self.heard.notify_one();
        let Ok(lines) = self.lines.push(bytes) else { return false };
        for line in lines {
            let Ok(report) = serde_json::from_slice::<InjectionReport>(&line) else { return false };
            let (id, state) = (report.injection.clone(), report.state);
            self.state.injections.hand_on(&self.run, report);
            if state.is_final() && state != InjectionState::RevertFailed {
                self.told.push(id.clone());
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

    /// The fault process was killed: what it left is undone now, from its records.
    async fn settle_what_is_left(self) {
        self.close(|_| true);
        let left = self.state.injections.left_by(&self.run, self.holder);
        self.state.settle(&self.run, left).await;
    }
}

/// What a fault process that was killed between its last word and its end has not cleared away.
async fn clear_away(state: &State, holder: ProcessRef, told: Vec<InjectionId>) {
    let work = move |machine: &dyn Machine| sweep::clear_away(machine.remains().records(), holder, &told);
    let cleared = apart(&state.machine, work).await;
    if let Err(reason) = cleared.and_then(|cleared| cleared.map_err(|error| error.to_string())) {
        tracing::warn!(%reason, "undo records that are not needed any more can't be removed");
    }
}

//! Watching a run to its end: events in, lines or a live view out, a signal turned into a stop.
//!
//! Owns the loop and what a signal means while it lasts. It never decides a verdict.

mod line;
mod live;
mod view;

use std::pin::Pin;
use std::time::Duration;

use chaos_api::{
    Client, ClientError, EventEnvelope, EventsQuery, ExperimentDetail, ProblemCode, StopRequest, StopResponse,
};
use chaos_core::journal::RunSummary;
use chaos_core::run::{Effect, Phase, RunId};
use chaos_core::spec::ExperimentKey;
use futures_util::StreamExt as _;

use crate::exit::Failure;
use crate::output::Output;
use crate::show;
use crate::signals::{Signal, Signals};
use live::Live;
use view::View;

/// How long the answer to a stop may be behind the last event of its run.
const STOP_ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Time between two drawings of the live view.
const REDRAW_EVERY: Duration = Duration::from_millis(100);

/// How a watched run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The experiment with this run.
    pub(crate) detail: ExperimentDetail,
    /// Exit code of the run, before `--expect`.
    pub(crate) code: u8,
    /// The signal that ended it.
    pub(crate) signal: Option<Signal>,
}

type Stopping = Pin<Box<dyn Future<Output = Result<StopResponse, ClientError>> + Send>>;

/// Watches the run until it is finished, live unless others are watched beside it. A signal asks for a stop and goes on watching until the revert is proven.
///
/// # Errors
/// When the server can't be asked any more: what became of the run is not known then.
pub(crate) async fn follow(
    client: &Client,
    started: &ExperimentDetail,
    run: &RunId,
    signals: &mut Signals,
    out: &Output,
    alone: bool,
) -> Result<Ended, Failure> {
    let key = started.record.key();
    let mut watch = Watch {
        client,
        out,
        view: View::new(started),
        live: (alone && out.is_live()).then(Live::new),
        prefix: if alone { String::new() } else { format!("{}: ", started.record.name) },
        stopping: None,
        signal: None,
        last: None,
    };
    let outcome = Box::pin(watch.until_finished(run, signals)).await;
    if let Some(live) = watch.live.take() {
        live.clear();
    }
    outcome.map_err(|error| lost(&key, error))?;
    // A delete stops what is active before it deletes.
    let mut unknown = crate::exit::INTERNAL;
    let detail = match of_run(client, &key, run).await {
        Ok(detail) => detail,
        // Deleted as soon as it had ended: what the events said is what is known.
        Err(error) if error.problem().is_some_and(|problem| problem.code == ProblemCode::NotFound) => {
            let mut detail = started.clone();
            detail.record = watch.last.iter().fold(detail.record, |record, summary| record.with_run(summary));
            detail.latest = None;
            unknown = crate::exit::STOPPED;
            detail
        }
        Err(error) => return Err(error.into()),
    };
    let code = detail.record.exit_code.unwrap_or(unknown);
    let code = match watch.signal {
        Some(signal) if code == Signal::Interrupt.exit_code() => signal.exit_code(),
        _ => code,
    };
    Ok(Ended { detail, code, signal: watch.signal })
}

/// The experiment with this run, which need not be its latest any more.
async fn of_run(client: &Client, key: &ExperimentKey, run: &RunId) -> Result<ExperimentDetail, ClientError> {
    let mut detail = client.get(key).await?;
    if detail.latest.as_ref().is_none_or(|latest| latest.summary.run != *run) {
        let of_run = client.run(key, run).await?;
        detail.record = detail.record.with_run(&of_run.summary);
        detail.latest = Some(of_run);
    }
    Ok(detail)
}

fn lost(key: &ExperimentKey, error: ClientError) -> Failure {
    Failure::Other(anyhow::Error::new(error).context(format!(
        "lost sight of {key}; if its owner died, every fault is undone within its lease; `chaos status {}` tells",
        key.name
    )))
}

struct Watch<'w> {
    client: &'w Client,
    out: &'w Output,
    view: View,
    live: Option<Live>,
    /// What stands before each line, so that runs can be told apart.
    prefix: String,
    stopping: Option<Stopping>,
    signal: Option<Signal>,
    /// The run after the latest event.
    last: Option<RunSummary>,
}

impl Watch<'_> {
    /// Watches, then hears how the stop went that was asked for, which the last event may overtake.
    async fn until_finished(&mut self, run: &RunId, signals: &mut Signals) -> Result<(), ClientError> {
        let watched = self.until_last_event(run, signals).await;
        if self.stopping.is_some()
            && let Ok(stopped) = tokio::time::timeout(STOP_ANSWER_WITHIN, ended(&mut self.stopping)).await
        {
            self.stopped(stopped);
        }
        watched
    }

    /// The stream goes on by itself after a broken connection, and ends with the run.
    async fn until_last_event(&mut self, run: &RunId, signals: &mut Signals) -> Result<(), ClientError> {
        let query = EventsQuery { after: Some(0), run: Some(run.clone()), ..EventsQuery::default() };
        let mut events = Box::pin(self.client.events(query));
        let mut redraw = tokio::time::interval(REDRAW_EVERY);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    None => return Ok(()),
                    Some(event) => {
                        if self.take(&event?.1) {
                            return Ok(());
                        }
                    }
                },
                signal = signals.next() => self.interrupt(signal),
                stopped = ended(&mut self.stopping) => self.stopped(stopped),
                _ = redraw.tick() => if let Some(live) = &self.live {
                    live.draw(&self.view);
                },
            }
        }
    }

    fn take(&mut self, event: &EventEnvelope) -> bool {
        self.view.apply(event);
        self.last = Some(event.summary.clone());
        match &self.live {
            Some(live) => live.draw(&self.view),
            None => print_line(&self.prefix, event, self.out),
        }
        // The summary may be later than the record: the record with the last effect ends it.
        event.record.effects.contains(&Effect::Finish)
    }

    fn interrupt(&mut self, signal: Signal) {
        if self.stopping.is_some() || self.signal.is_some() && self.view.phase >= Phase::Reverting {
            self.say(&format!(
                "still reverting, {} to go; nothing is lost by waiting, and even if this process is killed its faults are \
                 undone",
                show::faults(self.view.unfinished())
            ));
            return;
        }
        self.signal = Some(signal);
        self.say(&format!("{signal}: stopping and reverting everything"));
        let (client, key) = (self.client.clone(), self.view.key.clone());
        let request = StopRequest { reason: Some(format!("interrupted by {signal}")), interrupted: true };
        self.stopping = Some(Box::pin(async move { client.stop(&key, &request).await }));
    }

    fn stopped(&mut self, outcome: Result<StopResponse, ClientError>) {
        match outcome {
            Ok(response) if response.is_complete() => {
                self.say(&format!("everything reverted, proven after {:.0} ms", response.took_ms));
            }
            Ok(_) => self.say("some undo is not proven: act now"),
            Err(error) => self.say(&format!("the stop failed: {error}; press Ctrl-C to try again")),
        }
    }

    fn say(&self, text: &str) {
        match &self.live {
            Some(live) => live.say(text),
            None => self.out.note(&format!("{}{text}", self.prefix)),
        }
    }
}

/// Says an event on standard error, if it is worth saying.
pub(crate) fn print_line(prefix: &str, event: &EventEnvelope, out: &Output) {
    if let Some(line) = line::of(&event.record).filter(|line| out.verbose > 0 || !line.detail) {
        out.note(&format!("{prefix}{}", line.text));
    }
}

/// The outcome of a stop that was asked for; never without a stop.
async fn ended(stopping: &mut Option<Stopping>) -> Result<StopResponse, ClientError> {
    let Some(stop) = stopping else { return std::future::pending().await };
    let outcome = stop.await;
    *stopping = None;
    outcome
}

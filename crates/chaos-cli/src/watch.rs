//! Watching a run to its end: events in, lines or a live view out, a signal turned into a stop.
//!
//! Owns the loop and what a signal means while it lasts. It never decides a verdict.

mod line;
mod live;
mod view;

use std::pin::Pin;
use std::time::Duration;

use chaos_api::{Client, EventEnvelope, EventsQuery, ExperimentDetail, StopRequest, StopResponse};
use chaos_core::run::{Phase, RunId};
use futures_util::StreamExt as _;

use crate::exit::Failure;
use crate::output::{Output, complain};
use crate::signals::{Signal, Signals};
use live::Live;
use view::View;

/// Time between two drawings of the live view.
const REDRAW_EVERY: Duration = Duration::from_millis(100);
/// A stream that breaks is opened again so often in a row.
const RESUMES_MAX: u32 = 5;
/// Time before it is.
const RESUME_AFTER: Duration = Duration::from_millis(200);

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

type Stopping = Pin<Box<dyn Future<Output = Result<StopResponse, chaos_api::ClientError>> + Send>>;

/// Watches the run until it is finished. A signal asks for a stop and goes on watching until the revert is proven.
///
/// # Errors
/// When the server can't be asked any more: what became of the run is not known then.
pub(crate) async fn follow(
    client: &Client,
    started: &ExperimentDetail,
    run: &RunId,
    signals: &mut Signals,
    out: &Output,
) -> Result<Ended, Failure> {
    let mut watch = Watch {
        client,
        out,
        view: View::new(started),
        live: out.is_live().then(Live::new),
        stopping: None,
        signal: None,
        position: 0,
    };
    let outcome = watch.until_finished(run, signals).await;
    if let Some(live) = watch.live.take() {
        live.clear();
    }
    outcome?;
    let (name, namespace) = (&started.record.name, &started.record.namespace);
    let mut detail = client.experiment(name, namespace).await?;
    if detail.latest.as_ref().is_none_or(|latest| latest.summary.run != *run) {
        let of_run = client.run(name, namespace, run).await?;
        detail.record = detail.record.with_run(&of_run.summary);
        detail.latest = Some(of_run);
    }
    let code = detail.record.exit_code.unwrap_or(crate::exit::INTERNAL);
    let code = match watch.signal {
        Some(signal) if code == 130 => signal.exit_code(),
        _ => code,
    };
    Ok(Ended { detail, code, signal: watch.signal })
}

struct Watch<'w> {
    client: &'w Client,
    out: &'w Output,
    view: View,
    live: Option<Live>,
    stopping: Option<Stopping>,
    signal: Option<Signal>,
    position: u64,
}

impl Watch<'_> {
    async fn until_finished(&mut self, run: &RunId, signals: &mut Signals) -> Result<(), Failure> {
        let mut breaks = 0;
        loop {
            let before = self.position;
            let error = match self.one_stream(run, signals).await {
                Ok(true) => return Ok(()),
                Ok(false) => None,
                Err(error) => Some(error),
            };
            breaks = if self.position > before { 1 } else { breaks + 1 };
            // A run that ended while nobody listened has nothing more to say.
            let name = (self.view.name.as_str(), self.view.namespace.as_str());
            let summary = self.client.run(name.0, name.1, run).await.map(|detail| detail.summary);
            match (summary, error) {
                (Ok(summary), _) if summary.phase == Phase::Finished => return Ok(()),
                (Err(error), _) | (_, Some(error)) if breaks > RESUMES_MAX => return Err(self.lost(error)),
                (Ok(_), None) if breaks > RESUMES_MAX => {
                    return Err(Failure::Other(anyhow::anyhow!("the server closes the stream of events again and again")));
                }
                _ => tokio::time::sleep(RESUME_AFTER).await,
            }
        }
    }

    fn lost(&self, error: chaos_api::ClientError) -> Failure {
        Failure::Other(anyhow::Error::new(error).context(format!(
            "lost sight of {}/{}; if its owner died, every fault is undone within its lease of 15s: `chaos status {0}` tells",
            self.view.namespace, self.view.name
        )))
    }

    /// Reads one stream to its end; true when the run is finished.
    async fn one_stream(&mut self, run: &RunId, signals: &mut Signals) -> Result<bool, chaos_api::ClientError> {
        let query = EventsQuery { after: Some(self.position), run: Some(run.clone()), ..EventsQuery::default() };
        let mut events = Box::pin(self.client.events(&query));
        let mut redraw = tokio::time::interval(REDRAW_EVERY);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    None => return Ok(false),
                    Some(event) => {
                        if self.take(&event?) {
                            return Ok(true);
                        }
                    }
                },
                signal = signals.next() => self.interrupt(signal),
                Some(stopped) = ended(&mut self.stopping) => self.stopped(stopped),
                _ = redraw.tick() => if let Some(live) = &mut self.live {
                    live.draw(&self.view);
                },
            }
        }
    }

    fn take(&mut self, event: &EventEnvelope) -> bool {
        self.position = event.position;
        self.view.apply(event);
        let line = line::of(&event.record);
        match &mut self.live {
            Some(live) => live.draw(&self.view),
            None if self.out.quiet => {}
            None => {
                if let Some(line) = line.filter(|line| self.out.verbose > 0 || !line.detail) {
                    complain(&line.text);
                }
            }
        }
        // The summary may be later than the record: the record with the last effect ends it.
        event.record.effects.iter().any(|effect| matches!(effect, chaos_core::run::Effect::Finish))
    }

    fn interrupt(&mut self, signal: Signal) {
        if self.stopping.is_some() || self.signal.is_some() && self.view.phase >= Phase::Reverting {
            self.say(&format!(
                "still reverting {} of {} faults; nothing is lost by waiting, and even if this process is killed \
                 its faults are undone",
                self.view.unfinished(),
                self.view.injections.len()
            ));
            return;
        }
        self.signal = Some(signal);
        self.say(&format!("{signal}: stopping and reverting everything"));
        let (client, name, namespace) = (self.client.clone(), self.view.name.clone(), self.view.namespace.clone());
        let request = StopRequest { reason: Some(format!("interrupted by {signal}")), interrupted: true };
        self.stopping = Some(Box::pin(async move { client.stop(&name, &namespace, &request).await }));
    }

    fn stopped(&mut self, outcome: Result<StopResponse, chaos_api::ClientError>) {
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
            None => self.out.note(text),
        }
    }
}

/// The outcome of a stop that was asked for, once there is one; never without a stop.
async fn ended(stopping: &mut Option<Stopping>) -> Option<Result<StopResponse, chaos_api::ClientError>> {
    match stopping {
        None => std::future::pending().await,
        Some(stop) => {
            let outcome = stop.await;
            *stopping = None;
            Some(outcome)
        }
    }
}

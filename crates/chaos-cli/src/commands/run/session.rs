//! The runs of one command: one after the other, each watched, then the end of the service in this process.
//!
//! Owns their order and their exit code. How one is watched is [`crate::watch`]'s.

use chaos_api::{CreateQuery, ExperimentDetail};
use chaos_core::duration::Span;
use chaos_core::run::Verdict;
use chaos_core::spec::Experiment;

use super::RunArgs;
use crate::config::Settings;
use crate::connect::{ATTEMPT_PAUSE, ATTEMPTS_MAX, Connection};
use crate::exit::{self, Failure};
use crate::output::{self, Output, or_dash};
use crate::show;
use crate::signals::Signals;
use crate::watch::{self, Ended};

/// One command and everything it works with.
pub(super) struct Session<'s> {
    pub(super) args: &'s RunArgs,
    pub(super) settings: &'s Settings,
    pub(super) connection: Connection,
    pub(super) query: CreateQuery,
    pub(super) signals: Signals,
    pub(super) out: &'s Output,
}

impl Session<'_> {
    /// One after the other, until a signal ends it; the exit code is the worst.
    pub(super) async fn run_all(&mut self, documents: Vec<Experiment>) -> Result<u8, Failure> {
        let several = documents.len() > 1;
        let (mut codes, mut details) = (Vec::new(), Vec::new());
        for document in documents {
            let key = document.key();
            match self.run_one(document).await {
                Ok(Ended { detail, code, signal }) => {
                    codes.push(self.judge(detail.record.verdict, code));
                    if several && self.out.for_people() {
                        let text = format!("{}\n\n", show::experiment(&detail, self.out));
                        codes.push(exit::after_printing(self.out.text(&text), 0));
                    }
                    details.push(detail);
                    if signal.is_some() {
                        break;
                    }
                }
                Err(failure) if several => {
                    codes.push(self.judge(None, failure.code()));
                    output::complain(&format!("{key}: {failure}"));
                }
                Err(failure) => return Err(failure),
            }
        }
        let printed = match details.as_slice() {
            [one] if !several => self.out.record(one, || show::experiment(one, self.out)),
            _ => self.out.list(&details, || verdicts(&details)),
        };
        Ok(exit::after_printing(printed, exit::worst(codes)))
    }

    fn judge(&self, verdict: Option<Verdict>, code: u8) -> u8 {
        self.args.expect.map_or(code, |expected| expected.judge(verdict, code))
    }

    async fn run_one(&mut self, document: Experiment) -> Result<Ended, Failure> {
        let started = self.start(document).await?;
        let run = started.record.run.clone().ok_or_else(|| anyhow::anyhow!("the server started no run"))?;
        self.out.note(&format!("{} is run {run}", started.record.key()));
        watch::follow(&self.connection.client, &started, &run, &mut self.signals, self.out).await
    }

    /// Starts a run. An owner that ends just now is left for the next one, which may be this process.
    async fn start(&mut self, document: Experiment) -> Result<ExperimentDetail, Failure> {
        // What the gates say comes as events: nobody has to wait for the answer.
        let query = CreateQuery { wait: Some(Span::default()), ..self.query.clone() };
        let body = document.into();
        for _ in 0..ATTEMPTS_MAX {
            match self.connection.client.create(&body, &query).await {
                Err(error) if self.connection.has_lost_owner(&error) => {
                    tokio::time::sleep(ATTEMPT_PAUSE).await;
                    self.connection = Connection::open(self.settings, self.args.standalone, self.out).await?;
                }
                started => return Ok(started?),
            }
        }
        Ok(self.connection.client.create(&body, &query).await?)
    }

    /// Ends the service in this process. Runs that other terminals started here go on to their end, or to the next
    /// signal.
    pub(super) async fn end(mut self) {
        let active = self.connection.active_runs();
        if active > 0 {
            self.out.note(&format!(
                "runs of other terminals go on in this process until they end ({active}); Ctrl-C stops them too"
            ));
            tokio::select! {
                () = self.connection.finished_all_runs() => {}
                signal = self.signals.next() => {
                    self.out.note(&format!("{signal}: stopping and reverting everything"));
                }
            }
        }
        self.connection.close().await;
    }
}

/// The table of several runs.
fn verdicts(details: &[ExperimentDetail]) -> String {
    let rows = details.iter().map(|detail| {
        let record = &detail.record;
        vec![
            record.name.clone(),
            record.namespace.clone(),
            record.kind.clone(),
            or_dash(record.verdict),
            or_dash(record.duration_seconds.map(output::seconds)),
            or_dash(record.reason.as_deref()),
        ]
    });
    output::table(&["NAME", "NAMESPACE", "TYPE", "VERDICT", "DURATION", "REASON"], rows)
}

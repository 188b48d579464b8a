//! The runs of one command: in order, some at a time, each watched, then the end of the service in this process.
//!
//! Owns their order and their exit code. How one is watched is [`crate::watch`]'s.

use std::collections::{BTreeSet, VecDeque};

use chaos_api::{Client, CreateQuery, ExperimentDetail};
use chaos_core::duration::Span;
use chaos_core::run::{RunId, Verdict};
use chaos_core::spec::Experiment;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::{OnDeviation, RunArgs};
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
    /// The suite, until a signal or a deviation ends it; the exit code is the worst.
    pub(super) async fn run_all(&mut self, documents: Vec<Experiment>) -> Result<u8, Failure> {
        let several = documents.len() > 1;
        let mut suite = Suite::new(documents, usize::from(self.args.parallel));
        let alone = suite.is_alone();
        let mut watched = FuturesUnordered::new();
        loop {
            while let Some(document) = suite.next() {
                let (key, target) = (document.key(), target_of(&document));
                match self
                    .start(document)
                    .await
                    .and_then(|started| run_of(&started).map(|run| (started, run)))
                {
                    Ok((started, run)) => {
                        self.out.note(&format!("{key} is run {run}"));
                        let (signals, client) = (Signals::new()?, self.connection.client.clone());
                        watched.push(watch_one(client, self.out, signals, started, run, target, alone));
                    }
                    Err(failure) if several => {
                        let code = self.judge(None, failure.code());
                        output::complain(&format!("{key}: {failure}"));
                        suite.ended(&target, code, self.ends_at(code));
                    }
                    Err(failure) => return Err(failure),
                }
            }
            let Some((target, ended)) = watched.next().await else { break };
            match ended {
                Ok(Ended { detail, code, signal }) => {
                    let code = self.judge(detail.record.verdict, code);
                    if several && self.out.for_people() {
                        let text = format!("{}\n\n", show::experiment(&detail, self.out));
                        suite.codes.push(exit::after_printing(self.out.text(&text), 0));
                    }
                    suite.ended(&target, code, signal.is_some() || self.ends_at(code));
                    suite.details.push(detail);
                }
                Err(failure) if several => {
                    output::complain(&failure.to_string());
                    suite.ended(&target, self.judge(None, failure.code()), false);
                }
                Err(failure) => return Err(failure),
            }
        }
        drop(watched);
        let Suite { details, codes, .. } = suite;
        let printed = match details.as_slice() {
            [one] if !several => self.out.record(one, || show::experiment(one, self.out)),
            _ => self.out.list(&details, || verdicts(&details)),
        };
        Ok(exit::after_printing(printed, exit::worst(codes)))
    }

    /// Does a run with this exit code end the suite?
    fn ends_at(&self, code: u8) -> bool {
        code != 0 && self.args.on_deviation == OnDeviation::Stop
    }

    fn judge(&self, verdict: Option<Verdict>, code: u8) -> u8 {
        self.args.expect.map_or(code, |expected| expected.judge(verdict, code))
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

/// Documents on their way through one command.
struct Suite {
    waiting: VecDeque<Experiment>,
    /// Targets of the runs that are watched.
    busy: BTreeSet<String>,
    /// How many are watched at most.
    parallel: usize,
    details: Vec<ExperimentDetail>,
    codes: Vec<u8>,
}

impl Suite {
    fn new(documents: Vec<Experiment>, parallel: usize) -> Self {
        Self {
            waiting: documents.into(),
            busy: BTreeSet::new(),
            parallel,
            details: Vec::new(),
            codes: Vec::new(),
        }
    }

    /// Never more than one at a time.
    fn is_alone(&self) -> bool {
        self.parallel.min(self.waiting.len()) <= 1
    }

    /// The next document whose target nobody works on, when there is room.
    fn next(&mut self) -> Option<Experiment> {
        if self.busy.len() >= self.parallel {
            return None;
        }
        let free = self.waiting.iter().position(|one| !self.busy.contains(&target_of(one)))?;
        let document = self.waiting.remove(free)?;
        self.busy.insert(target_of(&document));
        Some(document)
    }

    fn ended(&mut self, target: &str, code: u8, is_last: bool) {
        self.busy.remove(target);
        self.codes.push(code);
        if is_last {
            self.waiting.clear();
        }
    }
}

/// Watches a run to its end, beside others unless it is `alone`; its target comes back with it.
async fn watch_one(
    client: Client,
    out: &Output,
    mut signals: Signals,
    started: ExperimentDetail,
    run: RunId,
    target: String,
    alone: bool,
) -> (String, Result<Ended, Failure>) {
    let ended = watch::follow(&client, &started, &run, &mut signals, out, alone).await;
    (target, ended)
}

/// What a document hits, in words: two that say the same never run at the same time.
fn target_of(document: &Experiment) -> String {
    document.spec.target.host.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn run_of(started: &ExperimentDetail) -> Result<RunId, Failure> {
    let run = started.record.run.clone();
    run.ok_or_else(|| Failure::Other(anyhow::anyhow!("the server started no run")))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn document(name: &str, app: &str) -> Experiment {
        let text = format!(
            "apiVersion: chaos.engineering/v1\nkind: Experiment\nmetadata: {{ name: {name} }}\n\
             spec: {{ target: {{ host: {{ app: {app} }} }}, faults: [ {{ process_pause: {{}} }} ] }}"
        );
        chaos_core::spec::parse_documents(&text).expect("valid").remove(0)
    }

    fn names(suite: &mut Suite) -> Vec<String> {
        std::iter::from_fn(|| suite.next()).map(|one| one.metadata.name).collect()
    }

    #[test]
    fn a_suite_never_works_twice_on_one_target_and_keeps_the_order_else() {
        let documents = [("a", "one"), ("b", "one"), ("c", "two"), ("d", "three")];
        let mut suite = Suite::new(documents.map(|(name, app)| document(name, app)).to_vec(), 2);
        assert_eq!(names(&mut suite), ["a", "c"]);
        suite.ended("app \"two\"", 0, false);
        assert_eq!(names(&mut suite), ["d"], "b waits for a");
        suite.ended("app \"one\"", 0, false);
        assert_eq!(names(&mut suite), ["b"]);
    }

    #[test]
    fn the_last_run_of_a_suite_that_ends_early_lets_nothing_follow() {
        let mut suite = Suite::new(vec![document("a", "one"), document("b", "two")], 1);
        assert_eq!(names(&mut suite), ["a"]);
        suite.ended("app \"one\"", 3, true);
        assert!(names(&mut suite).is_empty());
        assert_eq!(suite.codes, [3]);
    }
}

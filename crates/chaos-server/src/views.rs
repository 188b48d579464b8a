//! Experiments and runs as they are shown: what is on disk, and of active runs what the engine has in memory.
//!
//! Owns how both are merged. It never changes anything.

use chaos_api::{ExperimentDetail, ExperimentRecord, RunDetail};
use chaos_core::journal::{Record, RunHeader, RunSummary};
use chaos_core::port::StoreError;
use chaos_core::run::{Phase, RunId, RunState};
use chaos_core::safety::document_hash;
use chaos_core::spec::{Experiment, ExperimentKey};
use chaos_engine::RunSnapshot;
use chaos_store::{ExperimentLine, ExperimentRow, PAGE_MAX};

use crate::app::App;
use crate::error::ApiError;

impl App {
    /// The active run of that id.
    pub(crate) fn active(&self, run: &RunId) -> Option<RunSnapshot> {
        self.engine.active().into_iter().find(|snapshot| snapshot.header.run == *run)
    }

    /// The experiment of that name.
    pub(crate) async fn row(&self, key: &ExperimentKey) -> Result<ExperimentRow, ApiError> {
        let row = self.store.experiment(key).await?;
        row.ok_or_else(|| ApiError::not_found(format!("no experiment {key}")))
    }

    /// A row of a list.
    pub(crate) fn record_of_line(&self, line: &ExperimentLine, active: &[RunSnapshot]) -> ExperimentRecord {
        let registered = ExperimentRecord::registered(
            line.key.clone(),
            line.kind.clone(),
            line.target.clone(),
            line.labels.clone(),
            line.registered_at,
        );
        match self.latest(&line.key, line.latest.as_ref(), active) {
            Some(latest) => registered.with_run(&latest),
            None => registered,
        }
    }

    /// The same of an experiment with its document.
    fn record(&self, row: &ExperimentRow, active: &[RunSnapshot]) -> ExperimentRecord {
        let latest = self.latest(&row.key, row.latest.as_ref(), active);
        ExperimentRecord::of(&row.document, row.registered_at, latest.as_ref())
    }

    /// The latest run: as the engine has it when it is active, else as it is on disk. The end of a run is on disk, and
    /// may be known, a moment before the engine shows it.
    fn latest(
        &self,
        key: &ExperimentKey,
        stored: Option<&RunSummary>,
        active: &[RunSnapshot],
    ) -> Option<RunSummary> {
        let ended = stored.filter(|summary| summary.phase == Phase::Finished).map(|summary| &summary.run);
        let goes_on = |snapshot: &&RunSnapshot| {
            snapshot.header.key() == *key && ended.is_none_or(|run| *run != snapshot.header.run)
        };
        let latest = active.iter().find(goes_on).map(|snapshot| &snapshot.summary).or(stored);
        latest.map(|summary| self.until_now(summary.clone()))
    }

    /// A summary is of the latest record; the time of a run goes on meanwhile.
    pub(crate) fn until_now(&self, mut summary: RunSummary) -> RunSummary {
        if summary.phase != Phase::Finished {
            let passed = self.clock().now().duration_since(summary.created_at).as_secs_f64();
            summary.duration_seconds = summary.duration_seconds.max(passed);
        }
        summary
    }

    /// One experiment, whole.
    pub(crate) async fn detail(&self, key: &ExperimentKey) -> Result<ExperimentDetail, ApiError> {
        let active: Vec<RunSnapshot> = self.engine.active_run(key).into_iter().collect();
        let row = self.row(key).await?;
        let mut record = self.record(&row, &active);
        let latest = match &record.run {
            Some(run) => Some(self.run_detail(key, run).await?),
            None => None,
        };
        if let Some(latest) = &latest {
            record = record.with_run(&latest.summary);
        }
        let mut document = row.document;
        let document_hash = document_hash(&document);
        without_secrets(&mut document);
        Ok(ExperimentDetail { record, document, document_hash, latest })
    }

    /// One run, whole.
    pub(crate) async fn run_detail(&self, key: &ExperimentKey, run: &RunId) -> Result<RunDetail, ApiError> {
        let (header, summary) = self.stored_run(key, run).await?;
        let is_over = summary.phase == Phase::Finished;
        if let Some(snapshot) = self.active(run).filter(|_| !is_over) {
            return Ok(shown(RunDetail::of(
                &snapshot.header,
                &snapshot.state,
                self.until_now(snapshot.summary),
            )));
        }
        let state = self.replay(&header).await?;
        Ok(shown(RunDetail::of(&header, &state, self.until_now(summary))))
    }

    /// Header and summary of a run of this experiment.
    pub(crate) async fn stored_run(
        &self,
        key: &ExperimentKey,
        run: &RunId,
    ) -> Result<(RunHeader, RunSummary), ApiError> {
        let stored = self.store.run(run).await?.filter(|(header, _)| header.key() == *key);
        stored.ok_or_else(|| ApiError::not_found(format!("no run {run} of {key}")))
    }

    /// The state after a whole journal, a page at a time.
    async fn replay(&self, header: &RunHeader) -> Result<RunState, ApiError> {
        let (mut state, mut after) = (RunState::new(header), 0);
        loop {
            let page = self.store.records(&header.run, after, PAGE_MAX).await?;
            let Some(last) = page.last() else { return Ok(state) };
            after = last.seq;
            for record in page {
                state
                    .step(header, record.elapsed_ms, record.event)
                    .map_err(|error| ApiError::internal("the journal is not readable", &error))?;
            }
        }
    }

    /// A whole journal.
    pub(crate) async fn journal(&self, run: &RunId) -> Result<Vec<Record>, StoreError> {
        let mut records: Vec<Record> = Vec::new();
        loop {
            let page =
                self.store.records(run, records.last().map_or(0, |record| record.seq), PAGE_MAX).await?;
            if page.is_empty() {
                return Ok(records);
            }
            records.extend(page);
        }
    }
}

/// What stands for a value that is not shown, as in reports.
const HIDDEN: &str = "REDACTED";

/// Hides what a document may hold of secrets: header values and bodies of probes. What is on disk keeps them, so that
/// the experiment can be started again.
pub(crate) fn without_secrets(document: &mut Experiment) {
    for probe in &mut document.spec.probes {
        let mut headers: Vec<&mut String> = Vec::new();
        if let Some(http) = &mut probe.http {
            headers.extend(http.headers.values_mut());
            headers.extend(http.expect.headers.values_mut());
            headers.extend(http.body.as_mut());
        }
        if let Some(load) = &mut probe.load {
            headers.extend(load.expect.headers.values_mut());
        }
        headers.into_iter().for_each(|value| HIDDEN.clone_into(value));
    }
}

fn shown(mut run: RunDetail) -> RunDetail {
    without_secrets(&mut run.header.experiment);
    run
}

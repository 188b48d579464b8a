//! One method for each route.
//!
//! Owns nothing but the pairing of an operation with the types of its question and answer.

use chaos_core::journal::{Record, RunSummary};
use chaos_core::link::HostInfo;
use chaos_core::run::RunId;
use chaos_core::spec::{Experiment, ExperimentKey};
use futures_util::Stream;
use reqwest::{RequestBuilder, header};

use super::sse::{self, Subscription};
use super::{Client, ClientError, Page};
use crate::{
    CreateQuery, DeleteQuery, DryRun, EventEnvelope, EventsQuery, ExperimentBody, ExperimentDetail,
    ExperimentRecord, FaultDescription, HealthQuery, JournalQuery, ListQuery, Live, NamespaceQuery,
    Operation, ReportFormat, ReportQuery, RunDetail, RunsQuery, StopRequest, StopResponse, SystemHealth,
    TargetsPreview, TargetsQuery,
};

/// Rows that are asked for at a time when all are wanted.
const PAGE_ROWS: u32 = 1000;

impl Client {
    /// The process answers, and says who it is.
    ///
    /// # Errors
    /// [`ClientError`], as for every method of this type.
    pub async fn live(&self) -> Result<Live, ClientError> {
        self.json(self.request(Operation::GetLive, "", None)).await
    }

    /// Runs can be started.
    ///
    /// # Errors
    /// [`ClientError`], with the problem when they can't.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.send(self.request(Operation::GetReady, "", None)).await.map(drop)
    }

    /// Creates an experiment and starts it, or only registers it with `start: Some(false)`.
    ///
    /// # Errors
    /// [`ClientError`]; the problem says what is wrong with the document, or what blocked the start.
    pub async fn create(
        &self,
        body: &ExperimentBody,
        query: &CreateQuery,
    ) -> Result<ExperimentDetail, ClientError> {
        let query = CreateQuery { dry_run: None, ..query.clone() };
        self.json(self.request(Operation::CreateExperiment, "", None).query(&query).json(body)).await
    }

    /// What a create would do; nothing is changed or written.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn dry_run(&self, body: &ExperimentBody, query: &CreateQuery) -> Result<DryRun, ClientError> {
        let query = CreateQuery { dry_run: Some(true), ..query.clone() };
        self.json(self.request(Operation::CreateExperiment, "", None).query(&query).json(body)).await
    }

    /// Starts an experiment again with its latest document.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn start_run(
        &self,
        key: &ExperimentKey,
        query: &CreateQuery,
    ) -> Result<ExperimentDetail, ClientError> {
        let query = CreateQuery { namespace: Some(key.namespace.clone()), dry_run: None, ..query.clone() };
        self.json(self.request(Operation::StartRun, &key.name, None).query(&query)).await
    }

    /// One page of experiments.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn list_page(&self, query: &ListQuery) -> Result<Page<ExperimentRecord>, ClientError> {
        self.page(self.request(Operation::ListExperiments, "", None).query(query)).await
    }

    /// Every experiment that the filters of `query` let through.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn list(&self, query: &ListQuery) -> Result<Vec<ExperimentRecord>, ClientError> {
        let mut query = ListQuery { limit: query.limit.or(Some(PAGE_ROWS)), ..query.clone() };
        let mut all = Vec::new();
        loop {
            let page = self.list_page(&query).await?;
            all.extend(page.items);
            query.cursor = page.next;
            if query.cursor.is_none() {
                return Ok(all);
            }
        }
    }

    /// One experiment with its latest run.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get(&self, key: &ExperimentKey) -> Result<ExperimentDetail, ClientError> {
        self.json(self.of(Operation::GetExperiment, key, None)).await
    }

    /// Stops and reverts what is active, then deletes the experiment and its runs.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete(
        &self,
        key: &ExperimentKey,
        reason: Option<&str>,
    ) -> Result<StopResponse, ClientError> {
        let query = DeleteQuery { namespace: Some(key.namespace.clone()), reason: reason.map(str::to_owned) };
        self.json(self.request(Operation::DeleteExperiment, &key.name, None).query(&query)).await
    }

    /// Emergency stop of one experiment; returns when every fault is proven reverted or named.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stop(
        &self,
        key: &ExperimentKey,
        request: &StopRequest,
    ) -> Result<StopResponse, ClientError> {
        self.json(self.of(Operation::StopExperiment, key, None).json(request)).await
    }

    /// Emergency stop of everything; returns when every fault is proven reverted or named.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stop_all(&self, request: &StopRequest) -> Result<StopResponse, ClientError> {
        self.json(self.request(Operation::StopAll, "", None).json(request)).await
    }

    /// Runs of an experiment, the latest first, one page of at most `limit`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn runs(
        &self,
        key: &ExperimentKey,
        limit: Option<u32>,
        cursor: Option<String>,
    ) -> Result<Page<RunSummary>, ClientError> {
        let query = RunsQuery { namespace: Some(key.namespace.clone()), limit, cursor };
        self.page(self.request(Operation::ListRuns, &key.name, None).query(&query)).await
    }

    /// One run.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn run(&self, key: &ExperimentKey, run: &RunId) -> Result<RunDetail, ClientError> {
        self.json(self.of(Operation::GetRun, key, Some(run))).await
    }

    /// The whole journal of a run, or what comes after a `seq`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn journal(
        &self,
        key: &ExperimentKey,
        run: &RunId,
        after: u64,
    ) -> Result<Vec<Record>, ClientError> {
        let mut records: Vec<Record> = Vec::new();
        loop {
            let after = records.last().map_or(after, |record| record.seq);
            let query = JournalQuery {
                namespace: Some(key.namespace.clone()),
                after: Some(after),
                limit: Some(PAGE_ROWS),
            };
            let request = self.request(Operation::GetRunEvents, &key.name, Some(run)).query(&query);
            let page: Vec<Record> = self.json(request.header(header::ACCEPT, "application/json")).await?;
            if page.is_empty() {
                return Ok(records);
            }
            records.extend(page);
        }
    }

    /// The report of a run.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn report(
        &self,
        key: &ExperimentKey,
        run: &RunId,
        format: ReportFormat,
    ) -> Result<String, ClientError> {
        let query = ReportQuery { namespace: Some(key.namespace.clone()), format: Some(format) };
        self.text(self.request(Operation::GetRunReport, &key.name, Some(run)).query(&query)).await
    }

    /// Health score and signals, with the readiness of `app`, or of the configured one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn system_health(&self, app: Option<&str>) -> Result<SystemHealth, ClientError> {
        let query = HealthQuery { app: app.map(str::to_owned) };
        self.json(self.request(Operation::GetSystemHealth, "", None).query(&query)).await
    }

    /// The catalogue of faults.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn faults(&self) -> Result<Vec<FaultDescription>, ClientError> {
        self.json(self.request(Operation::ListFaults, "", None)).await
    }

    /// What could be hit.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn targets(&self, query: &TargetsQuery) -> Result<TargetsPreview, ClientError> {
        self.json(self.request(Operation::PreviewTargets, "", None).query(query)).await
    }

    /// Every host that is or was connected.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn agents(&self) -> Result<Vec<HostInfo>, ClientError> {
        self.json(self.request(Operation::ListAgents, "", None)).await
    }

    /// Metrics, as Prometheus reads them.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn metrics(&self) -> Result<String, ClientError> {
        self.text(self.request(Operation::GetMetrics, "", None)).await
    }

    /// Events that are committed from now on, or after a position, of all runs or of one. It goes on after a broken
    /// connection without loss; it ends with the run when one is asked for, else only with an error.
    pub fn events(
        &self,
        query: EventsQuery,
    ) -> impl Stream<Item = Result<(u64, EventEnvelope), ClientError>> + Send + 'static {
        sse::stream(Subscription::new(self.clone(), query))
    }

    /// A stream's request: no limit on its length, one on its silence.
    pub(super) fn events_request(&self, query: &EventsQuery, last: Option<u64>) -> RequestBuilder {
        let request = self.request(Operation::StreamEvents, "", None).query(query);
        let request = request.header(header::ACCEPT, "text/event-stream");
        match last {
            Some(position) => request.header("last-event-id", position),
            None => request,
        }
    }

    pub(super) fn of(
        &self,
        operation: Operation,
        key: &ExperimentKey,
        run: Option<&RunId>,
    ) -> RequestBuilder {
        let query = NamespaceQuery { namespace: Some(key.namespace.clone()) };
        self.request(operation, &key.name, run).query(&query)
    }
}

impl From<Experiment> for ExperimentBody {
    fn from(document: Experiment) -> Self {
        Self::Document(Box::new(document))
    }
}

//! Server-sent events, read from the journal on disk: nothing is lost or sent twice, however slow the reader or long
//! the break. The store's position only says when to look again.
//!
//! Owns the streams. An event's `id` is its position among the records of all runs.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use chaos_api::{EventEnvelope, EventsQuery, ProblemCode};
use chaos_core::journal::RunSummary;
use chaos_core::port::StoreError;
use chaos_core::run::{Phase, RunId};
use chaos_store::StoredEvent;
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::access::Caller;
use crate::app::App;
use crate::error::ApiError;
use crate::extract::Params;
use crate::limits::{KEEP_ALIVE, STREAM_PAGE, STREAMS_MAX};

/// `event:` after the last record of a run that was asked for.
const END: &str = "end";
/// `event:` that only says how far the stream has read, when nothing on the way was asked for.
const POSITION: &str = "position";

/// `GET /api/v1/events`.
pub(super) async fn all(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Params(query): Params<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    stream(app, caller, query, &headers).await
}

/// A stream of what `query` asks for.
pub(super) async fn stream(
    app: Arc<App>,
    caller: Caller,
    query: EventsQuery,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let permit = Arc::clone(&app.streams).try_acquire_owned().map_err(|_| {
        ApiError::new(
            ProblemCode::QueueFull,
            format!("{STREAMS_MAX} event streams are open, which is the limit"),
        )
    })?;
    if let Some(run) = &query.run
        && app.store.run(run).await?.is_none()
    {
        return Err(ApiError::not_found(format!("no run {run}")));
    }
    let positions = app.store.positions();
    let after = match (last_event_id(headers)?.or(query.after), &query.run) {
        (Some(position), _) => position,
        (None, Some(run)) => app.start_of(run),
        (None, None) => app.store.latest_position().await?,
    };
    let reader = Reader {
        app,
        caller,
        query,
        positions,
        after,
        waiting: VecDeque::new(),
        over: false,
        _permit: permit,
    };
    let events = stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("keep-alive");
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let position = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    position.map(Some).ok_or_else(|| ApiError::bad_request("Last-Event-ID is no position of this stream"))
}

struct Reader {
    app: Arc<App>,
    caller: Caller,
    query: EventsQuery,
    positions: watch::Receiver<u64>,
    after: u64,
    waiting: VecDeque<Event>,
    over: bool,
    _permit: OwnedSemaphorePermit,
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            // Seen before the journal is read, so that what is written meanwhile is looked for again.
            self.positions.borrow_and_update();
            let ended = self.app.ended.is_cancelled();
            match self.read().await {
                Ok(true) => {}
                Ok(false) if ended => self.over = true,
                Ok(false) => self.wait().await,
                Err(error) => {
                    // The reader comes back with the last position that it has.
                    tracing::error!("{error}");
                    self.over = true;
                }
            }
        }
    }

    /// Reads a page; `false` when there was nothing.
    async fn read(&mut self) -> Result<bool, StoreError> {
        let finished = self.is_finished().await?;
        let page = self.app.store.events_after(self.after, STREAM_PAGE).await?;
        let Some(last) = page.last() else {
            if finished {
                // Asked before the page was read: no record can come after the last.
                self.waiting.push_back(Event::default().event(END).data("{}"));
                self.over = true;
            }
            return Ok(finished);
        };
        self.after = last.position;
        let mut summaries = BTreeMap::new();
        for stored in page {
            if self.is_asked_for(&stored)
                && let Some(summary) = self.summary(&mut summaries, &stored.run).await?
            {
                self.waiting.push_back(event(stored, summary));
            }
        }
        if self.waiting.is_empty() {
            self.waiting.push_back(Event::default().event(POSITION).id(self.after.to_string()).data("{}"));
        }
        Ok(true)
    }

    /// The one run that was asked for has its outcome on disk, or is deleted.
    async fn is_finished(&self) -> Result<bool, StoreError> {
        let Some(run) = &self.query.run else { return Ok(false) };
        Ok(self.app.store.run(run).await?.is_none_or(|(_, summary)| summary.phase == Phase::Finished))
    }

    fn is_asked_for(&self, stored: &StoredEvent) -> bool {
        let EventsQuery { run, name, namespace, .. } = &self.query;
        run.as_ref().is_none_or(|run| *run == stored.run)
            && name.as_ref().is_none_or(|name| *name == stored.experiment.name)
            && namespace.as_ref().is_none_or(|namespace| *namespace == stored.experiment.namespace)
    }

    /// The run as it is now; `None` when it was deleted meanwhile.
    async fn summary(
        &self,
        known: &mut BTreeMap<RunId, Option<RunSummary>>,
        run: &RunId,
    ) -> Result<Option<RunSummary>, StoreError> {
        if let Some(summary) = known.get(run) {
            return Ok(summary.clone());
        }
        let summary = self.app.store.run(run).await?.map(|(_, summary)| summary);
        known.insert(run.clone(), summary.clone());
        Ok(summary)
    }

    async fn wait(&mut self) {
        let token_over = self.app.tokens.over(self.caller.token.as_deref(), self.app.clock().now());
        tokio::select! {
            biased;
            () = token_over => self.over = true,
            changed = self.positions.changed() => self.over |= changed.is_err(),
            () = self.app.ended.cancelled() => {}
        }
    }
}

fn event(stored: StoredEvent, summary: RunSummary) -> Event {
    let envelope = EventEnvelope {
        position: stored.position,
        run: stored.run,
        name: stored.experiment.name,
        namespace: stored.experiment.namespace,
        record: stored.record,
        summary,
    };
    let data = serde_json::to_string(&envelope).unwrap_or_default();
    Event::default().event(EventEnvelope::NAME).id(envelope.position.to_string()).data(data)
}

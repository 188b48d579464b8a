//! Owns the way of one request to a replica and back: attempts, timeouts, retries within the budget. It
//! never changes what a replica answered.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Json,
    body::Bytes,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use reqwest::Client;
use serde_json::json;
use tokio::{
    sync::Semaphore,
    time::{sleep_until, timeout},
};

use super::{
    fleet::{Choice, Fleet},
    metrics::Metrics,
};
use crate::{budget::Budget, config::Tuning};

/// Attempts at different replicas for one request.
const ATTEMPTS: usize = 3;

/// Requests under way at the same time; one more is refused.
const IN_FLIGHT: usize = 512;

/// A timer this late says that the balancer itself had no processor: answers may lie there unread.
const STALLED: Duration = Duration::from_millis(20);

/// Sends requests on to the replicas.
pub(super) struct Forwarder {
    fleet: Arc<Fleet>,
    client: Client,
    in_flight: Semaphore,
    budget: Mutex<Budget>,
    attempt_timeout: Duration,
    slow_call: Duration,
    metrics: Arc<Metrics>,
}

/// A replica's answer.
struct Answer {
    code: StatusCode,
    body: Bytes,
}

/// Why an attempt gave no answer worth passing on.
enum Failure {
    /// It said that it can't (5xx); this is passed on when nobody else can be asked.
    Refused(Answer),
    /// No connection, or it broke.
    Broken,
    /// Nothing within the time of an attempt.
    Silent,
    /// Its circuit opened meanwhile; another attempt is possible and already paid for.
    Moved,
}

impl Forwarder {
    pub(super) fn new(fleet: Arc<Fleet>, client: Client, tuning: &Tuning, metrics: Arc<Metrics>) -> Self {
        Self {
            fleet,
            client,
            in_flight: Semaphore::new(IN_FLIGHT),
            budget: Mutex::new(Budget::new(tuning.retry_percent)),
            attempt_timeout: tuning.attempt_timeout,
            slow_call: tuning.slow_call,
            metrics,
        }
    }

    /// Gets `path` from some replica.
    pub(super) async fn forward(&self, path: &str) -> Response {
        let began = Instant::now();
        self.budget().deposit();
        let response = match self.in_flight.try_acquire() {
            Ok(_permit) => self.retrying(path).await,
            Err(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, "too many requests under way"),
        };
        self.metrics.request(response.status(), began.elapsed());
        response
    }

    async fn retrying(&self, path: &str) -> Response {
        let mut tried = Vec::with_capacity(ATTEMPTS);
        let mut last = None;
        while tried.len() < ATTEMPTS {
            let Some(choice) = self.fleet.choose(&tried) else { break };
            let paid = matches!(last, None | Some((Failure::Moved, _)));
            if !paid && !self.pay() {
                self.metrics.retries_denied.inc();
                break;
            }
            let replica = choice.slot.index;
            tried.push(replica);
            match self.attempt(choice, path, &tried).await {
                Ok(answer) => return answered(answer, replica, tried.len()),
                Err(failure) => last = Some((failure, replica)),
            }
        }
        match last {
            None => refusal(StatusCode::SERVICE_UNAVAILABLE, "no replica in rotation"),
            Some((Failure::Refused(answer), replica)) => answered(answer, replica, tried.len()),
            Some((Failure::Broken, _)) => refusal(StatusCode::BAD_GATEWAY, "the replica broke off"),
            Some((Failure::Silent | Failure::Moved, _)) => {
                refusal(StatusCode::GATEWAY_TIMEOUT, "the replica did not answer")
            }
        }
    }

    /// One attempt. A call that is merely slow is reported to the circuit at once, and goes on: when enough
    /// of them open it, the calls that hang on this replica move on together instead of one by one at their
    /// timeouts. They move only where somebody else can take them and the budget pays: giving up what may
    /// yet be answered would make an outage of a moment's overload.
    async fn attempt(&self, mut choice: Choice, path: &str, tried: &[u16]) -> Result<Answer, Failure> {
        let url = format!("http://127.0.0.1:{}{path}", choice.port);
        let call = timeout(self.attempt_timeout, call(&self.client, url));
        let mut slow_at = tokio::time::Instant::now() + self.slow_call;
        tokio::pin!(call);
        let mut ticket = choice.ticket;
        let mut unsuspected = ticket.is_some();
        let mut watched = ticket.is_some();
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut call => break outcome.unwrap_or(Err(Failure::Silent)),
                _ = choice.openings.changed(), if watched => {
                    watched = false;
                    if tried.len() < ATTEMPTS && self.fleet.has_other(tried) && self.pay() {
                        break Err(Failure::Moved);
                    }
                }
                () = sleep_until(slow_at), if unsuspected => {
                    if slow_at.elapsed() > STALLED {
                        slow_at = tokio::time::Instant::now() + STALLED;
                        continue;
                    }
                    unsuspected = false;
                    if self.fleet.may_suspect() {
                        choice.slot.report(ticket.take(), false);
                    }
                }
            }
        };
        match &outcome {
            // A full queue is another matter than a broken replica: opening its circuit would only push its
            // load on to the next.
            Err(Failure::Refused(answer)) if answer.code == StatusCode::SERVICE_UNAVAILABLE => {}
            _ => choice.slot.report(ticket, outcome.is_ok()),
        }
        outcome
    }

    /// Takes one retry out of the budget.
    fn pay(&self) -> bool {
        let paid = self.budget().withdraw();
        if paid {
            self.metrics.retries.inc();
        }
        paid
    }

    fn budget(&self) -> std::sync::MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn call(client: &Client, url: String) -> Result<Answer, Failure> {
    let response = client
        .get(url)
        .send()
        .await
        .map_err(|error| if error.is_timeout() { Failure::Silent } else { Failure::Broken })?;
    let code = response.status();
    let body = response.bytes().await.map_err(|_| Failure::Broken)?;
    let answer = Answer { code, body };
    if code.is_server_error() { Err(Failure::Refused(answer)) } else { Ok(answer) }
}

fn answered(answer: Answer, replica: u16, attempts: usize) -> Response {
    let mut response = (answer.code, answer.body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("x-replica", HeaderValue::from(replica));
    headers.insert("x-attempts", HeaderValue::from(attempts));
    response
}

fn refusal(code: StatusCode, reason: &str) -> Response {
    (code, Json(json!({ "error": reason }))).into_response()
}

//! What a caller may do: permission, rate and audit of every operation, by what the operation declares.
//!
//! Owns the order: who, may they, how often, written down, done, written down. It knows no route: what it wraps is made
//! from the list of operations, so none is left out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chaos_api::{Operation, Problem, ProblemCode};
use tokio::time::timeout;

use super::{Caller, Identity, NEEDS_TOKEN, Peer};
use crate::app::App;
use crate::audit::{Call, Ended};
use crate::error::ApiError;
use crate::extract;
use crate::limits::AUDIT_GRACE;
use crate::rate::{Kind, Who};

/// One operation of a service.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) app: Arc<App>,
    pub(crate) operation: Operation,
}

/// Every request for an operation goes through here.
pub(crate) async fn enforce(State(gate): State<Gate>, mut request: Request<Body>, next: Next) -> Response {
    let identity = request.extensions().get::<Identity>().cloned();
    let address = request.extensions().get::<Peer>().and_then(|peer| peer.address());
    match gate.admit(identity.as_ref(), address) {
        Ok(None) => next.run(request).await,
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller.clone());
            if gate.operation.writes() {
                gate.written(caller, request, next).await
            } else {
                next.run(request).await
            }
        }
        Err(refusal) => {
            let call = Call::of(gate.operation, request.uri());
            let caller = if let Some(Identity::Caller(caller)) = identity { Some(caller) } else { None };
            gate.app.audit.refused(caller.as_ref(), &call, refusal.0.status).await;
            refusal.into_response()
        }
    }
}

impl Gate {
    /// Whether a call goes on; `None` when it does whoever calls.
    fn admit(
        &self,
        identity: Option<&Identity>,
        address: Option<IpAddr>,
    ) -> Result<Option<Caller>, ApiError> {
        let Some(permission) = self.operation.permission() else {
            self.count_open(identity, address)?;
            return Ok(None);
        };
        let caller = match identity {
            Some(Identity::Caller(caller)) => caller,
            Some(Identity::WrongToken(reason)) => {
                self.count(Kind::WrongToken, Who::at(address))?;
                return Err(ApiError::new(ProblemCode::Unauthorized, *reason));
            }
            Some(Identity::Nobody(reason)) => {
                self.count(Kind::Open, Who::at(address))?;
                return Err(ApiError::new(ProblemCode::Unauthorized, *reason));
            }
            None => return Err(ApiError::new(ProblemCode::Unauthorized, NEEDS_TOKEN)),
        };
        self.count_of(caller, address)?;
        caller.require(permission)?;
        Ok(Some(caller.clone()))
    }

    /// Probes of the platform are never refused; other calls without a token are counted by their address.
    fn count_open(&self, identity: Option<&Identity>, address: Option<IpAddr>) -> Result<(), ApiError> {
        if matches!(self.operation, Operation::GetLive | Operation::GetReady) {
            return Ok(());
        }
        match identity {
            Some(Identity::Caller(caller)) => self.count_of(caller, address),
            _ => self.count(Kind::Open, Who::at(address)),
        }
    }

    fn count_of(&self, caller: &Caller, address: Option<IpAddr>) -> Result<(), ApiError> {
        let who = || {
            if caller.known { Who::Name(caller.actor.name.clone()) } else { Who::at(address) }
        };
        match (self.operation, caller.known) {
            // An emergency is never refused for its number.
            (Operation::StopAll | Operation::StopExperiment | Operation::SetLever, true) => Ok(()),
            // When a server comes back, all agents do, and may well share a token.
            (Operation::ConnectAgent, true) => Ok(()),
            (Operation::SetLever, false) => self.count(Kind::UnknownEngage, who()),
            (operation, _) if operation.writes() => self.count(Kind::Write, who()),
            _ => self.count(Kind::Read, who()),
        }
    }

    fn count(&self, kind: Kind, who: Who) -> Result<(), ApiError> {
        self.app.limiter.take(kind, who, Instant::now()).map_err(|wait| too_many(kind, wait))
    }

    /// Carries a call out that changes something: written down before, unless it is urgent, and after. It goes on to its
    /// end, with both entries, also when the caller goes away.
    async fn written(&self, caller: Caller, request: Request<Body>, next: Next) -> Response {
        let (parts, body) = request.into_parts();
        let mut call = Call::of(self.operation, &parts.uri);
        let read = extract::text(&parts.headers, body).await.and_then(|text| {
            call.read(&text);
            call.needs().map_or(Ok(()), |permission| caller.require(permission))?;
            Ok(text)
        });
        let text = match read {
            Ok(text) => text,
            Err(refusal) => {
                self.app.audit.refused(Some(&caller), &call, refusal.0.status).await;
                return refusal.into_response();
            }
        };
        let mut request = Request::from_parts(parts, Body::empty());
        request.extensions_mut().insert(extract::Text(text.into()));
        if call.is_harmless() {
            return next.run(request).await;
        }
        let app = Arc::clone(&self.app);
        let done = self.app.calls.spawn(async move {
            let mut before = None;
            if !call.is_urgent() {
                match app.audit.before(&caller, &call).await {
                    Ok(seq) => before = Some(seq),
                    Err(error) => return ApiError::from(error).into_response(),
                }
            }
            let response = next.run(request).await;
            let ended = Ended::with(&response);
            let written = timeout(AUDIT_GRACE, app.audit.after(&caller, &call, before, ended)).await;
            if !matches!(written, Ok(Ok(()))) {
                tracing::error!(action = %call.action, "the end of a call is not in the audit log: {written:?}");
            }
            response
        });
        match done.await {
            Ok(response) => response,
            Err(error) => ApiError::internal("the call broke off", &error).into_response(),
        }
    }
}

fn too_many(kind: Kind, wait: Duration) -> ApiError {
    let seconds = (wait.as_secs_f64().ceil() as u64).max(1);
    let what = match kind {
        Kind::Read => "too many reads of this caller",
        Kind::Write => "too many writes of this caller",
        Kind::Open => "too many calls without a token from this address",
        Kind::WrongToken => "too many wrong tokens from this address",
        Kind::UnknownEngage => "too many calls without a token",
    };
    let problem = Problem::new(ProblemCode::RateLimited, format!("{what}; try again in {seconds}s"));
    Problem { retry_after_seconds: Some(seconds), ..problem }.into()
}

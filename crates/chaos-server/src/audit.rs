//! The audit log as the service writes it: one entry before a call that changes something, one with its status after;
//! calls that were refused at the door as well, but not more than a few of them a minute.
//!
//! Owns when an entry is written. What one says of a call is [`Call`]'s, the chain the core's, the disk the store's.

mod call;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::response::Response;
use chaos_api::Problem;
use chaos_core::access::{Actor, Role};
use chaos_core::audit::AuditEvent;
use chaos_core::port::StoreError;
use chaos_store::SqlStore;
use jiff::Timestamp;

use crate::access::Caller;
use crate::rate::{Bucket, Rate};
use crate::tokens::ANONYMOUS;

pub(crate) use call::Call;

/// What a handler adds to the entry after a call; it travels beside the answer. Never a secret.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told(pub(crate) BTreeMap<String, String>);

impl Told {
    /// One more thing.
    #[must_use]
    pub(crate) fn and(mut self, name: &str, value: impl ToString) -> Self {
        self.0.insert(name.to_owned(), call::bounded(&value.to_string()));
        self
    }
}

/// How a call ended: its status, and what its answer tells of it.
pub(crate) struct Ended {
    status: u16,
    detail: BTreeMap<String, String>,
}

impl Ended {
    /// What the entry after a call takes from its answer.
    pub(crate) fn with(response: &Response) -> Self {
        let extensions = response.extensions();
        let Told(mut detail) = extensions.get().cloned().unwrap_or_default();
        if let Some(problem) = extensions.get::<Arc<Problem>>() {
            detail.insert("code".to_owned(), problem.code.name().to_owned());
            detail.extend(problem.run.iter().map(|run| ("run".to_owned(), run.to_string())));
        }
        Self { status: response.status().as_u16(), detail }
    }
}

/// Writes entries.
pub(crate) struct Audit {
    store: Arc<SqlStore>,
    refusals_rate: Rate,
    refusals: Mutex<Refusals>,
}

/// Refused calls that may still be written, and those that were not.
struct Refusals {
    bucket: Bucket,
    unwritten: u64,
}

impl Audit {
    pub(crate) fn new(store: Arc<SqlStore>, refusals_rate: Rate) -> Self {
        let bucket = Bucket::full(refusals_rate, Instant::now());
        Self { store, refusals_rate, refusals: Mutex::new(Refusals { bucket, unwritten: 0 }) }
    }

    /// The entry before a call is carried out; its place.
    ///
    /// # Errors
    /// When it is not on disk: then the call must not be carried out.
    pub(crate) async fn before(&self, caller: &Caller, call: &Call) -> Result<u64, StoreError> {
        self.write(caller.actor.clone(), call, None, call.detail.clone()).await
    }

    /// The entry after a call; without one before it, it says all there is to say.
    ///
    /// # Errors
    /// When it is not on disk.
    pub(crate) async fn after(
        &self,
        caller: &Caller,
        call: &Call,
        before: Option<u64>,
        ended: Ended,
    ) -> Result<(), StoreError> {
        let mut detail = match before {
            Some(seq) => BTreeMap::from([("entry".to_owned(), seq.to_string())]),
            None => call.detail.clone(),
        };
        detail.extend(ended.detail);
        self.write(caller.actor.clone(), call, Some(ended.status), detail).await.map(drop)
    }

    /// A call that was refused before it was looked at. Of many, some are written, and how many were not.
    pub(crate) async fn refused(&self, caller: Option<&Caller>, call: &Call, status: u16) {
        let mut detail = call.detail.clone();
        {
            let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            if refusals.bucket.take(self.refusals_rate, Instant::now()).is_err() {
                refusals.unwritten += 1;
                return;
            }
            let unwritten = std::mem::take(&mut refusals.unwritten);
            if unwritten > 0 {
                detail.insert("refusals_not_written".to_owned(), unwritten.to_string());
            }
        }
        let nobody = || Actor { name: ANONYMOUS.to_owned(), role: Role::Viewer };
        let actor = caller.map_or_else(nobody, |caller| caller.actor.clone());
        if let Err(error) = self.write(actor, call, Some(status), detail).await {
            tracing::error!("a refused call is not in the audit log: {error}");
        }
    }

    async fn write(
        &self,
        actor: Actor,
        call: &Call,
        status: Option<u16>,
        detail: BTreeMap<String, String>,
    ) -> Result<u64, StoreError> {
        let event = AuditEvent {
            at: Timestamp::now(),
            actor,
            action: call.action.to_owned(),
            subject: call.subject.clone(),
            status,
            detail,
        };
        Ok(self.store.append_audit(&event).await?.seq)
    }
}

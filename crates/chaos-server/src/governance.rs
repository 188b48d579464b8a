//! The rules of this installation and what people decided, as the gates ask for them.
//!
//! Owns nothing: the rules are the configuration's, the lever is [`LeverState`]'s, the rest is the store's.

use std::sync::Arc;

use chaos_core::journal::RunSummary;
use chaos_core::port::Governance;
use chaos_core::safety::{Approval, Known, Lever, Policy};
use chaos_core::spec::ExperimentKey;
use chaos_store::SqlStore;
use futures_util::future::{BoxFuture, FutureExt};

use crate::lever::LeverState;

/// What the gates ask.
pub(crate) struct Rules {
    pub(crate) policy: Policy,
    pub(crate) lever: Arc<LeverState>,
    pub(crate) store: Arc<SqlStore>,
}

impl Governance for Rules {
    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn lever(&self) -> BoxFuture<'_, Known<Lever>> {
        async { Ok(self.lever.now()) }.boxed()
    }

    fn approvals<'a>(
        &'a self,
        experiment: &'a ExperimentKey,
        document_hash: &'a str,
    ) -> BoxFuture<'a, Known<Vec<Approval>>> {
        let found = self.store.approvals(experiment, document_hash);
        async { found.await.map_err(|error| error.to_string()) }.boxed()
    }

    fn outcomes<'a>(&'a self, target: &'a str, limit: usize) -> BoxFuture<'a, Known<Vec<RunSummary>>> {
        let found = self.store.recent_outcomes(target, limit);
        async { found.await.map_err(|error| error.to_string()) }.boxed()
    }
}

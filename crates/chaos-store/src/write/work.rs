//! What can be written, as the columns it fills.
//!
//! Owns what is refused before anything is written: values that contradict themselves or are too large.

use chaos_core::journal::{RECORDS_MAX, Record, RunHeader, RunSummary};
use chaos_core::port::StoreError;
use chaos_core::run::{Phase, RunId};
use chaos_core::safety::breaker;
use chaos_core::spec::{Experiment, ExperimentKey};
use jiff::Timestamp;
use serde::Serialize;

use crate::approvals::AddApproval;
use crate::audit::AppendAudit;
use crate::dialect::plain;
use crate::error::{failed, refused};
use crate::incidents::PutIncident;
use crate::page::{labels_of, target_of};
use crate::tokens::{AddToken, RevokeToken};
use crate::{APPEND_RECORDS_MAX, SqlStore, VALUE_BYTES_MAX};

/// A write.
#[derive(Debug)]
pub(crate) enum Work {
    Register(Document),
    Delete(ExperimentKey),
    Create(Box<Create>),
    Append(Box<Append>),
    /// The lever as JSON.
    Lever(String),
    AddToken(Box<AddToken>),
    RevokeToken(RevokeToken),
    Audit(Box<AppendAudit>),
    Incident(Box<PutIncident>),
    Approval(Box<AddApproval>),
    /// Numbers of runs that retention chose.
    Prune(Vec<i64>),
    /// The address of this server.
    Announce(String),
}

#[derive(Debug)]
pub(crate) struct Document {
    pub(super) key: ExperimentKey,
    pub(super) kind: String,
    pub(super) target: String,
    pub(super) labels: String,
    pub(super) text: String,
    pub(super) at: i64,
}

#[derive(Debug)]
pub(crate) struct Create {
    pub(super) document: Document,
    pub(super) header: String,
    pub(super) summary: Summary,
}

#[derive(Debug)]
pub(crate) struct Append {
    /// Number of the first record; absent without records.
    pub(super) first: Option<i64>,
    pub(super) records: Vec<String>,
    pub(super) summary: Summary,
}

#[derive(Debug)]
pub(super) struct Summary {
    pub(super) run: RunId,
    pub(super) key: ExperimentKey,
    pub(super) status: String,
    pub(super) finished: i64,
    pub(super) target: String,
    pub(super) revert_incomplete: i64,
    pub(super) counted: i64,
    pub(super) text: String,
}

impl SqlStore {
    /// Registers an experiment, or replaces the document of one; its runs stay. Creating a run registers the document
    /// that it carries the same way.
    ///
    /// # Errors
    /// When it can't be written.
    pub async fn register(&self, experiment: &Experiment, at: Timestamp) -> Result<(), StoreError> {
        let key = experiment.key();
        let action = format!("register experiment {}/{}", key.namespace, key.name);
        let work = Work::Register(Document::of(&action, experiment, at)?);
        self.write(action, work).await.map(|_| ())
    }

    /// Deletes an experiment with its runs, their journals and what was approved of it. Returns whether it was there.
    ///
    /// # Errors
    /// When it can't be written, and as a conflict when a run of it has no outcome yet: its journal says what is to be
    /// undone.
    pub async fn delete_experiment(&self, key: &ExperimentKey) -> Result<bool, StoreError> {
        let action = format!("delete experiment {}/{}", key.namespace, key.name);
        let key = ExperimentKey { namespace: plain(&key.namespace), name: plain(&key.name) };
        Ok(self.write(action, Work::Delete(key)).await?.changed())
    }
}

impl Work {
    pub(crate) fn create(action: &str, header: &RunHeader, summary: &RunSummary) -> Result<Self, StoreError> {
        if summary.run != header.run || key_of(summary) != header.key() {
            return Err(refused(action, "header and summary are of different runs"));
        }
        Ok(Self::Create(Box::new(Create {
            document: Document::of(action, &header.experiment, header.created_at)?,
            header: text(action, header)?,
            summary: Summary::of(action, summary)?,
        })))
    }

    pub(crate) fn append(
        action: &str,
        run: &RunId,
        records: &[Record],
        summary: &RunSummary,
    ) -> Result<Self, StoreError> {
        if summary.run != *run {
            return Err(refused(action, format!("the summary is of run {}", summary.run)));
        }
        if records.len() > APPEND_RECORDS_MAX {
            let reason = format!("{} records at once, at most {APPEND_RECORDS_MAX}", records.len());
            return Err(refused(action, reason));
        }
        let first = records.first().map_or(0, |record| record.seq);
        if let Some((record, expected)) =
            records.iter().zip(first..).find(|(record, expected)| record.seq != *expected || record.seq == 0)
        {
            return Err(refused(
                action,
                format!("record {} is where {} belongs", record.seq, expected.max(1)),
            ));
        }
        if records.last().is_some_and(|record| record.seq > RECORDS_MAX) {
            return Err(refused(action, format!("a journal takes at most {RECORDS_MAX} records")));
        }
        let first = records.first().map(|record| i64::try_from(record.seq)).transpose();
        Ok(Self::Append(Box::new(Append {
            first: first.map_err(|error| failed(action, error))?,
            records: records.iter().map(|record| text(action, record)).collect::<Result<_, _>>()?,
            summary: Summary::of(action, summary)?,
        })))
    }

    /// May a list of experiments look different after it?
    pub(super) fn changes_lists(&self) -> bool {
        matches!(self, Self::Register(_) | Self::Delete(_) | Self::Create(_) | Self::Append(_))
    }
}

impl Document {
    fn of(action: &str, experiment: &Experiment, at: Timestamp) -> Result<Self, StoreError> {
        Ok(Self {
            key: experiment.key(),
            kind: experiment.type_name(),
            target: plain(&target_of(experiment)),
            labels: labels_of(experiment),
            text: text(action, experiment)?,
            at: at.as_millisecond(),
        })
    }
}

impl Summary {
    fn of(action: &str, summary: &RunSummary) -> Result<Self, StoreError> {
        Ok(Self {
            run: summary.run.clone(),
            key: key_of(summary),
            status: summary.status.to_string(),
            finished: i64::from(summary.phase == Phase::Finished),
            target: plain(&summary.target),
            revert_incomplete: i64::from(summary.revert_incomplete),
            counted: i64::from(counts(summary)),
            text: text(action, summary)?,
        })
    }
}

/// Does a run count among the outcomes of its target?
pub(crate) fn counts(summary: &RunSummary) -> bool {
    summary.phase == Phase::Finished && breaker::failed(summary).is_some()
}

fn key_of(summary: &RunSummary) -> ExperimentKey {
    ExperimentKey { namespace: summary.namespace.clone(), name: summary.name.clone() }
}

/// A value as JSON.
pub(crate) fn text(action: &str, value: &impl Serialize) -> Result<String, StoreError> {
    let text = serde_json::to_string(value).map_err(|error| refused(action, error.to_string()))?;
    if text.len() > VALUE_BYTES_MAX {
        return Err(refused(action, format!("a value has {} bytes, at most {VALUE_BYTES_MAX}", text.len())));
    }
    Ok(text)
}

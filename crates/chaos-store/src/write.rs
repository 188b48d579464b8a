//! The one task that writes.
//!
//! Owns the order of commits. Writes that wait while another commits share the next commit, because a commit costs one
//! flush of the disk whatever is in it. Each is still all or nothing and answered alone.

mod apply;
mod runs;
mod work;

use std::sync::Arc;
use std::time::Duration;

use chaos_core::audit::AuditEntry;
use chaos_core::port::{Store, StoreError};
use futures_util::future::BoxFuture;
use sqlx::{AnyConnection, Connection};
use tokio::sync::{mpsc, oneshot, watch};

use work::Append;
pub(crate) use work::{Work, counts, text};

use crate::cache::Lists;
use crate::dialect::Database;
use crate::error::{failed, refused};
use crate::session::Session;
use crate::{BATCH_WRITES_MAX, COMMIT_TIMEOUT, Pruned, SqlStore, WRITE_QUEUE_MAX};

/// A write and who waits for it.
#[derive(Debug)]
pub(crate) struct Write {
    /// What is attempted on what, for the error.
    action: String,
    work: Work,
    reply: oneshot::Sender<Result<Done, StoreError>>,
}

#[derive(Debug)]
pub(crate) enum Message {
    Write(Write),
    Close(oneshot::Sender<()>),
}

/// What a write came to.
#[derive(Debug, PartialEq)]
pub(crate) enum Done {
    /// Whether anything was there to change.
    Changed(bool),
    /// The position of the latest record, 0 when it is not known.
    Appended(u64),
    /// It is this entry of the audit log.
    Entry(AuditEntry),
    /// So much will go.
    Pruned(Pruned),
}

/// What one write came to in a transaction that was committed; the text is why it was refused.
pub(crate) type Answer = Result<Done, String>;

/// Where a commit failed, and why.
#[derive(Debug)]
enum Failure {
    /// Before anything was written: every write of the batch would fail the same way.
    Begin(String),
    /// Perhaps because of one write of the batch only. Nothing of it stays.
    Inside(String),
    /// On the way of the answer: everything may be on disk, or nothing.
    Unknown(String),
}

impl Failure {
    /// Nothing was committed, for sure, when the database itself refuses; not when the connection ends, which PostgreSQL
    /// says by codes of class 08 and 57.
    fn of_commit(error: sqlx::Error) -> Self {
        let ends = |code: &str| code.len() == 5 && (code.starts_with("08") || code.starts_with("57"));
        match error.as_database_error() {
            Some(said) if !said.code().is_some_and(|code| ends(&code)) => Self::Inside(error.to_string()),
            _ => Self::Unknown(error.to_string()),
        }
    }
}

/// Starts the task. It ends when the store is closed or dropped.
pub(crate) fn start(
    session: Session,
    position: u64,
    lists: Arc<Lists>,
) -> (mpsc::Sender<Message>, watch::Receiver<u64>) {
    let (sender, queue) = mpsc::channel(WRITE_QUEUE_MAX);
    let (position, positions) = watch::channel(position);
    let writer = Writer { session, queue, position, lists, sweeping: true };
    tokio::spawn(writer.run());
    (sender, positions)
}

/// Returns when everything that was asked for before is done and the connection is closed.
pub(crate) async fn close(writer: &mpsc::Sender<Message>) {
    let (done, closed) = oneshot::channel();
    if writer.send(Message::Close(done)).await.is_ok() {
        // Whichever way the task ends, the sender is dropped.
        let _ = closed.await;
    }
}

impl SqlStore {
    /// Hands a write over and waits until it is on disk or refused.
    pub(crate) async fn write(&self, action: String, work: Work) -> Result<Done, StoreError> {
        let Some(writer) = &self.writer else {
            return Err(refused(action, "the store was opened to read only"));
        };
        let (reply, answer) = oneshot::channel();
        let closed = failed(&action, "the store is closed");
        if writer.send(Message::Write(Write { action, work, reply })).await.is_err() {
            return Err(closed);
        }
        answer.await.unwrap_or(Err(closed))
    }
}

impl Done {
    /// Whether anything was there to change.
    pub(crate) fn changed(&self) -> bool {
        !matches!(self, Self::Changed(false))
    }
}

impl Store for SqlStore {
    fn create_run<'a>(
        &'a self,
        header: &'a chaos_core::journal::RunHeader,
        summary: &'a chaos_core::journal::RunSummary,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let action = format!("create run {}", header.run);
            let work = Work::create(&action, header, summary)?;
            self.write(action, work).await.map(|_| ())
        })
    }

    fn append<'a>(
        &'a self,
        run: &'a chaos_core::run::RunId,
        records: &'a [chaos_core::journal::Record],
        summary: &'a chaos_core::journal::RunSummary,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let action = format!("append to the journal of run {run}");
            let work = Work::append(&action, run, records, summary)?;
            self.write(action, work).await.map(|_| ())
        })
    }
}

struct Writer {
    session: Session,
    queue: mpsc::Receiver<Message>,
    position: watch::Sender<u64>,
    lists: Arc<Lists>,
    /// There may be records of deleted runs.
    sweeping: bool,
}

impl Writer {
    async fn run(mut self) {
        let mut closing = None;
        while closing.is_none() {
            let Some(first) = self.next().await else { break };
            let mut batch = Vec::new();
            let mut message = Some(first);
            while let Some(taken) = message {
                match taken {
                    Message::Write(write) => batch.push(write),
                    Message::Close(done) => {
                        closing = Some(done);
                        break;
                    }
                }
                let full = batch.len() >= BATCH_WRITES_MAX;
                message = if full { None } else { self.queue.try_recv().ok() };
            }
            self.commit(batch).await;
        }
        self.session.close().await;
        // Dropping what `close` waits on is its answer.
        drop(closing);
    }

    /// The next message; removes records of deleted runs while there is none.
    async fn next(&mut self) -> Option<Message> {
        while self.sweeping {
            match self.queue.try_recv() {
                Ok(message) => return Some(message),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
                Err(mpsc::error::TryRecvError::Empty) => self.sweep().await,
            }
        }
        self.queue.recv().await
    }

    async fn sweep(&mut self) {
        let database = self.session.place.database;
        let swept = match self.session.connected().await {
            Ok(connection) => apply::sweep(connection, database).await.map_err(Into::into),
            Err(error) => Err(error),
        };
        self.sweeping = swept.unwrap_or_else(|error| {
            // The next deletion or start tries again.
            tracing::warn!(%error, "removing records of deleted runs");
            self.session.abandon();
            false
        });
    }

    async fn commit(&mut self, batch: Vec<Write>) {
        if batch.is_empty() {
            return;
        }
        match self.attempt(&batch).await {
            Ok(answers) => {
                batch.into_iter().zip(answers).for_each(|(write, answer)| self.answer(write, answer))
            }
            Err(Failure::Inside(_)) if batch.len() > 1 => self.commit_each(batch).await,
            Err(Failure::Begin(reason) | Failure::Inside(reason)) => {
                batch.into_iter().for_each(|write| write.fail(&reason));
            }
            Err(Failure::Unknown(reason)) => {
                let reason = format!("{reason}; it may have been written all the same");
                batch.into_iter().for_each(|write| write.fail(&reason));
            }
        }
    }

    /// Commits each write of a batch alone, so that one which can't be written takes no other with it.
    async fn commit_each(&mut self, batch: Vec<Write>) {
        for write in batch {
            match self.attempt(std::slice::from_ref(&write)).await {
                Ok(mut answers) => {
                    let answer = answers.pop().unwrap_or(Ok(Done::Changed(false)));
                    self.answer(write, answer);
                }
                Err(Failure::Begin(reason) | Failure::Inside(reason) | Failure::Unknown(reason)) => {
                    write.fail(&reason);
                }
            }
        }
    }

    fn answer(&mut self, write: Write, answer: Answer) {
        self.sweeping |= matches!(write.work, Work::Delete(_) | Work::Prune(_)) && answer.is_ok();
        if let (Work::Announce(address), Ok(_)) = (&write.work, &answer) {
            self.session.announced(address);
        }
        let result = answer.map_err(|reason| refused(write.action, reason));
        // Nobody waits any more; it is on disk all the same.
        let _ = write.reply.send(result);
    }

    /// Writes a batch in one transaction.
    async fn attempt(&mut self, batch: &[Write]) -> Result<Vec<Answer>, Failure> {
        let was_connected = self.session.is_connected();
        let mut result = self.transact(batch).await;
        // That a server ended a connection while it was idle is seen only now.
        if was_connected
            && self.session.place.database == Database::Postgres
            && matches!(result, Err(Failure::Begin(_)))
        {
            result = self.transact(batch).await;
        }
        if batch.iter().any(|write| write.work.changes_lists()) {
            self.lists.changed();
        }
        let answers = result?;
        let appended =
            |answer: &Answer| if let Ok(Done::Appended(position)) = answer { Some(*position) } else { None };
        if let Some(latest) = answers.iter().filter_map(appended).max() {
            self.position
                .send_if_modified(|position| std::mem::replace(position, latest.max(*position)) < latest);
        }
        Ok(answers)
    }

    /// Tries the usual case, one append that fits, in one call. `None`: nothing was changed, or nobody knows; the long way
    /// finds out.
    async fn append_alone(&mut self, append: &Append) -> Result<Option<u64>, Failure> {
        let database = self.session.place.database;
        let connection = match self.session.connected().await {
            Ok(connection) => connection,
            Err(error) => return Err(Failure::Begin(error.to_string())),
        };
        let adding = async {
            let added = runs::append_alone(connection, database, append).await;
            added.map_err(Failure::of_commit)
        };
        let result = limited(database, adding).await;
        if result.is_err() {
            self.session.abandon();
        }
        match result {
            // Whatever came of it, the records are added once: what is there already is left out.
            Err(Failure::Unknown(_)) if database == Database::Postgres => Ok(None),
            result => result,
        }
    }

    /// Returns the answers.
    async fn transact(&mut self, batch: &[Write]) -> Result<Vec<Answer>, Failure> {
        let database = self.session.place.database;
        if let [Write { work: Work::Append(append), .. }] = batch
            && let Some(position) = self.append_alone(append).await?
        {
            return Ok(vec![Ok(Done::Appended(position))]);
        }
        let result = match self.session.connected().await {
            Ok(connection) => limited(database, transact(connection, database, batch)).await,
            Err(error) => Err(Failure::Begin(error.to_string())),
        };
        if result.is_err() {
            self.session.abandon();
        }
        result
    }
}

impl Write {
    fn fail(self, reason: &str) {
        let result = Err(failed(self.action, reason));
        // Nobody waits any more.
        let _ = self.reply.send(result);
    }
}

/// A file answers in the end or fails; a server may do neither.
async fn limited<T>(
    database: Database,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let limit: Duration = match database {
        Database::Sqlite => return work.await,
        Database::Postgres => COMMIT_TIMEOUT,
    };
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(Failure::Unknown(format!("no answer within {} s", limit.as_secs()))),
    }
}

async fn transact(
    connection: &mut AnyConnection,
    database: Database,
    batch: &[Write],
) -> Result<Vec<Answer>, Failure> {
    let begun = connection.begin_with(database.begin()).await;
    let mut transaction = begun.map_err(|error| Failure::Begin(error.to_string()))?;
    let works = batch.iter().map(|write| &write.work);
    let applied = apply::all(&mut transaction, database, works).await;
    let answers = applied.map_err(|error| Failure::Inside(error.to_string()))?;
    match transaction.commit().await {
        Ok(()) => Ok(answers),
        Err(error) if is_certain(&error) => Err(Failure::Inside(error.to_string())),
        Err(error) => Err(Failure::Unknown(error.to_string())),
    }
}

/// Was nothing committed, for sure? So it is when the database itself refuses, and not when the connection ends: classes
/// 08 and 57 of PostgreSQL.
fn is_certain(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error
            .code()
            .is_none_or(|code| !(code.len() == 5 && (code.starts_with("08") || code.starts_with("57"))))
    })
}

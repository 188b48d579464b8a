//! The one task that writes.
//!
//! Owns the writing connection and the order of commits. Writes that wait while another commits share the next commit,
//! because a commit costs one flush of the disk whatever is in it. Each is still all or nothing and answered alone.

mod apply;

use chaos_core::port::{Store, StoreError};
use futures_util::future::BoxFuture;
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, Connection};
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use apply::Work;

use crate::error::{failed, refused};
use crate::open::connect_writer;
use crate::{BATCH_WRITES_MAX, SqlStore, WRITE_QUEUE_MAX};

/// A write and who waits for it.
#[derive(Debug)]
pub(crate) struct Write {
    /// What is attempted on what, for the error.
    action: String,
    work: Work,
    /// Takes whether anything was there to change.
    reply: oneshot::Sender<Result<bool, StoreError>>,
}

#[derive(Debug)]
pub(crate) enum Message {
    Write(Write),
    Close(oneshot::Sender<()>),
}

/// Where a commit failed.
enum Failure {
    /// Before anything was written: every write of the batch would fail the same way.
    Begin(sqlx::Error),
    /// Perhaps because of one write of the batch only.
    Inside(sqlx::Error),
}

/// What one write came to in a transaction that was committed; the text is why it was refused.
type Answer = Result<bool, String>;

/// Starts the task. It ends when the store is closed or dropped.
pub(crate) fn start(
    connection: AnyConnection,
    options: AnyConnectOptions,
    position: u64,
) -> (mpsc::Sender<Message>, watch::Receiver<u64>) {
    let (sender, queue) = mpsc::channel(WRITE_QUEUE_MAX);
    let (position, positions) = watch::channel(position);
    let writer = Writer { connection: Some(connection), options, queue, position, sweeping: true };
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
    pub(crate) async fn write(&self, action: String, work: Work) -> Result<bool, StoreError> {
        let (reply, answer) = oneshot::channel();
        let closed = failed(&action, "the store is closed");
        if self.writer.send(Message::Write(Write { action, work, reply })).await.is_err() {
            return Err(closed);
        }
        answer.await.unwrap_or(Err(closed))
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
    /// Absent after a failure, until the next write: what a failed statement leaves of a transaction is never relied on.
    connection: Option<AnyConnection>,
    options: AnyConnectOptions,
    queue: mpsc::Receiver<Message>,
    position: watch::Sender<u64>,
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
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "closing the journal");
        }
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
        let swept = match self.connected().await {
            Ok(connection) => apply::sweep(connection).await,
            Err(error) => Err(error),
        };
        self.sweeping = swept.unwrap_or_else(|error| {
            // The next deletion or start tries again.
            tracing::warn!(%error, "removing records of deleted runs");
            self.connection = None;
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
            Err(Failure::Begin(error)) => batch.into_iter().for_each(|write| write.fail(&error)),
            Err(Failure::Inside(error)) if batch.len() == 1 => {
                batch.into_iter().for_each(|write| write.fail(&error))
            }
            Err(Failure::Inside(_)) => {
                for write in batch {
                    match self.attempt(std::slice::from_ref(&write)).await {
                        Ok(mut answers) => {
                            let answer = answers.pop().unwrap_or(Ok(false));
                            self.answer(write, answer);
                        }
                        Err(Failure::Begin(error) | Failure::Inside(error)) => write.fail(&error),
                    }
                }
            }
        }
    }

    fn answer(&mut self, write: Write, answer: Answer) {
        self.sweeping |= matches!(write.work, Work::Delete(_)) && answer.is_ok();
        let result = answer.map_err(|reason| refused(write.action, reason));
        // Nobody waits any more; it is on disk all the same.
        let _ = write.reply.send(result);
    }

    /// Writes a batch in one transaction.
    async fn attempt(&mut self, batch: &[Write]) -> Result<Vec<Answer>, Failure> {
        let result = match self.connected().await {
            Ok(connection) => transact(connection, batch).await,
            Err(error) => Err(Failure::Begin(error)),
        };
        match result {
            Ok((answers, position)) => {
                if let Some(position) = position {
                    self.position.send_replace(position);
                }
                Ok(answers)
            }
            Err(failure) => {
                self.connection = None;
                Err(failure)
            }
        }
    }

    async fn connected(&mut self) -> Result<&mut AnyConnection, sqlx::Error> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect_writer(&self.options).await?,
        };
        Ok(self.connection.insert(connection))
    }
}

impl Write {
    fn fail(self, error: &sqlx::Error) {
        let result = Err(failed(self.action, error));
        // Nobody waits any more.
        let _ = self.reply.send(result);
    }
}

/// Returns the answers and, when records were added, the position of the last.
async fn transact(
    connection: &mut AnyConnection,
    batch: &[Write],
) -> Result<(Vec<Answer>, Option<u64>), Failure> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(Failure::Begin)?;
    let works = batch.iter().map(|write| &write.work);
    let (answers, position) = apply::all(&mut transaction, works).await.map_err(Failure::Inside)?;
    transaction.commit().await.map_err(Failure::Inside)?;
    Ok((answers, position))
}

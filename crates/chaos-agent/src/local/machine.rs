//! What a node needs of the machine that it runs on, as one trait: processes that are started and looked up, what dead
//! ones left, commands.
//!
//! Owns the seam below [`super::LocalNode`]. In a simulation a fault process is a task that runs a
//! [`crate::holder::session::Session`] at the other end of a pipe in memory.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chaos_core::port::Evidence;
use chaos_core::run::RunId;
use chaos_core::spec::HostTarget;
use chaos_core::target::{Instance, Inventory, ProcessRef};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use crate::faults::FaultError;
use crate::host::{Asker, HostError};
use crate::sweep::Remains;
use crate::sys::SysError;

/// The machine below a node. What takes more than an instant is called only from within [`Machine::apart`].
pub trait Machine: Send + Sync {
    /// What dead fault processes left, and the clock.
    fn remains(&self) -> &dyn Remains;

    /// Which process the node is.
    ///
    /// # Errors
    /// It can't tell.
    fn own_identity(&self) -> Result<ProcessRef, SysError>;

    /// Starts a fault process for a run. Called apart, inside the runtime.
    ///
    /// # Errors
    /// It does not start; nothing is left of it.
    fn start_holder(&self, run: &RunId) -> Result<HolderProcess, SysError>;

    /// Tells a fault process by a signal to undo everything and to end.
    ///
    /// # Errors
    /// It has ended, or the signal can't be sent.
    fn terminate(&self, holder: ProcessRef) -> Result<(), SysError>;

    /// Kills a fault process that hears nothing any more: what it held is then undone from its records.
    ///
    /// # Errors
    /// It has ended, or the signal can't be sent.
    fn kill(&self, holder: ProcessRef) -> Result<(), SysError>;

    /// Looks up a target. Called apart.
    ///
    /// # Errors
    /// As [`crate::host::inventory`].
    fn inventory(&self, target: &HostTarget, asker: &Asker) -> Result<Inventory, HostError>;

    /// The processes of these apps. Called apart.
    ///
    /// # Errors
    /// As [`crate::host::processes_of_apps`].
    fn processes_of_apps(&self, apps: &[String]) -> Result<BTreeSet<ProcessRef>, HostError>;

    /// Ends an instance, asking its root first, and proves it; waits a bounded time. Called apart.
    ///
    /// # Errors
    /// It has not ended.
    fn end_instance(&self, instance: &Instance) -> Result<Vec<Evidence>, FaultError>;

    /// Runs a program without a shell and gives what it printed; bounded in time and output.
    fn run_program<'a>(&'a self, argv: &'a [String]) -> BoxFuture<'a, Result<String, String>>;

    /// Does work where it may block for a bounded time: here on a thread of its own, in a simulation whenever that
    /// finds it right. Resolves when the work is done, or was lost in a panic.
    fn apart(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;
}

/// A fault process that was just started. Dropping it closes its control channel, upon which it ends by itself.
pub struct HolderProcess {
    /// Which process it is.
    pub identity: ProcessRef,
    /// The node's end of its control channel.
    pub control: Box<dyn Control>,
    /// Resolves when it has ended; false when not of its own will, and so not with everything undone.
    pub ended: BoxFuture<'static, bool>,
}

/// A stream of bytes both ways.
pub trait Control: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Control for S {}

/// The time on a machine's monotonic clock.
pub(super) fn now(machine: &dyn Machine) -> Duration {
    machine.remains().now()
}

/// Does work on a machine where it may block. The error is that of a work that was lost.
pub(super) async fn apart<T: Send + 'static>(
    machine: &Arc<dyn Machine>,
    work: impl FnOnce(&dyn Machine) -> T + Send + 'static,
) -> Result<T, String> {
    let (tell, told) = oneshot::channel();
    let worked_on = Arc::clone(machine);
    machine.apart(Box::new(move || drop(tell.send(work(&*worked_on))))).await;
    told.await.map_err(|_| "it was given up half-way".to_owned())
}

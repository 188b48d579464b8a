//! Keeps the probes of one phase running, and health watched.
//!
//! Owns their tasks and their ends. What a sample means is the state machine's.

use std::sync::Arc;

use chaos_core::journal::RunHeader;
use chaos_core::run::Event;
use chaos_core::spec::ProbePhase;
use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::Ports;

/// Samples of one run that wait for its driver; more are dropped and said so in the log.
pub(crate) const SAMPLES_WAITING_MAX: usize = 1024;

/// The probes of one phase. Dropping it ends them at once, with what is in flight.
pub(crate) struct Measurement {
    stop: CancellationToken,
    tasks: TaskTracker,
    aborts: Vec<AbortHandle>,
}

impl Measurement {
    /// Starts every probe of `phase`.
    pub(crate) fn start(
        ports: &Ports,
        header: &Arc<RunHeader>,
        phase: ProbePhase,
        once: bool,
        samples: &mpsc::Sender<Event>,
    ) -> Self {
        let mut measurement =
            Self { stop: CancellationToken::new(), tasks: TaskTracker::new(), aborts: Vec::new() };
        for (index, probe) in header.experiment.spec.probes.iter().enumerate() {
            if !probe.runs_in(phase) {
                continue;
            }
            let (prober, header) = (Arc::clone(&ports.prober), Arc::clone(header));
            let (samples, stop) = (samples.clone(), measurement.stop.clone());
            let task = measurement.tasks.spawn(async move {
                let sink = |sample| {
                    if samples.try_send(Event::Probed(sample)).is_err() {
                        tracing::warn!(run = %header.run, "a probe's sample was dropped: the run can't keep up");
                    }
                };
                let probe = &header.experiment.spec.probes[index];
                prober.watch(probe, phase, once, stop.cancelled_owned().boxed(), &sink).await;
            });
            measurement.aborts.push(task.abort_handle());
        }
        measurement.tasks.close();
        measurement
    }

    /// Resolves when every probe has handed over its last sample.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let tasks = self.tasks.clone();
        async move { tasks.wait().await }
    }

    /// Cancelling it starts no measurement any more; those in flight are completed and handed over.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }
}

impl Drop for Measurement {
    fn drop(&mut self) {
        self.aborts.iter().for_each(AbortHandle::abort);
    }
}

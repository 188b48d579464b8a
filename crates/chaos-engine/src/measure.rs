//! Keeps the probes of one phase running, and health watched.
//!
//! Owns their tasks and their ends. What a sample means is the state machine's.

use std::sync::Arc;

use chaos_core::journal::RunHeader;
use chaos_core::run::Event;
use chaos_core::spec::ProbePhase;
use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::Ports;

/// Samples of one run that wait for its driver; more are dropped and said so in the log.
pub(crate) const SAMPLES_WAITING_MAX: usize = 1024;

/// The probes of one phase.
pub(crate) struct Measurement {
    stop: CancellationToken,
    tasks: TaskTracker,
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
        let measurement = Self { stop: CancellationToken::new(), tasks: TaskTracker::new() };
        for (index, probe) in header.experiment.spec.probes.iter().enumerate() {
            if !probe.runs_in(phase) {
                continue;
            }
            let (prober, header) = (Arc::clone(&ports.prober), Arc::clone(header));
            let (samples, stop) = (samples.clone(), measurement.stop.clone());
            measurement.tasks.spawn(async move {
                let sink = |sample| {
                    if samples.try_send(Event::Probed(sample)).is_err() {
                        tracing::warn!(run = %header.run, "a probe's sample was dropped: the run can't keep up");
                    }
                };
                let probe = &header.experiment.spec.probes[index];
                prober.watch(probe, phase, once, stop.cancelled_owned().boxed(), &sink).await;
            });
        }
        measurement.tasks.close();
        measurement
    }

    /// Resolves when every probe has handed over its last sample.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let tasks = self.tasks.clone();
        async move { tasks.wait().await }
    }

    /// Asks the probes to end.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }
}

impl Drop for Measurement {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

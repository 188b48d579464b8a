//! A server of its own thread that can freeze as a whole, and short ways to measure.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use chaos_core::port::Prober;
use chaos_core::run::ProbeSample;
use chaos_core::spec::{Probe, ProbePhase, parse_value};
use chaos_probes::{CommandPolicy, Probes, ProbesConfig};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// A real HTTP server on one thread. Its end is that of the value.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    freezes: Option<UnboundedSender<Duration>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(router: Router) -> Self {
        let (ready, address) = std::sync::mpsc::channel();
        let (freezes, mut frozen) = unbounded_channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                ready.send(listener.local_addr().expect("bound")).expect("awaited");
                let server = tokio::spawn(async move { axum::serve(listener, router).await });
                while let Some(time) = frozen.recv().await {
                    // The only thread stands still: nothing is accepted, read or answered, as after SIGSTOP.
                    std::thread::sleep(time);
                }
                server.abort();
            });
        });
        let address = address.recv().expect("it starts");
        Self { address, freezes: Some(freezes), thread: Some(thread) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn freeze(&self, time: Duration) {
        self.freezes.as_ref().expect("it runs").send(time).expect("it runs");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.freezes = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A probe named `p`. Where a test says no timeout it means none, and a busy machine must not make one.
pub(crate) fn probe(mut value: serde_json::Value) -> Probe {
    value["name"] = "p".into();
    if value["timeout"].is_null() {
        value["timeout"] = "20s".into();
    }
    parse_value(value).expect("a valid probe")
}

/// Probes that may start any program.
pub(crate) fn probes() -> Probes {
    Probes::new(ProbesConfig { commands: CommandPolicy::Any, ..ProbesConfig::default() })
}

/// The one sample of a single measurement.
pub(crate) async fn once_with(probes: &Probes, probe: &Probe) -> ProbeSample {
    let samples = Mutex::new(Vec::new());
    let sink = |sample| samples.lock().expect("no panic").push(sample);
    probes.watch(probe, ProbePhase::Before, true, Box::pin(std::future::pending()), &sink).await;
    let mut samples = samples.into_inner().expect("no panic");
    assert_eq!(samples.len(), 1, "{samples:?}");
    samples.remove(0)
}

pub(crate) async fn once(value: serde_json::Value) -> ProbeSample {
    once_with(&probes(), &probe(value)).await
}

/// The samples of measuring for some time while faults are active.
pub(crate) async fn measure_for(time: Duration, probe: &Probe) -> Vec<ProbeSample> {
    let samples = Mutex::new(Vec::new());
    let sink = |sample| samples.lock().expect("no panic").push(sample);
    probes().watch(probe, ProbePhase::Chaos, false, Box::pin(tokio::time::sleep(time)), &sink).await;
    samples.into_inner().expect("no panic")
}

pub(crate) fn assert_passed(sample: &ProbeSample) {
    assert_eq!((sample.measured, sample.passed, sample.no_data), (1, 1, 0), "{sample:?}");
}

pub(crate) fn assert_failed(sample: &ProbeSample, with: &str) {
    assert_eq!((sample.measured, sample.passed, sample.no_data), (1, 0, 0), "{sample:?}");
    assert_problem(sample, with);
}

pub(crate) fn assert_no_data(sample: &ProbeSample, with: &str) {
    assert_eq!((sample.measured, sample.passed, sample.no_data), (1, 0, 1), "{sample:?}");
    assert_problem(sample, with);
}

fn assert_problem(sample: &ProbeSample, with: &str) {
    let problem = sample.problem.as_deref().unwrap_or_default();
    assert!(problem.contains(with), "{problem:?} does not contain {with:?}");
}

/// How long is waited for what must come: a busy machine starts a Prometheus slowly, and a breaker that opened over that
/// takes ten seconds more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until it holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A port of this host that nobody listens on now.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

//! Journals built by hand: each event goes through the state machine, as in a real run.
//!
//! Owns no expectation.

use std::collections::BTreeSet;

use chaos_core::journal::{Record, RunHeader};
use chaos_core::port::{Evidence, InjectionReport, Owner};
use chaos_core::run::{
    Event, InjectionId, InjectionState, LatencyCount, ProbeSample, Resolution, RunId, RunState, Stop,
    StopCause, Timer,
};
use chaos_core::safety::{Decision, Gate, Health, Override, Signal};
use chaos_core::spec::{ProbePhase, parse_documents};
use chaos_core::target::{Instance, ProcessRef, Selection};
use jiff::{SignedDuration, Timestamp};

/// A header value and a request body that no report may show.
pub(crate) const SECRETS: [&str; 2] = ["token-4711-very-secret", "body-with-a-card-number"];

const DOCUMENT: &str = r#"
apiVersion: chaos.engineering/v1
kind: Experiment
metadata: { name: orchestrator-pause, labels: { team: platform } }
spec:
  hypothesis: "orchestrator keeps serving while | half of its *workers* hang"
  target: { host: { app: orchestrator }, select: 50% }
  faults: [ { process_pause: {} } ]
  duration: 10s
  probes:
    - name: health
      http:
        url: "http://127.0.0.1:8080/health"
        method: POST
        headers: { Authorization: "Bearer token-4711-very-secret" }
        body: body-with-a-card-number
      tolerance: { success: 95%, latency: { p95: 250ms } }
    - name: queue
      command: { argv: [queue-length] }
      during: [before, chaos]
  recovery: { timeout: 20s }
"#;

pub(crate) fn start() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().expect("a time")
}

pub(crate) fn header() -> RunHeader {
    RunHeader {
        run: RunId("4f1c09a2b7de".into()),
        experiment: parse_documents(DOCUMENT).expect("valid").remove(0),
        seed: 7,
        threshold: 0.8,
        overrides: BTreeSet::new(),
        reason: None,
        actor: chaos_core::access::Actor::default(),
        lenient: false,
        owner: Owner::Command,
        created_at: start(),
    }
}

/// A run on its way, and what it wrote.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) header: RunHeader,
    pub(crate) records: Vec<Record>,
    pub(crate) state: RunState,
}

impl Journal {
    pub(crate) fn new(header: RunHeader) -> Self {
        let state = RunState::new(&header);
        Self { header, records: Vec::new(), state }
    }

    /// Adds an event if it can happen; says whether it could.
    pub(crate) fn try_at(&mut self, ms: u64, event: Event) -> bool {
        let Ok(effects) = self.state.step(&self.header, ms, event.clone()) else { return false };
        let at = start() + SignedDuration::from_millis(ms as i64);
        self.records.push(Record { seq: self.records.len() as u64 + 1, at, elapsed_ms: ms, event, effects });
        true
    }

    fn at(mut self, ms: u64, event: Event) -> Self {
        assert!(self.try_at(ms, event.clone()), "{} can't happen now", event.name());
        self
    }
}

pub(crate) fn instance(number: i32) -> Instance {
    let process = ProcessRef { pid: 100 + number, start_time: 1 };
    Instance {
        id: format!("orchestrator/{number}"),
        process,
        processes: vec![process],
        command: "orchestrator --worker".into(),
        ready: true,
        managed: true,
        ports: vec![],
        network_namespace: 1,
        shares_host_network: true,
        own_cgroup: None,
        host: String::new(),
    }
}

pub(crate) fn health(score: Option<f64>) -> Health {
    let signal = Signal {
        name: "readiness".into(),
        value: score,
        score,
        weight: 1.0,
        critical: false,
        source: "targets".into(),
        at: start(),
        error: score.is_none().then(|| "connection refused".to_owned()),
        not_evaluated: false,
    };
    Health::of(vec![signal], start())
}

pub(crate) fn measured(score: Option<f64>, ready: usize) -> Event {
    Event::Health { health: health(score), ready }
}

pub(crate) fn resolved(refusal: Option<&str>, overridden: bool) -> Event {
    let chosen = vec![instance(1), instance(3)];
    let score = if refusal.is_some() { 0.5 } else { 1.0 };
    let decision = |gate, passed, message: &str| Decision {
        gate,
        passed,
        overridden: false,
        unknown: false,
        inputs: std::collections::BTreeMap::new(),
        message: message.into(),
    };
    Event::Resolved(Box::new(Resolution {
        matching: (0..4).map(|number| format!("orchestrator/{number}")).collect(),
        ready: 4,
        ports_min: 0,
        selection: Selection {
            seed: 7,
            chosen: chosen.iter().map(|one| one.id.clone()).collect(),
            total: 4,
            affected: 2,
            untouched_ready: 2,
        },
        chosen,
        health: health(Some(score)),
        decisions: vec![
            Decision {
                overridden,
                ..decision(Gate::MaxAffected, true, "2 of 4 instances affected, maxAffected 50%")
            },
            decision(Gate::LastReadyInstance, true, "2 ready instances stay untouched"),
            decision(Gate::Health, refusal.is_none(), refusal.unwrap_or("health score 1.00, threshold 0.8")),
        ],
    }))
}

pub(crate) fn report(number: usize, state: InjectionState) -> Event {
    let pid = [101, 103][number % 2];
    let seen = |observed: &str| vec![Evidence::new(format!("threads of {pid}"), observed)];
    let (evidence, error, took_ms) = match state {
        InjectionState::Active => (seen("4 of 4 stopped"), None, 3.25),
        InjectionState::Reverted => (seen("none is held"), None, 1.5),
        InjectionState::RevertFailed => (vec![], Some("2 threads are still held".to_owned()), 0.0),
        InjectionState::ApplyFailed => (seen("running"), Some("operation not permitted".to_owned()), 0.0),
        _ => (vec![], None, 0.0),
    };
    Event::Injection(InjectionReport {
        injection: InjectionId(format!("4f1c09a2b7de-{number}")),
        state,
        evidence,
        error,
        took_ms,
    })
}

pub(crate) fn sample(probe: &str, phase: ProbePhase, passed: u64, measured: u64, ms: f64) -> Event {
    let missed = passed < measured;
    Event::Probed(ProbeSample {
        probe: probe.into(),
        phase,
        measured,
        passed,
        no_data: 0,
        value: (probe == "queue").then_some(ms / 8.0),
        latency: if probe == "health" { vec![LatencyCount { ms, count: measured }] } else { vec![] },
        // What an answer may well say back.
        problem: missed
            .then(|| "status 503 <b>for token-4711-very-secret</b> | \u{1b}[31mbad\u{1b}[0m".into()),
    })
}

fn until_active(header: RunHeader) -> Journal {
    Journal::new(header)
        .at(0, Event::Started)
        .at(12, resolved(None, false))
        .at(500, sample("health", ProbePhase::Before, 20, 20, 8.0))
        .at(510, sample("queue", ProbePhase::Before, 1, 1, 8.0))
        .at(520, Event::BaselineEnded)
        .at(523, report(0, InjectionState::Applying))
        .at(524, report(1, InjectionState::Applying))
        .at(527, report(0, InjectionState::Active))
        .at(529, report(1, InjectionState::Active))
}

fn undone(journal: Journal, ms: u64) -> Journal {
    journal
        .at(ms, report(0, InjectionState::Reverting))
        .at(ms + 2, report(0, InjectionState::Reverted))
        .at(ms + 3, report(1, InjectionState::Reverted))
}

pub(crate) fn held() -> Journal {
    let journal = until_active(header())
        .at(1_529, measured(Some(1.0), 4))
        .at(1_600, sample("health", ProbePhase::Chaos, 20, 20, 11.0))
        .at(1_610, sample("queue", ProbePhase::Chaos, 1, 1, 24.0))
        .at(10_527, Event::Elapsed(Timer::Run));
    undone(journal, 10_528)
        .at(10_700, sample("health", ProbePhase::After, 20, 20, 8.0))
        .at(10_731, measured(Some(1.0), 4))
}

pub(crate) fn deviated() -> Journal {
    let journal = until_active(header())
        .at(1_529, measured(Some(0.9), 4))
        .at(1_600, sample("health", ProbePhase::Chaos, 20, 20, 11.0))
        .at(1_610, sample("queue", ProbePhase::Chaos, 1, 1, 24.0))
        .at(2_600, sample("health", ProbePhase::Chaos, 14, 20, 900.0))
        .at(3_600, sample("health", ProbePhase::Chaos, 20, 20, 12.0))
        .at(10_527, Event::Elapsed(Timer::Run));
    undone(journal, 10_528)
        .at(10_700, sample("health", ProbePhase::After, 18, 20, 300.0))
        .at(10_731, measured(Some(0.95), 3))
        .at(11_700, sample("health", ProbePhase::After, 20, 20, 8.0))
        .at(11_731, measured(Some(1.0), 4))
}

pub(crate) fn stopped() -> Journal {
    let mut header = header();
    header.overrides.insert(Override::MaxAffected);
    header.reason = Some("game day, agreed with <platform>".into());
    let journal = Journal::new(header)
        .at(0, Event::Started)
        .at(12, resolved(None, true))
        .at(500, sample("health", ProbePhase::Before, 20, 20, 8.0))
        .at(510, sample("queue", ProbePhase::Before, 1, 1, 8.0))
        .at(520, Event::BaselineEnded)
        .at(527, report(0, InjectionState::Active))
        .at(529, report(1, InjectionState::Active))
        .at(1_600, sample("health", ProbePhase::Chaos, 20, 20, 11.0))
        .at(2_529, measured(Some(0.4), 2));
    undone(journal, 2_530)
}

pub(crate) fn blocked() -> Journal {
    Journal::new(header())
        .at(0, Event::Started)
        .at(12, resolved(Some("health score 0.50, threshold 0.8; readiness is 0.5"), false))
}

pub(crate) fn revert_incomplete() -> Journal {
    until_active(header())
        .at(1_600, sample("health", ProbePhase::Chaos, 20, 20, 11.0))
        .at(
            2_000,
            Event::StopRequested(Stop { cause: StopCause::Request, reason: "stopped by alice".into() }),
        )
        .at(2_003, report(0, InjectionState::Reverted))
        .at(32_000, Event::Elapsed(Timer::Revert))
}

pub(crate) fn unfinished() -> Journal {
    until_active(header()).at(1_600, sample("health", ProbePhase::Chaos, 20, 20, 11.0))
}

/// Every run with its name.
pub(crate) fn all() -> Vec<(&'static str, Journal)> {
    vec![
        ("held", held()),
        ("deviated", deviated()),
        ("stopped", stopped()),
        ("blocked", blocked()),
        ("revert_incomplete", revert_incomplete()),
        ("unfinished", unfinished()),
    ]
}

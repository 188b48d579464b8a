//! The fold of records into measures.
//!
//! Owns what the run's own state does not keep: phase times, who noticed, lows. It never judges anew what the state
//! machine has judged.

use chaos_core::journal::{Record, RunHeader};
use chaos_core::port::Evidence;
use chaos_core::run::{Event, Injection, InjectionState, Phase, RunState, Stop};
use chaos_core::safety::Decision;

use super::secrets::Secrets;
use super::timeline::Timeline;
use super::{
    DamagedJournal, FaultMeasures, HealthMeasures, InjectionMeasures, Measure, Measures, Movement,
    PhaseMeasures, TargetMeasures, next, probes, replay,
};

pub(super) fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

fn since(from: Option<u64>, to: Option<u64>) -> Option<f64> {
    Some(seconds(to?.saturating_sub(from?)))
}

pub(super) struct Fold<'h> {
    header: &'h RunHeader,
    secrets: Secrets,
    state: RunState,
    /// Each phase and the run time in milliseconds at which it began.
    phases: Vec<(Phase, u64)>,
    timeline: Timeline,
    detected_by: Option<String>,
    ready_min: Option<usize>,
    ready_after: Option<usize>,
    score_after: Option<f64>,
    latest_ms: u64,
}

impl<'h> Fold<'h> {
    pub(super) fn new(header: &'h RunHeader) -> Self {
        Self {
            header,
            secrets: Secrets::of(&header.experiment),
            state: RunState::new(header),
            phases: vec![(Phase::Preflight, 0)],
            timeline: Timeline::default(),
            detected_by: None,
            ready_min: None,
            ready_after: None,
            score_after: None,
            latest_ms: 0,
        }
    }

    pub(super) fn add(&mut self, record: &Record) -> Result<(), DamagedJournal> {
        let before = (self.state.phase, self.state.detected_ms);
        self.state
            .step(self.header, record.elapsed_ms, record.event.clone())
            .map_err(|source| DamagedJournal { run: self.header.run.clone(), seq: record.seq, source })?;
        self.latest_ms = self.latest_ms.max(record.elapsed_ms);
        if self.state.phase != before.0 {
            self.phases.push((self.state.phase, record.elapsed_ms));
        }
        if before.1.is_none() && self.state.detected_ms.is_some() {
            self.detected_by = self.noticed(&record.event);
        }
        if let Event::Health { health, ready } = &record.event {
            match before.0 {
                Phase::Injecting | Phase::Active => {
                    self.ready_min = Some(self.ready_min.map_or(*ready, |min| min.min(*ready)));
                }
                Phase::Recovering => {
                    self.ready_after = Some(*ready);
                    self.score_after = health.score.value().or(self.score_after);
                }
                _ => {}
            }
        }
        self.timeline.add(self.header, &self.secrets, before.0, &self.state, record);
        Ok(())
    }

    fn noticed(&self, event: &Event) -> Option<String> {
        match event {
            Event::Probed(sample) => {
                let problem = sample.problem.as_deref().map(|text| format!(": {}", self.secrets.scrub(text)));
                Some(format!("probe {}{}", sample.probe, problem.unwrap_or_default()))
            }
            Event::Health { health, .. } => Some(self.secrets.scrub(&health.explain(self.header.threshold))),
            _ => None,
        }
    }

    pub(super) fn finish(self) -> Measures {
        let (header, state) = (self.header, &self.state);
        let spec = &header.experiment.spec;
        let outcome = state.outcome.as_ref();
        let probes = probes::measure(header, state, &self.secrets, &self.phases);
        let mut measures = Measures {
            run: header.run.clone(),
            name: header.experiment.metadata.name.clone(),
            namespace: header.experiment.metadata.namespace.clone(),
            kind: header.experiment.type_name(),
            hypothesis: spec.hypothesis.as_deref().map(|text| self.secrets.scrub(text)),
            finished: outcome.is_some(),
            status: state.status(),
            phase: state.phase,
            verdict: outcome.map(|outcome| outcome.verdict),
            reason: outcome.map(|outcome| self.secrets.scrub(&outcome.reason)),
            exit_code: outcome.map(chaos_core::run::Outcome::exit_code),
            revert_incomplete: outcome.is_some_and(|outcome| outcome.revert_incomplete),
            next_steps: Vec::new(),
            created_at: header.created_at,
            duration_seconds: seconds(state.finished_ms.unwrap_or(self.latest_ms)),
            phases: self.phase_measures(),
            active_at_seconds: state.active_ms.map(seconds),
            detection_seconds: since(state.active_ms, state.detected_ms),
            detected_by: self.detected_by.clone(),
            revert_seconds: since(state.reverting_ms, state.reverted_ms),
            recovery_seconds: since(state.reverted_ms, state.recovered_ms),
            stop: state
                .stop
                .as_ref()
                .map(|stop| Stop { cause: stop.cause, reason: self.secrets.scrub(&stop.reason) }),
            target: target(header, state),
            faults: faults(header),
            health: HealthMeasures {
                threshold: header.threshold,
                before: state.health_before.as_ref().and_then(|health| health.score.value()),
                lowest: state.score_min,
                after: self.score_after,
                latest: state
                    .health
                    .as_ref()
                    .map(|health| self.secrets.scrub(&health.explain(header.threshold))),
            },
            gates: state
                .decisions
                .iter()
                .map(|one| Decision { message: self.secrets.scrub(&one.message), ..one.clone() })
                .collect(),
            overrides: header.overrides.iter().map(|one| one.name().to_owned()).collect(),
            override_reason: header.reason.as_deref().map(|text| self.secrets.scrub(text)),
            owner: header.owner,
            injections: state.injections.iter().map(|one| self.injection(one)).collect(),
            measured: [self.target_movements(), probes::movements(&probes)].concat(),
            probes,
            timeline_omitted: self.timeline.omitted(),
            replay: replay::of(header),
            timeline: Vec::new(),
        };
        measures.next_steps = next::steps(&measures, state.failure.as_ref());
        measures.timeline = self.timeline.into_entries();
        measures
    }

    fn phase_measures(&self) -> Vec<PhaseMeasures> {
        let ends = self.phases.iter().skip(1).map(|(_, ms)| *ms).chain([self.latest_ms]);
        self.phases
            .iter()
            .zip(ends)
            .filter(|((phase, _), _)| *phase != Phase::Finished)
            .map(|((phase, from), to)| PhaseMeasures {
                phase: *phase,
                started_at_seconds: seconds(*from),
                duration_seconds: seconds(to.saturating_sub(*from)),
            })
            .collect()
    }

    fn target_movements(&self) -> Vec<Movement> {
        let resolved = self.state.selection.is_some();
        let count = |number: Option<usize>| number.map(|number| number as f64);
        let score = self.state.health_before.as_ref().and_then(|health| health.score.value());
        vec![
            Movement::of(None, Measure::HealthScore, [score, self.state.score_min, self.score_after]),
            Movement::of(
                None,
                Measure::ReadyInstances,
                [
                    count(resolved.then_some(self.state.ready_before)),
                    count(self.ready_min),
                    count(self.ready_after),
                ],
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn injection(&self, injection: &Injection) -> InjectionMeasures {
        let never_applied = injection.state == InjectionState::Planned && self.state.phase == Phase::Finished;
        let proof = |of_effect: bool| -> Vec<Evidence> {
            injection
                .evidence
                .iter()
                .filter(
                    |(state, _)| {
                        if of_effect { *state == InjectionState::Active } else { state.is_final() }
                    },
                )
                .map(|(_, one)| {
                    Evidence::new(self.secrets.scrub(&one.source), self.secrets.scrub(&one.observed))
                })
                .collect()
        };
        InjectionMeasures {
            id: injection.id.clone(),
            kind: kind_of(self.header, injection.item),
            instance: injection.instance.id.clone(),
            state: injection.state,
            undone: never_applied
                || (injection.state.is_final() && injection.state != InjectionState::RevertFailed),
            active_at_seconds: injection.active_ms.map(seconds),
            ended_at_seconds: injection.ended_ms.map(seconds),
            inject_ms: injection.inject_took_ms,
            revert_ms: injection.revert_took_ms,
            effect: proof(true),
            undo: proof(false),
            error: injection.error.as_deref().map(|text| self.secrets.scrub(text)),
        }
    }
}

impl Movement {
    /// `None` when nothing was measured at all.
    pub(super) fn of(probe: Option<&str>, measure: Measure, values: [Option<f64>; 3]) -> Option<Self> {
        let [before, during, after] = values.map(|value| value.filter(|number| number.is_finite()));
        (before.is_some() || during.is_some() || after.is_some()).then(|| Self {
            probe: probe.map(str::to_owned),
            measure,
            before,
            during,
            after,
            change: before.zip(during).map(|(before, during)| during - before),
        })
    }
}

/// Kind of an entry of `spec.faults`.
pub(super) fn kind_of(header: &RunHeader, item: usize) -> String {
    let faults = &header.experiment.spec.faults;
    faults.get(item).map_or_else(|| format!("fault {item}"), |item| item.fault.kind().name().to_owned())
}

fn target(header: &RunHeader, state: &RunState) -> TargetMeasures {
    let target = &header.experiment.spec.target;
    let selection = state.selection.as_ref();
    TargetMeasures {
        description: target.host.as_ref().map(ToString::to_string).unwrap_or_default(),
        select: target.select.to_string(),
        seed: header.seed,
        matching: state.instances,
        affected: selection.map(|selection| selection.affected),
        chosen: selection.map(|selection| selection.chosen.clone()).unwrap_or_default(),
    }
}

fn faults(header: &RunHeader) -> Vec<FaultMeasures> {
    let spec = &header.experiment.spec;
    spec.faults
        .iter()
        .map(|item| {
            let kind = item.fault.kind().name();
            let tagged = serde_json::to_value(&item.fault).unwrap_or_default();
            FaultMeasures {
                kind: kind.to_owned(),
                name: item.name.clone(),
                after: item.after.clone(),
                duration: item.duration.unwrap_or(spec.duration).to_string(),
                parameters: tagged.get(kind).cloned().unwrap_or_default(),
            }
        })
        .collect()
}

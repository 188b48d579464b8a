//! What to do next, for somebody who was woken up by this.
//!
//! Owns the advice for each end of a run. It never repeats the reason.

use chaos_core::run::{Failure, InjectionState, Phase, StopCause, Verdict};
use chaos_core::safety::Gate;

use super::replay::namespace_flag;
use super::{Measures, ProbeJudgement, named};

pub(super) fn steps(run: &Measures, failure: Option<&Failure>) -> Vec<String> {
    let Some(verdict) = run.verdict else { return unfinished(run) };
    if run.revert_incomplete {
        return revert_incomplete(run);
    }
    match verdict {
        Verdict::Held => vec![
            "Nothing is left to do: every fault is proven undone.".into(),
            "To learn more, hit more instances, break longer, or add a probe on what users see.".into(),
        ],
        Verdict::Deviated => deviated(run),
        Verdict::Stopped => stopped(run),
        Verdict::Blocked => blocked(run, failure),
        Verdict::Inconclusive => inconclusive(run),
        Verdict::Error => error(run, failure),
    }
}

fn with_name(command: &str, run: &Measures, rest: &str) -> String {
    format!("`chaos {command} {}{}{rest}`", run.name, namespace_flag(&run.namespace))
}

fn unfinished(run: &Measures) -> Vec<String> {
    let mut steps = vec![format!("Watch it: {}.", with_name("status", run, " --watch"))];
    if run.phase >= Phase::Injecting {
        steps.push(format!("End it now and undo everything: {}.", with_name("stop", run, "")));
    }
    steps.push(
        "If nothing drives it any more, `chaos recover` undoes what a dead process left on this host.".into(),
    );
    steps
}

fn revert_incomplete(run: &Measures) -> Vec<String> {
    let open: Vec<&str> = run
        .injections
        .iter()
        .filter(|one| one.state == InjectionState::RevertFailed)
        .map(|one| one.instance.as_str())
        .collect();
    vec![
        "Act now: run `chaos recover` on the host of the target; it tries every open undo again.".into(),
        format!("Look at {}: a fault may still act on it.", named(&open)),
        "If it stays, `chaos doctor` says what this host can't do and why.".into(),
    ]
}

fn deviated(run: &Measures) -> Vec<String> {
    let mut steps = Vec::new();
    let beyond = |phase| {
        run.probes.iter().find(|probe| {
            probe.phases.iter().any(|one| one.phase == phase && one.judgement == ProbeJudgement::Beyond)
        })
    };
    if let Some(probe) = beyond(chaos_core::spec::ProbePhase::Chaos) {
        let from = run.active_at_seconds.unwrap_or_default();
        let noticed = from + run.detection_seconds.unwrap_or_default();
        steps.push(format!(
            "A weakness was found. Start with probe {}: read logs and metrics of {} from +{noticed:.3} s on.",
            probe.name, run.target.description
        ));
    }
    if run.recovery_seconds.is_none() {
        steps.push("It did not come back by itself: check the target with `chaos health`.".into());
    }
    steps.push("Every fault is proven undone.".into());
    steps.push("Fix it, then replay this run with the same seed to see it hold.".into());
    steps
}

fn stopped(run: &Measures) -> Vec<String> {
    let mut steps = vec!["Every fault is proven undone.".to_owned()];
    match run.stop.as_ref().map(|stop| stop.cause) {
        Some(StopCause::Health) => {
            steps.push("Check that health came back: `chaos health` names each signal.".into());
            steps.push(
                "The system bore less than this experiment asks: hit fewer instances, or mend it first."
                    .into(),
            );
        }
        Some(StopCause::Guardrail) => {
            steps.push("A guardrail ended it: see the incident, `chaos incident list`.".into());
        }
        Some(StopCause::Lever) => {
            steps.push("`chaos lever show` says who engaged the lever, and why.".into());
        }
        Some(StopCause::Journal) => {
            steps.push("Free space in the state folder; without a journal nothing may be broken.".into());
        }
        _ => steps.push("Start it again when you are ready; nothing was concluded.".into()),
    }
    if run.injections.iter().all(|one| one.state == InjectionState::Planned) {
        steps[0] = "Nothing was touched.".into();
    }
    steps
}

fn blocked(run: &Measures, failure: Option<&Failure>) -> Vec<String> {
    let mut steps = vec!["Nothing was touched.".to_owned()];
    if matches!(failure, Some(Failure::Baseline(_))) {
        steps.push("Steady state did not hold before anything was broken: mend the system, or correct the probe and its tolerance.".into());
    }
    for gate in run.gates.iter().filter(|gate| !gate.passed) {
        let name = gate.gate.name();
        let lift = format!("`--override {name} --reason R`");
        steps.push(match gate.gate {
            Gate::Lever => "Somebody stopped everything: `chaos lever show` says who and why, `chaos lever release --reason R` ends it.".into(),
            Gate::Window => format!("Start it inside of an allowed window, or lift it: {lift}."),
            Gate::Approval => format!("Ask an approver: `chaos approve {}`.", run.name),
            Gate::Protected => format!("Name another target, or lift the protection: {lift}."),
            Gate::Overlap => "Wait for the other run: `chaos list` shows it.".into(),
            Gate::Breaker => "Find out why the last runs on this target failed: `chaos list`, `chaos incident list`.".into(),
            Gate::Caps => "Select fewer instances, wait for other runs, or lift the cap: `--override max_affected --reason R`.".into(),
            Gate::Alert => "An alert fires: mend that first.".into(),
            Gate::Budget => format!("Too much of an error budget is spent: wait, or lift it: {lift}."),
            Gate::StopCondition => "Correct `safety.stopWhen` so that each condition has data; `--lenient` only warns.".into(),
            Gate::Health => {
                "Health has no override: find the signal with `chaos health`, mend it, start again.".into()
            }
            Gate::MaxAffected | Gate::LastReadyInstance => format!(
                "Select fewer instances, start more of them, or lift the cap: `--override {name} --reason R`."
            ),
            Gate::UnmanagedKill => format!(
                "Put the target under a supervisor that restarts it, or lift the cap: `--override {name} --reason R`."
            ),
        });
    }
    steps
}

fn inconclusive(run: &Measures) -> Vec<String> {
    let blind: Vec<&str> = run
        .probes
        .iter()
        .filter(|probe| {
            probe
                .phases
                .iter()
                .any(|one| matches!(one.judgement, ProbeJudgement::NoData | ProbeJudgement::Inconclusive))
        })
        .map(|probe| probe.name.as_str())
        .collect();
    let mut steps = Vec::new();
    if !blind.is_empty() {
        steps.push(format!("Find out why these gave no data: {}.", blind.join(", ")));
    }
    if !run.injections.is_empty() && run.active_at_seconds.is_none() {
        steps.push("No fault acted: see what is left of the target with `chaos targets`.".into());
    }
    steps.push("No data is never a pass: nothing was learnt, run it again.".into());
    steps
}

fn error(run: &Measures, failure: Option<&Failure>) -> Vec<String> {
    let mut steps = Vec::new();
    match failure {
        Some(Failure::Target(_)) => {
            steps.push("Nothing was touched. `chaos targets` lists what could be hit.".to_owned());
        }
        Some(Failure::Abandoned(_)) => {
            steps.push("The process that drove the run died; everything was undone.".to_owned());
            steps.push("See why it died, then start the run again.".to_owned());
        }
        _ => {
            if run.injections.iter().all(|one| one.undone) {
                steps.push("Every fault is proven undone.".to_owned());
            }
            steps.push("`chaos doctor` says what this host can do, and why not.".to_owned());
        }
    }
    steps
}

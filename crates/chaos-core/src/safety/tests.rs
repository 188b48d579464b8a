//! The gates together: a world in which every gate has a say and passes, and what one change in it does.
//!
//! Owns that world. Each gate is asked only through [`decide`], [`again`] and [`during`].

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::journal::RunSummary;
use crate::run::{Phase, RunId, Status, Verdict};
use crate::spec::{Experiment, ExperimentKey, parse_documents};
use crate::target::{Instance, Inventory, ProcessRef, Selection};

const DOCUMENT: &str = r#"
apiVersion: chaos.engineering/v1
kind: Experiment
metadata: { name: kill, namespace: shop }
spec:
  target: { host: { app: orchestrator }, select: 50% }
  faults: [ { pod_kill: {} } ]
  duration: 5m
  safety:
    stopWhen:
      - alert: { severity: page }
      - burnRate: { slo: checkout, above: 10 }
      - query: { query: errors, above: 5 }
"#;

const POLICY: &str = r#"
windows:
  allow: [ { days: [mon, tue, wed, thu, fri], from: '09:00', to: '17:00', timezone: Europe/Berlin } ]
  deny: [ { name: freeze, first: 2026-12-20, last: 2027-01-03, timezone: Europe/Berlin } ]
approvals: [ { namespace: shop, faults: [pod_kill], target: 'orch*', approvers: 2, validFor: 2h } ]
caps: { run: 2, app: 3, namespace: 4, total: 5 }
protected: [ sshd, 'postgres*' ]
slos: [ { name: checkout, objective: 99.9%, errors: 'e{code="500"}', total: e } ]
alerts: [ { severity: critical } ]
"#;

/// A Wednesday, 14:00 in Berlin.
const NOW: Timestamp = Timestamp::constant(1_784_116_800, 0);

struct World {
    experiment: Experiment,
    policy: Policy,
    facts: Facts,
    inventory: Inventory,
    selection: Selection,
    health: Health,
    overrides: BTreeSet<Override>,
    lenient: bool,
}

impl World {
    fn new() -> Self {
        let experiment = parse_documents(DOCUMENT).expect("a document").remove(0);
        let policy: Policy = serde_saphyr::from_str(POLICY).expect("a policy");
        policy.check().expect("a sound policy");
        let facts = Facts {
            now: NOW,
            actor: "ann".into(),
            lever: Ok(Lever::untouched()),
            approvals: Ok(["ben", "cat"].map(|name| approval(&experiment, name)).into()),
            outcomes: Ok(vec![outcome(Verdict::Held, 600)]),
            claims: vec![
                claim("shop", "app \"other\"", &["x/1"]),
                claim("default", "unit \"y\"", &["y/1", "y/2"]),
            ],
            budgets: policy.slos.iter().map(|slo| budget(slo, 0.5, [1.0; 4])).collect(),
            alerts: policy.alerts.iter().map(|labels| alert(labels, &[])).collect(),
            conditions: experiment
                .spec
                .safety
                .stop_when
                .iter()
                .map(|one| condition(one, Some(false)))
                .collect(),
        };
        Self {
            inventory: Inventory { instances: (0..4).map(instance).collect(), ..Inventory::default() },
            selection: Selection {
                seed: 7,
                chosen: vec!["orchestrator/0".into(), "orchestrator/1".into()],
                total: 4,
                affected: 2,
                untouched_ready: 2,
            },
            health: Health::of(vec![signal(1.0, NOW)], NOW),
            overrides: BTreeSet::new(),
            lenient: false,
            experiment,
            policy,
            facts,
        }
    }

    fn with(change: impl Fn(&mut World)) -> Self {
        let mut world = Self::new();
        change(&mut world);
        world
    }

    fn decide(&self) -> Vec<Decision> {
        decide(&GateInput {
            experiment: &self.experiment,
            threshold: 0.8,
            inventory: &self.inventory,
            selection: &self.selection,
            health: &self.health,
            overrides: &self.overrides,
            lenient: self.lenient,
            policy: &self.policy,
            facts: &self.facts,
        })
    }

    /// What the gates say of a draw after which the run holds so many instances.
    fn again(&self, held: usize) -> Vec<Decision> {
        again(&DrawInput {
            experiment: &self.experiment,
            inventory: &self.inventory,
            selection: &self.selection,
            held,
            overrides: &self.overrides,
            policy: &self.policy,
            claims: &self.facts.claims,
        })
    }

    /// What these gates say before the start.
    fn decided(&self, gates: &[Gate]) -> Vec<Decision> {
        self.decide().into_iter().filter(|decision| gates.contains(&decision.gate)).collect()
    }

    fn during(&self) -> Vec<Decision> {
        during(&GuardInput {
            experiment: &self.experiment,
            overrides: &self.overrides,
            lenient: self.lenient,
            policy: &self.policy,
            facts: &self.facts,
        })
    }

    fn message(&self, gate: Gate) -> String {
        let decision = self.decide().into_iter().find(|decision| decision.gate == gate);
        decision.expect("the gate has a say").message
    }
}

fn instance(number: i32) -> Instance {
    let process = ProcessRef { pid: 100 + number, start_time: 1 };
    Instance {
        id: format!("orchestrator/{number}"),
        process,
        processes: vec![process],
        command: "/usr/bin/orchestrator --port 8080".into(),
        ready: true,
        managed: true,
        ports: vec![],
        network_namespace: 1,
        shares_host_network: true,
        own_cgroup: Some("/system.slice/orchestrator.service".into()),
        host: String::new(),
    }
}

fn approval(experiment: &Experiment, approver: &str) -> Approval {
    Approval {
        experiment: experiment.key(),
        document_hash: document_hash(experiment),
        approver: approver.into(),
        reason: None,
        at: NOW - SignedDuration::from_mins(30),
        expires_at: NOW + SignedDuration::from_hours(24),
    }
}

fn claim(namespace: &str, target: &str, instances: &[&str]) -> Claim {
    Claim {
        run: RunId("0123456789ab".into()),
        experiment: ExperimentKey { namespace: namespace.into(), name: "other".into() },
        target: target.into(),
        instances: instances.iter().map(|id| (*id).to_owned()).collect(),
    }
}

fn outcome(verdict: Verdict, ago: i64) -> RunSummary {
    RunSummary {
        run: RunId("0".into()),
        name: "kill".into(),
        namespace: "shop".into(),
        kind: "pod_kill".into(),
        target: "app \"orchestrator\"".into(),
        status: Status::Completed,
        phase: Phase::Finished,
        verdict: Some(verdict),
        reason: None,
        stop_cause: None,
        revert_incomplete: false,
        exit_code: Some(1),
        actor: "ann".into(),
        injections: 1,
        active: 0,
        created_at: NOW - SignedDuration::from_secs(ago),
        duration_seconds: 0.0,
        detection_seconds: None,
        recovery_seconds: None,
    }
}

/// The rates are those over 5 minutes, 1 hour, 30 minutes, 6 hours.
fn budget(slo: &Slo, remaining: f64, rates: [f64; 4]) -> BudgetReading {
    let burns = [300, 3600, 1800, 21_600].into_iter().zip(rates);
    BudgetReading {
        slo: slo.name.clone(),
        remaining: Some(remaining),
        burns: burns.map(|(over_seconds, rate)| Burn { over_seconds, rate: Some(rate) }).collect(),
        error: None,
    }
}

fn alert(labels: &AlertMatch, firing: &[&str]) -> AlertReading {
    let firing = firing.iter().map(|name| (*name).to_owned()).collect();
    AlertReading { labels: labels.to_string(), rules: Some(3), firing, error: None }
}

fn condition(condition: &crate::spec::Condition, met: Option<bool>) -> ConditionReading {
    ConditionReading { condition: condition.clone(), met, value: None, detail: "seen".into() }
}

fn signal(score: f64, at: Timestamp) -> Signal {
    Signal {
        name: "readiness".into(),
        value: Some(score),
        score: Some(score),
        weight: 1.0,
        critical: false,
        source: "targets".into(),
        at,
        error: None,
        not_evaluated: false,
    }
}

type Change = fn(&mut World);

/// For each gate a change that makes it refuse, and no other.
const REFUSED: [(Gate, Change); 14] = [
    (Gate::Lever, |world| {
        let lever = Lever { engaged: true, reason: "storm".into(), actor: "dan".into(), at: NOW };
        world.facts.lever = Ok(lever);
    }),
    (Gate::Window, |world| world.policy.windows.deny[0].first = None),
    (Gate::Approval, |world| world.policy.approvals[0].approvers = 3),
    (Gate::Protected, |world| world.policy.protected.push("orchestrator.service".into())),
    (Gate::Overlap, |world| {
        // In place of another one, so that the sums stay as they are.
        world.facts.claims[0].instances = BTreeSet::from(["orchestrator/1".to_owned()]);
    }),
    (Gate::Breaker, |world| {
        world.facts.outcomes = Ok((0..5).map(|ago| outcome(Verdict::Error, ago)).collect());
    }),
    (Gate::MaxAffected, |world| world.selection.affected = 3),
    (Gate::Caps, |world| world.policy.caps.total = Some(4)),
    (Gate::LastReadyInstance, |world| world.selection.untouched_ready = 0),
    (Gate::UnmanagedKill, |world| world.inventory.instances[1].managed = false),
    (Gate::Alert, |world| world.facts.alerts[0].firing.push("HighErrors".into())),
    (Gate::Budget, |world| world.facts.budgets[0].remaining = Some(0.24)),
    (Gate::StopCondition, |world| world.facts.conditions[2].met = Some(true)),
    (Gate::Health, |world| world.health = Health::of(vec![signal(0.7, NOW)], NOW)),
];

#[test]
fn another_draw_is_judged_by_the_same_gates_as_the_first() {
    assert_eq!(World::new().again(2), World::new().decided(&Gate::AGAIN));
    for (gate, change) in REFUSED {
        let world = World::with(change);
        let expected: &[Gate] = if Gate::AGAIN.contains(&gate) { &[gate] } else { &[] };
        assert_eq!(not_passed(&world.again(2)), expected);
    }
    let caps = Caps { run: Some(3), ..Caps::default() };
    let held = |held| not_passed(&World::with(|world| world.policy.caps = caps.clone()).again(held));
    assert_eq!((held(3), held(4)), (vec![], vec![Gate::Caps]), "what the run has hit before counts");
}

/// Facts that are not known, and the gate that needs each.
const UNKNOWN: [(Gate, Change); 18] = [
    (Gate::Lever, |world| world.facts.lever = Err("the store is locked".into())),
    (Gate::Window, |world| world.policy.windows.allow[0].timezone = "Middle-earth/Shire".into()),
    (Gate::Approval, |world| world.facts.approvals = Err("the store is locked".into())),
    (Gate::Breaker, |world| world.facts.outcomes = Err("the store is locked".into())),
    (Gate::Alert, |world| world.facts.alerts.clear()),
    (Gate::Alert, |world| world.facts.alerts.iter_mut().for_each(|one| one.rules = None)),
    (Gate::Alert, |world| world.facts.alerts.iter_mut().for_each(|one| one.rules = Some(0))),
    (Gate::Alert, |world| {
        world.facts.alerts.iter_mut().for_each(|one| one.error = Some("connection refused".into()))
    }),
    (Gate::Budget, |world| world.facts.budgets.clear()),
    (Gate::Budget, |world| world.facts.budgets.iter_mut().for_each(|one| one.remaining = None)),
    (Gate::Budget, |world| world.facts.budgets.iter_mut().for_each(|one| one.remaining = Some(f64::NAN))),
    (Gate::Budget, |world| rates(world).iter_mut().take(1).for_each(|one| one.rate = None)),
    (Gate::Budget, |world| rates(world).iter_mut().skip(3).for_each(|one| one.rate = Some(f64::NAN))),
    (Gate::Budget, |world| world.facts.budgets.iter_mut().for_each(|one| one.burns.truncate(3))),
    (Gate::StopCondition, |world| world.facts.conditions.truncate(2)),
    (Gate::StopCondition, |world| world.facts.conditions[0].met = None),
    (Gate::Health, |world| world.health = Health::of(vec![], NOW)),
    (Gate::Health, |world| world.health.score = Score::Unknown("readiness".into())),
];

fn rates(world: &mut World) -> &mut [Burn] {
    world.facts.budgets.first_mut().map(|one| one.burns.as_mut_slice()).unwrap_or_default()
}

fn not_passed(decisions: &[Decision]) -> Vec<Gate> {
    decisions.iter().filter(|decision| !decision.passed).map(|decision| decision.gate).collect()
}

#[test]
fn where_all_is_well_every_gate_passes_in_order_and_shows_what_it_compared() {
    let world = World::new();
    let decisions = world.decide();
    assert_eq!(decisions.iter().map(|one| one.gate).collect::<Vec<_>>(), Gate::ALL);
    assert_eq!(world.during().iter().map(|one| one.gate).collect::<Vec<_>>(), Gate::DURING);
    for decision in decisions.iter().chain(&world.during()) {
        assert_eq!(decision.standing(), Standing::Passed, "{decision:?}");
        assert!(
            !decision.overridden && !decision.inputs.is_empty() && !decision.message.is_empty(),
            "{decision:?}"
        );
    }
    assert!(Gate::ALL.is_sorted() && Gate::DURING.is_sorted(), "the order is that of the list");
}

#[test]
fn a_gate_that_has_no_say_is_left_out_and_the_lever_always_has_one() {
    let world = World::with(|world| {
        world.policy = Policy {
            breaker: BreakerPolicy { failures: 0, ..BreakerPolicy::default() },
            ..Policy::default()
        };
        world.experiment.spec.safety.stop_when.clear();
        world.experiment.spec.faults[0].fault = crate::spec::FaultKind::CpuStress.with_defaults();
    });
    let gates: Vec<Gate> = world.decide().iter().map(|decision| decision.gate).collect();
    let always = [Gate::Lever, Gate::Overlap, Gate::MaxAffected, Gate::LastReadyInstance, Gate::Health];
    assert_eq!(gates, always);
    assert_eq!(world.during().iter().map(|one| one.gate).collect::<Vec<_>>(), [Gate::Lever]);
}

#[test]
fn each_gate_refuses_for_its_own_reason_and_no_other_does() {
    for (gate, change) in REFUSED {
        let decisions = World::with(change).decide();
        assert_eq!(not_passed(&decisions), [gate]);
        let decision = decisions.iter().find(|one| one.gate == gate).expect("it has a say");
        assert_eq!(decision.standing(), Standing::Refused, "{decision:?}");
    }
}

#[test]
fn an_override_lifts_its_gates_and_nothing_else() {
    for (first, change) in REFUSED {
        for (second, other_change) in REFUSED {
            for lifting in Override::ALL {
                let world = World::with(|world| {
                    change(world);
                    other_change(world);
                    world.overrides = [lifting].into();
                });
                let decisions = world.decide();
                let refused: BTreeSet<Gate> = [first, second].into();
                for decision in &decisions {
                    let lifted = decision.gate.lifted_by() == Some(lifting);
                    let refused = refused.contains(&decision.gate);
                    assert_eq!(
                        decision.passed,
                        !refused || lifted,
                        "{first:?} {second:?} {lifting:?}: {decision:?}"
                    );
                    assert_eq!(decision.overridden, refused && lifted, "{first:?} {second:?} {lifting:?}");
                }
            }
        }
    }
    let lifted: Vec<Gate> = Gate::ALL.into_iter().filter(|gate| gate.lifted_by().is_some()).collect();
    let expected = [
        Gate::Window,
        Gate::Protected,
        Gate::MaxAffected,
        Gate::Caps,
        Gate::LastReadyInstance,
        Gate::UnmanagedKill,
        Gate::Budget,
    ];
    assert_eq!(lifted, expected);
}

#[test]
fn an_override_counts_during_the_run_too() {
    for (gate, change) in REFUSED.into_iter().chain(UNKNOWN).filter(|(gate, _)| Gate::DURING.contains(gate)) {
        for lifting in Override::ALL {
            let world = World::with(|world| {
                change(world);
                world.overrides = [lifting].into();
            });
            for decision in world.during() {
                let lifted = decision.gate == gate && gate.lifted_by() == Some(lifting);
                assert!(!decision.overridden || lifted, "{gate:?} {lifting:?}: {decision:?}");
                assert!(!lifted || decision.passed, "{gate:?} {lifting:?}: {decision:?}");
            }
        }
    }
}

#[test]
fn what_is_not_known_never_passes_and_can_be_told_from_a_refusal() {
    for (number, (gate, change)) in UNKNOWN.into_iter().enumerate() {
        let world = World::with(change);
        let decisions = world.decide();
        assert_eq!(not_passed(&decisions), [gate], "fact {number}");
        let decision = decisions.iter().find(|one| one.gate == gate).expect("it has a say");
        assert_eq!(decision.standing(), Standing::Unknown, "fact {number}: {decision:?}");
    }
}

#[test]
fn during_a_run_a_lost_fact_is_unknown_and_the_reserve_does_not_matter() {
    for (number, (gate, change)) in UNKNOWN.into_iter().enumerate() {
        let world = World::with(change);
        let found = world.during().into_iter().find(|decision| decision.gate == gate);
        let rest_of_budget = matches!(number, 9 | 10);
        match found {
            Some(decision) if rest_of_budget => assert!(decision.passed, "{decision:?}"),
            Some(decision) => {
                assert_eq!(decision.standing(), Standing::Unknown, "fact {number}: {decision:?}")
            }
            None => assert!(!Gate::DURING.contains(&gate)),
        }
    }
    let overspent = World::with(|world| world.facts.budgets[0].remaining = Some(-1.0));
    assert_eq!(not_passed(&overspent.during()), []);
}

#[test]
fn during_a_run_what_can_change_ends_it() {
    for (gate, change) in
        REFUSED.into_iter().filter(|(gate, _)| Gate::DURING.contains(gate) && *gate != Gate::Budget)
    {
        let decisions = World::with(change).during();
        assert_eq!(not_passed(&decisions), [gate]);
        let refused = decisions.iter().find(|one| one.gate == gate).expect("it has a say");
        assert_eq!(refused.standing(), Standing::Refused);
    }
    // Late in the window a run does not start any more, and goes on until the window closes.
    let late = |minutes| World::with(|world| world.facts.now = NOW + SignedDuration::from_mins(minutes));
    let of_window = |decisions: Vec<Decision>| {
        decisions.into_iter().find(|one| one.gate == Gate::Window).expect("it has a say").passed
    };
    assert!(of_window(late(173).decide()) && !of_window(late(174).decide()), "5m and 90s are needed");
    assert!(of_window(late(179).during()) && !of_window(late(180).during()));
}

#[test]
fn lenient_lets_conditions_without_data_pass_and_nothing_else() {
    let lenient = |change: Change| {
        World::with(|world| {
            change(world);
            world.lenient = true;
        })
    };
    for (number, (gate, change)) in UNKNOWN.into_iter().enumerate() {
        let world = lenient(change);
        // No rule has the labels of the policy's alert, or a stop condition has no data.
        let warns = number == 6 || gate == Gate::StopCondition;
        assert_eq!(not_passed(&world.decide()).is_empty(), warns, "fact {number}");
        assert!(!warns || not_passed(&world.during()).is_empty(), "fact {number}");
    }
    for (gate, change) in REFUSED {
        assert_eq!(not_passed(&lenient(change).decide()), [gate]);
    }
    let message = lenient(|world| world.facts.conditions[0].met = None).message(Gate::StopCondition);
    assert!(message.contains("alert {severity=\"page\"} has no data and ends nothing"), "{message}");
}

#[test]
fn messages_say_what_is_wrong_and_what_helps() {
    let with = |change: Change, gate| World::with(change).message(gate);
    let refused = |gate| {
        let (_, change) = REFUSED.into_iter().find(|(one, _)| *one == gate).expect("each is there");
        with(change, gate)
    };
    assert_eq!(
        refused(Gate::Lever),
        "the safety lever is engaged by dan since 2026-07-15 12:00:00 UTC: storm"
    );
    assert_eq!(
        refused(Gate::Approval),
        "2 of 3 approvals, 1 missing: somebody other than ann has to say `chaos approve kill --namespace shop`"
    );
    assert_eq!(refused(Gate::Overlap), "run 0123456789ab of shop/other holds orchestrator/1");
    assert_eq!(
        refused(Gate::Breaker),
        "5 runs in a row on app \"orchestrator\" failed: nothing starts until 2026-07-15 12:10:00 UTC"
    );
    assert_eq!(refused(Gate::Caps), "all runs would hit 5 instances, at most 4");
    assert_eq!(refused(Gate::Protected), "the policy protects orchestrator.service");
    assert_eq!(refused(Gate::Alert), "alert {severity=\"critical\"}: HighErrors fires");
    assert_eq!(refused(Gate::Budget), "24% of the error budget of checkout are left, 25% are reserved");
    assert_eq!(refused(Gate::StopCondition), "stop condition met: errors above 5 (seen)");
    assert_eq!(refused(Gate::MaxAffected), "3 of 4 instances affected, maxAffected 50%");
    let window = |text: &str| {
        World::with(|world| world.facts.now = text.parse().expect("a time")).message(Gate::Window)
    };
    assert_eq!(
        window("2026-07-11T12:00:00Z"),
        "outside of every allowed window; next: Mon 09:00 Europe/Berlin"
    );
    assert_eq!(
        window("2026-12-24T12:00:00Z"),
        "inside of the blackout freeze; next: Mon 2027-01-04 09:00 Europe/Berlin"
    );
    assert_eq!(
        window("2026-07-17T14:58:00Z"),
        "the window closes Fri 17:00 Europe/Berlin, before the 6m30s that the run needs at most; \
         next: Mon 09:00 Europe/Berlin"
    );
    let endless =
        with(|world| world.experiment.spec.duration = crate::duration::Span::seconds(9 * 3600), Gate::Window);
    assert!(endless.ends_with("no opening within 400 days is long enough"), "{endless}");
}

#[test]
fn a_budget_is_spent_too_fast_when_both_windows_say_so() {
    let slo = World::new().policy.slos.remove(0);
    for (rates, too_fast) in [
        ([14.5, 14.5, 1.0, 1.0], true),
        ([14.4, 14.5, 1.0, 1.0], false),
        ([14.5, 14.4, 1.0, 1.0], false),
        ([1.0, 1.0, 6.1, 6.1], true),
        ([1.0, 1.0, 6.1, 6.0], false),
        ([100.0, 1.0, 100.0, 1.0], false),
    ] {
        let world = World::with(|world| world.facts.budgets = vec![budget(&slo, 0.5, rates)]);
        for decisions in [world.decide(), world.during()] {
            let expected: &[Gate] = if too_fast { &[Gate::Budget] } else { &[] };
            assert_eq!(not_passed(&decisions), expected, "{rates:?}");
        }
    }
}

#[test]
fn a_protected_name_is_found_whatever_the_target_is_called() {
    use crate::spec::{HostTarget, ProcessMatch};
    let refuses = |pattern: &str, change: &dyn Fn(&mut World)| {
        let world = World::with(|world| {
            world.policy.protected = vec![pattern.to_owned()];
            world.policy.approvals.clear();
            change(world);
        });
        not_passed(&world.decide()) == [Gate::Protected]
    };
    let target = |target: HostTarget| {
        move |world: &mut World| world.experiment.spec.target.host = Some(target.clone())
    };
    let other = |world: &mut World| {
        for instance in &mut world.inventory.instances {
            *instance = Instance { command: "worker".into(), own_cgroup: None, ..instance.clone() };
            instance.id = instance.id.replace("orchestrator", "worker");
        }
        world.selection.chosen = vec!["worker/0".into()];
    };
    let both = |one: HostTarget| {
        move |world: &mut World| {
            other(world);
            target(one.clone())(world);
        }
    };
    assert!(refuses("db", &both(HostTarget::App("db".into()))));
    assert!(refuses("db", &both(HostTarget::Unit("db.service".into()))), "with or without .service");
    assert!(refuses("db*", &both(HostTarget::Container("db0123456789".into()))));
    assert!(refuses("db", &both(HostTarget::Cgroup("/system.slice/db.service".into()))));
    let named = ProcessMatch { name: Some("db".into()), ..ProcessMatch::default() };
    assert!(refuses("db", &both(HostTarget::Process(named))));
    assert!(!refuses("db", &both(HostTarget::App("dbx".into()))));
    // By what the instances are, when the document has other words for them.
    let pid = HostTarget::Pid(4711);
    assert!(refuses("orchestrator", &target(pid.clone())));
    assert!(!refuses("orchestrator", &both(pid.clone())));
    assert!(refuses("orchestrator", &|world: &mut World| {
        both(pid.clone())(world);
        world.inventory.instances[3].command = "/opt/orchestrator --fast".into();
    }));
    assert!(refuses("orchestrator.service", &|world: &mut World| {
        both(pid.clone())(world);
        world.inventory.instances[0].own_cgroup = Some("/system.slice/orchestrator.service".into());
    }));
    assert!(refuses("kthreadd", &|world: &mut World| {
        both(pid.clone())(world);
        world.inventory.instances[0].command = "[kthreadd]".into();
    }));
}

#[test]
fn a_run_that_draws_again_holds_every_instance_that_it_may_draw() {
    let repeats = |world: &mut World| {
        let crate::spec::Fault::PodKill(kill) = &mut world.experiment.spec.faults[0].fault else {
            panic!("it kills");
        };
        kill.interval = Some(crate::duration::Span::seconds(5));
        world.policy.approvals.clear();
    };
    let held = |world: &mut World| {
        world.facts.claims[0].instances = BTreeSet::from(["orchestrator/3".to_owned()]);
        world.inventory.instances[3].managed = false;
    };
    assert_eq!(not_passed(&World::with(held).decide()), [], "3 is not chosen");
    let world = World::with(|world| {
        repeats(world);
        held(world);
    });
    assert_eq!(not_passed(&world.decide()), [Gate::Overlap, Gate::UnmanagedKill]);
}

#[test]
fn a_changed_document_needs_other_approvals() {
    let world = World::with(|world| world.experiment.spec.duration = crate::duration::Span::seconds(301));
    assert_eq!(not_passed(&world.decide()), [Gate::Approval]);
    assert!(world.message(Gate::Approval).starts_with("0 of 2 approvals, 2 missing"));
}

#[test]
fn after_repeated_failures_exactly_one_run_may_try() {
    let failures = |world: &mut World| {
        world.facts.outcomes = Ok((600..605).map(|ago| outcome(Verdict::Error, ago)).collect());
    };
    assert_eq!(not_passed(&World::with(failures).decide()), []);
    let world = World::with(|world| {
        failures(world);
        world.policy.caps = Caps::default();
        world.facts.claims.push(claim("shop", "app \"orchestrator\"", &["orchestrator/9"]));
    });
    assert_eq!(not_passed(&world.decide()), [Gate::Breaker]);
    assert_eq!(
        world.message(Gate::Breaker),
        "after repeated failures on app \"orchestrator\" one run may try, and 0123456789ab does"
    );
}

#[test]
fn a_signal_that_is_too_old_is_no_data() {
    let of = |seconds| {
        let at = NOW - SignedDuration::from_secs(seconds);
        Health::of(vec![signal(1.0, at)], NOW)
    };
    for seconds in [0, 30, -30] {
        assert_eq!(of(seconds).score, Score::Known(1.0), "{seconds}");
    }
    for seconds in [31, -31] {
        assert_eq!(of(seconds).score, Score::Unknown("readiness".into()), "{seconds}");
    }
    assert_eq!(
        of(31).explain(0.8),
        "health score unknown, threshold 0.8; readiness has no data: measured 31s ago, too old after 30s"
    );
    let not_evaluated = Signal { score: None, not_evaluated: true, ..signal(1.0, Timestamp::UNIX_EPOCH) };
    assert_eq!(Health::of(vec![not_evaluated], NOW).score, Score::NotEvaluated);
}

/// An approval by one of five, of this or another document, so many minutes ago, valid for so many minutes more.
fn any_approval() -> impl Strategy<Value = (usize, bool, i64, i64)> {
    (0usize..5, prop::bool::weighted(0.8), 0i64..200, -20i64..100)
}

proptest! {
    #[test]
    fn any_facts_that_are_not_known_keep_everything_from_starting(
        lost in prop::sample::subsequence((0..UNKNOWN.len()).collect::<Vec<_>>(), 1..5),
    ) {
        let world = World::with(|world| lost.iter().for_each(|number| UNKNOWN[*number].1(world)));
        let expected: BTreeSet<Gate> = lost.iter().map(|number| UNKNOWN[*number].0).collect();
        let found: BTreeSet<Gate> = not_passed(&world.decide()).into_iter().collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_rule_is_met_by_so_many_others_who_approved_this_document_lately(
        given in prop::collection::vec(any_approval(), 0..8),
        rules in prop::collection::vec((1u32..4, 1u64..180), 1..3),
    ) {
        const NAMES: [&str; 5] = ["ann", "ben", "cat", "dan", "eve"];
        let minutes = SignedDuration::from_mins;
        let world = World::with(|world| {
            let rule = world.policy.approvals[0].clone();
            world.policy.approvals = rules.iter().map(|(approvers, valid)| ApprovalRule {
                approvers: *approvers,
                valid_for: crate::duration::Span::seconds(valid * 60),
                ..rule.clone()
            }).collect();
            let approvals = given.iter().map(|(who, same, ago, left)| Approval {
                document_hash: if *same { document_hash(&world.experiment) } else { "another".into() },
                at: NOW - minutes(*ago),
                expires_at: NOW + minutes(*left),
                ..approval(&world.experiment, NAMES[*who])
            });
            world.facts.approvals = Ok(approvals.collect());
        });
        let missing = rules.iter().map(|(approvers, valid)| {
            let people: BTreeSet<usize> = given.iter()
                .filter(|(who, same, ago, left)| {
                    *who != 0 && *same && *left > 0 && *ago < i64::try_from(*valid).expect("a count")
                })
                .map(|(who, ..)| *who)
                .collect();
            (*approvers as usize).saturating_sub(people.len())
        }).max().expect("a rule");
        let expected: &[Gate] = if missing == 0 { &[] } else { &[Gate::Approval] };
        prop_assert_eq!(not_passed(&world.decide()), expected);
        let message = world.message(Gate::Approval);
        let told = message.contains(&format!(", {missing} missing"));
        prop_assert!(missing == 0 || told, "{}", message);
    }

    #[test]
    fn caps_are_sums_over_the_claims_that_they_are_about(
        claims in prop::collection::vec((0usize..3, 0usize..3, 0usize..4), 0..6), own in 0usize..4,
        caps in prop::array::uniform4(prop::option::of(1usize..8)),
    ) {
        let (namespaces, targets) = (["shop", "default", "x"], ["app \"orchestrator\"", "app \"b\"", "unit \"c\""]);
        let [run, app, namespace, total] = caps;
        let world = World::with(|world| {
            world.policy.caps = Caps { run, app, namespace, total };
            world.selection.chosen = (0..own).map(|number| format!("orchestrator/{number}")).collect();
            world.facts.claims = claims.iter().enumerate().map(|(place, (namespace, target, count))| {
                let ids: Vec<String> = (0..*count).map(|number| format!("other/{place}-{number}")).collect();
                let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                claim(namespaces[*namespace], targets[*target], &ids)
            }).collect();
        });
        let sum = |about: &dyn Fn(&(usize, usize, usize)) -> bool| {
            own + claims.iter().filter(|claim| about(claim)).map(|claim| claim.2).sum::<usize>()
        };
        let sums = [own, sum(&|claim| claim.1 == 0), sum(&|claim| claim.0 == 0), sum(&|_| true)];
        let beyond = caps.iter().zip(sums).any(|(cap, sum)| cap.is_some_and(|cap| sum > cap));
        let expected: &[Gate] = if beyond { &[Gate::Caps] } else { &[] };
        prop_assert_eq!(not_passed(&world.decide()), expected);
        let told = world.decide().iter().any(|decision| decision.gate == Gate::Caps);
        prop_assert_eq!(told, caps.iter().any(Option::is_some));
    }
}

#[test]
fn other_words_for_the_same_instances_are_no_way_around_a_cap() {
    let world = World::with(|world| {
        world.policy.caps = Caps { app: Some(2), ..Caps::default() };
        world.facts.claims = vec![claim("x", "pid 103", &["orchestrator/3"])];
    });
    assert_eq!(not_passed(&world.decide()), [Gate::Caps]);
}

#[test]
fn a_decision_of_before_is_still_read() {
    let old = r#"{"gate":"health","passed":true,"overridden":false,"message":"m"}"#;
    let decision: Decision = serde_json::from_str(old).expect("a decision");
    assert_eq!((decision.standing(), decision.inputs), (Standing::Passed, BTreeMap::new()));
}

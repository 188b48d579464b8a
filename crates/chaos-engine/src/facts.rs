//! What gates have to know beside the target: asked for here, all at the same time, each within its bound.
//!
//! Owns the asking. What could not be found out is handed on as such; what follows from it is the gates'.

use std::collections::BTreeMap;
use std::time::Duration;

use chaos_core::journal::RunHeader;
use chaos_core::safety::condition::{self, Answer, Question};
use chaos_core::safety::{
    AlertMatch, AlertReading, BudgetReading, ConditionReading, Decision, Facts, GuardInput, Known, Slo,
    budget, document_hash, during,
};
use chaos_core::spec::Condition;
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::engine::Ports;

/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Finished runs that the breaker looks at; more failures in a row than this can't be asked for.
const OUTCOMES_MAX: usize = 100;

/// Everything before a start, but for what other runs hold.
pub(crate) async fn before(ports: &Ports, header: &RunHeader) -> Facts {
    let mut facts = now(ports, header).await;
    let key = header.key();
    let hash = document_hash(&header.experiment);
    let target = header.experiment.spec.target.host.as_ref().map(ToString::to_string).unwrap_or_default();
    let (approvals, outcomes) = tokio::join!(
        bounded("approvals", ports.governance.approvals(&key, &hash)),
        bounded("earlier runs", ports.governance.outcomes(&target, OUTCOMES_MAX)),
    );
    facts.approvals = approvals;
    facts.outcomes = outcomes;
    facts
}

/// Asks the gates that may change during a run.
pub(crate) async fn guard(ports: &Ports, header: &RunHeader) -> Vec<Decision> {
    let facts = now(ports, header).await;
    during(&GuardInput {
        experiment: &header.experiment,
        overrides: &header.overrides,
        lenient: header.lenient,
        policy: ports.governance.policy(),
        facts: &facts,
    })
}

/// What may change during a run.
async fn now(ports: &Ports, header: &RunHeader) -> Facts {
    let policy = ports.governance.policy();
    let (lever, budgets, alerts, conditions) = tokio::join!(
        bounded("the lever", ports.governance.lever()),
        join_all(policy.slos.iter().map(|slo| budget(ports, slo))),
        join_all(policy.alerts.iter().map(|labels| alert(ports, labels))),
        join_all(header.experiment.spec.safety.stop_when.iter().map(|one| met(ports, one))),
    );
    Facts {
        now: ports.clock.now(),
        actor: header.actor.name.clone(),
        lever,
        approvals: Ok(Vec::new()),
        outcomes: Ok(Vec::new()),
        claims: Vec::new(),
        budgets,
        alerts,
        conditions,
    }
}

/// An answer, or that it took too long.
async fn bounded<T>(what: &str, answer: impl Future<Output = Known<T>>) -> Known<T> {
    let late = format!("{what}: no answer within {} s", ANSWER_WITHIN.as_secs());
    timeout(ANSWER_WITHIN, answer).await.unwrap_or(Err(late))
}

async fn budget(ports: &Ports, slo: &Slo) -> BudgetReading {
    let ratio = async |seconds: u64| {
        let query = budget::ratio_query(slo, seconds);
        (seconds, bounded(&query, ports.signals.query(&query)).await)
    };
    let ratios = join_all(budget::seconds_of(slo).map(ratio)).await;
    budget::reading(slo, &BTreeMap::from_iter(ratios))
}

async fn alert(ports: &Ports, labels: &AlertMatch) -> AlertReading {
    let asked = async { Ok(ports.signals.alerts(labels).await) };
    bounded(&labels.to_string(), asked).await.unwrap_or_else(|late| AlertReading::of(labels, &Err(late)))
}

async fn met(ports: &Ports, wanted: &Condition) -> ConditionReading {
    let policy = ports.governance.policy();
    let ask = async |question: Question| match question {
        Question::Value(query) => Answer::Value(bounded(&query, ports.signals.query(&query)).await),
        Question::Alert(labels) => Answer::Alert(alert(ports, &labels).await),
    };
    let answers = join_all(condition::questions(wanted, policy).into_iter().map(ask)).await;
    condition::reading(wanted, policy, &answers)
}

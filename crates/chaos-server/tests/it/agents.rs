//! Agents of other hosts over real WebSockets: who may connect, what is shown of them, what a broken link means.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chaos_agent::link::{Agent, DialError, Dialler, introduce};
use chaos_agent::local::Limits;
use chaos_api::{CreateQuery, ExperimentBody, ProblemCode, StopRequest, TargetsQuery};
use chaos_core::access::Role;
use chaos_core::incident::Incident;
use chaos_core::run::{InjectionState, Phase, Verdict};
use chaos_core::spec::HostTarget;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::node::ScriptedNode;
use crate::support::{PATIENCE, Service, document, key};

/// An agent in this process, whose link is a real one.
struct Remote {
    node: Arc<ScriptedNode>,
    agent: Agent,
    dialler: Dialler,
    token: String,
    link: Option<JoinHandle<()>>,
}

impl Remote {
    async fn new(service: &Service, name: &str) -> Self {
        let node = Arc::new(ScriptedNode::default());
        let introduction = introduce(name, &format!("folder of {name}"), &Limits::default());
        let agent = Agent::new(Arc::clone(&node) as _, introduction, 1, Vec::new());
        let dialler = Dialler::new(service.server.address.parse().unwrap(), None).unwrap();
        let token = service.token(name, Role::Agent).await.token;
        Self { node, agent, dialler, token, link: None }
    }

    async fn connected(service: &Service, name: &str) -> Self {
        let mut remote = Self::new(service, name).await;
        remote.connect().await;
        remote
    }

    async fn connect(&mut self) {
        let (agent, dialler, token) = (self.agent.clone(), self.dialler.clone(), self.token.clone());
        let mut welcomed = self.agent.welcomed();
        welcomed.mark_unchanged();
        let link = tokio::spawn(async move {
            let _ = dialler.serve(&agent, Some(&token)).await;
        });
        welcomed.changed().await.unwrap();
        self.link = Some(link);
    }

    /// The agent is there, its link is not.
    fn cut(&mut self) {
        self.link.take().unwrap().abort();
    }
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn connected(service: &Service, name: &str) -> Option<bool> {
    let hosts = service.client.agents().await.unwrap();
    hosts.into_iter().find(|host| host.name == name).map(|host| host.connected)
}

/// Starts a run of a minute on an app of `node-1`.
async fn start(service: &Service, app: &str, name: &str) {
    let mut document = document(name, "60s");
    document.spec.target.host = Some(HostTarget::App(app.into()));
    document.spec.target.hosts = vec!["node-1".into()];
    service.client.create(&ExperimentBody::from(document), &CreateQuery::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_shown_with_what_it_can_do_and_its_instances_are_hit() {
    let service = Service::start().await;
    let remote = Remote::connected(&service, "node-1").await;
    let hosts = service.client.agents().await.unwrap();
    let names: Vec<_> = hosts.iter().map(|host| (host.name.as_str(), host.connected)).collect();
    assert_eq!(names, [("local", true), ("node-1", true)]);
    assert_eq!(hosts[1].examination, hosts[0].examination, "it is the same kernel");
    let metrics = service.client.metrics().await.unwrap();
    assert!(metrics.contains("\nchaos_agents_connected 1\n"), "{metrics}");
    let preview = service.client.targets(&TargetsQuery::default()).await.unwrap();
    let there = preview.instances.iter().filter(|one| one.host == "node-1").count();
    assert_eq!((preview.instances.len(), there), (8, 4));

    start(&service, "orchestrator", "there").await;
    let detail = service.until("there", Phase::Active).await;
    assert_eq!((remote.node.active(), service.node.active()), (1, 0));
    let injection = &detail.latest.unwrap().injections[0];
    assert!(injection.instance.id.starts_with("node-1:orchestrator/"), "{}", injection.instance.id);
    let stopped = service.client.stop(&key("there"), &StopRequest::default()).await.unwrap();
    assert_eq!((stopped.runs[0].reverted, remote.node.active()), (1, 0));
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_agent_with_a_token_of_its_role_is_taken() {
    let service = Service::start().await;
    let remote = Remote::new(&service, "node-1").await;
    let admin = service.token("ada", Role::Admin).await.token;
    for (token, words) in [(None, "401"), (Some("wrong"), "401"), (Some(admin.as_str()), "403")] {
        let refused = remote.dialler.serve(&remote.agent, token).await.unwrap_err();
        assert!(matches!(refused, DialError::Refused { .. }), "{refused}");
        assert!(refused.to_string().contains(words), "{refused}");
    }
    let bearer = format!("Bearer {}", remote.token);
    let answer = service.send("GET", "/api/v1/agents/connect", &[("authorization", &bearer)]).await;
    let problem = answer.problem();
    assert_eq!(problem.code, ProblemCode::BadRequest, "{problem:?}");
    assert!(problem.detail.contains("WebSocket"), "{problem:?}");
    assert_eq!(connected(&service, "node-1").await, None);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_when_its_host_comes_back() {
    let service = Service::start().await;
    let mut remote = Remote::connected(&service, "node-1").await;
    start(&service, "second", "there").await;
    service.until("there", Phase::Active).await;
    remote.cut();
    until("the loss is seen", async || connected(&service, "node-1").await == Some(false)).await;
    assert_eq!(remote.node.active(), 1, "its lease goes on");
    remote.connect().await;
    assert_eq!(service.until("there", Phase::Active).await.record.verdict, None);
    let stopped = service.client.stop(&key("there"), &StopRequest::default()).await.unwrap();
    assert_eq!((stopped.runs[0].reverted, remote.node.active()), (1, 0));
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_reaches_a_host_that_was_away() {
    let service = Service::start().await;
    let mut remote = Remote::connected(&service, "node-1").await;
    start(&service, "third", "there").await;
    service.until("there", Phase::Active).await;
    remote.cut();
    until("the loss is seen", async || connected(&service, "node-1").await == Some(false)).await;
    let (client, there) = (service.client.clone(), key("there"));
    let stopping = tokio::spawn(async move { client.stop(&there, &StopRequest::default()).await.unwrap() });
    service.until("there", Phase::Reverting).await;
    assert_eq!(remote.node.active(), 1);
    remote.connect().await;
    let stopped = stopping.await.unwrap();
    assert_eq!((stopped.runs[0].reverted, stopped.runs[0].unproven.len()), (1, 0));
    assert_eq!(remote.node.active(), 0);
    let detail = service.client.get(&key("there")).await.unwrap();
    assert_eq!(detail.record.verdict, Some(Verdict::Stopped));
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_is_proven_after_its_run_gave_up_is_written_down_and_the_outcome_stays() {
    let service = Service::start().await;
    let mut remote = Remote::connected(&service, "node-1").await;
    remote.node.revert_fails.store(true, Ordering::SeqCst);
    start(&service, "orchestrator", "stuck").await;
    service.until("stuck", Phase::Active).await;
    service.client.stop(&key("stuck"), &StopRequest::default()).await.unwrap();
    let before = service.until("stuck", Phase::Finished).await.latest.unwrap();
    assert_eq!(before.injections[0].state, InjectionState::RevertFailed);
    let incident = async || service.client.incidents(None, None).await.unwrap().pop();
    until("an incident", async || incident().await.is_some()).await;
    let opened = incident().await.unwrap();
    let closed = service.client.close_incident(&opened.id, "undone by hand").await.unwrap();
    remote.node.revert_fails.store(false, Ordering::SeqCst);
    remote.cut();
    remote.connect().await;
    until("the late proof is told", async || {
        incident().await.unwrap().timeline.len() > opened.timeline.len()
    })
    .await;
    let told = incident().await.unwrap();
    let line = told.timeline.last().unwrap();
    assert!(
        line.text.ends_with("is reverted (script: reverted) (late, after the end of the run)"),
        "{line:?}"
    );
    assert!(line.at >= opened.opened_at);
    assert_eq!(Incident { timeline: closed.timeline.clone(), ..told }, closed, "it stays closed");
    let after = service.client.get(&key("stuck")).await.unwrap().latest.unwrap();
    assert_eq!(after.injections[0].state, InjectionState::Reverted);
    assert_eq!(after.summary, before.summary);
    assert!(after.summary.revert_incomplete && after.summary.exit_code == Some(7));
    assert!(service.server.engine().active().is_empty());
    service.shutdown().await;
}

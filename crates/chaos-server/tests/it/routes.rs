//! Every route does what the contract says.

use std::collections::BTreeSet;

use chaos_api::{
    CreateQuery, ExperimentBody, ListQuery, Operation, ProblemCode, ReportFormat, StopRequest, TargetsQuery,
};
use chaos_core::run::{Phase, Status, Verdict};
use chaos_core::safety::Gate;
use chaos_core::spec::{ShortRequest, parse_value};

use crate::support::{Service, document, key, yaml};

#[tokio::test(flavor = "multi_thread")]
async fn an_experiment_is_created_run_to_its_end_and_shown() {
    let service = Service::start().await;
    let created = service.run("held", "200ms").await;
    let run = created.record.run.clone().unwrap();
    assert_eq!(created.record.kind, "process_pause");
    assert_eq!(created.record.labels["team"], "platform");
    let detail = service.until("held", Phase::Finished).await;
    assert_eq!((detail.record.status, detail.record.verdict), (Status::Completed, Some(Verdict::Held)));
    assert_eq!(detail.record.exit_code, Some(0));
    let latest = detail.latest.unwrap();
    assert_eq!(latest.header.run, run);
    assert!(latest.header.seed < 1 << 53);
    assert_eq!(latest.injections.len(), 1);
    assert!(latest.header.experiment.spec.target.seed.is_none());
    assert_eq!(latest.header.threshold, 0.8);

    let runs = service.client.runs(&key("held"), None, None).await.unwrap();
    assert_eq!((runs.items.len(), runs.next), (1, None));
    assert_eq!(service.client.run(&key("held"), &run).await.unwrap().summary, runs.items[0]);
    let journal = service.client.journal(&key("held"), &run, 0).await.unwrap();
    assert!(journal.iter().zip(1..).all(|(record, seq)| record.seq == seq));
    assert_eq!(service.client.journal(&key("held"), &run, 3).await.unwrap(), journal[3..]);
    for format in [ReportFormat::Json, ReportFormat::Text, ReportFormat::Md, ReportFormat::Junit] {
        let report = service.client.report(&key("held"), &run, format).await.unwrap();
        assert!(report.contains("held"), "{format}: {report}");
    }

    let again = service.client.start_run(&key("held"), &CreateQuery::default()).await.unwrap();
    assert_ne!(again.record.run.as_ref(), Some(&run));
    service.until("held", Phase::Finished).await;
    let page = service.client.runs(&key("held"), Some(1), None).await.unwrap();
    let rest = service.client.runs(&key("held"), Some(1), page.next).await.unwrap();
    assert_eq!(rest.items[0].run, run);
    assert_eq!(rest.next, None);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_may_be_yaml_json_or_the_short_form() {
    let service = Service::start().await;
    let yaml = yaml("from-yaml", "100ms");
    let answer = service
        .send_body("POST", "/api/v1/experiments", &[("content-type", "application/yaml")], &yaml)
        .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("location"), Some("/api/v1/experiments/from-yaml?namespace=default"));
    service.until("from-yaml", Phase::Finished).await;
    let json = serde_json::to_string(&document("from-json", "100ms")).unwrap();
    let answer = service
        .send_body("POST", "/api/v1/experiments", &[("content-type", "application/json")], &json)
        .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    service.until("from-json", Phase::Finished).await;
    let short: ShortRequest = parse_value(serde_json::json!({
        "name": "short", "type": "cpu_stress", "duration": "100ms", "percent": 50, "safety_threshold": 0.5,
        "parameters": { "load": "20%" },
    }))
    .unwrap();
    let created =
        service.client.create(&ExperimentBody::Short(short), &CreateQuery::default()).await.unwrap();
    assert_eq!(created.record.target, "app \"orchestrator\"");
    assert_eq!(created.latest.unwrap().header.threshold, 0.5);
    service.until("short", Phase::Finished).await;
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_a_document_are_not_shown() {
    let service = Service::start().await;
    let probes = "  probes:\n    - { name: p, during: [before], http: { url: 'http://127.0.0.1:9', headers: { authorization: hunter2 }, body: hunter2 } }\n";
    let body = yaml("secret", "100ms") + probes;
    let headers = [("content-type", "application/yaml")];
    let answer = service.send_body("POST", "/api/v1/experiments?start=false", &headers, &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let mut answers = vec![answer];
    answers.push(service.send_body("POST", "/api/v1/experiments?dryRun=true", &headers, &body).await);
    answers.push(service.send("POST", "/api/v1/experiments/secret/runs", &[]).await);
    service.until("secret", Phase::Finished).await;
    answers.push(service.send("GET", "/api/v1/experiments/secret", &[]).await);
    let run = answers[3].json()["run"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/experiments/secret/runs/{run}");
    answers.push(service.send("GET", &path, &[]).await);
    answers.push(service.send("GET", &format!("{path}/events"), &[]).await);
    answers.push(service.send("GET", &format!("{path}/report"), &[]).await);
    for answer in answers {
        assert!([200, 201].contains(&answer.status) && !answer.body.contains("hunter2"), "{answer:?}");
    }
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_experiment_is_pending_until_it_is_started() {
    let service = Service::start().await;
    let query = CreateQuery { start: Some(false), ..CreateQuery::default() };
    let registered = service.client.create(&document("later", "100ms").into(), &query).await.unwrap();
    assert_eq!((registered.record.status, registered.record.phase), (Status::Pending, None));
    assert!(registered.latest.is_none());
    let pending = ListQuery { status: Some(Status::Pending), ..ListQuery::default() };
    assert_eq!(service.client.list(&pending).await.unwrap().len(), 1);
    service.client.start_run(&key("later"), &CreateQuery::default()).await.unwrap();
    service.until("later", Phase::Finished).await;
    assert_eq!(service.client.list(&pending).await.unwrap(), []);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_asks_every_gate_and_writes_nothing() {
    let service = Service::start().await;
    let mut body = document("dry", "100ms");
    body.spec.target.select = chaos_core::spec::Select::All;
    let dry = service.client.dry_run(&body.clone().into(), &CreateQuery::default()).await.unwrap();
    assert!(dry.blocked);
    assert!(dry.plan.spec.target.seed.is_some());
    assert_eq!(dry.resolution.chosen.len(), 4);
    let query = CreateQuery {
        overrides: Some("max_affected,last_ready_instance".into()),
        reason: Some("a test".into()),
        ..CreateQuery::default()
    };
    let dry = service.client.dry_run(&body.into(), &query).await.unwrap();
    assert!(!dry.blocked);
    assert_eq!(service.client.list(&ListQuery::default()).await.unwrap(), []);
    assert_eq!(service.node.active(), 0);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_below_the_threshold_is_blocked_recorded_and_counted() {
    let service = Service::start().await;
    service.node.unready.store(2, std::sync::atomic::Ordering::SeqCst);
    let error = service
        .client
        .create(&document("unsafe", "100ms").into(), &CreateQuery::default())
        .await
        .unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!((problem.code, error.exit_code()), (ProblemCode::Blocked, 5));
    assert_eq!((problem.score, problem.threshold), (Some(0.5), Some(0.8)));
    assert_eq!(problem.signal.as_ref().unwrap().name, "readiness");
    assert!(problem.decisions.iter().any(|one| one.gate == Gate::Health && !one.passed));
    let detail = service.client.get(&key("unsafe")).await.unwrap();
    assert_eq!((detail.record.status, detail.record.verdict), (Status::Blocked, Some(Verdict::Blocked)));
    assert_eq!((detail.record.injections, detail.record.run), (0, problem.run.clone()));
    let health = service.client.system_health(None).await.unwrap();
    assert_eq!((health.score, health.safe), (Some(0.5), false));
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while !service
        .client
        .metrics()
        .await
        .unwrap()
        .contains("safety_threshold_violations_total{reason=\"health\"} 1")
    {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_returns_when_every_fault_is_undone() {
    let service = Service::start().await;
    service.run("long", "1h").await;
    service.run_on("second", "other", "1h").await;
    service.until("long", Phase::Active).await;
    service.until("other", Phase::Active).await;
    service.node.revert_takes_ms.store(50, std::sync::atomic::Ordering::SeqCst);
    let request = StopRequest { reason: Some("enough".into()), interrupted: false };
    let stopped = service.client.stop(&key("long"), &request).await.unwrap();
    assert_eq!(service.node.active(), 1);
    assert_eq!(stopped.runs.len(), 1);
    assert!(stopped.is_complete() && stopped.took_ms >= 50.0);
    assert_eq!((stopped.runs[0].name.as_str(), stopped.runs[0].reverted), ("long", 1));
    assert_eq!(service.until("long", Phase::Finished).await.record.reason.as_deref(), Some("enough"));
    assert_eq!(service.client.stop(&key("long"), &request).await.unwrap().runs, []);
    let interrupted = StopRequest { reason: None, interrupted: true };
    assert_eq!(service.client.stop_all(&interrupted).await.unwrap().runs.len(), 1);
    assert_eq!(service.node.active(), 0);
    assert_eq!(service.until("other", Phase::Finished).await.record.exit_code, Some(130));
    // A stop takes no words.
    assert_eq!(service.send("POST", "/api/v1/stop", &[]).await.status, 200);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_is_not_proven_is_named_everywhere() {
    let service = Service::start().await;
    service.node.revert_fails.store(true, std::sync::atomic::Ordering::SeqCst);
    service.run("stuck", "1h").await;
    service.until("stuck", Phase::Active).await;
    let stopped = service.client.stop(&key("stuck"), &StopRequest::default()).await.unwrap();
    assert!(!stopped.is_complete());
    assert_eq!(stopped.runs[0].unproven.len(), 1);
    let detail = service.until("stuck", Phase::Finished).await;
    assert_eq!((detail.record.exit_code, detail.record.revert_incomplete), (Some(7), true));
    let metrics = service.client.metrics().await.unwrap();
    assert!(metrics.contains("chaos_revert_failures_total{type=\"process_pause\"} 1"), "{metrics}");
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_stops_reverts_and_forgets() {
    let service = Service::start().await;
    service.run("gone", "1h").await;
    service.until("gone", Phase::Active).await;
    let deleted = service.client.delete(&key("gone"), Some("no more")).await.unwrap();
    assert_eq!(deleted.runs.len(), 1);
    assert_eq!(service.node.active(), 0);
    let error = service.client.get(&key("gone")).await.unwrap_err();
    assert_eq!(error.problem().unwrap().code, ProblemCode::NotFound);
    assert_eq!(service.client.list(&ListQuery::default()).await.unwrap(), []);
    service.run("gone", "100ms").await;
    service.until("gone", Phase::Finished).await;
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_come_in_pages() {
    let service = Service::start().await;
    for name in ["a", "b", "c"] {
        service.run(name, "100ms").await;
        service.until(name, Phase::Finished).await;
    }
    let query = CreateQuery { start: Some(false), ..CreateQuery::default() };
    service.client.create(&document("d", "1s").into(), &query).await.unwrap();
    let names = |query: ListQuery| {
        let client = service.client.clone();
        async move {
            let all = client.list(&query).await.unwrap();
            all.into_iter().map(|one| one.name).collect::<Vec<_>>().join(" ")
        }
    };
    assert_eq!(names(ListQuery { limit: Some(1), ..ListQuery::default() }).await, "a b c d");
    assert_eq!(names(ListQuery { verdict: Some(Verdict::Held), ..ListQuery::default() }).await, "a b c");
    assert_eq!(
        names(ListQuery { status: Some(Status::Completed), limit: Some(2), ..ListQuery::default() }).await,
        "a b c"
    );
    assert_eq!(names(ListQuery { kind: Some("pod_kill".into()), ..ListQuery::default() }).await, "");
    assert_eq!(names(ListQuery { namespace: Some("other".into()), ..ListQuery::default() }).await, "");
    let answer = service.send("GET", "/api/v1/experiments?limit=2", &[]).await;
    assert!(answer.header("link").unwrap().ends_with("; rel=\"next\""), "{answer:?}");
    assert!(answer.json().is_array());
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_targets_and_health_are_told() {
    let service = Service::start().await;
    assert_eq!(service.client.faults().await.unwrap(), chaos_api::catalogue());
    let preview = service.client.targets(&TargetsQuery::default()).await.unwrap();
    assert_eq!((preview.instances.len(), preview.ready, preview.affected_max), (4, 4, 2));
    let half = TargetsQuery {
        select: chaos_core::spec::Select::parse("50%"),
        seed: Some(7),
        ..TargetsQuery::default()
    };
    let once = service.client.targets(&half).await.unwrap();
    assert_eq!(once.selected.as_ref().unwrap().chosen.len(), 2);
    assert_eq!(service.client.targets(&half).await.unwrap(), once);
    let nothing = TargetsQuery { process_name: Some("nothing".into()), ..TargetsQuery::default() };
    let preview = service.client.targets(&nothing).await.unwrap();
    assert_eq!(preview.apps, ["checkout", "orchestrator"]);
    assert!(preview.problem.unwrap().contains("apps seen"));
    let health = service.client.system_health(None).await.unwrap();
    assert_eq!((health.score, health.safe, health.threshold), (Some(1.0), true, 0.8));
    let unknown = service.client.system_health(Some("nothing")).await.unwrap();
    assert_eq!((unknown.score, unknown.safe), (None, false));
    let live = service.client.live().await.unwrap();
    assert_eq!((live.status.as_str(), live.server.pid), ("ok", std::process::id()));
    service.client.ready().await.unwrap();
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_the_names_of_the_contract() {
    let service = Service::start().await;
    service.run("counted", "100ms").await;
    service.until("counted", Phase::Finished).await;
    service.run("active", "1h").await;
    service.until("active", Phase::Active).await;
    service.client.stop(&key("active"), &StopRequest::default()).await.unwrap();
    service.until("active", Phase::Finished).await;
    let text = service.client.metrics().await.unwrap();
    for line in [
        "chaos_experiments_total{type=\"process_pause\",status=\"completed\"} 1",
        "chaos_experiments_total{type=\"pod_kill\",status=\"blocked\"} 0",
        "chaos_experiment_duration_seconds_count{type=\"process_pause\"} 2",
        "system_health_score 1.0",
        "safety_threshold_violations_total{reason=\"health\"} 0",
        "chaos_active_faults{type=\"process_pause\"} 0",
        "chaos_fault_inject_seconds_count{type=\"process_pause\"} 2",
        "chaos_fault_revert_seconds_count{type=\"process_pause\"} 2",
        "chaos_emergency_stop_seconds_count 1",
        "chaos_revert_failures_total{type=\"process_pause\"} 0",
        "chaos_recovery_seconds_count{type=\"process_pause\"}",
        "chaos_detection_seconds_count{type=\"process_pause\"}",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_of_the_api_lists_every_route_and_no_other() {
    let service = Service::start().await;
    let answer = service.send("GET", "/openapi.json", &[]).await;
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut listed = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            listed.insert((method.clone(), path.clone()));
        }
    }
    let contract = [
        ("post", "/api/v1/experiments"),
        ("get", "/api/v1/experiments"),
        ("get", "/api/v1/experiments/{name}"),
        ("delete", "/api/v1/experiments/{name}"),
        ("post", "/api/v1/experiments/{name}/stop"),
        ("post", "/api/v1/stop"),
        ("get", "/api/v1/experiments/{name}/runs"),
        ("post", "/api/v1/experiments/{name}/runs"),
        ("get", "/api/v1/experiments/{name}/runs/{id}"),
        ("get", "/api/v1/experiments/{name}/runs/{id}/events"),
        ("get", "/api/v1/experiments/{name}/runs/{id}/report"),
        ("get", "/api/v1/events"),
        ("get", "/api/v1/system/health"),
        ("get", "/api/v1/faults"),
        ("get", "/api/v1/targets"),
        ("get", "/api/v1/agents"),
        ("get", "/api/v1/agents/connect"),
        ("get", "/api/v1/lever"),
        ("put", "/api/v1/lever"),
        ("post", "/api/v1/experiments/{name}/approve"),
        ("get", "/api/v1/tokens"),
        ("post", "/api/v1/tokens"),
        ("post", "/api/v1/tokens/{id}/rotate"),
        ("delete", "/api/v1/tokens/{id}"),
        ("get", "/api/v1/audit"),
        ("get", "/api/v1/audit/verify"),
        ("get", "/api/v1/incidents"),
        ("get", "/api/v1/incidents/{id}"),
        ("post", "/api/v1/incidents/{id}/close"),
        ("get", "/health"),
        ("get", "/ready"),
        ("get", "/metrics"),
        ("get", "/openapi.json"),
    ];
    let contract = contract.map(|(method, path)| (method.to_owned(), path.to_owned()));
    assert_eq!(listed, BTreeSet::from(contract));
    // What is listed is served: whatever it says, it is not that there is no such route or method.
    for operation in Operation::ALL.into_iter().filter(|operation| *operation != Operation::StreamEvents) {
        let path = operation.path().replace("{name}", "none").replace("{id}", "none");
        let answer = service.send(&operation.method().to_uppercase(), &path, &[]).await;
        assert!(![405, 501].contains(&answer.status), "{operation:?}: {answer:?}");
        if answer.status == 404 {
            assert!(!answer.problem().detail.contains("no route"), "{operation:?}: {answer:?}");
        }
    }
    service.shutdown().await;
}

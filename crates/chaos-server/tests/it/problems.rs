//! Everything that goes wrong is a problem document with its code.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use chaos_api::{CreateQuery, ProblemCode, StopRequest};
use chaos_core::duration::Span;
use chaos_core::run::Phase;
use chaos_core::spec::HostTarget;
use chaos_server::FileConfig;

use crate::disk::SmallDisk;
use crate::support::{PATIENCE, Service, document, exchange, key, yaml};

const CREATE: &str = "/api/v1/experiments";
const YAML: [(&str, &str); 1] = [("content-type", "application/yaml")];

#[tokio::test(flavor = "multi_thread")]
async fn a_defective_document_is_named_with_its_path() {
    let service = Service::start().await;
    let check = async |body: &str, path: &str| {
        let answer = service.send_body("POST", CREATE, &YAML, body).await;
        let problem = answer.problem();
        assert_eq!(problem.code, ProblemCode::InvalidDocument, "{problem:?}");
        assert_eq!(problem.errors[0].path, path, "{problem:?}");
        problem
    };
    let problem = check(&yaml("a", "1s").replace("duration", "durration"), "spec.durration").await;
    assert_eq!(problem.errors[0].nearest.as_deref(), Some("duration"));
    check(&yaml("a", "1s").replace("orchestrator }", "orchestrator }, kubernetes: {}"), "spec.target").await;
    let both = format!("{}---\n{}", yaml("a", "1s"), yaml("b", "1s"));
    assert!(check(&both, "").await.detail.contains("one for each request"));
    check("{ \"name\": \"a\", \"type\": \"pod_kil\" }", "type").await;
    check("{ \"name\": \"a\", \"name\": \"b\", \"type\": \"pod_kill\" }", "").await;
    check("apiVersion: litmuschaos.io/v1alpha1\nkind: ChaosEngine\n", "kind").await;
    check("[[[[", "").await;
    check("", "").await;
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_its_status_and_code() {
    let service = Service::start().await;
    service.run("busy", "1h").await;
    service.until("busy", Phase::Active).await;
    let busy = yaml("busy", "1s");
    for (method, path, headers, body, code) in [
        ("GET", "/nothing", &[][..], "", ProblemCode::NotFound),
        ("GET", "/api/v1/experiments/none", &[], "", ProblemCode::NotFound),
        ("DELETE", "/api/v1/experiments/none", &[], "", ProblemCode::NotFound),
        ("POST", "/api/v1/experiments/none/stop", &[], "", ProblemCode::NotFound),
        ("GET", "/api/v1/experiments/none/runs", &[], "", ProblemCode::NotFound),
        ("GET", "/api/v1/experiments/busy/runs/none", &[], "", ProblemCode::NotFound),
        ("GET", "/api/v1/experiments/busy/runs/none/events", &[], "", ProblemCode::NotFound),
        ("GET", "/api/v1/events?run=none", &[], "", ProblemCode::NotFound),
        ("PUT", "/api/v1/experiments", &[], "", ProblemCode::MethodNotAllowed),
        ("POST", "/health", &[], "", ProblemCode::MethodNotAllowed),
        ("POST", CREATE, &YAML, busy.as_str(), ProblemCode::NameInUse),
        ("POST", "/api/v1/experiments?start=false", &YAML, busy.as_str(), ProblemCode::NameInUse),
        (
            "POST",
            CREATE,
            &[("content-type", "application/x-www-form-urlencoded")],
            "a=b",
            ProblemCode::UnsupportedMediaType,
        ),
        ("GET", "/api/v1/experiments?limt=1", &[], "", ProblemCode::BadRequest),
        ("GET", "/api/v1/experiments?limit=0", &[], "", ProblemCode::BadRequest),
        ("GET", "/api/v1/experiments?status=done", &[], "", ProblemCode::BadRequest),
        ("GET", "/api/v1/experiments?cursor=zz", &[], "", ProblemCode::BadRequest),
        ("GET", "/api/v1/targets?app=a&pid=1", &[], "", ProblemCode::BadRequest),
        ("GET", "/api/v1/targets?select=101%25", &[], "", ProblemCode::BadRequest),
        ("GET", "/api/v1/events", &[("last-event-id", "x")], "", ProblemCode::BadRequest),
        ("POST", "/api/v1/experiments/busy/runs?override=max_affected", &[], "", ProblemCode::BadRequest),
        (
            "POST",
            "/api/v1/experiments/busy/runs?override=max_afected&reason=r",
            &[],
            "",
            ProblemCode::BadRequest,
        ),
        ("POST", "/api/v1/experiments?namespace=other", &YAML, busy.as_str(), ProblemCode::BadRequest),
        ("POST", "/api/v1/stop", &[], "{ \"raeson\": \"r\" }", ProblemCode::InvalidDocument),
    ] {
        let answer = service.send_body(method, path, headers, body).await;
        let problem = answer.problem();
        assert_eq!(problem.code, code, "{method} {path}: {problem:?}");
        assert_eq!(problem.instance.as_deref(), path.split('?').next());
        if code == ProblemCode::MethodNotAllowed {
            assert!(answer.header("allow").is_some(), "{answer:?}");
        }
    }
    let answer = service.send("POST", "/api/v1/experiments/busy/runs", &[]).await;
    assert_eq!(answer.problem().code, ProblemCode::NameInUse);
    assert!(answer.problem().run.is_some());
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_fails_or_hangs_is_told() {
    let service = Service::start().await;
    service.node.inventory_fails.store(true, Ordering::SeqCst);
    assert_eq!(service.send("GET", "/api/v1/targets", &[]).await.problem().code, ProblemCode::Internal);
    let created = service.run("failed", "1s").await;
    assert_eq!(created.record.exit_code, Some(1));
    assert!(created.record.reason.unwrap().contains("the script says so"));
    service.node.inventory_hangs.store(true, Ordering::SeqCst);
    let health = service.client.system_health(Some("orchestrator")).await.unwrap();
    assert_eq!((health.score, health.safe), (None, false));
    assert!(health.explanation.contains("no answer"), "{}", health.explanation);
    // A run whose gates don't answer is accepted all the same, and can be stopped.
    let query = CreateQuery { wait: Some(Span::milliseconds(10)), ..CreateQuery::default() };
    let created = service.client.create(&document("hanging", "1s").into(), &query).await.unwrap();
    assert_eq!(created.record.phase, Some(Phase::Preflight));
    let stopped = service.client.stop(&key("hanging"), &StopRequest::default()).await.unwrap();
    assert_eq!((stopped.runs.len(), stopped.runs[0].reverted), (1, 0));
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_starts_while_the_service_goes_down() {
    let service = Service::start().await;
    service.run("slow", "1h").await;
    service.until("slow", Phase::Active).await;
    service.node.revert_takes_ms.store(2000, Ordering::SeqCst);
    let (authority, secret) = (service.authority().to_owned(), service.server.token().secret().to_owned());
    let node = Arc::clone(&service.node);
    let ending = tokio::spawn(service.shutdown());
    let deadline = Instant::now() + PATIENCE;
    while node.active() > 0 {
        assert!(Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    let ready =
        exchange(&authority, b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert_eq!(ready.problem().code, ProblemCode::ShuttingDown);
    for path in [CREATE, "/api/v1/experiments?start=false"] {
        let body = yaml("late", "1s");
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {secret}\r\n\
             content-type: application/yaml\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = exchange(&authority, request.as_bytes()).await;
        assert_eq!(answer.problem().code, ProblemCode::ShuttingDown);
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    ending.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_does_not_keep_a_fault() {
    let Some(disk) = SmallDisk::mount() else { return };
    let folder = tempfile::TempDir::new_in(&disk.path).unwrap();
    let service = Service::below(folder, FileConfig::default()).await.unwrap();
    service.run("running", "1h").await;
    service.until("running", Phase::Active).await;
    service.client.ready().await.unwrap();
    disk.fill();
    assert_eq!(service.send("GET", "/ready", &[]).await.problem().code, ProblemCode::StoreUnavailable);
    let answer = service.send_body("POST", CREATE, &YAML, &yaml("no-room", "1s")).await;
    assert_eq!(answer.problem().code, ProblemCode::StoreUnavailable, "{answer:?}");
    assert_eq!(service.send("GET", "/health", &[]).await.status, 200);
    let stopped = service.client.stop(&key("running"), &StopRequest::default()).await.unwrap();
    assert!(stopped.is_complete());
    assert_eq!(service.node.active(), 0);
    disk.empty();
    service.client.ready().await.unwrap();
    assert_eq!(service.until("running", Phase::Finished).await.record.exit_code, Some(4));
    service.run("room", "100ms").await;
    service.until("room", Phase::Finished).await;
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_matches_nothing_names_the_apps_that_were_seen() {
    let service = Service::start().await;
    let mut body = document("missed", "1s");
    body.spec.target.host = Some(HostTarget::App("chekout".into()));
    for dry_run in [false, true] {
        let body = body.clone().into();
        let error = if dry_run {
            service.client.dry_run(&body, &CreateQuery::default()).await.unwrap_err()
        } else {
            service.client.create(&body, &CreateQuery::default()).await.unwrap_err()
        };
        let problem = error.problem().unwrap();
        assert_eq!((problem.code, error.exit_code()), (ProblemCode::TargetNotFound, 2));
        assert_eq!(problem.apps, ["checkout", "orchestrator"]);
        assert_eq!(problem.run.is_some(), !dry_run);
    }
    service.shutdown().await;
}

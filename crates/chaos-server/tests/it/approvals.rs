//! Consent of others, bound to a document as it is.

use chaos_api::{ApprovalRequest, Client, ClientError, CreateQuery, ExperimentDetail, ProblemCode};
use chaos_core::access::Role;
use chaos_core::duration::Span;
use chaos_core::run::Phase;
use chaos_core::safety::{Gate, document_hash};
use chaos_core::spec::parse_documents;
use chaos_server::FileConfig;

use crate::support::{Service, document, key, yaml};

async fn start(client: &Client) -> Result<ExperimentDetail, ClientError> {
    client.start_run(&key("risky"), &CreateQuery::default()).await
}

fn refused_by(error: &ClientError) -> Vec<Gate> {
    let problem = error.problem().unwrap();
    assert_eq!(problem.code, ProblemCode::Blocked, "{problem:?}");
    problem.decisions.iter().filter(|one| !one.passed).map(|one| one.gate).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_consent_starts_with_that_of_somebody_else_and_of_this_document() {
    let config = FileConfig::parse("safety: { approvals: [ { approvers: 1 } ] }").unwrap();
    let service = Service::with(config).await;
    let operator = service.caller("olga", Role::Operator).await;
    let approver = service.caller("paul", Role::Approver).await;
    let paused = CreateQuery { start: Some(false), ..CreateQuery::default() };
    operator.create(&document("risky", "100ms").into(), &paused).await.unwrap();
    assert_eq!(refused_by(&start(&operator).await.unwrap_err()), [Gate::Approval]);

    let request = ApprovalRequest { reason: Some("looked at it".into()), ..ApprovalRequest::default() };
    let error = operator.approve(&key("risky"), &request).await.unwrap_err();
    assert_eq!(error.problem().unwrap().code, ProblemCode::RoleMissing);
    let error = approver.approve(&key("none"), &request).await.unwrap_err();
    assert_eq!(error.problem().unwrap().code, ProblemCode::NotFound);
    // An admin may approve, but not what that admin starts.
    service.client.approve(&key("risky"), &request).await.unwrap();
    assert_eq!(refused_by(&start(&service.client).await.unwrap_err()), [Gate::Approval]);
    let approval = approver.approve(&key("risky"), &request).await.unwrap();
    assert_eq!((approval.approver.as_str(), approval.reason.as_deref()), ("paul", Some("looked at it")));
    start(&operator).await.unwrap();
    service.until("risky", Phase::Finished).await;

    operator.create(&document("risky", "200ms").into(), &paused).await.unwrap();
    assert_eq!(refused_by(&start(&operator).await.unwrap_err()), [Gate::Approval], "it is another document");
    let soon = ApprovalRequest { valid_for: Some(Span::milliseconds(1)), ..ApprovalRequest::default() };
    approver.approve(&key("risky"), &soon).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(refused_by(&start(&operator).await.unwrap_err()), [Gate::Approval], "it is over");
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_was_swapped_after_somebody_looked_at_it_is_not_approved() {
    let config = FileConfig::parse("safety: { approvals: [ { approvers: 1 } ] }").unwrap();
    let service = Service::with(config).await;
    let operator = service.caller("olga", Role::Operator).await;
    let approver = service.caller("paul", Role::Approver).await;
    let paused = CreateQuery { start: Some(false), ..CreateQuery::default() };
    let register = async |duration: &str| {
        operator.create(&document("risky", duration).into(), &paused).await.unwrap();
    };
    register("100ms").await;
    let looked_at = approver.get(&key("risky")).await.unwrap();
    assert_eq!(looked_at.document_hash, document_hash(&document("risky", "100ms")));
    let request = ApprovalRequest {
        document_hash: Some(looked_at.document_hash.clone()),
        ..ApprovalRequest::default()
    };

    register("200ms").await;
    let error = approver.approve(&key("risky"), &request).await.unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!((problem.code, problem.status), (ProblemCode::Conflict, 409), "{problem:?}");
    let registered = approver.get(&key("risky")).await.unwrap().document_hash;
    assert!(problem.detail.contains(&registered), "{problem:?}");
    assert_eq!(refused_by(&start(&operator).await.unwrap_err()), [Gate::Approval]);

    register("100ms").await;
    let approval = approver.approve(&key("risky"), &request).await.unwrap();
    assert_eq!(approval.document_hash, looked_at.document_hash);
    start(&operator).await.unwrap();
    service.until("risky", Phase::Finished).await;
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hash_that_is_shown_counts_what_is_not_shown() {
    let service = Service::start().await;
    let probe =
        "  probes: [ { name: api, http: { url: 'http://127.0.0.1:9/', headers: { x-key: SECRET } } } ]\n";
    let registered = |secret: &str| {
        let text = format!("{}{}", yaml("secretive", "1s"), probe.replace("SECRET", secret));
        parse_documents(&text).unwrap().remove(0)
    };
    let paused = CreateQuery { start: Some(false), ..CreateQuery::default() };
    let mut shown = Vec::new();
    for secret in ["first", "second"] {
        service.client.create(&registered(secret).into(), &paused).await.unwrap();
        let detail = service.client.get(&key("secretive")).await.unwrap();
        assert_eq!(detail.document_hash, document_hash(&registered(secret)));
        shown.push(detail);
    }
    assert_eq!(shown[0].document, shown[1].document, "the secret is not shown");
    assert_ne!(shown[0].document_hash, shown[1].document_hash);
    service.shutdown().await;
}

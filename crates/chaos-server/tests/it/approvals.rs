//! Consent of others, bound to a document as it is.

use chaos_api::{ApprovalRequest, Client, ClientError, CreateQuery, ExperimentDetail, ProblemCode};
use chaos_core::access::Role;
use chaos_core::duration::Span;
use chaos_core::run::Phase;
use chaos_core::safety::Gate;
use chaos_server::FileConfig;

use crate::support::{Service, document, key};

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

    let request = ApprovalRequest { reason: Some("looked at it".into()), valid_for: None };
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
    let soon = ApprovalRequest { reason: None, valid_for: Some(Span::milliseconds(1)) };
    approver.approve(&key("risky"), &soon).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(refused_by(&start(&operator).await.unwrap_err()), [Gate::Approval], "it is over");
    service.shutdown().await;
}

//! A run that a guardrail ended, or whose undo is not proven, leaves something to look at.

use std::sync::atomic::Ordering;
use std::time::Instant;

use chaos_api::{ProblemCode, StopRequest};
use chaos_core::access::Role;
use chaos_core::incident::{Incident, IncidentCause, IncidentStatus, RUNBOOK_ANNOTATION};
use chaos_core::run::Phase;
use tokio::sync::watch;

use crate::health::{config, prometheus};
use crate::support::{PATIENCE, Service, document, key};

/// The one incident, as soon as it is there.
async fn opened(service: &Service) -> Incident {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut found = service.client.incidents(None, None).await.unwrap();
        if let Some(incident) = found.pop() {
            return incident;
        }
        assert!(Instant::now() < deadline, "no incident");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guardrail_opens_one_that_is_read_and_closed() {
    let (value, values) = watch::channel("1");
    let service = Service::with(config(&prometheus(values).await)).await;
    let mut body = document("falling", "1h");
    body.metadata.annotations.insert(RUNBOOK_ANNOTATION.into(), "https://runbook.example/falling".into());
    let query = chaos_api::CreateQuery::default();
    let run = service.client.create(&body.into(), &query).await.unwrap().record.run.unwrap();
    service.until("falling", Phase::Active).await;
    value.send_replace("0");
    service.until("falling", Phase::Finished).await;
    let incident = opened(&service).await;
    assert_eq!((&incident.id, &incident.run), (&Incident::id_of(&run), &run));
    assert_eq!((incident.cause, incident.status), (IncidentCause::Guardrail, IncidentStatus::Open));
    assert_eq!(incident.runbook.as_deref(), Some("https://runbook.example/falling"));
    assert!(!incident.timeline.is_empty() && incident.health_before.is_some());
    assert_eq!(incident.targets.len(), 1);
    let text = service.client.post_mortem(&incident.id).await.unwrap();
    assert!(text.starts_with("# Post-mortem") && text.contains("https://runbook.example/falling"), "{text}");

    let viewer = service.caller("vera", Role::Viewer).await;
    assert_eq!(viewer.incident(&incident.id).await.unwrap(), incident);
    let error = viewer.close_incident(&incident.id, "nothing").await.unwrap_err();
    assert_eq!(error.problem().unwrap().code, ProblemCode::RoleMissing);
    assert_eq!(service.client.close_incident(&incident.id, " ").await.unwrap_err().exit_code(), 2);
    let closed = service.client.close_incident(&incident.id, "the disk was slow").await.unwrap();
    assert_eq!((closed.status, closed.closed_by.as_deref()), (IncidentStatus::Closed, Some("local")));
    assert_eq!(closed.note.as_deref(), Some("the disk was slow"));
    let error = service.client.close_incident(&incident.id, "again").await.unwrap_err();
    assert_eq!(error.problem().unwrap().code, ProblemCode::Conflict);
    assert_eq!(service.client.incidents(Some(IncidentStatus::Open), None).await.unwrap(), []);
    assert_eq!(service.client.incidents(Some(IncidentStatus::Closed), Some(1)).await.unwrap(), [closed]);
    assert_eq!(
        service.client.incident("none").await.unwrap_err().problem().unwrap().code,
        ProblemCode::NotFound
    );
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_is_not_proven_opens_one_and_a_stop_by_hand_does_not() {
    let service = Service::start().await;
    service.run("fine", "1h").await;
    service.until("fine", Phase::Active).await;
    service.client.stop(&key("fine"), &StopRequest::default()).await.unwrap();
    service.until("fine", Phase::Finished).await;
    service.node.revert_fails.store(true, Ordering::SeqCst);
    service.run("stuck", "100ms").await;
    service.until("stuck", Phase::Finished).await;
    let incident = opened(&service).await;
    assert_eq!((incident.cause, incident.experiment), (IncidentCause::RevertIncomplete, key("stuck")));
    assert_eq!(service.client.incidents(None, None).await.unwrap().len(), 1);
    service.shutdown().await;
}

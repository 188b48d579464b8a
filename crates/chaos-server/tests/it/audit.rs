//! The audit log: who asked for what, before and after, and no way to change it unseen.

use chaos_api::{ApprovalRequest, CreateQuery, LeverRequest, StopRequest};
use chaos_core::access::Role;
use chaos_core::audit::AuditEvent;
use chaos_core::run::Phase;
use chaos_core::safety::document_hash;
use chaos_server::{FileConfig, Rate, Rates, ServerConfig};
use tempfile::TempDir;

use crate::support::{Service, document, key, state, yaml};

/// The entries of one action, in order.
fn of<'e>(events: &'e [AuditEvent], action: &str) -> Vec<&'e AuditEvent> {
    events.iter().filter(|event| event.action == action).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_written_down_before_it_is_carried_out_and_after() {
    let service = Service::start().await;
    let mut whole = document("whole", "100ms");
    whole.spec.target.select = chaos_core::spec::Select::All;
    let query = CreateQuery {
        overrides: Some("max_affected,last_ready_instance".into()),
        reason: Some("because".into()),
        ..CreateQuery::default()
    };
    let created = service.client.create(&whole.clone().into(), &query).await.unwrap();
    service.until("whole", Phase::Finished).await;
    let events = service.audit().await;
    let [before, after] = of(&events, "experiment.create")[..] else { panic!("{events:?}") };
    for event in [before, after] {
        assert_eq!((event.actor.name.as_str(), event.actor.role), ("local", Role::Admin));
        assert_eq!(event.subject, "default/whole");
    }
    assert_eq!((before.status, after.status), (None, Some(201)));
    assert_eq!(before.detail["override"], "max_affected,last_ready_instance");
    assert_eq!(before.detail["reason"], "because");
    assert_eq!(after.detail["entry"], "1");
    assert_eq!(after.detail["run"], created.record.run.unwrap().0);
    assert_eq!(after.detail["document"], document_hash(&whole));
    let verified = service.client.verify_audit().await.unwrap();
    assert_eq!((verified.intact, verified.entries), (true, 2));
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_call_has_its_action_and_no_secret_is_kept() {
    let service = Service::start().await;
    let paused = CreateQuery { start: Some(false), ..CreateQuery::default() };
    service.client.create(&document("a", "1h").into(), &paused).await.unwrap();
    service.client.approve(&key("a"), &ApprovalRequest::default()).await.unwrap();
    service.client.start_run(&key("a"), &CreateQuery::default()).await.unwrap();
    let stop = StopRequest { reason: Some("enough".into()), interrupted: false };
    service.client.stop(&key("a"), &stop).await.unwrap();
    service.client.stop_all(&stop).await.unwrap();
    service.client.delete(&key("a"), Some("over")).await.unwrap();
    let token = service.token("ada", Role::Viewer).await;
    let rotated = service.client.rotate_token(&token.info.id).await.unwrap();
    service.client.revoke_token(&rotated.info.id).await.unwrap();
    for (engaged, reason) in [(true, "on"), (false, "off")] {
        service.client.set_lever(&LeverRequest { engaged, reason: reason.into() }).await.unwrap();
    }
    let dry = service.client.dry_run(&document("dry", "1h").into(), &CreateQuery::default()).await;
    assert!(dry.is_ok(), "what changes nothing is not written down");
    let _ = service.send("POST", "/api/v1/incidents/none/close", &[]).await;
    let events = service.audit().await;
    let seen: Vec<(&str, &str, Option<u16>)> =
        events.iter().map(|one| (one.action.as_str(), one.subject.as_str(), one.status)).collect();
    let (first, second) = (format!("tokens/{}", token.info.id), format!("tokens/{}", rotated.info.id));
    // What is urgent has one entry, written after it was carried out.
    let expected = [
        ("experiment.register", "default/a", None),
        ("experiment.register", "default/a", Some(201)),
        ("experiment.approve", "default/a", None),
        ("experiment.approve", "default/a", Some(201)),
        ("experiment.start", "default/a", None),
        ("experiment.start", "default/a", Some(201)),
        ("experiment.stop", "default/a", Some(200)),
        ("experiment.stop_all", "all", Some(200)),
        ("experiment.delete", "default/a", None),
        ("experiment.delete", "default/a", Some(200)),
        ("token.create", "/api/v1/tokens", None),
        ("token.create", "/api/v1/tokens", Some(201)),
        ("token.rotate", &first, None),
        ("token.rotate", &first, Some(201)),
        ("token.revoke", &second, None),
        ("token.revoke", &second, Some(200)),
        ("lever.engage", "lever", Some(200)),
        ("lever.release", "lever", None),
        ("lever.release", "lever", Some(200)),
        ("incident.close", "incidents/none", None),
        ("incident.close", "incidents/none", Some(422)),
    ];
    assert_eq!(seen, expected);
    assert_eq!(of(&events, "experiment.stop")[0].detail["reason"], "enough");
    assert_eq!(of(&events, "lever.engage")[0].detail["reason"], "on");
    assert_eq!(of(&events, "token.create")[1].detail["token"], token.info.id);
    let text = service.send("GET", "/api/v1/audit?limit=1000", &[]).await.body;
    for secret in [&token.token, &rotated.token, service.server.token().secret()] {
        let secret = secret.rsplit('_').next().unwrap();
        assert!(!text.contains(secret), "a secret is in the log");
    }
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_calls_are_written_down_but_not_all_of_many() {
    let few = Rate { burst: 3.0, per_second: 0.0001 };
    let rates = Rates { audited_refusals: few, ..Rates::default() };
    let change = |config| ServerConfig { rates, ..config };
    let service = Service::made(TempDir::new().unwrap(), change).await.unwrap();
    let viewer = format!("Bearer {}", service.token("vera", Role::Viewer).await.token);
    let headers = [("content-type", "application/yaml"), ("authorization", viewer.as_str())];
    let path = "/api/v1/experiments";
    service.send_body("POST", path, &headers, &yaml("a", "1h")).await;
    service.send_body("POST", path, &[("authorization", "Bearer wrong")], &yaml("b", "1h")).await;
    for _ in 0..10 {
        assert_eq!(service.send("DELETE", "/api/v1/experiments/a", &headers[1..]).await.status, 403);
    }
    let events = service.audit().await;
    let refused: Vec<(&str, &str, Option<u16>)> = events
        .iter()
        .filter(|event| matches!(event.status, Some(401 | 403)))
        .map(|event| (event.actor.name.as_str(), event.action.as_str(), event.status))
        .collect();
    let expected = [
        ("vera", "experiment.create", Some(403)),
        ("anonymous", "experiment.create", Some(401)),
        ("vera", "experiment.delete", Some(403)),
    ];
    assert_eq!(refused, expected);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_changed_is_told_with_the_entry() {
    let service = Service::start().await;
    for name in ["one", "two", "three"] {
        service.token(name, Role::Viewer).await;
    }
    let entries = service.client.audit(0, None).await.unwrap();
    assert_eq!(entries.len(), 6);
    let page = service.client.audit(2, Some(3)).await.unwrap();
    assert_eq!(page, entries[2..5]);
    let folder = service.shutdown().await;
    // Another hand makes of a viewer what it was not, in the file itself.
    let path = state(&folder).join("journal.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let text = entries[2].event.as_bytes();
    let at = bytes.windows(text.len()).position(|part| part == text).expect("it is in the file");
    let word = text.windows(3).position(|part| part == b"two").unwrap();
    bytes[at + word..at + word + 3].copy_from_slice(b"TWO");
    std::fs::write(&path, bytes).unwrap();
    let next = Service::below(folder, FileConfig::default()).await.unwrap();
    let verified = next.client.verify_audit().await.unwrap();
    assert_eq!((verified.intact, verified.tampered_at, verified.entries), (false, Some(3), 2));
    assert!(verified.reason.unwrap().contains("hash"));
    next.shutdown().await;
}

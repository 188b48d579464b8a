//! Every route, by everybody.

use chaos_api::{CreateQuery, ExperimentBody, ListQuery, Operation, ProblemCode};
use chaos_core::access::{Permission, Role};

use crate::support::{Answer, Service, document};

/// One request for an operation, without a body, so that nothing is changed by whoever is let in.
async fn ask(service: &Service, operation: Operation, token: &str) -> Answer {
    let path = operation.path().replace("{name}", "none").replace("{id}", "none");
    let headers = [("authorization", token)];
    service.send(&operation.method().to_uppercase(), &path, &headers).await
}

fn is_let_in(answer: &Answer) -> bool {
    ![401, 403, 429].contains(&answer.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_who_calls() {
    let service = Service::start().await;
    let mut tokens = Vec::new();
    for role in Role::ALL {
        tokens.push((role, format!("Bearer {}", service.token(role.name(), role).await.token)));
    }
    for operation in Operation::ALL {
        // A stream has no end to wait for.
        let endless = operation == Operation::StreamEvents;
        let permission = operation.permission();
        let open = permission.is_none_or(|one| matches!(one, Permission::Read | Permission::EngageLever));
        if !(endless && open) {
            let answer = ask(&service, operation, "").await;
            assert_eq!(is_let_in(&answer), open, "{operation:?} by nobody: {answer:?}");
            if !open {
                assert_eq!(answer.problem().code, ProblemCode::Unauthorized, "{operation:?}");
            }
        }
        let answer = ask(&service, operation, "Bearer chaos_00000000_wrong").await;
        assert_eq!(is_let_in(&answer), permission.is_none(), "{operation:?} by a wrong token: {answer:?}");
        for (role, token) in &tokens {
            let allowed = permission.is_none_or(|permission| role.may(permission));
            if endless && allowed {
                continue;
            }
            let answer = ask(&service, operation, token).await;
            assert_eq!(is_let_in(&answer), allowed, "{operation:?} by {role}: {answer:?}");
            if !allowed {
                let problem = answer.problem();
                assert_eq!(problem.code, ProblemCode::RoleMissing, "{operation:?} by {role}");
                let missing = permission.unwrap();
                assert!(problem.detail.contains(&format!("role {role}")), "{}", problem.detail);
                assert!(problem.detail.contains(missing.name()), "{}", problem.detail);
            }
        }
    }
    assert!(!service.client.lever().await.unwrap().engaged);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_started_by_who_may_not() {
    let service = Service::start().await;
    let body = ExperimentBody::from(document("unwanted", "1h"));
    let viewer = service.caller("vera", Role::Viewer).await;
    for (client, code) in [
        (service.client.clone().with_token("chaos_00000000_wrong"), ProblemCode::Unauthorized),
        (service.client.clone().with_token("nonsense"), ProblemCode::Unauthorized),
        (viewer, ProblemCode::RoleMissing),
    ] {
        let error = client.create(&body, &CreateQuery::default()).await.unwrap_err();
        assert_eq!(error.problem().unwrap().code, code);
    }
    assert_eq!(service.client.list(&ListQuery::default()).await.unwrap(), []);
    assert_eq!((service.server.engine().active().len(), service.node.active()), (0, 0));
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_names_who_asked_for_it_and_an_override_needs_an_admin() {
    let service = Service::start().await;
    let operator = service.caller("olga", Role::Operator).await;
    let mut whole = document("whole", "100ms");
    whole.spec.target.select = chaos_core::spec::Select::All;
    let body = ExperimentBody::from(whole);
    let query = CreateQuery {
        overrides: Some("max_affected,last_ready_instance".into()),
        reason: Some("a test".into()),
        ..CreateQuery::default()
    };
    for dry_run in [true, false] {
        let error = if dry_run {
            operator.dry_run(&body, &query).await.unwrap_err()
        } else {
            operator.create(&body, &query).await.unwrap_err()
        };
        let problem = error.problem().unwrap();
        assert_eq!(problem.code, ProblemCode::RoleMissing);
        assert!(problem.detail.contains("olga") && problem.detail.contains("override"), "{problem}");
    }
    assert_eq!(service.client.list(&ListQuery::default()).await.unwrap(), []);
    let created = service.client.create(&body, &query).await.unwrap();
    assert_eq!(created.latest.unwrap().header.actor.name, "local");
    service.until("whole", chaos_core::run::Phase::Finished).await;
    let body = ExperimentBody::from(document("hers", "100ms"));
    let query = CreateQuery { lenient: Some(true), ..CreateQuery::default() };
    let header = operator.create(&body, &query).await.unwrap().latest.unwrap().header;
    assert_eq!((header.actor.name.as_str(), header.actor.role), ("olga", Role::Operator));
    assert!(header.lenient);
    service.shutdown().await;
}

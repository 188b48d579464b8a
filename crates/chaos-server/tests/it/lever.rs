//! The safety lever: everything stops, nothing starts, and it stays so.

use std::sync::atomic::Ordering;

use chaos_api::{Client, CreateQuery, ExperimentBody, LeverRequest, ProblemCode};
use chaos_core::access::Role;
use chaos_core::run::{Phase, Status, StopCause};
use chaos_server::FileConfig;

use crate::disk::SmallDisk;
use crate::node::APPS;
use crate::support::{Service, document, key};

fn engage() -> LeverRequest {
    LeverRequest { engaged: true, reason: "a test".into() }
}

fn release() -> LeverRequest {
    LeverRequest { engaged: false, reason: "the test is over".into() }
}

async fn metric(service: &Service) -> bool {
    let text = service.client.metrics().await.unwrap();
    text.contains("chaos_safety_lever_engaged 1")
}

#[tokio::test(flavor = "multi_thread")]
async fn engaging_it_stops_everything_and_lets_nothing_start() {
    let service = Service::start().await;
    for app in APPS {
        service.run_on(app, app, "1h").await;
    }
    for app in APPS {
        service.until(app, Phase::Active).await;
    }
    assert!(!service.client.lever().await.unwrap().engaged && !metric(&service).await);
    service.node.revert_takes_ms.store(20, Ordering::SeqCst);
    let viewer = service.caller("vera", Role::Viewer).await;
    let answer = viewer.set_lever(&engage()).await.unwrap();
    assert_eq!((answer.lever.engaged, answer.lever.actor.as_str()), (true, "vera"));
    assert_eq!((answer.stopped.runs.len(), service.node.active()), (3, 0));
    assert!(answer.stopped.is_complete() && answer.stopped.took_ms >= 20.0, "{answer:?}");
    assert!(answer.stopped.runs.iter().all(|run| run.reverted == 1 && APPS.contains(&run.name.as_str())));
    assert!(metric(&service).await);
    let detail = service.until("second", Phase::Finished).await;
    assert_eq!((detail.record.status, detail.record.exit_code), (Status::Stopped, Some(4)));
    assert_eq!(detail.latest.unwrap().stop.unwrap().cause, StopCause::Lever);

    let error =
        service.client.create(&document("new", "1h").into(), &CreateQuery::default()).await.unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!((problem.code, problem.status, error.exit_code()), (ProblemCode::LeverEngaged, 423, 5));
    assert!(problem.detail.contains("a test"), "{problem}");
    let refused = service.client.get(&key("new")).await.unwrap().record;
    assert_eq!((refused.status, refused.run), (Status::Cancelled, problem.run.clone()));

    let error = viewer.set_lever(&release()).await.unwrap_err();
    assert_eq!(error.problem().unwrap().code, ProblemCode::RoleMissing);
    assert!(service.client.lever().await.unwrap().engaged);
    let operator = service.caller("olga", Role::Operator).await;
    let released = operator.set_lever(&release()).await.unwrap();
    assert_eq!((released.lever.engaged, released.stopped.runs.len()), (false, 0));
    assert!(!metric(&service).await);
    service.run("new", "100ms").await;
    service.until("new", Phase::Finished).await;
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stays_engaged_over_a_restart_until_somebody_releases_it() {
    let service = Service::start().await;
    service.client.set_lever(&engage()).await.unwrap();
    let before = service.client.lever().await.unwrap();
    let next = Service::below(service.shutdown().await, FileConfig::default()).await.unwrap();
    assert_eq!(next.client.lever().await.unwrap(), before);
    assert!(metric(&next).await);
    let query = CreateQuery::default();
    let error = next.client.create(&document("a", "1h").into(), &query).await.unwrap_err();
    assert_eq!(error.problem().unwrap().code, ProblemCode::LeverEngaged);
    next.client.set_lever(&release()).await.unwrap();
    let last = Service::below(next.shutdown().await, FileConfig::default()).await.unwrap();
    assert!(!last.client.lever().await.unwrap().engaged);
    last.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_on_this_machine_may_engage_it_and_not_release_it() {
    let service = Service::start().await;
    let nobody = Client::new(service.client.endpoint().clone()).unwrap();
    for request in [
        LeverRequest { engaged: true, reason: " ".into() },
        LeverRequest { engaged: true, reason: "x".repeat(501) },
    ] {
        let error = nobody.set_lever(&request).await.unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
    }
    assert!(!nobody.lever().await.unwrap().engaged);
    let answer = nobody.set_lever(&engage()).await.unwrap();
    assert_eq!(answer.lever.actor, "anonymous");
    let error = nobody.set_lever(&release()).await.unwrap_err();
    assert_eq!(error.problem().unwrap().code, ProblemCode::Unauthorized);
    // What says both at once is neither.
    let both = "{ \"engaged\": true, \"reason\": \"a\" }\n---\n{ \"engaged\": false, \"reason\": \"a\" }\n";
    let answer = service.send_body("PUT", "/api/v1/lever", &[("authorization", "")], both).await;
    assert_eq!(answer.problem().code, ProblemCode::BadRequest);
    assert!(nobody.lever().await.unwrap().engaged);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_at_the_same_moment_is_stopped_or_refused_but_never_goes_on() {
    let service = Service::start().await;
    for round in 0..10 {
        let start = |number: usize| {
            let client = service.client.clone();
            let mut document = document(&format!("run-{round}-{number}"), "1h");
            let app = APPS[number % APPS.len()].to_owned();
            document.spec.target.host = Some(chaos_core::spec::HostTarget::App(app));
            let body = ExperimentBody::from(document);
            async move { client.create(&body, &CreateQuery::default()).await }
        };
        let starts = futures_util::future::join_all((0..6).map(start));
        let (answers, engaged) = tokio::join!(starts, async {
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            service.client.set_lever(&engage()).await
        });
        engaged.unwrap();
        for error in answers.into_iter().filter_map(Result::err) {
            let code = error.problem().unwrap().code;
            assert!(matches!(code, ProblemCode::LeverEngaged | ProblemCode::Blocked), "{error}");
        }
        service.server.finished_all_runs().await;
        assert_eq!(service.node.active(), 0, "round {round}");
        service.client.set_lever(&release()).await.unwrap();
    }
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_does_not_keep_it_from_stopping_everything() {
    let Some(disk) = SmallDisk::mount() else { return };
    let folder = tempfile::TempDir::new_in(&disk.path).unwrap();
    let service = Service::below(folder, FileConfig::default()).await.unwrap();
    service.run("running", "1h").await;
    service.until("running", Phase::Active).await;
    disk.fill();
    let error = service.client.set_lever(&engage()).await.unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!(problem.code, ProblemCode::StoreUnavailable);
    assert!(problem.detail.contains("not on disk"), "{problem}");
    assert_eq!(service.node.active(), 0);
    assert!(service.client.lever().await.unwrap().engaged, "it counts all the same");
    let error = service.client.set_lever(&release()).await.unwrap_err();
    assert_eq!(error.problem().unwrap().code, ProblemCode::StoreUnavailable);
    assert!(service.client.lever().await.unwrap().engaged, "what can't be kept is not released");
    disk.empty();
    service.client.set_lever(&release()).await.unwrap();
    service.shutdown().await;
}

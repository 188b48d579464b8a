//! How a service ends, and how the next one begins.

use std::sync::Arc;

use chaos_api::ListQuery;
use chaos_core::run::{Phase, Status, Verdict};
use chaos_server::{FileConfig, StartError, lock, start};

use crate::node::ScriptedNode;
use crate::support::{Service, config, key, state};

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_reverts_and_the_next_service_knows_the_runs() {
    let service = Service::start().await;
    service.run("cut", "1h").await;
    service.until("cut", Phase::Active).await;
    let Service { node, server, client, folder } = service;
    assert_eq!(node.active(), 1);
    let ended = server.shutdown().await;
    assert_eq!(node.active(), 0);
    assert_eq!((ended.len(), ended[0].reverted, ended[0].unproven.len()), (1, 1, 0));
    assert!(client.live().await.unwrap_err().is_unreachable());
    let next = Service::below(folder, FileConfig::default()).await.unwrap();
    let detail = next.client.get(&key("cut")).await.unwrap();
    assert_eq!((detail.record.status, detail.record.verdict), (Status::Stopped, Some(Verdict::Stopped)));
    assert_eq!(next.client.list(&ListQuery::default()).await.unwrap().len(), 1);
    next.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_folder_has_one_service() {
    let service = Service::start().await;
    let other = start(config(state(&service.folder), Arc::new(ScriptedNode::default()))).await;
    match other {
        Err(StartError::Locked { owner: Some(owner), .. }) => {
            assert_eq!((owner.pid, owner.as_server), (std::process::id(), true));
            assert_eq!(owner.address, service.server.address);
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("two services on one state folder"),
    }
    assert_eq!(
        lock::owner(&state(&service.folder)).map(|owner| owner.address),
        Some(service.server.address.clone())
    );
    let folder = service.shutdown().await;
    assert_eq!(lock::owner(&state(&folder)), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_a_process_that_died_are_taken_up_and_closed_at_the_next_start() {
    let folder = tempfile::TempDir::new().unwrap();
    let service = Service::below(folder, FileConfig::default()).await.unwrap();
    service.run("abandoned", "1h").await;
    let detail = service.until("abandoned", Phase::Active).await;
    let run = detail.record.run.unwrap();
    // What kill -9 leaves: the journal as it is now, without an end.
    let copy = tempfile::TempDir::new().unwrap();
    std::fs::create_dir(state(&copy)).unwrap();
    for entry in std::fs::read_dir(state(&service.folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("journal.db") {
            std::fs::copy(&path, state(&copy).join(path.file_name().unwrap())).unwrap();
        }
    }
    let next = Service::below(copy, FileConfig::default()).await.unwrap();
    let detail = next.until("abandoned", Phase::Finished).await;
    assert_eq!((detail.record.phase, detail.record.status), (Some(Phase::Finished), Status::Error));
    assert_eq!(detail.record.run, Some(run.clone()));
    let reason = detail.record.reason.unwrap();
    assert!(reason.contains("the service was gone"), "{reason}");
    assert!(!next.client.journal(&key("abandoned"), &run, 0).await.unwrap().is_empty());
    next.run("abandoned", "100ms").await;
    next.until("abandoned", Phase::Finished).await;
    next.shutdown().await;
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_node_finds_a_real_process() {
    let folder = tempfile::TempDir::new().unwrap();
    let node = chaos_agent::local::LocalNode::new(chaos_agent::local::LocalConfig::new(state(&folder)));
    let server = start(config(state(&folder), Arc::new(node))).await.unwrap();
    let client = chaos_api::Client::new(server.address.parse().unwrap()).unwrap();
    let mut victim = std::process::Command::new("sleep").arg("300").spawn().unwrap();
    let query = chaos_api::TargetsQuery { pid: Some(victim.id() as i32), ..Default::default() };
    let preview = client.targets(&query).await;
    victim.kill().unwrap();
    victim.wait().unwrap();
    let preview = preview.unwrap();
    assert_eq!(preview.instances.len(), 1, "{preview:?}");
    assert!(!preview.within_cap, "one of one is all");
    server.shutdown().await;
}

//! What is forgotten.

use std::time::Instant;

use chaos_core::run::Phase;
use chaos_server::FileConfig;

use crate::support::{PATIENCE, Service, key};

#[tokio::test(flavor = "multi_thread")]
async fn runs_beyond_those_that_are_kept_go_at_the_next_start() {
    let service = Service::start().await;
    for _ in 0..3 {
        service.run("again", "100ms").await;
        service.until("again", Phase::Finished).await;
    }
    let latest = service.client.get(&key("again")).await.unwrap().record.run;
    let config = FileConfig::parse("store: { keepRuns: 1 }").unwrap();
    let next = Service::below(service.shutdown().await, config).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let runs = next.client.runs(&key("again"), None, None).await.unwrap().items;
        if runs.len() == 1 {
            assert_eq!(Some(&runs[0].run), latest.as_ref());
            break;
        }
        assert!(Instant::now() < deadline, "{runs:?}");
        tokio::task::yield_now().await;
    }
    next.shutdown().await;
}

//! Owns the questions a caller may ask a running system over HTTP. It never starts or stops one.

use std::time::Duration;

use crate::{handle::Handle, wire::ReplicaInfo};

/// Every answer has to be there by then.
const DEADLINE: Duration = Duration::from_secs(2);

/// A question without a proper answer.
#[derive(Debug, thiserror::Error)]
#[error("asking {url}")]
pub struct AskError {
    /// What was asked.
    pub url: String,
    /// How it went wrong.
    pub source: reqwest::Error,
}

impl Handle {
    /// The replicas as they are now.
    pub async fn current_replicas(&self) -> Result<Vec<ReplicaInfo>, AskError> {
        let url = format!("{}/replicas", self.base_url);
        let ask = async || client()?.get(&url).send().await?.error_for_status()?.json().await;
        ask().await.map_err(|source| AskError { url: url.clone(), source })
    }

    /// Makes a gray failure without any privilege: the replica's traffic port takes requests and answers
    /// none while its health check passes, until it is let go (`hung` false) or replaced.
    pub async fn hang(&self, replica: &ReplicaInfo, hung: bool) -> Result<(), AskError> {
        let verb = if hung { "hang" } else { "release" };
        let url = format!("http://127.0.0.1:{}/{verb}", replica.admin_port);
        let ask = async || client()?.post(&url).send().await?.error_for_status();
        ask().await.map(|_| ()).map_err(|source| AskError { url: url.clone(), source })
    }
}

fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(DEADLINE).build()
}

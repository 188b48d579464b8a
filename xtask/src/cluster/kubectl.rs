//! Asking a cluster through its own `kubectl`, from this host.
//!
//! Owns the kubeconfig for users. Every call is bounded.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::host;
use super::state::State;

/// The limit of one call.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// What a cluster says about one of its nodes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct NodeStatus {
    /// Its name.
    pub(super) name: String,
    /// Whether it takes pods.
    pub(super) ready: bool,
    /// The version of its kubelet.
    pub(super) version: String,
}

/// `kubectl` for one cluster.
pub(super) struct Kubectl {
    program: PathBuf,
    config: PathBuf,
}

impl Kubectl {
    /// That of a cluster with a kubeconfig.
    pub(super) fn of(state: &State) -> Result<Self> {
        let program = state.components.join(&state.kubernetes);
        anyhow::ensure!(program.is_file(), "{} is gone: cargo xtask cluster build", program.display());
        Ok(Self { program, config: state.path("kubeconfig") })
    }

    /// Writes `kubeconfig`: one file with everything in it, to be copied and used anywhere on this host.
    pub(super) fn write_config(state: &State) -> Result<()> {
        let kubectl = Self { config: state.path("host.kubeconfig"), ..Self::of(state)? };
        let flat = kubectl.said(&["config", "view", "--flatten"])?;
        let path = state.path("kubeconfig");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(flat.as_bytes()))
            .with_context(|| format!("writing {}", path.display()))
    }

    fn said(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.arg0("kubectl").arg("--kubeconfig").arg(&self.config).args(arguments);
        // Its cache below the home folder would be left behind.
        command.args(["--cache-dir", "/dev/null"]).env_remove("KUBECONFIG");
        host::said_by(&mut command, CALL_LIMIT)
    }

    /// Creates or changes what is in a file.
    pub(super) fn apply(&self, file: &Path) -> Result<()> {
        self.said(&["apply", "--filename", &file.display().to_string()]).map(|_| ())
    }

    /// Waits until the pods of a workload are ready.
    pub(super) fn wait_for_rollout(&self, namespace: &str, workload: &str, limit: Duration) -> Result<()> {
        let limit = format!("--timeout={}s", limit.as_secs().min(CALL_LIMIT.as_secs()));
        self.said(&["--namespace", namespace, "rollout", "status", workload, &limit]).map(|_| ())
    }

    /// All nodes.
    pub(super) fn nodes(&self) -> Result<Vec<NodeStatus>> {
        let said = self.said(&["get", "nodes", "--output", "json"])?;
        Ok(read(&serde_json::from_str(&said).context("reading what the cluster says of its nodes")?))
    }
}

fn read(list: &Value) -> Vec<NodeStatus> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let node = |item: &Value| {
        let conditions = item["status"]["conditions"].as_array();
        let ready =
            conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True");
        NodeStatus {
            name: text(&item["metadata"]["name"]),
            ready,
            version: text(&item["status"]["nodeInfo"]["kubeletVersion"]),
        }
    };
    list["items"].as_array().into_iter().flatten().map(node).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_node_that_says_so_is_ready() {
        let node = |name: &str, status: &str| {
            json!({
                "metadata": { "name": name },
                "status": { "conditions": [{ "type": "Ready", "status": status }, { "type": "Other", "status": "True" }] },
            })
        };
        let list =
            json!({ "items": [node("a", "True"), node("b", "Unknown"), { "metadata": { "name": "c" } }] });
        let ready: Vec<_> = read(&list).into_iter().map(|node| (node.name, node.ready)).collect();
        assert_eq!(ready, [("a".to_owned(), true), ("b".to_owned(), false), ("c".to_owned(), false)]);
        assert_eq!(read(&Value::Null), []);
    }
}

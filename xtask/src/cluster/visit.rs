//! Running a command inside a node, or inside the control plane.
//!
//! The command is in the namespaces and in the cgroups of the node, so it ends with the cluster.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::state::State;
use super::{cgroups, host, namespaces};

/// What stands for the control plane where a node is named.
const CONTROL: &str = "control";

/// Arguments of `cargo xtask cluster exec`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: super::Cluster,
    /// `node1` and so on, or `control`, where etcd and the API server are.
    node: String,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Becomes the command; returns only when that fails.
pub(super) fn run(arguments: &Arguments) -> Result<bool> {
    let state = State::read(&arguments.cluster.name)?;
    let first = state.first_process()?.to_string();
    let nsenter = host::find("nsenter").context("nsenter is not installed")?;
    let mut command = Command::new(&nsenter);
    command.args(["--target", &first, "--mount", "--pid", "--net", "--ipc", "--"]);
    if arguments.node != CONTROL {
        let Some(node) = state.nodes.iter().find(|node| node.name == arguments.node) else {
            let names: Vec<_> = state.nodes.iter().map(|node| node.name.as_str()).collect();
            bail!("there is no {}; there are {CONTROL}, {}", arguments.node, names.join(", "));
        };
        // As the cluster's own processes see it; the first step of the way in makes it true.
        let path = state.path(&node.name).with_extension("pid");
        let pid = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        cgroups::enter(&node.cgroups, true)?;
        command.arg(&nsenter).args(["--target", pid.trim()]);
        command.args(["--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup", "--"]);
    }
    command.args(&arguments.command).env("KUBECONFIG", namespaces::inside("admin.kubeconfig"));
    Err(command.exec()).context("starting nsenter")
}

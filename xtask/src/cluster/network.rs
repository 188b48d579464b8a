//! The addresses of a cluster, all of them in namespaces that it made, and the links between its nodes.
//!
//! The ranges are those for tests of networks (RFC 2544). Nothing here is ever set on the host.

use anyhow::{Context, Result};

use super::host;
use super::state::Node;

/// Where the control plane is.
pub(super) const CONTROL: &str = "198.18.0.1";
/// Where the API server is, for nodes and pods.
pub(super) const API_SERVER: &str = "198.18.0.1:6443";
/// The addresses of Services.
pub(super) const SERVICES: &str = "198.19.0.0/16";
/// The Service of the API server: the first of them.
pub(super) const API_SERVICE: &str = "198.19.0.1";
/// The Service of the cluster's names.
pub(super) const NAMES: &str = "198.19.0.10";
/// The addresses of pods and nodes.
pub(super) const PODS: &str = "198.18.0.0/16";

/// Sets up the network of the control plane, which routes between the nodes.
pub(super) fn control() -> Result<()> {
    ip(&["link", "set", "lo", "up"])?;
    ip(&["address", "add", &format!("{CONTROL}/32"), "dev", "lo"])?;
    forward()
}

/// Links a node whose first process is `pid` to the control plane.
pub(super) fn link(node: &Node, pid: i32) -> Result<()> {
    ip(&["link", "add", &node.name, "type", "veth", "peer", "name", "eth0", "netns", &pid.to_string()])?;
    ip(&["address", "add", &format!("{}/30", node.gateway()), "dev", &node.name])?;
    ip(&["link", "set", &node.name, "up"])?;
    ip(&["route", "add", &node.pods(), "via", &node.address()]).map(|_| ())
}

/// Sets up the network of a node from inside, once it is linked.
pub(super) fn node(node: &Node) -> Result<()> {
    ip(&["link", "set", "lo", "up"])?;
    ip(&["address", "add", &format!("{}/30", node.address()), "dev", "eth0"])?;
    ip(&["link", "set", "eth0", "up"])?;
    ip(&["route", "add", "default", "via", &node.gateway()])?;
    forward()
}

fn forward() -> Result<()> {
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("letting packets through")
}

fn ip(arguments: &[&str]) -> Result<String> {
    host::run("ip", arguments)
}

//! The first process of a cluster: its control plane, its nodes and their network.
//!
//! Everything that it starts is in its process namespace, so nothing outlives it. It never sees the host's network,
//! but for one listening socket that it is handed.

use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::namespaces::{CLUSTER, Enclosed, GO, Line, PROGRAMS, Part, enclose, inside, own_mounts};
use super::node::{LOADED, SERVED};
use super::state::State;
use super::supervise::{COME_UP_LIMIT, Service, Supervisor};
use super::{forward, host, network};

/// The word of a cluster whose API server answers and whose nodes have begun.
pub(super) const READY: &str = "ready";
/// What precedes a line about how far it is.
pub(super) const STEP: &str = "step ";
/// The limit of asking the API server once.
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// The life of the first process.
pub(super) fn live(folder: &Path) -> Result<()> {
    let mut line = Line::to_maker()?;
    line.wait_for(GO, COME_UP_LIMIT)?;
    match come_up(&mut line, folder) {
        Ok(supervisor) => {
            line.say(READY);
            supervisor.keep()
        }
        Err(error) => {
            line.say_failed(&error);
            Ok(())
        }
    }
}

fn come_up(line: &mut Line, folder: &Path) -> Result<Supervisor> {
    let state = State::read_from(folder)?.context("there is no state")?;
    let socket: OwnedFd =
        std::io::stdin().as_fd().try_clone_to_owned().context("the socket on the host's loopback")?;
    own_mounts(folder, &state.components)?;
    network::control()?;
    let mut supervisor = Supervisor::default();
    let etcd = host::find("etcd").context("etcd is not installed")?;
    supervisor.start(Service::new("etcd", None, Some(&etcd), words(&ETCD)))?;
    supervisor.start(Service::new("kube-apiserver", None, None, api_server()))?;
    line.say(&format!("{STEP}starting {} nodes", state.nodes.len()));
    let mut nodes = nodes(&state)?;
    supervisor.wait_until("the API server", is_serving)?;
    line.say(&format!("{STEP}the API server answers"));
    supervisor.start(Service::new("kube-controller-manager", None, None, words(&CONTROLLERS)))?;
    supervisor.start(Service::new("kube-scheduler", None, None, words(&SCHEDULER)))?;
    for node in &mut nodes {
        node.line.wait_for(LOADED, COME_UP_LIMIT)?;
        node.line.say(SERVED);
    }
    forward::start(TcpListener::from(socket), network::API_SERVER);
    Ok(supervisor)
}

/// Starts every node, and links it before it goes on.
fn nodes(state: &State) -> Result<Vec<Enclosed>> {
    let mut nodes = Vec::new();
    for node in &state.nodes {
        let log = inside("logs").join(format!("{}.log", node.name));
        let mut enclosed = enclose(Part::NodeBuilder, Path::new(CLUSTER), Some(node), Stdio::null(), &log)?;
        network::link(node, enclosed.pid)?;
        let path = inside(&node.name).with_extension("pid");
        std::fs::write(&path, enclosed.pid.to_string()).context("writing down a node")?;
        enclosed.line.say(GO);
        nodes.push(enclosed);
    }
    Ok(nodes)
}

fn is_serving() -> bool {
    let mut command = Command::new(inside(PROGRAMS).join("kubectl"));
    command.arg("--kubeconfig").arg(inside("admin.kubeconfig")).args(["get", "--raw", "/readyz"]);
    host::said_by(&mut command, ASK_LIMIT).is_ok_and(|said| said.trim() == "ok")
}

const ETCD: [&str; 6] = [
    "--data-dir=/run/cluster/etcd",
    "--listen-client-urls=http://127.0.0.1:2379",
    "--advertise-client-urls=http://127.0.0.1:2379",
    "--listen-peer-urls=http://127.0.0.1:2380",
    "--initial-advertise-peer-urls=http://127.0.0.1:2380",
    "--initial-cluster=default=http://127.0.0.1:2380",
];

/// Paths are relative to the folder of the cluster, where every service is started.
const CONTROLLERS: [&str; 9] = [
    "--kubeconfig=controllers.kubeconfig",
    "--service-account-private-key-file=pki/accounts.key",
    "--root-ca-file=pki/ca.pem",
    "--use-service-account-credentials",
    "--leader-elect=false",
    // It makes this folder, wherever it is told to.
    "--flex-volume-plugin-dir=/run/tmp/volume-plugins",
    "--cluster-signing-cert-file=pki/ca.pem",
    "--cluster-signing-key-file=pki/ca.key",
    // A node that is lost is told after this long, and not after the usual forty seconds.
    "--node-monitor-grace-period=15s",
];

const SCHEDULER: [&str; 2] = ["--kubeconfig=scheduler.kubeconfig", "--leader-elect=false"];

const API_SERVER: [&str; 23] = [
    "--etcd-servers=http://127.0.0.1:2379",
    "--secure-port=6443",
    "--authorization-mode=Node,RBAC",
    "--client-ca-file=pki/ca.pem",
    "--tls-cert-file=pki/apiserver.pem",
    "--tls-private-key-file=pki/apiserver.key",
    "--service-account-key-file=pki/accounts.pub",
    "--service-account-signing-key-file=pki/accounts.key",
    "--service-account-issuer=https://kubernetes.default.svc",
    "--kubelet-client-certificate=pki/admin.pem",
    "--kubelet-client-key=pki/admin.key",
    "--kubelet-preferred-address-types=InternalIP",
    "--requestheader-client-ca-file=pki/ca.pem",
    "--requestheader-allowed-names=front-proxy",
    "--requestheader-extra-headers-prefix=X-Remote-Extra-",
    "--requestheader-group-headers=X-Remote-Group",
    "--requestheader-username-headers=X-Remote-User",
    "--proxy-client-cert-file=pki/front.pem",
    "--proxy-client-key-file=pki/front.key",
    "--enable-aggregator-routing=true",
    "--allow-privileged=true",
    "--enable-admission-plugins=NodeRestriction",
    "--endpoint-reconciler-type=lease",
];

fn api_server() -> Vec<String> {
    let mut arguments = words(&API_SERVER);
    arguments.push(format!("--advertise-address={}", network::CONTROL));
    arguments.push(format!("--service-cluster-ip-range={}", network::SERVICES));
    arguments
}

fn words(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(ToString::to_string).collect()
}

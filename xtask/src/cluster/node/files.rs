//! The configuration of a node's services, as text. Pure: it writes no file.
//!
//! Where YAML is wanted it is JSON, which every reader of YAML takes.

use serde_json::{Value, json};

use super::super::namespaces::inside;
use super::super::network;
use super::super::state::Node;

/// Where containerd listens.
pub(super) const RUNTIME: &str = "/run/containerd/containerd.sock";

/// The network of pods: each has a link of its own to its node, so that everything between pods is routed and
/// Services work between pods of one node too, without a kernel that shows bridged packets to the firewall.
pub(super) fn pod_network(node: &Node) -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/pod-addresses",
                    "ranges": [[{ "subnet": node.pods() }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
}

/// The container runtime.
pub(super) fn containerd(node: &Node, plugins: &str) -> String {
    let root = inside(&node.name);
    let root = root.display();
    // Root of a container or a virtual machine may lack what raises the importance of a process above its own.
    format!(
        r#"version = 2
root = "{root}/containerd"
state = "/run/containerd"
[grpc]
  address = "{RUNTIME}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "localhost/pause:1"
  disable_apparmor = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{root}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"#
    )
}

/// The kubelet.
pub(super) fn kubelet(node: &Node) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": "/",
        "enforceNodeAllocatable": [],
        "failCgroupV1": false,
        "failSwapOn": false,
        // With it the kubelet goes on where root may not raise the importance of a process above its own.
        "featureGates": { "KubeletInUserNamespace": true },
        "containerRuntimeEndpoint": format!("unix://{RUNTIME}"),
        "authentication": {
            "x509": { "clientCAFile": inside("pki/ca.pem") },
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
        },
        "authorization": { "mode": "Webhook" },
        "clusterDNS": [network::NAMES],
        "clusterDomain": "cluster.local",
        "resolvConf": inside("resolv.conf"),
        "makeIPTablesUtilChains": false,
        "serializeImagePulls": false,
        "nodeStatusUpdateFrequency": "3s",
        "podLogsDir": "/var/log/pods",
        "volumePluginDir": inside(&node.name).join("volume-plugins"),
        "evictionHard": { "nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi" },
    })
}

/// The proxy for Services.
pub(super) fn proxy(node: &Node) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": { "kubeconfig": inside("proxy.kubeconfig") },
        "clusterCIDR": network::PODS,
        // The table of connections belongs to the whole kernel.
        "conntrack": { "maxPerCore": 0 },
        "hostnameOverride": node.name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_a_node_is_one_of_the_cluster() {
        let node = Node { name: "node2".to_owned(), number: 2, cgroups: Vec::new() };
        let runtime = containerd(&node, "/usr/lib/cni");
        assert!(runtime.contains("root = \"/run/cluster/node2/containerd\""), "{runtime}");
        assert!(runtime.contains("conf_dir = \"/run/cluster/node2/cni\""), "{runtime}");
        assert_eq!(pod_network(&node)["plugins"][0]["ipam"]["ranges"][0][0]["subnet"], "198.18.2.0/24");
        assert_eq!(kubelet(&node)["authentication"]["x509"]["clientCAFile"], "/run/cluster/pki/ca.pem");
        assert_eq!(proxy(&node)["hostnameOverride"], "node2");
    }
}

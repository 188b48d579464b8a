//! The cluster of `cargo xtask cluster`: a real Kubernetes with two nodes in a room, and nothing of it left afterwards.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use e2e::snapshot::{Scope, Snapshot, diff};
use e2e::terminal::program;
use serde_json::Value;

/// Longest wait for the kernel to have let go of everything.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// A listener behind a Service, and a client on the other node.
const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: { name: listener, labels: { app: listener } }
spec:
  nodeName: node2
  terminationGracePeriodSeconds: 0
  containers:
    - { name: main, image: "localhost/busybox:1", args: [-c, "nc -ll -p 8000 -e echo heard"] }
---
apiVersion: v1
kind: Service
metadata: { name: listener }
spec: { selector: { app: listener }, ports: [{ port: 80, targetPort: 8000 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: client }
spec:
  nodeName: node1
  terminationGracePeriodSeconds: 0
  containers:
    - { name: main, image: "localhost/busybox:1", args: [-c, "sleep 3600"] }
"#;

/// A folder for the state of clusters, and the verbs on the one of this test.
struct Clusters {
    folder: tempfile::TempDir,
}

impl Clusters {
    /// Without any, or why none can run here.
    fn new() -> Result<Self, String> {
        let clusters = Self { folder: tempfile::tempdir().expect("a folder") };
        let check = clusters.command(&["check"]).output().expect("the program xtask");
        if check.status.success() { Ok(clusters) } else { Err(text(&check)) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("xtask"));
        command.arg("cluster").args(arguments).env("XDG_STATE_HOME", self.folder.path());
        command.env_remove("KUBECONFIG").stdin(Stdio::null());
        command
    }

    /// What a verb printed; it must succeed.
    fn run(&self, arguments: &[&str]) -> String {
        succeed(&mut self.command(arguments))
    }

    fn left(&self) -> BTreeSet<PathBuf> {
        let folder = self.folder.path().join("chaos-engineering/clusters");
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("a program that starts");
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A picture of this room, once nothing moves any more.
fn settled() -> Snapshot {
    let deadline = Instant::now() + SETTLE_LIMIT;
    let mut last = Snapshot::take(&Scope::default()).expect("a picture");
    loop {
        let next = Snapshot::take(&Scope::default()).expect("a picture");
        if next == last {
            return next;
        }
        assert!(Instant::now() < deadline, "{:?}", diff(&last, &next));
        last = next;
    }
}

/// Network namespaces and settings of the whole kernel, which a picture does not hold.
fn kernel() -> Vec<String> {
    let settings = ["vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"];
    let read = |name: &&str| std::fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap_or_default();
    let links = succeed(Command::new("ip").args(["-brief", "link"]));
    settings.iter().map(read).chain([links]).collect()
}

/// Waits until nothing differs from the picture.
fn assert_nothing_left(before: &Snapshot, kernel_before: &[String], clusters: &Clusters) {
    let deadline = Instant::now() + SETTLE_LIMIT;
    loop {
        let differences = diff(before, &Snapshot::take(&Scope::default()).expect("a picture"));
        if differences.is_empty() && kernel() == kernel_before && clusters.left().is_empty() {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "left: {differences:?}, {:?}, {:?} (before: {kernel_before:?})",
            clusters.left(),
            kernel()
        );
        std::thread::sleep(POLL);
    }
}

#[test]
fn a_cluster_comes_up_its_pods_find_services_and_nothing_is_left_of_it() {
    e2e::in_a_room!();
    let clusters = match Clusters::new() {
        Ok(clusters) => clusters,
        Err(why) => return eprintln!("skipped: {}", why.trim()),
    };
    let (before, kernel_before) = (settled(), kernel());

    let said = clusters.run(&["up", "--name", "e2e", "--output", "json"]);
    let up: Value = serde_json::from_str(&said).expect("JSON");
    let path = |name: &str| up[name].as_str().expect("a path").to_owned();
    let status: Value =
        serde_json::from_str(&clusters.run(&["status", "--name", "e2e", "--output", "json"])).expect("JSON");
    let nodes: Vec<_> =
        status["nodes"].as_array().expect("nodes").iter().map(|node| &node["ready"]).collect();
    assert_eq!(nodes, [true, true]);

    let kubectl = |arguments: &[&str]| {
        let mut command = Command::new(path("kubectl"));
        succeed(
            command.env("KUBECONFIG", path("kubeconfig")).args(["--cache-dir", "/dev/null"]).args(arguments),
        )
    };
    let file = clusters.folder.path().join("pods.yaml");
    std::fs::write(&file, PODS).expect("a file");
    kubectl(&["apply", "-f", file.to_str().expect("a path")]);
    kubectl(&["wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s"]);
    let name = "listener.default.svc.cluster.local";
    let address = kubectl(&["get", "service", "listener", "--output", "jsonpath={.spec.clusterIP}"]);
    let found = kubectl(&["exec", "client", "--", "nslookup", name]);
    assert!(found.contains(&address), "{address}: {found}");
    let heard = kubectl(&["exec", "client", "--", "nc", "-w", "10", &address, "80"]);
    assert_eq!(heard.trim(), "heard");

    let inside = |node: &str, command: &[&str]| {
        clusters.run(&[&["exec", "--name", "e2e", node, "--"], command].concat()).trim().to_owned()
    };
    assert_eq!(inside("node1", &["hostname"]), "node1");
    assert_eq!(inside("node1", &["cat", "/proc/1/comm"]), "chaos-cluster");
    let listed = inside("node2", &["sh", "-c", "cat /proc/[0-9]*/comm"]);
    assert!(listed.contains("kubelet") && !listed.contains("etcd"), "{listed}");
    assert!(inside("control", &["sh", "-c", "cat /proc/[0-9]*/comm"]).contains("etcd"));

    clusters.run(&["down", "--name", "e2e"]);
    assert_nothing_left(&before, &kernel_before, &clusters);
    clusters.run(&["down", "--name", "e2e"]);
}

#[test]
fn a_cluster_whose_maker_was_killed_half_way_is_taken_down_whole() {
    e2e::in_a_room!();
    let clusters = match Clusters::new() {
        Ok(clusters) => clusters,
        Err(why) => return eprintln!("skipped: {}", why.trim()),
    };
    let (before, kernel_before) = (settled(), kernel());
    for moment in ["starting 2 nodes", "the API server answers", "all nodes are ready"] {
        let mut maker = clusters.command(&["up", "--name", "half"]);
        let mut maker = maker.stderr(Stdio::piped()).spawn().expect("the program xtask");
        let mut said = String::new();
        let mut lines = BufReader::new(maker.stderr.take().expect("its output"));
        while !said.contains(moment) {
            assert_ne!(lines.read_line(&mut said).expect("text"), 0, "{said}");
        }
        maker.kill().expect("a process of ours");
        maker.wait().expect("a process of ours");
        assert_eq!(clusters.left().len(), 1);
        clusters.run(&["down", "--name", "half"]);
        assert_nothing_left(&before, &kernel_before, &clusters);
    }
}

#[test]
fn a_cluster_that_cannot_come_up_says_why_and_is_taken_down() {
    e2e::in_a_room!();
    let clusters = match Clusters::new() {
        Ok(clusters) => clusters,
        Err(why) => return eprintln!("skipped: {}", why.trim()),
    };
    let (before, kernel_before) = (settled(), kernel());
    let image = clusters.folder.path().join("image.tar");
    std::fs::write(&image, "no image").expect("a file");
    let image = image.to_str().expect("a path");
    let up = clusters.command(&["up", "--name", "broken", "--image", image]).output().expect("xtask");
    assert!(!up.status.success());
    assert!(text(&up).contains("importing"), "{}", text(&up));
    assert_nothing_left(&before, &kernel_before, &clusters);
}

//! Bringing a cluster up, seen from outside: what is written down, what is put into its folder, what is waited for.
//!
//! Nothing is made before it is written down. What does not come up is taken down again.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::components::{self, COREDNS, HELM, METRICS_SERVER, PAUSE};
use super::control::{READY, STEP};
use super::image::{self, Image};
use super::kubectl::Kubectl;
use super::namespaces::{COMPONENTS, GO, PROGRAMS, Part, enclose};
use super::state::{self, Identity, State};
use super::{Output, host, identities};

/// How long the first process may be silent.
const SILENCE_MAX: Duration = Duration::from_mins(3);
/// How long nodes may take to be ready once the API server answers.
const READY_LIMIT: Duration = Duration::from_mins(2);
/// The most images that are brought along.
const IMAGES_MAX: usize = 50;
const POLL: Duration = Duration::from_millis(200);
/// What runs in `kube-system`.
const ADDONS: &str = include_str!("../../cluster/addons.yaml");
/// What pods that keep off the network of a host see of its names.
const RESOLVER: &str = "nameserver 198.19.0.10\n";
/// The commands of the busybox image.
const COMMANDS: [&str; 19] = [
    "cat", "dd", "echo", "env", "grep", "head", "hostname", "httpd", "kill", "ls", "nc", "nslookup", "ping",
    "ps", "sh", "sleep", "tail", "true", "wget",
];

/// Arguments of `cargo xtask cluster up`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: super::Cluster,
    /// How many nodes, each with its own process, mount, cgroup, network and name.
    #[arg(long, default_value_t = 2)]
    nodes: u8,
    /// An image for every node, as a tar file; may be repeated.
    #[arg(long = "image", value_name = "FILE")]
    images: Vec<PathBuf>,
    /// Leave a cluster that does not come up as it is, with its logs.
    #[arg(long)]
    keep: bool,
    /// What to print at the end.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments) -> Result<bool> {
    let obstacles = super::obstacles(false)?;
    ensure!(obstacles.is_empty(), "no cluster can run here:\n  {}", obstacles.join("\n  "));
    ensure!(arguments.images.len() <= IMAGES_MAX, "up to {IMAGES_MAX} images");
    components::build()?;
    let start = Instant::now();
    let _lock = state::lock()?;
    let name = &arguments.cluster.name;
    clear_rest(name)?;
    let listener = TcpListener::bind("127.0.0.1:0").context("a port on the loopback")?;
    let port = listener.local_addr().context("a port on the loopback")?.port();
    let mut state = State::new(name, arguments.nodes, port)?;
    state.write()?;
    if let Err(error) = bring_up(&mut state, &arguments.images, listener, start) {
        if arguments.keep {
            eprintln!("its logs: {}", state.path("logs").display());
        } else {
            state::take_down(state.folder()).context("taking down what did not come up")?;
        }
        return Err(error.context(format!("cluster {name} did not come up")));
    }
    tell(&state, arguments.output, start);
    Ok(true)
}

/// Takes down what an interrupted run left; a cluster that runs stays.
fn clear_rest(name: &str) -> Result<()> {
    let folder = state::folder(name)?;
    if let Some(state) = State::read_from(&folder)?
        && state.first_process().is_ok()
    {
        bail!("cluster {name} is up already: cargo xtask cluster down --name {name}");
    }
    if folder.exists() {
        eprintln!("taking down what is left of an earlier cluster {name}");
    }
    state::take_down(&folder)
}

fn bring_up(state: &mut State, images: &[PathBuf], listener: TcpListener, start: Instant) -> Result<()> {
    let step = |text: &str| eprintln!("{:5.1} s  {text}", start.elapsed().as_secs_f64());
    fill(state, images)?;
    let socket = Stdio::from(OwnedFd::from(listener));
    let log = state.path("logs/cluster.log");
    let mut first = enclose(Part::ClusterBuilder, state.folder(), None, socket, &log)?;
    // It waits for the word, so whatever it makes is made by a process that is written down.
    state.first = Some(Identity::of(first.pid)?);
    state.write()?;
    first.line.say(GO);
    loop {
        let heard = first.line.hear(SILENCE_MAX)?;
        let heard = heard.context("its first process ended")?;
        match heard.strip_prefix(STEP) {
            Some(text) => step(text),
            None if heard == READY => break,
            None => bail!("its first process said {heard:?}"),
        }
    }
    let kubectl = Kubectl::of(state)?;
    kubectl.apply(&state.path("addons.yaml"))?;
    wait_for_nodes(state, &kubectl)?;
    step("all nodes are ready");
    kubectl.wait_for_rollout("kube-system", "deployment/coredns", READY_LIMIT)?;
    step("names resolve; metrics follow within half a minute");
    Ok(())
}

/// Puts everything into the folder that the processes of the cluster read.
fn fill(state: &State, images: &[PathBuf]) -> Result<()> {
    for below in ["logs", "images", "bin", PROGRAMS] {
        let folder = state.path(below);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    }
    for node in &state.nodes {
        fs::create_dir_all(state.path(&node.name)).context("making the folder of a node")?;
    }
    identities::create(state)?;
    fs::write(state.path("resolv.conf"), RESOLVER).context("writing resolv.conf")?;
    fs::write(state.path("addons.yaml"), ADDONS).context("writing addons.yaml")?;
    // Imported in the order of their names: what nodes need first comes first.
    for (number, component) in [PAUSE, COREDNS, METRICS_SERVER].iter().enumerate() {
        let image = component.image()?.context("a component without an image")?;
        copy(&image, &state.path(&format!("images/0{number}-{}.tar", component.name)))?;
    }
    image::write(&busybox()?, &state.path("images/10-busybox.tar"))?;
    for (number, image) in images.iter().enumerate() {
        copy(image, &state.path(&format!("images/2{number:02}.tar")))?;
    }
    for name in components::PARTS {
        // Where it is inside, since that is where these links are used.
        link(&Path::new(COMPONENTS).join(&state.kubernetes), &state.path(PROGRAMS).join(name))?;
    }
    link(&state.components.join(&state.kubernetes), &state.path("bin/kubectl"))?;
    link(&HELM.program()?, &state.path("bin/helm"))?;
    Kubectl::write_config(state)
}

fn link(target: &Path, path: &Path) -> Result<()> {
    std::os::unix::fs::symlink(target, path).with_context(|| format!("linking {}", path.display()))
}

/// Copies a file, or gives it a second name where that is possible.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let linked = fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(|_| ()));
    linked.with_context(|| format!("copying {}", from.display()))
}

/// A small image with a shell and the usual commands.
fn busybox() -> Result<Image> {
    let path = host::find("busybox").context("busybox is not installed")?;
    let content = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    ensure!(
        is_static(&content),
        "{} needs libraries; the Debian package busybox-static brings one that does not",
        path.display()
    );
    let image = Image::new("localhost/busybox:1", "/bin/sh").with_program("/bin/busybox", content);
    Ok(COMMANDS.iter().fold(image, |image, name| image.with_link(&format!("/bin/{name}"), "busybox")))
}

/// Whether a program names no loader, which a dynamic one does near its start.
fn is_static(program: &[u8]) -> bool {
    const START: usize = 4096;
    !program.iter().take(START).copied().collect::<Vec<_>>().windows(4).any(|word| word == b"/ld-")
}

fn wait_for_nodes(state: &State, kubectl: &Kubectl) -> Result<()> {
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        let nodes = kubectl.nodes();
        if nodes
            .as_ref()
            .is_ok_and(|nodes| nodes.iter().filter(|node| node.ready).count() == state.nodes.len())
        {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "not every node is ready: {nodes:?}");
        std::thread::sleep(POLL);
    }
}

fn tell(state: &State, output: Output, start: Instant) {
    let nodes: Vec<_> = state.nodes.iter().map(|node| &node.name).collect();
    let (config, bin) = (state.path("kubeconfig"), state.path("bin"));
    match output {
        Output::Json => println!(
            "{}",
            json!({
                "name": state.name,
                "kubeconfig": config,
                "kubectl": bin.join("kubectl"),
                "helm": bin.join(HELM.name),
                "folder": state.folder(),
                "nodes": nodes,
            })
        ),
        Output::Text => {
            eprintln!("cluster {} is up after {:.1} s", state.name, start.elapsed().as_secs_f64());
            println!("export KUBECONFIG={}", config.display());
            println!("export PATH={}:$PATH", bin.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_names_a_loader_is_not_static() {
        assert!(!is_static(b"\x7fELF....../lib64/ld-linux-x86-64.so.2\0"));
        assert!(is_static(b"\x7fELF......no loader at all"));
    }
}

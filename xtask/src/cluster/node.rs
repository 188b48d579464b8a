//! The first process of a node: a machine of its own to whoever looks from inside.
//!
//! Owns the node's mounts and its services: container runtime, kubelet, proxy. It changes no setting of the whole
//! kernel, and writes to no folder of the host outside the cluster's own.

mod files;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use super::namespaces::{CLUSTER, COMPONENTS, GO, Line, Part, bind, build, inside, own_mounts};
use super::state::{Node, State};
use super::supervise::{COME_UP_LIMIT, Service, Supervisor};
use super::{cgroups, host, network};

/// The word of a node that has its images.
pub(super) const LOADED: &str = "loaded";
/// The word that the API server is there.
pub(super) const SERVED: &str = "served";
/// The limit of importing one image.
const IMPORT_LIMIT: Duration = Duration::from_secs(60);
/// Folders that services of a node write to, whatever they are told; each node has its own.
const OWN_FOLDERS: [&str; 2] = ["/var/lib", "/var/log"];
/// Settings of the whole kernel that a kubelet changes unless they are so already. A node shows it files that say so,
/// and the kernel keeps what it had.
const KERNEL_SETTINGS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Starts the first process, in the node's cgroups.
pub(super) fn build_in_cgroups(folder: &Path, name: &str) -> Result<()> {
    let (_, node) = find(folder, name)?;
    cgroups::create(&node.cgroups)?;
    cgroups::enter(&node.cgroups, false)?;
    build(Part::NodeBuilder, folder, Some(&node))
}

/// The life of the first process.
pub(super) fn live(folder: &Path, name: &str) -> Result<()> {
    let mut line = Line::to_maker()?;
    line.wait_for(GO, COME_UP_LIMIT)?;
    match come_up(&mut line, folder, name) {
        Ok(supervisor) => supervisor.keep(),
        Err(error) => {
            line.say_failed(&error.context(format!("{name} does not come up")));
            Ok(())
        }
    }
}

fn find(folder: &Path, name: &str) -> Result<(State, Node)> {
    let state = State::read_from(folder)?.context("there is no state")?;
    let node = state.nodes.iter().find(|node| node.name == name).cloned();
    Ok((state, node.with_context(|| format!("there is no {name}"))?))
}

fn come_up(line: &mut Line, folder: &Path, name: &str) -> Result<Supervisor> {
    let (state, node) = find(folder, name)?;
    nix::unistd::sethostname(&node.name).context("setting the name of the host")?;
    own_mounts(folder, Path::new(COMPONENTS))?;
    own_folders(&node)?;
    cgroups::mount_as_roots()?;
    // Volumes that a pod shares with its node need it.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SHARED, None::<&str>)
        .context("sharing mounts")?;
    network::node(&node)?;
    write_files(&node, &state.plugins.display().to_string())?;
    let mut supervisor = Supervisor::default();
    let containerd = host::find("containerd").context("containerd is not installed")?;
    let configuration = format!("{CLUSTER}/{name}/containerd.toml");
    supervisor.start(service(&node, "containerd", Some(&containerd), &["--config", &configuration]))?;
    supervisor.wait_until("the container runtime", || is_serving().is_ok())?;
    import(&images()?)?;
    line.say(LOADED);
    line.wait_for(SERVED, COME_UP_LIMIT)?;
    let proxy = format!("--config={CLUSTER}/{name}/proxy.json");
    supervisor.start(service(&node, "kube-proxy", None, &[&proxy]))?;
    let kubelet = [
        format!("--config={CLUSTER}/{name}/kubelet.json"),
        format!("--kubeconfig={CLUSTER}/{name}.kubeconfig"),
        format!("--hostname-override={name}"),
        format!("--node-ip={}", node.address()),
        format!("--root-dir={CLUSTER}/{name}/kubelet"),
    ];
    let kubelet: Vec<_> = kubelet.iter().map(String::as_str).collect();
    supervisor.start(service(&node, "kubelet", None, &kubelet))?;
    Ok(supervisor)
}

fn service(node: &Node, name: &'static str, program: Option<&Path>, arguments: &[&str]) -> Service {
    let arguments = arguments.iter().map(ToString::to_string).collect();
    Service::new(name, Some(&node.name), program, arguments)
}

fn own_folders(node: &Node) -> Result<()> {
    for place in OWN_FOLDERS {
        let own = inside(&node.name).join(place.trim_start_matches('/').replace('/', "-"));
        fs::create_dir_all(&own).with_context(|| format!("making {}", own.display()))?;
        bind(&own, Path::new(place))?;
    }
    let settings = inside(&node.name).join("settings");
    fs::create_dir_all(&settings).with_context(|| format!("making {}", settings.display()))?;
    for (name, value) in KERNEL_SETTINGS {
        let shown = settings.join(name.replace('/', "-"));
        fs::write(&shown, value).with_context(|| format!("writing {}", shown.display()))?;
        bind(&shown, &Path::new("/proc/sys").join(name))?;
    }
    Ok(())
}

fn write_files(node: &Node, plugins: &str) -> Result<()> {
    let folder = inside(&node.name);
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    };
    fs::create_dir_all(folder.join("cni")).context("making the folder of the pods' network")?;
    write("cni/10-pods.conflist", files::pod_network(node).to_string())?;
    write("containerd.toml", files::containerd(node, plugins))?;
    write("kubelet.json", files::kubelet(node).to_string())?;
    write("proxy.json", files::proxy(node).to_string())
}

fn runtime(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(host::find("ctr").context("ctr is not installed")?);
    command.args(["--address", files::RUNTIME]).args(arguments);
    Ok(command)
}

fn is_serving() -> Result<String> {
    host::said_by(&mut runtime(&["version"])?, IMPORT_LIMIT)
}

/// The images of the cluster, in the order of their names.
fn images() -> Result<Vec<PathBuf>> {
    let folder = fs::read_dir(inside("images")).context("listing the images")?;
    let mut images: Vec<_> = folder.flatten().map(|entry| entry.path()).collect();
    images.sort();
    Ok(images)
}

fn import(images: &[PathBuf]) -> Result<()> {
    for image in images {
        let path = image.display().to_string();
        host::said_by(&mut runtime(&["--namespace", "k8s.io", "images", "import", &path])?, IMPORT_LIMIT)
            .with_context(|| format!("importing {path}"))?;
    }
    Ok(())
}

//! `cargo xtask cluster`: a real Kubernetes on this machine, with nodes of its own, for tests and for trying out.
//!
//! Owns the verbs. No container engine and no registry: the components are built from Go modules, a node is a set of
//! namespaces, an image is made from files. Everything is in namespaces and in one folder outside the checkout; the
//! host's network sees one port on the loopback. `down` leaves nothing.

mod cgroups;
mod components;
mod control;
mod forward;
mod host;
mod identities;
mod image;
mod kubectl;
mod namespaces;
mod network;
mod node;
mod state;
mod supervise;
mod up;
mod visit;

use std::ffi::CStr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Subcommand;

use self::image::Image;
use self::kubectl::Kubectl;
use self::namespaces::Part;
use self::state::State;

/// What the first processes of clusters and nodes call themselves.
const PROCESS_NAME: &CStr = c"chaos-cluster";

/// The verbs.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Bring a cluster up; the first time builds its components, which takes minutes.
    Up(up::Arguments),
    /// Take a cluster down, whatever state it is in; nothing is left.
    Down(Cluster),
    /// Run a command inside a node.
    Exec(visit::Arguments),
    /// Show the nodes of a cluster.
    Status(StatusArguments),
    /// Say whether a cluster can run here in seconds, or what is missing.
    Check,
    /// Build the components and nothing else.
    Build,
    /// Make an image from static programs; the first is what it starts.
    Image(ImageArguments),
    /// A process of a cluster, not for people.
    #[command(hide = true)]
    Part { part: Part, folder: PathBuf, node: Option<String> },
}

/// Which cluster.
#[derive(clap::Args)]
pub(crate) struct Cluster {
    /// The cluster; several may be up at a time.
    #[arg(long, default_value = "chaos")]
    name: String,
}

/// How something is printed.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Output {
    /// For people and shells.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// Arguments of `cargo xtask cluster status`.
#[derive(clap::Args)]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    cluster: Cluster,
    /// What to print.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Arguments of `cargo xtask cluster image`.
#[derive(clap::Args)]
pub(crate) struct ImageArguments {
    /// What pods call it, such as `localhost/chaos:1`.
    #[arg(long)]
    name: String,
    /// The file to be written.
    #[arg(long)]
    output: PathBuf,
    /// A path in the image and the file that is to be there.
    #[arg(value_name = "PATH=FILE", required = true)]
    programs: Vec<String>,
}

/// Runs a verb; false when something is not as it should be.
pub(crate) fn run(verb: &Verb) -> Result<bool> {
    match verb {
        Verb::Up(arguments) => up::run(arguments),
        Verb::Down(cluster) => down(&cluster.name),
        Verb::Exec(arguments) => visit::run(arguments),
        Verb::Status(arguments) => status(arguments),
        Verb::Check => check(),
        Verb::Build => {
            if let Some(obstacle) = host::build_obstacle() {
                anyhow::bail!("the components of a cluster can't be built here: {obstacle}");
            }
            components::build().map(|()| true)
        }
        Verb::Image(arguments) => image(arguments),
        Verb::Part { part, folder, node } => be(*part, folder, node.as_deref()).map(|()| true),
    }
}

/// Whether `cluster up` works here and takes seconds; else why not, in words for a skipped test.
pub(crate) fn available() -> Result<(), String> {
    match obstacles(true) {
        Ok(obstacles) if obstacles.is_empty() => Ok(()),
        Ok(obstacles) => Err(obstacles.join("; ")),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// What keeps a cluster from coming up. Components that are not built are an obstacle only to who is in a `hurry`, or
/// where they can't be built.
fn obstacles(hurry: bool) -> Result<Vec<String>> {
    let mut obstacles = host::obstacles();
    let missing = components::missing()?;
    if missing.is_empty() {
        return Ok(obstacles);
    }
    let missing = missing.join(", ");
    match host::build_obstacle() {
        Some(obstacle) => obstacles.push(format!("{missing} can't be built: {obstacle}")),
        None if hurry => obstacles.push(format!("{missing} not built yet: cargo xtask cluster build")),
        None => {}
    }
    Ok(obstacles)
}

fn check() -> Result<bool> {
    match available() {
        Ok(()) => println!("a cluster can run here"),
        Err(why) => {
            println!("{why}");
            return Ok(false);
        }
    }
    Ok(true)
}

fn down(name: &str) -> Result<bool> {
    let folder = state::folder(name)?;
    let _lock = state::lock()?;
    if !folder.exists() {
        eprintln!("there is no cluster {name}");
        return Ok(true);
    }
    let start = std::time::Instant::now();
    state::take_down(&folder)?;
    eprintln!("cluster {name} is down after {:.1} s", start.elapsed().as_secs_f64());
    Ok(true)
}

/// Prints the nodes; false when one is not ready.
fn status(arguments: &StatusArguments) -> Result<bool> {
    let state = State::read(&arguments.cluster.name)?;
    state.first_process()?;
    let nodes = Kubectl::of(&state)?.nodes()?;
    match arguments.output {
        Output::Json => {
            let document = serde_json::json!({
                "name": state.name, "kubeconfig": state.path("kubeconfig"), "nodes": nodes,
            });
            println!("{document}");
        }
        Output::Text => {
            for node in &nodes {
                let word = if node.ready { "Ready" } else { "NotReady" };
                println!("{:8} {word:8} {}", node.name, node.version);
            }
        }
    }
    Ok(nodes.len() == state.nodes.len() && nodes.iter().all(|node| node.ready))
}

fn image(arguments: &ImageArguments) -> Result<bool> {
    let mut programs = Vec::new();
    for text in &arguments.programs {
        let (path, file) = text.split_once('=').with_context(|| format!("{text} is not PATH=FILE"))?;
        programs.push((path, std::fs::read(file).with_context(|| format!("reading {file}"))?));
    }
    let entry = programs.first().map_or("/", |(path, _)| path);
    let image = Image::new(&arguments.name, entry);
    let image = programs.into_iter().fold(image, |image, (path, content)| image.with_program(path, content));
    image::write(&image, &arguments.output)?;
    Ok(true)
}

/// What this program is inside of a cluster.
fn be(part: Part, folder: &std::path::Path, node: Option<&str>) -> Result<()> {
    let node = node.context("which node?");
    // It is started as /proc/self/exe, which says little in a list of processes.
    nix::sys::prctl::set_name(PROCESS_NAME).context("taking a name")?;
    match part {
        Part::ClusterBuilder => namespaces::build(part, folder, None),
        Part::Cluster => control::live(folder),
        Part::NodeBuilder => node::build_in_cgroups(folder, node?),
        Part::Node => node::live(folder, node?),
    }
}

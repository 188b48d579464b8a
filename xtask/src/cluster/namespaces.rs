//! Namespaces of their own for a cluster and for each node, and the line to the first process in them.
//!
//! A builder leaves the namespaces of whoever asks and starts the first process, which makes nothing before it is
//! told to: so it can be written down first. When the first process ends, the kernel ends all others with it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::host;
use super::state::Node;

/// How long a builder may take.
const BUILDER_LIMIT: Duration = Duration::from_secs(20);
/// The word that lets the first process begin.
pub(super) const GO: &str = "go";
/// What precedes the reason when something inside fails.
const FAILED: &str = "failed ";

/// Which first process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// The builder of a cluster.
    ClusterBuilder,
    /// The first process of a cluster.
    Cluster,
    /// The builder of a node.
    NodeBuilder,
    /// The first process of a node.
    Node,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::ClusterBuilder => "cluster-builder",
            Self::Cluster => "cluster",
            Self::NodeBuilder => "node-builder",
            Self::Node => "node",
        }
    }

    fn namespaces(self) -> CloneFlags {
        let shared = CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWIPC;
        match self {
            Self::ClusterBuilder | Self::Cluster => shared,
            Self::NodeBuilder | Self::Node => shared | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWCGROUP,
        }
    }
}

/// Both directions of what a first process and its maker say to each other, a line each.
pub(super) struct Line {
    read: BufReader<UnixStream>,
    write: UnixStream,
}

impl Line {
    fn new(stream: UnixStream) -> Result<Self> {
        let write = stream.try_clone().context("a second end of a line")?;
        Ok(Self { read: BufReader::new(stream), write })
    }

    /// The line to the maker of this process, which is its standard output.
    pub(super) fn to_maker() -> Result<Self> {
        let end: OwnedFd = std::io::stdout().as_fd().try_clone_to_owned().context("the line to the maker")?;
        Self::new(end.into())
    }

    /// Says something; nobody may be there to hear it.
    pub(super) fn say(&mut self, text: &str) {
        let _ = writeln!(self.write, "{}", text.replace('\n', " | "));
    }

    /// Says why this end gives up.
    pub(super) fn say_failed(&mut self, error: &anyhow::Error) {
        self.say(&format!("{FAILED}{error:#}"));
    }

    /// The next line within the limit; none when the other end is gone.
    pub(super) fn hear(&mut self, limit: Duration) -> Result<Option<String>> {
        self.read.get_ref().set_read_timeout(Some(limit)).context("a limit for a line")?;
        let mut text = String::new();
        let length = self.read.read_line(&mut text);
        if length.with_context(|| format!("nothing was heard for {} s", limit.as_secs()))? == 0 {
            return Ok(None);
        }
        let text = text.trim_end();
        if let Some(reason) = text.strip_prefix(FAILED) {
            bail!("{reason}");
        }
        Ok(Some(text.to_owned()))
    }

    /// Waits for this word.
    pub(super) fn wait_for(&mut self, word: &str, limit: Duration) -> Result<()> {
        let heard = self.hear(limit)?.with_context(|| format!("the other end is gone, before {word:?}"))?;
        ensure!(heard == word, "heard {heard:?} and not {word:?}");
        Ok(())
    }
}

/// A first process that waits to be told [`GO`].
pub(super) struct Enclosed {
    /// Its id as the maker sees it.
    pub(super) pid: i32,
    /// The line to it.
    pub(super) line: Line,
}

/// Starts the first process of a cluster or a node in namespaces of its own.
pub(super) fn enclose(
    builder: Part,
    folder: &Path,
    node: Option<&Node>,
    input: Stdio,
    log: &Path,
) -> Result<Enclosed> {
    let (ours, theirs) = UnixStream::pair().context("making a line")?;
    let log = File::options().create(true).append(true).open(log);
    let mut command = itself(builder, folder, node.map(|node| node.name.as_str()));
    command.stdin(input).stdout(OwnedFd::from(theirs)).stderr(log.context("opening a log")?);
    let mut child = command.spawn().context("starting the builder of a namespace")?;
    // The command holds the other end; with it gone the end of the process inside ends the line.
    drop(command);
    let mut line = Line::new(ours)?;
    let said = line.hear(BUILDER_LIMIT);
    child.wait().context("waiting for the builder of a namespace")?;
    let said = said?.context("the builder of a namespace ended without a word")?;
    let pid = said.strip_prefix("pid ").and_then(|pid| pid.parse().ok());
    Ok(Enclosed { pid: pid.with_context(|| format!("the builder of a namespace said {said:?}"))?, line })
}

fn itself(part: Part, folder: &Path, node: Option<&str>) -> Command {
    // By this name it is the program that runs, also when a newer one has been built meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("xtask").args(["cluster", "part", part.name()]).arg(folder).args(node);
    command.env_clear().env("PATH", host::SEARCH_PATH).current_dir("/");
    command
}

/// What a builder does: leaves the namespaces it was started in, and starts the first process of new ones.
pub(super) fn build(builder: Part, folder: &Path, node: Option<&Node>) -> Result<()> {
    let mut line = Line::to_maker()?;
    let first = if builder == Part::ClusterBuilder { Part::Cluster } else { Part::Node };
    match leave(builder).and_then(|()| {
        let mut command = itself(first, folder, node.map(|node| node.name.as_str()));
        command.spawn().context("starting the first process of a namespace")
    }) {
        Ok(child) => line.say(&format!("pid {}", child.id())),
        Err(error) => line.say_failed(&error),
    }
    Ok(())
}

fn leave(builder: Part) -> Result<()> {
    // A session of its own: a signal from the terminal of whoever asked is not for it.
    nix::unistd::setsid().context("making a session")?;
    unshare(builder.namespaces()).context("making namespaces")
}

/// Makes the mounts of the calling process its own, with a `/proc`, a `/run`, and at `/run/cluster` and
/// `/run/components` the folders of the cluster, wherever they are.
pub(super) fn own_mounts(folder: &Path, components: &Path) -> Result<()> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("making mounts private")?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>).context("mounting /proc")?;
    // Opened first: the new /run may hide them.
    let opened = [File::open(folder), File::open(components)];
    mount(Some("run"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755")).context("mounting /run")?;
    for (opened, place) in opened.into_iter().zip([CLUSTER, COMPONENTS]) {
        let opened = opened.context("opening the folders of the cluster")?;
        std::fs::create_dir(place).with_context(|| format!("making {place}"))?;
        let source = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&opened));
        bind(Path::new(&source), Path::new(place))?;
    }
    let temporary = Path::new(TEMPORARY);
    std::fs::create_dir(temporary).with_context(|| format!("making {TEMPORARY}"))
}

/// The folder of the cluster, seen from inside.
pub(super) const CLUSTER: &str = "/run/cluster";
/// The folder of the components, seen from inside.
pub(super) const COMPONENTS: &str = "/run/components";
/// Below the folder of the cluster: Kubernetes under the name of each component, which is how others know them.
pub(super) const PROGRAMS: &str = "programs";
/// Where programs inside put what they need for a moment.
pub(super) const TEMPORARY: &str = "/run/tmp";

/// A path below the folder of the cluster, seen from inside.
pub(super) fn inside(below: &str) -> PathBuf {
    Path::new(CLUSTER).join(below)
}

/// Shows a folder or a file at another place too.
pub(super) fn bind(from: &Path, to: &Path) -> Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("mounting {} at {}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Line, Line) {
        let (one, other) = UnixStream::pair().unwrap();
        (Line::new(one).unwrap(), Line::new(other).unwrap())
    }

    #[test]
    fn a_line_carries_words_and_reasons_both_ways() {
        let (mut maker, mut first) = pair();
        maker.say(GO);
        first.wait_for(GO, BUILDER_LIMIT).unwrap();
        first.say_failed(&anyhow::anyhow!("two\nlines").context("while trying"));
        let error = maker.hear(BUILDER_LIMIT).unwrap_err();
        assert_eq!(error.to_string(), "while trying: two | lines");
        drop(maker);
        assert_eq!(first.hear(BUILDER_LIMIT).unwrap(), None);
        assert!(first.wait_for(GO, BUILDER_LIMIT).is_err());
    }

    #[test]
    fn silence_ends_with_the_limit() {
        let (mut maker, _first) = pair();
        assert!(maker.hear(Duration::from_millis(5)).is_err());
    }
}

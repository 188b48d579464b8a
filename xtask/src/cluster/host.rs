//! What a cluster needs of this machine, and the folders outside the checkout.
//!
//! Only looks: it never installs anything, and never makes a folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::cgroups;
use crate::process::{self, Ending, Stream};
use crate::workspace::has_program;

/// The folder of this project below the folders of a user.
const PROJECT: &str = "chaos-engineering";
/// The oldest Go that builds the components.
const GO_VERSION_MIN: (u32, u32) = (1, 24);
/// Since this version Go fetches a newer one of itself when a module asks for it.
const GO_VERSION_FETCHING: (u32, u32) = (1, 21);
/// The limit of a program that only says something about this machine.
const ASK_LIMIT: Duration = Duration::from_secs(20);
/// Where the plug-ins for the network of pods are looked for.
const PLUGIN_FOLDERS: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];
/// The plug-ins that are used.
const PLUGINS: [&str; 4] = ["ptp", "host-local", "portmap", "loopback"];
/// The programs that are used, and the Debian package of each.
const PROGRAMS: [(&str, &str); 10] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("containerd-shim-runc-v2", "containerd"),
    ("runc", "runc"),
    ("etcd", "etcd-server"),
    ("nft", "nftables"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("busybox", "busybox-static"),
];

/// What a process of the cluster is started with, beside what it is told.
pub(super) const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The folder of built components.
pub(super) fn cache() -> Result<PathBuf> {
    Ok(user_folder("XDG_CACHE_HOME", ".cache")?.join("cluster"))
}

/// The folder of all clusters.
pub(super) fn clusters() -> Result<PathBuf> {
    Ok(user_folder("XDG_STATE_HOME", ".local/state")?.join("clusters"))
}

fn user_folder(variable: &str, below_home: &str) -> Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute(variable).or_else(|| Some(absolute("HOME")?.join(below_home)));
    Ok(folder.with_context(|| format!("neither {variable} nor HOME is set"))?.join(PROJECT))
}

/// The folder of the plug-ins for the network of pods.
pub(super) fn plugins() -> Option<&'static str> {
    PLUGIN_FOLDERS
        .into_iter()
        .find(|folder| PLUGINS.iter().all(|name| Path::new(folder).join(name).is_file()))
}

/// Where the program with this name is.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    SEARCH_PATH.split(':').map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

/// Everything that keeps a cluster from running here, each in words; empty when nothing does.
pub(super) fn obstacles() -> Vec<String> {
    let mut obstacles = Vec::new();
    if !nix::unistd::geteuid().is_root() || !owns_all_users() {
        obstacles.push("it needs the root user of this machine (namespaces, mounts, cgroups)".to_owned());
    }
    for (name, package) in PROGRAMS {
        if find(name).is_none() {
            obstacles.push(format!("{name} is not installed (Debian package {package}): cargo xtask setup"));
        }
    }
    if plugins().is_none() {
        obstacles.push(
            "the network plug-ins are not installed (Debian package containernetworking-plugins): cargo xtask setup"
                .to_owned(),
        );
    }
    obstacles.extend(cgroups::obstacle());
    for (feature, path) in [("overlay", "overlay file systems"), ("tmpfs", "temporary file systems")] {
        if !has_file_system(feature) {
            obstacles.push(format!("the kernel has no {path}"));
        }
    }
    for name in ["pid", "net", "mnt", "uts", "ipc", "cgroup"] {
        if !Path::new("/proc/self/ns").join(name).exists() {
            obstacles.push(format!("the kernel has no {name} namespaces"));
        }
    }
    obstacles
}

/// Why the components can't be built here.
pub(super) fn build_obstacle() -> Option<String> {
    let wanted = format!("Go {}.{} or newer", GO_VERSION_MIN.0, GO_VERSION_MIN.1);
    if !has_program("go") {
        return Some(format!("{wanted} is not installed"));
    }
    let said = match said_by(Command::new("go").args(["env", "GOVERSION", "GOTOOLCHAIN"]), ASK_LIMIT) {
        Ok(said) => said,
        Err(error) => return Some(format!("{wanted} does not answer: {error:#}")),
    };
    let mut lines = said.lines();
    let (version, toolchain) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let fetches = !toolchain.starts_with("local");
    (!is_enough(version, fetches)).then(|| format!("{wanted} is needed, and this is {version}"))
}

/// Whether a Go that calls itself `go1.26.8` will do; one that `fetches` newer versions of itself may be older.
fn is_enough(version: &str, fetches: bool) -> bool {
    let mut numbers = version.trim_start_matches("go").split('.').map(|number| number.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= GO_VERSION_MIN || (fetches && version >= GO_VERSION_FETCHING)
}

/// Whether root is that of the machine, and not of a user namespace with a few users.
fn owns_all_users() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let numbers: Vec<_> = map.split_whitespace().collect();
    numbers == ["0", "0", "4294967295"]
}

fn has_file_system(name: &str) -> bool {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    // One that is a module appears with its first use.
    known.lines().any(|line| line.split_whitespace().last() == Some(name))
        || Path::new("/lib/modules").join(release()).exists()
}

fn release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// What a command printed on its standard output; its failure is an error with everything it printed.
pub(super) fn said_by(command: &mut Command, limit: Duration) -> Result<String> {
    let (mut output, mut all) = (String::new(), String::new());
    let ending = process::run_lines(command, limit, |stream, line| {
        if stream == Stream::Stdout {
            output.push_str(line);
            output.push('\n');
        }
        all.push_str(line);
        all.push('\n');
    })?;
    if ending == Ending::Success {
        return Ok(output);
    }
    let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
    bail!("{} {} {ending}: {}", command.get_program().to_string_lossy(), arguments.join(" "), all.trim())
}

/// Runs a program of this machine that is quick or broken.
pub(super) fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let path = find(program).with_context(|| format!("{program} is not installed"))?;
    said_by(Command::new(path).args(arguments), ASK_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_go_is_enough_only_when_it_fetches_a_newer_one() {
        for (version, fetches, expected) in [
            ("go1.26.8", false, true),
            ("go1.24", false, true),
            ("go1.23.1", false, false),
            ("go1.23.1", true, true),
            ("go1.19.8", true, false),
            ("", true, false),
        ] {
            assert_eq!(is_enough(version, fetches), expected, "{version}");
        }
    }

    #[test]
    fn a_program_that_fails_is_an_error_with_what_it_printed() {
        let error = said_by(Command::new("sh").args(["-c", "echo one; echo two >&2; exit 3"]), ASK_LIMIT);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("one") && error.contains("two"), "{error}");
        assert_eq!(
            said_by(Command::new("sh").args(["-c", "echo one; echo two >&2"]), ASK_LIMIT).unwrap(),
            "one\n"
        );
    }
}

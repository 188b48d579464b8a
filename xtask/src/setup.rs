//! `cargo xtask setup`: what the tests need beside Rust.
//!
//! Installs Debian packages where it may (root and apt-get), by the host's own sources; elsewhere it only names what
//! is missing. Never touches a machine that has everything.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::process::{self, Ending};
use crate::workspace::has_program;

/// The limit of one call of apt-get.
const INSTALL_LIMIT: Duration = Duration::from_mins(10);

/// A program the tests run, the Debian package that brings it, and what it is for.
struct Tool {
    program: &'static str,
    package: &'static str,
    purpose: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool { program: "nft", package: "nftables", purpose: "reads packet rules back, as a witness of our own" },
    Tool { program: "ip", package: "iproute2", purpose: "makes the network namespaces of the tests" },
    Tool { program: "prometheus", package: "prometheus", purpose: "the real server behind health signals" },
    Tool { program: "stress-ng", package: "stress-ng", purpose: "the peer in the benchmarks" },
    Tool { program: "strace", package: "strace", purpose: "kills at the n-th system call" },
    Tool { program: "jq", package: "jq", purpose: "the examples of the README" },
    Tool { program: "curl", package: "curl", purpose: "the examples of the README" },
    Tool { program: "psql", package: "postgresql", purpose: "the store's tests start a real server" },
    Tool { program: "openssl", package: "openssl", purpose: "certificates of that server" },
    Tool { program: "sqlite3", package: "sqlite3", purpose: "changes a byte behind the store's back" },
    Tool { program: "g++", package: "g++", purpose: "builds libFuzzer" },
    Tool { program: "containerd", package: "containerd", purpose: "runs the pods of a test cluster" },
    Tool { program: "runc", package: "runc", purpose: "starts the containers of a test cluster" },
    Tool { program: "etcd", package: "etcd-server", purpose: "keeps the objects of a test cluster" },
    Tool {
        program: "/usr/lib/cni/ptp",
        package: "containernetworking-plugins",
        purpose: "links the pods of a test cluster",
    },
    Tool { program: "iptables", package: "iptables", purpose: "host ports of the pods of a test cluster" },
    Tool {
        program: "busybox",
        package: "busybox-static",
        purpose: "a small image for pods of a test cluster",
    },
];

/// Runs the verb; false when something is still missing.
pub(crate) fn run() -> Result<bool> {
    let missing = ensure()?;
    if missing.is_empty() {
        println!("setup: everything is there");
    }
    Ok(missing.is_empty())
}

/// Installs what is missing where that is possible, prints what is not, and returns the missing programs.
pub(crate) fn ensure() -> Result<Vec<&'static str>> {
    let missing = missing(has_program);
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    if nix::unistd::geteuid().is_root() && Path::new("/usr/bin/apt-get").exists() {
        install(&missing)?;
    }
    let still = self::missing(has_program);
    for tool in &still {
        println!("missing: {} (Debian package {}): {}", tool.program, tool.package, tool.purpose);
    }
    if !still.is_empty() {
        let packages: Vec<_> = still.iter().map(|tool| tool.package).collect();
        println!("to install them, as root: apt-get install {}", packages.join(" "));
    }
    Ok(still.iter().map(|tool| tool.program).collect())
}

fn missing(has: impl Fn(&str) -> bool) -> Vec<&'static Tool> {
    TOOLS.iter().filter(|tool| !has(tool.program)).collect()
}

fn install(tools: &[&Tool]) -> Result<()> {
    let packages: Vec<_> = tools.iter().map(|tool| tool.package).collect();
    println!("installing {}", packages.join(" "));
    // An update that fails is no end: the lists that are there may still do.
    apt_get(&["update", "-qq"])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(&packages);
    if apt_get(&arguments)? == Ending::Success {
        return Ok(());
    }
    // One package that this release does not have must not keep the others away.
    for package in packages {
        apt_get(&["install", "-y", "-qq", "--no-install-recommends", package])?;
    }
    Ok(())
}

fn apt_get(arguments: &[&str]) -> Result<Ending> {
    let mut command = Command::new("apt-get");
    command.args(["-o", "DPkg::Lock::Timeout=120"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    let ending = process::run(&mut command, INSTALL_LIMIT)?;
    if ending != Ending::Success {
        println!("apt-get {} {ending}", arguments.join(" "));
    }
    Ok(ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_named() {
        let names: Vec<_> =
            missing(|program| program != "jq" && program != "nft").iter().map(|tool| tool.package).collect();
        assert_eq!(names, ["nftables", "jq"]);
        assert!(missing(|_| true).is_empty());
    }
}

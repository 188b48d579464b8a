//! The direction of the layers: which crate may know which, and which may use a heavy or privileged dependency.
//!
//! Read from what cargo says about the manifests. Dependencies for tests only are left out: they can't get into the
//! product. `deny.toml` draws the same lines for who has cargo-deny; this needs nothing.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::Finding;
use crate::workspace;

/// What each crate of ours may import of ours; `None` is anything (nothing ships from there).
const LAYERS: [(&str, Option<&[&str]>); 15] = [
    ("chaos-core", Some(&[])),
    ("chaos-engine", Some(&["chaos-core"])),
    ("chaos-agent", Some(&["chaos-core"])),
    ("chaos-kubernetes", Some(&["chaos-core"])),
    ("chaos-probes", Some(&["chaos-core"])),
    ("chaos-store", Some(&["chaos-core"])),
    ("chaos-analysis", Some(&["chaos-core"])),
    ("chaos-api", Some(&["chaos-core"])),
    ("chaos-demo", Some(&["chaos-core"])),
    (
        "chaos-server",
        Some(&[
            "chaos-core",
            "chaos-engine",
            "chaos-agent",
            "chaos-kubernetes",
            "chaos-probes",
            "chaos-store",
            "chaos-analysis",
            "chaos-api",
        ]),
    ),
    (
        "chaos-cli",
        Some(&[
            "chaos-core",
            "chaos-agent",
            "chaos-probes",
            "chaos-analysis",
            "chaos-api",
            "chaos-server",
            "chaos-demo",
        ]),
    ),
    ("test-support", None),
    ("e2e", None),
    ("fuzz", None),
    ("xtask", None),
];

/// The crates that may speak to the operating system.
const SYSTEM: &[&str] =
    &["chaos-agent", "chaos-demo", "chaos-cli", "chaos-server", "chaos-probes", "e2e", "xtask"];

/// Foreign crates with a home: which of ours may use each, and why.
const HOMES: [(&str, &[&str], &str); 5] = [
    ("sqlx", &["chaos-store"], "storage is behind one trait"),
    ("axum", &["chaos-server", "chaos-demo"], "only a service has routes"),
    ("kube", &["chaos-kubernetes"], "the cluster is behind one port"),
    ("nix", SYSTEM, "system calls belong to the edge"),
    ("libc", SYSTEM, "system calls belong to the edge"),
];

/// What the pure core may never use.
const CORE_BANS: [&str; 8] = ["tokio", "axum", "sqlx", "reqwest", "nix", "libc", "hyper", "kube"];
/// What the privileged agent may never use, so that it stays small enough to read.
const AGENT_BANS: [&str; 4] = ["reqwest", "hyper", "sqlx", "kube"];

/// A crate of the workspace as cargo describes it.
#[derive(Debug, Deserialize)]
pub(super) struct Package {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
    #[serde(skip)]
    manifest: String,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// The crates of the workspace, by `cargo metadata`.
pub(super) fn packages() -> Result<Vec<Package>> {
    let output = workspace::cargo(&["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .output()
        .context("asking cargo for the manifests")?;
    if !output.status.success() {
        bail!("asking cargo for the manifests: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let mut metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("reading what cargo metadata says")?;
    for package in &mut metadata.packages {
        let path = Path::new(&package.manifest_path);
        package.manifest =
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let relative = path.strip_prefix(workspace::root()).unwrap_or(path).to_string_lossy().into_owned();
        package.manifest_path = relative;
    }
    Ok(metadata.packages)
}

/// Every dependency that goes against the direction.
pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    packages.iter().flat_map(check_package).collect()
}

fn check_package(package: &Package) -> Vec<Finding> {
    let Some((_, may_import)) = LAYERS.iter().find(|(name, _)| *name == package.name) else {
        let remedy = "give it a place in the table of xtask/src/tidy/layers.rs";
        return vec![Finding::new(
            &package.manifest_path,
            1,
            format!("{} has no layer", package.name),
            remedy,
        )];
    };
    let mut findings = Vec::new();
    for dependency in
        package.dependencies.iter().filter(|dependency| dependency.kind.as_deref() != Some("dev"))
    {
        if let Some(remedy) = objection(&package.name, *may_import, &dependency.name) {
            let found = format!("{} depends on {}", package.name, dependency.name);
            findings.push(Finding::new(
                &package.manifest_path,
                package.line_of(&dependency.name),
                found,
                remedy,
            ));
        }
    }
    findings
}

/// Why `package` must not depend on `dependency`, if so.
fn objection(package: &str, may_import: Option<&[&str]>, dependency: &str) -> Option<String> {
    let ours = LAYERS.iter().any(|(name, _)| *name == dependency) || dependency.starts_with("chaos-");
    if ours {
        let allowed = may_import?;
        let listed = if allowed.is_empty() { "no crate of ours".to_owned() } else { allowed.join(", ") };
        return (!allowed.contains(&dependency))
            .then(|| format!("it may import {listed}; go through a port of the core"));
    }
    let banned = match package {
        "chaos-core" => CORE_BANS.as_slice(),
        "chaos-agent" => AGENT_BANS.as_slice(),
        _ => &[],
    };
    if banned.contains(&dependency) {
        return Some("keep it out of this crate; an adapter may have it".to_owned());
    }
    let (_, homes, why) = HOMES.iter().find(|(name, _, _)| *name == dependency)?;
    (!homes.contains(&package)).then(|| format!("only {} may: {why}", homes.join(", ")))
}

impl Package {
    /// The line of the manifest that names the dependency.
    fn line_of(&self, dependency: &str) -> usize {
        let names = |line: &str| {
            line.trim_start().strip_prefix(dependency).is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
        };
        self.manifest.lines().position(names).map_or(1, |index| index + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let lines: String =
            dependencies.iter().map(|(name, _)| format!("{name}.workspace = true\n")).collect();
        Package {
            name: name.to_owned(),
            manifest_path: format!("crates/{name}/Cargo.toml"),
            dependencies: dependencies
                .iter()
                .map(|(name, kind)| Dependency { name: (*name).to_owned(), kind: kind.map(str::to_owned) })
                .collect(),
            manifest: format!("[dependencies]\n{lines}"),
        }
    }

    fn found(name: &str, dependencies: &[&str]) -> Vec<(usize, String)> {
        let dependencies: Vec<_> = dependencies.iter().map(|name| (*name, None)).collect();
        let findings = check(&[package(name, &dependencies)]);
        findings.into_iter().map(|finding| (finding.line, finding.found)).collect()
    }

    #[test]
    fn each_way_against_the_direction_is_found() {
        let wrong = [
            ("chaos-core", "chaos-api"),
            ("chaos-core", "tokio"),
            ("chaos-engine", "chaos-agent"),
            ("chaos-engine", "chaos-analysis"),
            ("chaos-probes", "chaos-store"),
            ("chaos-store", "axum"),
            ("chaos-server", "sqlx"),
            ("chaos-server", "chaos-cli"),
            ("chaos-cli", "chaos-store"),
            ("chaos-agent", "reqwest"),
            ("chaos-analysis", "nix"),
            ("chaos-api", "libc"),
        ];
        for (name, dependency) in wrong {
            assert_eq!(found(name, &["serde", dependency]), [(3, format!("{name} depends on {dependency}"))]);
        }
    }

    #[test]
    fn the_direction_itself_is_no_finding() {
        assert_eq!(found("chaos-server", &["chaos-core", "chaos-agent", "axum", "nix"]), []);
        assert_eq!(found("e2e", &["chaos-store", "chaos-cli"]), []);
        assert_eq!(found("chaos-store", &["chaos-core", "sqlx"]), []);
    }

    #[test]
    fn a_dependency_for_tests_is_left_out() {
        assert!(check(&[package("chaos-probes", &[("axum", Some("dev"))])]).is_empty());
        assert!(!check(&[package("chaos-probes", &[("axum", Some("build"))])]).is_empty());
    }

    #[test]
    fn a_crate_without_a_layer_is_found() {
        assert_eq!(found("chaos-new", &[]), [(1, "chaos-new has no layer".to_owned())]);
    }
}

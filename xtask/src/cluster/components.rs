//! The programs of a cluster: built once from Go modules, kept outside the checkout, found again in no time.
//!
//! Owns the cache: a program stands there whole or not at all, under a name that changes with its version and its
//! source. It never downloads but through Go itself, and never starts what it builds.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sha2::{Digest as _, Sha256};

use super::host;
use super::image::{self, Image};
use crate::process::{self, Ending, Stream};
use crate::workspace;

/// The limit of building one component; the largest takes about ten minutes on two processors.
pub(super) const BUILD_LIMIT: Duration = Duration::from_mins(45);
/// How often a build that goes on says so.
const PROGRESS_STEP: Duration = Duration::from_secs(10);
/// How many of the last lines of a failed build are shown.
const LINES_SHOWN_MAX: usize = 20;
/// How the folders of builds in progress begin; what an interrupted one left goes with the next.
const DRAFT: &str = ".building-";

/// Kubernetes in one program, which takes its name for the component that it is.
pub(super) const KUBERNETES: Component =
    Component { name: "kubernetes", version: "v1.33.13", source: Source::Folder("kubernetes"), entry: None };
/// The first process of every pod.
pub(super) const PAUSE: Component =
    Component { name: "pause", version: "v1", source: Source::Folder("pause"), entry: Some("/pause") };
/// The cluster's names.
pub(super) const COREDNS: Component = Component {
    name: "coredns",
    version: "v1.12.4",
    source: Source::Module("github.com/coredns/coredns"),
    entry: Some("/coredns"),
};
/// What `kubectl top` and autoscalers ask.
pub(super) const METRICS_SERVER: Component = Component {
    name: "metrics-server",
    version: "v0.7.2",
    source: Source::Module("sigs.k8s.io/metrics-server/cmd/metrics-server"),
    entry: Some("/metrics-server"),
};
/// Installs charts.
pub(super) const HELM: Component = Component {
    name: "helm",
    version: "v3.19.0",
    source: Source::Module("helm.sh/helm/v3/cmd/helm"),
    entry: None,
};
/// The names that the program of Kubernetes takes.
pub(super) const PARTS: [&str; 6] =
    ["kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet"];
/// Everything that is built.
pub(super) const ALL: [Component; 5] = [KUBERNETES, PAUSE, COREDNS, METRICS_SERVER, HELM];

/// One program.
pub(super) struct Component {
    /// What it is called.
    pub(super) name: &'static str,
    version: &'static str,
    source: Source,
    /// Where it stands in its image, when it runs in pods.
    entry: Option<&'static str>,
}

enum Source {
    /// A folder of this crate with a `go.mod` of its own.
    Folder(&'static str),
    /// A package of a module that is built by its own `go.mod`.
    Module(&'static str),
}

impl Component {
    /// The finished program. It is there once [`build`] has succeeded.
    pub(super) fn program(&self) -> Result<PathBuf> {
        Ok(host::cache()?.join(self.key()?))
    }

    /// The name of the finished program in the cache.
    pub(super) fn key(&self) -> Result<String> {
        let Source::Folder(folder) = self.source else {
            return Ok(format!("{}-{}", self.name, self.version));
        };
        let mut digest = Sha256::new();
        for file in ["go.mod", "go.sum", "main.go"] {
            let path = sources(folder).join(file);
            match fs::read(&path) {
                Ok(bytes) => digest.update(bytes),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
            }
        }
        let digest: String = digest.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{}-{}-{digest}", self.name, self.version))
    }

    /// The image of a component that runs in pods: its file and what pods call it.
    pub(super) fn image(&self) -> Result<Option<PathBuf>> {
        let Some(_) = self.entry else { return Ok(None) };
        Ok(Some(self.program()?.with_file_name(format!("{}.tar", self.key()?))))
    }

    /// What pods call its image.
    pub(super) fn image_name(&self) -> String {
        format!("localhost/{}:1", self.name)
    }

    fn is_built(&self) -> Result<bool> {
        Ok(self.program()?.is_file() && self.image()?.is_none_or(|image| image.is_file()))
    }

    /// `go build` or `go install` into a folder.
    fn command(&self, into: &Path) -> Command {
        // A build takes minutes, and whoever works on this machine meanwhile goes first.
        let mut command = Command::new("nice");
        command.args(["-n", "19", "go"]).env("CGO_ENABLED", "0");
        match self.source {
            Source::Folder(folder) => {
                command.args([
                    "build",
                    "-v",
                    "-trimpath",
                    "-mod=readonly",
                    "-ldflags",
                    &self.linking(),
                    "-o",
                ]);
                command.arg(into.join(self.name)).arg(".").current_dir(sources(folder));
            }
            Source::Module(package) => {
                command.args(["install", "-v", "-trimpath", "-ldflags", &self.linking()]);
                command.arg(format!("{package}@{}", self.version)).env("GOBIN", into).current_dir(into);
            }
        }
        command
    }

    fn linking(&self) -> String {
        let small = "-s -w";
        if self.name != KUBERNETES.name {
            return small.to_owned();
        }
        let mut numbers = self.version.trim_start_matches('v').split('.');
        let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        let package = "k8s.io/component-base/version";
        format!(
            "{small} -X {package}.gitVersion={} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}",
            self.version
        )
    }
}

fn sources(folder: &str) -> PathBuf {
    workspace::root().join("xtask/cluster").join(folder)
}

/// The names of the components that are not built yet.
pub(super) fn missing() -> Result<Vec<&'static str>> {
    let mut missing = Vec::new();
    for component in &ALL {
        if !component.is_built()? {
            missing.push(component.name);
        }
    }
    Ok(missing)
}

/// Builds what is not built yet.
pub(super) fn build() -> Result<()> {
    if missing()?.is_empty() {
        return Ok(());
    }
    let cache = host::cache()?;
    fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
    let lock = File::create(cache.join("lock")).context("opening the lock of the cache")?;
    if lock.try_lock().is_err() {
        eprintln!("waiting for another build of the cluster's components");
        lock.lock().context("waiting for another build")?;
    }
    clear_drafts(&cache)?;
    for component in &ALL {
        // Looked at again behind the lock: somebody else may have built it meanwhile.
        if component.is_built()? {
            continue;
        }
        // Never the folder of an earlier build, whose compiler may have outlived it and still write there.
        let draft = tempfile::Builder::new().prefix(DRAFT).tempdir_in(&cache).context("making a draft")?;
        build_one(component, draft.path())?;
    }
    Ok(())
}

/// Removes what builds left that were killed; to be called behind the lock.
fn clear_drafts(cache: &Path) -> Result<()> {
    let entries = fs::read_dir(cache).with_context(|| format!("listing {}", cache.display()))?;
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(DRAFT) {
            let path = entry.path();
            fs::remove_dir_all(&path).with_context(|| format!("clearing {}", path.display()))?;
        }
    }
    Ok(())
}

fn build_one(component: &Component, draft: &Path) -> Result<()> {
    if !component.program()?.is_file() {
        compile(component, draft)?;
        let program = component.program()?;
        File::open(draft.join(component.name))
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(draft.join(component.name), &program))
            .with_context(|| format!("putting {} in place", program.display()))?;
    }
    let (Some(path), Some(entry)) = (component.image()?, component.entry) else { return Ok(()) };
    let content = fs::read(component.program()?).context("reading a program")?;
    let image = Image::new(&component.image_name(), entry).with_program(entry, content);
    image::write(&image, &draft.join("image"))?;
    fs::rename(draft.join("image"), &path).with_context(|| format!("putting {} in place", path.display()))
}

fn compile(component: &Component, draft: &Path) -> Result<()> {
    eprintln!("building {} {} (minutes, the first time)", component.name, component.version);
    let start = Instant::now();
    let (mut packages, mut told, mut lines) = (0_usize, start, Vec::new());
    let ending = process::run_lines(&mut component.command(draft), BUILD_LIMIT, |stream, line| {
        if stream == Stream::Stderr && is_package(line) {
            packages += 1;
        } else {
            lines.push(line.to_owned());
        }
        if told.elapsed() >= PROGRESS_STEP {
            told = Instant::now();
            eprintln!("  {} packages, {} s", packages, start.elapsed().as_secs());
        }
    })?;
    match ending {
        Ending::Success => {
            eprintln!("built {} in {} s", component.name, start.elapsed().as_secs());
            Ok(())
        }
        Ending::TimedOut(_) => bail!(
            "building {} took longer than {} minutes; what is compiled is kept by Go, so the next try goes on from there",
            component.name,
            BUILD_LIMIT.as_secs() / 60
        ),
        Ending::Failure(_) => {
            let shown: Vec<_> = lines.iter().rev().take(LINES_SHOWN_MAX).rev().cloned().collect();
            bail!("building {} {ending}\n{}", component.name, shown.join("\n"))
        }
    }
}

/// Whether `go build -v` names a package that it compiles, and does not complain or download.
fn is_package(line: &str) -> bool {
    !line.is_empty() && !line.contains([' ', ':', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_the_cache_holds_the_version_and_what_the_source_is() {
        assert_eq!(COREDNS.key().unwrap(), "coredns-v1.12.4");
        let key = KUBERNETES.key().unwrap();
        let digest = key.strip_prefix("kubernetes-v1.33.13-").unwrap();
        assert_eq!(digest.len(), 8);
        assert_eq!(key, KUBERNETES.key().unwrap());
        assert_ne!(digest, PAUSE.key().unwrap().rsplit('-').next().unwrap());
    }

    #[test]
    fn the_programs_are_told_their_version() {
        let linking = KUBERNETES.linking();
        assert!(linking.contains("gitVersion=v1.33.13") && linking.contains("gitMinor=33"), "{linking}");
        assert_eq!(HELM.linking(), "-s -w");
    }

    #[test]
    fn only_what_builds_left_is_cleared() {
        let cache = tempfile::tempdir().unwrap();
        for folder in [".building-1", ".building-2", "other"] {
            fs::create_dir(cache.path().join(folder)).unwrap();
            fs::write(cache.path().join(folder).join("half"), "").unwrap();
        }
        fs::write(cache.path().join("coredns-v1"), "").unwrap();
        clear_drafts(cache.path()).unwrap();
        let left: Vec<_> =
            fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn a_compiled_package_is_told_from_a_complaint() {
        assert!(is_package("k8s.io/api/core/v1"));
        assert!(!is_package("go: downloading k8s.io/api v0.33.13"));
        assert!(!is_package("# k8s.io/api"));
        assert!(!is_package("./main.go:3:1: expected"));
    }
}

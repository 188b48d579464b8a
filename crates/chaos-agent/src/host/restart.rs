//! Who starts a process again when it dies, as far as files say: the `Restart=` of a unit, the restart policy
//! of a Docker container, the kubelet for a pod. It never asks a service manager or a runtime.

use std::path::{Path, PathBuf};

use super::identify;
use crate::sys::cgroup::CgroupPaths;
use crate::sys::proc::read_text;

/// Largest unit or container file that is read, in bytes.
const FILE_BYTES_MAX: usize = 1 << 20;
/// Most containers that are looked at to find one by name.
const CONTAINERS_MAX: usize = 10_000;

/// Where the policies are written down.
#[derive(Debug, Clone)]
pub struct RestartPolicies {
    /// Folders of unit files, the one that wins first.
    unit_folders: Vec<PathBuf>,
    container_folder: PathBuf,
}

impl RestartPolicies {
    /// The usual places.
    #[must_use]
    pub fn of_this_host() -> Self {
        Self::below(Path::new("/"))
    }

    /// The usual places below another root.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        let folders =
            ["etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];
        Self {
            unit_folders: folders.iter().map(|folder| root.join(folder)).collect(),
            container_folder: root.join("var/lib/docker/containers"),
        }
    }

    /// True when something is known to start these processes again.
    #[must_use]
    pub fn restarts(&self, cgroups: &CgroupPaths) -> bool {
        // The kubelet starts the containers of a pod again, or its owner makes another pod.
        cgroups.all().any(|path| path.split('/').any(|part| part.starts_with("kubepods")))
            || identify::units(cgroups).into_iter().any(|unit| self.unit_restarts(unit))
            || identify::containers(cgroups).into_iter().any(|id| self.container_restarts(id))
    }

    fn unit_restarts(&self, unit: &str) -> bool {
        let template = unit.split_once('@').map(|(name, _)| format!("{name}@.service"));
        let names = [Some(unit.to_owned()), template];
        let mut policy = None;
        for name in names.iter().flatten() {
            let main = self.unit_folders.iter().find_map(|folder| text(&folder.join(name)));
            if let Some(main) = main {
                policy = restart_setting(&main);
                break;
            }
        }
        for name in names.iter().flatten().rev() {
            for addition in self.additions(name) {
                policy = restart_setting(&addition).or(policy);
            }
        }
        policy.is_some_and(|policy| !policy.is_empty() && policy != "no")
    }

    /// The texts of `NAME.d/*.conf` in the order in which they count; of files with one name the winning
    /// folder's is taken.
    fn additions(&self, name: &str) -> Vec<String> {
        let mut files = std::collections::BTreeMap::new();
        for folder in self.unit_folders.iter().rev() {
            let Ok(entries) = std::fs::read_dir(folder.join(format!("{name}.d"))) else { continue };
            for entry in
                entries.flatten().filter(|entry| entry.path().extension().is_some_and(|e| e == "conf"))
            {
                files.insert(entry.file_name(), entry.path());
            }
        }
        files.values().filter_map(|path| text(path)).collect()
    }

    fn container_restarts(&self, id: &str) -> bool {
        let policy = text(&self.container_folder.join(id).join("hostconfig.json"))
            .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
            .and_then(|value| Some(value.pointer("/RestartPolicy/Name")?.as_str()?.to_owned()));
        policy.is_some_and(|policy| !policy.is_empty() && policy != "no")
    }

    /// The id of the Docker container with a name.
    #[must_use]
    pub fn container_named(&self, name: &str) -> Option<String> {
        let entries = std::fs::read_dir(&self.container_folder).ok()?;
        entries.flatten().take(CONTAINERS_MAX).find_map(|entry| {
            let value: serde_json::Value =
                serde_json::from_str(&text(&entry.path().join("config.v2.json"))?).ok()?;
            let found = value.get("Name")?.as_str()?.trim_start_matches('/');
            (found == name).then(|| entry.file_name().to_string_lossy().into_owned())
        })
    }
}

fn text(path: &Path) -> Option<String> {
    read_text(path, FILE_BYTES_MAX).ok()
}

/// The last `Restart=` of the section `[Service]`.
pub(crate) fn restart_setting(unit: &str) -> Option<String> {
    let mut section = "";
    let mut found = None;
    for line in unit.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        } else if section == "[Service]"
            && let Some((key, value)) = line.split_once('=')
            && key.trim() == "Restart"
        {
            found = Some(value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(path: &str) -> CgroupPaths {
        CgroupPaths::parse(&format!("0::{path}"))
    }

    #[test]
    fn a_unit_restarts_as_its_files_say() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("lib/systemd/system/web.service", "[Unit]\nRestart=always\n[Service]\nExecStart=/bin/web\n");
        write("lib/systemd/system/db.service", "[Service]\nRestart = on-failure\n");
        write("etc/systemd/system/worker@.service", "[Service]\nRestart=always\n");
        let policies = RestartPolicies::below(root.path());
        let restarts = |path: &str| policies.restarts(&paths(path));
        assert!(!restarts("/system.slice/web.service"));
        assert!(restarts("/system.slice/db.service"));
        assert!(restarts("/system.slice/worker@3.service"));
        assert!(!restarts("/system.slice/unknown.service"));
        assert!(restarts("/kubepods.slice/kubepods-burstable.slice/x"));
        write("etc/systemd/system/web.service.d/override.conf", "[Service]\nRestart=always\n");
        write("etc/systemd/system/db.service.d/override.conf", "[Service]\nRestart=no\n");
        assert!(restarts("/system.slice/web.service"));
        assert!(!restarts("/system.slice/db.service"));
    }

    #[test]
    fn a_docker_container_restarts_by_its_policy_and_is_found_by_name() {
        let root = tempfile::tempdir().unwrap();
        let id = "0123456789abcdef".repeat(4);
        let folder = root.path().join("var/lib/docker/containers").join(&id);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("hostconfig.json"), r#"{"RestartPolicy":{"Name":"unless-stopped"}}"#)
            .unwrap();
        std::fs::write(folder.join("config.v2.json"), r#"{"Name":"/web"}"#).unwrap();
        let policies = RestartPolicies::below(root.path());
        assert!(policies.restarts(&paths(&format!("/system.slice/docker-{id}.scope"))));
        assert_eq!(policies.container_named("web"), Some(id));
        assert_eq!(policies.container_named("other"), None);
    }
}

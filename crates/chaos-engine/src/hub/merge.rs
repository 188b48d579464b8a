//! Instances of many hosts in one list: ids that are unique over all of them, and back again.
//!
//! Owns the form of these ids. It asks nobody.

use std::collections::BTreeSet;

use chaos_core::spec::Target;
use chaos_core::target::{Instance, Inventory};

/// A target in words.
pub(super) fn in_words(target: &Target) -> String {
    target.host.as_ref().map_or_else(|| "a cluster".to_owned(), ToString::to_string)
}

/// What hosts found, as one. The error says what is too much.
pub(super) fn merge(found: Vec<(String, Inventory)>) -> Result<Inventory, String> {
    let several = found.len() > 1;
    let mut all = Inventory::default();
    let mut apps = BTreeSet::new();
    for (host, mut inventory) in found {
        inventory.instances.iter_mut().for_each(|instance| abroad(instance, &host));
        if !host.is_empty() {
            inventory.protected.iter_mut().for_each(|one| one.name = format!("{host}:{}", one.name));
        }
        all.instances.append(&mut inventory.instances);
        all.protected.append(&mut inventory.protected);
        apps.extend(inventory.apps);
        // Of several hosts each has one, and a process is known on its own host only.
        all.supervisor = inventory.supervisor.filter(|_| !several);
    }
    if all.instances.len() > Inventory::INSTANCES_MAX {
        let (count, limit) = (all.instances.len(), Inventory::INSTANCES_MAX);
        return Err(format!(
            "{count} instances match on all hosts, at most {limit}; `target.hosts` names fewer"
        ));
    }
    all.instances.sort_by(|one, other| one.id.cmp(&other.id));
    all.apps = apps.into_iter().take(Inventory::APPS_MAX).collect();
    Ok(all)
}

/// An instance as everybody else knows it.
fn abroad(instance: &mut Instance, host: &str) {
    host.clone_into(&mut instance.host);
    if !host.is_empty() {
        instance.id = format!("{host}:{}", instance.id);
    }
}

/// An instance as its own host knows it, and the name of that.
pub(super) fn at_home(instance: &mut Instance) -> String {
    let host = std::mem::take(&mut instance.host);
    if !host.is_empty()
        && let Some(id) = instance.id.strip_prefix(&host).and_then(|rest| rest.strip_prefix(':'))
    {
        instance.id = id.to_owned();
    }
    host
}

#[cfg(test)]
mod tests {
    use super::*;
    use chaos_core::target::ProcessRef;

    fn instance(id: &str) -> Instance {
        let process = ProcessRef { pid: 7, start_time: 1 };
        Instance {
            id: id.into(),
            host: String::new(),
            process,
            processes: vec![process],
            command: "app".into(),
            ready: true,
            managed: true,
            ports: Vec::new(),
            network_namespace: 1,
            shares_host_network: true,
            own_cgroup: None,
        }
    }

    fn found(host: &str, ids: &[&str]) -> (String, Inventory) {
        let instances = ids.iter().map(|id| instance(id)).collect();
        (host.into(), Inventory { instances, apps: vec!["app".into()], ..Inventory::default() })
    }

    #[test]
    fn instances_of_other_hosts_have_its_name_until_they_are_ordered_about() {
        let merged = merge(vec![found("", &["app/1"]), found("node-1", &["app/1", "app/2"])]).expect("few");
        let ids: Vec<&str> = merged.instances.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids, ["app/1", "node-1:app/1", "node-1:app/2"]);
        assert_eq!(merged.apps, ["app"]);
        for mut one in merged.instances {
            let abroad = one.clone();
            let host = at_home(&mut one);
            assert_eq!((host, one.host.as_str()), (abroad.host.clone(), ""));
            assert!(one.id.starts_with("app/"), "{}", one.id);
        }
    }

    #[test]
    fn more_than_a_run_can_have_is_refused() {
        let ids: Vec<String> = (0..Inventory::INSTANCES_MAX).map(|n| format!("app/{n}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let error = merge(vec![found("a", &ids), found("b", &["app/1"])]).expect_err("too many");
        assert_eq!(error, "10001 instances match on all hosts, at most 10000; `target.hosts` names fewer");
    }
}

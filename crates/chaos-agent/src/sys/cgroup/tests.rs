//! Cgroups of every layout as text, and real ones where this host lets them be made.

use super::super::testing::Child;
use super::own::OwnCgroup;
use super::*;

const HYBRID: &str = "\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";

#[test]
fn each_layout_is_recognised_from_the_mount_table() {
    let hybrid = Hierarchies::parse(HYBRID);
    assert_eq!(hybrid.layout(), Layout::Hybrid);
    let v2 = Hierarchies::parse("30 1 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate");
    assert_eq!(v2.layout(), Layout::V2);
    assert_eq!(Hierarchies::parse("").layout(), Layout::None);
    let paths = CgroupPaths::parse("2:cpu,cpuacct:/a\n1:name=systemd:/s\n0::/u/x y\n");
    assert_eq!(hybrid.directory("cpu", &paths), Some("/sys/fs/cgroup/cpu,cpuacct/a".into()));
    assert_eq!(hybrid.directory(UNIFIED, &paths), Some("/sys/fs/cgroup/unified/u/x y".into()));
    assert_eq!(v2.directory("cpu", &paths), Some("/sys/fs/cgroup/u/x y".into()));
    assert_eq!(paths.of("memory"), Some("/u/x y"));
}

#[test]
fn a_bind_mounted_part_of_a_hierarchy_shows_only_what_is_in_it() {
    let inside = Hierarchies::parse("32 31 0:29 /pods/a /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory");
    let paths = |text: &str| CgroupPaths::parse(text);
    assert_eq!(
        inside.directory("memory", &paths("4:memory:/pods/a/b")),
        Some("/sys/fs/cgroup/memory/b".into())
    );
    assert_eq!(inside.directory("memory", &paths("4:memory:/pods/ab")), None);
    assert_eq!(inside.directory("memory", &paths("4:memory:/../x")), None);
}

#[test]
fn limits_are_the_least_on_the_way_to_the_root() {
    let root = tempfile::tempdir().unwrap();
    let inner = root.path().join("a/b");
    std::fs::create_dir_all(&inner).unwrap();
    let write = |path: &str, text: &str| std::fs::write(root.path().join(path), text).unwrap();
    write("a/cpu.max", "150000 100000\n");
    write("a/b/cpu.max", "max 100000\n");
    write("a/memory.max", "1000000\n");
    write("a/memory.current", "400000\n");
    write("a/b/memory.max", "max\n");
    write("a/b/memory.current", "300000\n");
    let mount = format!("30 1 0:2 / {} rw - cgroup2 cgroup2 rw", root.path().display());
    let limits = Hierarchies::parse(&mount).limits(&CgroupPaths::parse("0::/a/b"));
    let expected =
        Limits { cpu_cores: Some(1.5), memory_bytes: Some(1_000_000), memory_usage_bytes: Some(400_000) };
    assert_eq!(limits, expected);
}

/// A directory of this host in which a test may make cgroups.
fn playground(controller: &str, name: &str) -> Option<(Hierarchies, OwnCgroup)> {
    let hierarchies = Hierarchies::detect().unwrap();
    let made = hierarchies
        .directory(controller, &proc::cgroups(super::super::own_pid()).unwrap())
        .and_then(|parent| OwnCgroup::create(&parent, &format!("{name}-{}", std::process::id())).ok());
    if made.is_none() {
        eprintln!("skipped: no right to make a cgroup of controller {controller}");
    }
    made.map(|made| (hierarchies, made))
}

/// Empties and removes on the way out of a test, whatever happened.
struct Cleanup(OwnCgroup, PathBuf);

impl Drop for Cleanup {
    fn drop(&mut self) {
        let _ = self.0.empty(&[], &self.1);
        let _ = self.0.remove();
    }
}

#[test]
fn a_process_goes_into_a_cgroup_of_ours_and_back_with_the_children_it_made() {
    for controller in ["cpu", UNIFIED] {
        let Some((hierarchies, own)) = playground(controller, "chaos-test-move") else { return };
        let parent = own.directory().parent().unwrap().to_owned();
        let cleanup = Cleanup(own.clone(), parent.clone());
        assert_eq!(
            OwnCgroup::create(&parent, own.directory().file_name().unwrap().to_str().unwrap()).unwrap(),
            own
        );
        let child = Child::sleeping();
        let before = hierarchies.directory(controller, &proc::cgroups(child.pid()).unwrap()).unwrap();
        let moved = OwnCgroup::plan(child.identity(), before.clone());
        own.admit(child.identity()).unwrap();
        own.admit(child.identity()).unwrap();
        let inside = proc::cgroups(child.pid()).unwrap();
        assert_eq!(hierarchies.directory(controller, &inside).as_deref(), Some(own.directory()));
        assert!(hierarchies.is_own(controller, &inside, &BTreeSet::from([child.pid()])).unwrap());
        assert!(!hierarchies.is_own(controller, &inside, &BTreeSet::new()).unwrap());
        assert!(own.id().unwrap() > 1);
        let level = own.level(hierarchies.mount_point(controller).unwrap()).unwrap();
        assert_eq!(
            level as usize,
            before.components().count() + 1
                - hierarchies.mount_point(controller).unwrap().components().count()
        );
        assert!(own.remove().is_err(), "a cgroup with a process in it stays");
        own.empty(std::slice::from_ref(&moved), &parent).unwrap();
        own.empty(&[moved], &parent).unwrap();
        assert_eq!(hierarchies.directory(controller, &proc::cgroups(child.pid()).unwrap()), Some(before));
        own.remove().unwrap();
        own.remove().unwrap();
        assert!(!own.exists());
        drop(cleanup);
    }
}

#[test]
fn a_process_joins_the_cgroup_of_another() {
    let Some((hierarchies, own)) = playground("cpu", "chaos-test-join") else { return };
    let parent = own.directory().parent().unwrap().to_owned();
    let cleanup = Cleanup(own.clone(), parent);
    let (victim, worker) = (Child::sleeping(), Child::sleeping());
    own.admit(victim.identity()).unwrap();
    let paths = proc::cgroups(victim.pid()).unwrap();
    hierarchies.join(worker.pid(), &paths, &["cpu"]).unwrap();
    hierarchies.join(worker.pid(), &paths, &["cpu"]).unwrap();
    assert_eq!(processes(own.directory()).unwrap(), BTreeSet::from([victim.pid(), worker.pid()]));
    drop(cleanup);
}

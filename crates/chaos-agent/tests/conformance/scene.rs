//! A fault, a victim, and what the victim notices: the table that the tests go through.

use std::any::Any;
use std::net::TcpListener;
use std::os::fd::AsFd;

use chaos_agent::sys::namespace::{Kind, Namespace};
use chaos_agent::sys::nft::{InjectionName, NftSocket};
use chaos_agent::sys::pidfd::PidFd;
use chaos_agent::sys::proc;
use chaos_core::run::InjectionId;
use chaos_core::spec::{Fault, FaultKind};
use chaos_core::target::Instance;

use super::actor::{Actor, command};
use super::support::*;

/// One fault on one living victim.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) fault: Fault,
    pub(crate) instance: Instance,
    /// The victim notices it.
    acts: Box<dyn Fn(&InjectionId) -> bool>,
    _kept: Box<dyn Any>,
}

impl Scene {
    pub(crate) fn acts(&self, injection: &InjectionId) -> bool {
        (self.acts)(injection)
    }

    /// Ends a fault as somebody else would: its workers are killed, or its rules removed.
    pub(crate) fn take_away(&self, injection: &InjectionId) {
        // The others may be ended by their fault process as soon as the first is missing.
        for worker in ["cpu", "memory"].into_iter().flat_map(|kind| workers(kind, injection)) {
            let held = proc::identity(worker).and_then(PidFd::open);
            let _ = held.and_then(|held| held.send_signal(9));
        }
        if self.fault.kind() == FaultKind::NetworkPartition {
            let there = Namespace::of(self.instance.process, Kind::Network).unwrap();
            let name = InjectionName::new(injection.to_string()).unwrap();
            let removed = there.on_a_thread_inside(|| NftSocket::open().unwrap().remove(&name).unwrap());
            assert!(removed.unwrap(), "{}: there were rules", self.name);
        }
    }

    /// Every fault that has something to undo, as far as this user can make it.
    pub(crate) fn all() -> Vec<Self> {
        let mut scenes = vec![pause(), cpu(), memory()];
        if is_root() {
            scenes.extend([partition_of_a_namespace(), partition_of_a_process()]);
        }
        scenes
    }
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: network partitions need root");
    }
    root
}

pub(crate) fn pause() -> Scene {
    let victim = Victim::busy();
    let process = victim.process;
    let child = child_of(process.pid).and_then(|pid| proc::identity(pid).ok()).unwrap();
    Scene {
        name: "process_pause",
        fault: default_fault(FaultKind::ProcessPause),
        instance: victim.instance(),
        acts: Box::new(move |_| {
            let (root, child) = (is_held(process), is_held(child));
            assert_eq!(root, child, "all of the instance or nothing");
            root
        }),
        _kept: Box::new(victim),
    }
}

/// The workers of an injection, by their title.
pub(crate) fn workers(kind: &str, injection: &InjectionId) -> Vec<i32> {
    let title = format!("chaos-{kind} {injection}");
    let has_title = |pid: &i32| proc::command_line(*pid).is_ok_and(|line| line.first() == Some(&title));
    proc::pids().unwrap().into_iter().filter(|pid| proc::identity(*pid).is_ok()).filter(has_title).collect()
}

pub(crate) fn cpu() -> Scene {
    let victim = Victim::sleeping();
    let group = Group::of(&victim, "cpu");
    let mount = group.as_ref().map(|group| group.path.clone());
    Scene {
        name: "cpu_stress",
        fault: serde_json::from_str(r#"{"cpu_stress":{"load":"20%","cores":2}}"#).unwrap(),
        instance: victim.instance(),
        acts: Box::new(move |injection| {
            let workers = workers("cpu", injection);
            if let Some(path) = &mount {
                let inside = std::fs::read_to_string(path.join("cgroup.procs")).unwrap();
                let inside: Vec<i32> = inside.lines().filter_map(|line| line.parse().ok()).collect();
                let strays = workers.iter().filter(|worker| !inside.contains(worker));
                // One that is just being ended has left its cgroup.
                assert!(
                    !strays.into_iter().any(|pid| proc::identity(*pid).is_ok()),
                    "in the victim's cgroup"
                );
            }
            !workers.is_empty() && workers.into_iter().all(|pid| proc::identity(pid).is_ok_and(runs_on))
        }),
        _kept: Box::new((victim, group)),
    }
}

pub(crate) fn memory() -> Scene {
    let victim = Victim::sleeping();
    let group = Group::of(&victim, "memory");
    let path = group.as_ref().map(|group| group.path.clone());
    Scene {
        name: "memory_pressure",
        fault: serde_json::from_str(r#"{"memory_pressure":{"size":"24Mi"}}"#).unwrap(),
        instance: victim.instance(),
        acts: Box::new(move |injection| {
            let workers = workers("memory", injection);
            let Some(worker) = workers.first() else { return false };
            let resident = || proc::status(*worker).map(|status| status.resident_bytes);
            eventually("the memory is there, or the worker is gone", || {
                !resident().is_ok_and(|bytes| bytes < 23 << 20)
            });
            if proc::identity(*worker).is_err() {
                return false;
            }
            // The kernel charges in batches, so a little may be missing.
            if let Some(path) = &path {
                let gone = || proc::identity(*worker).is_err();
                eventually("the cgroup is charged", || {
                    gone() || usage(path).is_none_or(|usage| usage > 20 << 20)
                });
            }
            true
        }),
        _kept: Box::new((victim, group)),
    }
}

fn usage(path: &std::path::Path) -> Option<u64> {
    let read = |name: &str| std::fs::read_to_string(path.join(name)).ok()?.trim().parse().ok();
    read("memory.current").or_else(|| read("memory.usage_in_bytes"))
}

/// A victim alone in a namespace, with a cable to a peer that it connects to.
pub(crate) fn partition_of_a_namespace() -> Scene {
    let (victim, peer) = (Network::new(), Network::new());
    victim.cable_to(&peer);
    let listener = peer.run(|| TcpListener::bind("198.18.0.2:0").unwrap());
    let to = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let actor = victim.run(|| Actor::start(command("connector", &to.to_string())));
    let actor = std::sync::Arc::new(actor);
    let (instance, watched) = (actor.victim.instance(), std::sync::Arc::clone(&actor));
    assert!(!instance.shares_host_network);
    eventually("the cable carries", || actor.connects(1));
    Scene {
        name: "network_partition of a namespace",
        fault: default_fault(FaultKind::NetworkPartition),
        instance,
        acts: Box::new(move |_| !watched.connects(5)),
        _kept: Box::new((actor, victim, peer)),
    }
}

/// A victim in the namespace of the test, which it shares with everybody.
pub(crate) fn partition_of_a_process() -> Scene {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let actor = std::sync::Arc::new(Actor::start(command("connector", &to.to_string())));
    let (instance, watched) = (actor.victim.instance(), std::sync::Arc::clone(&actor));
    assert!(instance.shares_host_network && actor.connects(3));
    let port = actor.port();
    Scene {
        name: "network_partition of a process",
        fault: default_fault(FaultKind::NetworkPartition),
        instance,
        acts: Box::new(move |_| {
            assert!(reaches(to), "the neighbour is untouched");
            let (outwards, inwards) = (!watched.connects(5), !reaches(([127, 0, 0, 1], port).into()));
            assert_eq!(outwards, inwards, "both directions or none");
            outwards
        }),
        _kept: Box::new(actor),
    }
}

pub(crate) fn reaches(to: std::net::SocketAddr) -> bool {
    std::net::TcpStream::connect_timeout(&to, std::time::Duration::from_millis(30)).is_ok()
}

/// A version 1 or 2 cgroup that holds a victim and nothing else.
pub(crate) struct Group {
    pub(crate) path: std::path::PathBuf,
}

impl Group {
    #[expect(clippy::print_stderr, reason = "a skipped test says so")]
    pub(crate) fn of(victim: &Victim, controller: &str) -> Option<Self> {
        let hierarchies = chaos_agent::sys::cgroup::Hierarchies::detect().unwrap();
        let paths = proc::cgroups(victim.process.pid).unwrap();
        let path =
            hierarchies.directory(controller, &paths)?.join(format!("chaos-test-{}", victim.process.pid));
        if std::fs::create_dir(&path).is_err() {
            eprintln!("skipped: no right to make a cgroup of controller {controller}");
            return None;
        }
        let group = Self { path };
        std::fs::write(group.path.join("cgroup.procs"), victim.process.pid.to_string()).unwrap();
        Some(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while std::fs::remove_dir(&self.path).is_err() && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

/// A network namespace that ends with its value.
pub(crate) struct Network(Namespace);

impl Network {
    pub(crate) fn new() -> Self {
        let make = || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            Namespace::current(Kind::Network).unwrap()
        };
        let network = Self(std::thread::spawn(make).join().unwrap());
        network.ip("link set lo up");
        network
    }

    /// Runs something inside, on a thread of its own.
    pub(crate) fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let enter = || {
                self.0.enter().unwrap();
                body()
            };
            scope.spawn(enter).join().unwrap()
        })
    }

    pub(crate) fn ip(&self, arguments: &str) {
        let output =
            self.run(|| std::process::Command::new("ip").args(arguments.split(' ')).output().unwrap());
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// 198.18.0.1 here, 198.18.0.2 there.
    pub(crate) fn cable_to(&self, peer: &Self) {
        use std::os::fd::AsRawFd;
        let other = format!("/proc/{}/fd/{}", std::process::id(), peer.0.as_fd().as_raw_fd());
        self.ip(&format!("link add cable type veth peer name cable netns {other}"));
        for (network, address) in [(self, "198.18.0.1/24"), (peer, "198.18.0.2/24")] {
            network.ip(&format!("addr add {address} dev cable"));
            network.ip("link set cable up");
        }
    }
}

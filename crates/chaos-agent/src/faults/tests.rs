//! The contract of [`Injector`], kept by every fault: once is twice, any step may be the last, and a proof is not
//! given when somebody has taken the effect away. Each runs in a process with one thread, as in a fault process.

use std::time::{Duration, Instant};

use chaos_core::run::InjectionId;
use chaos_core::target::Instance;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;
use crate::sys::capability::{Capability, has};
use crate::sys::nft::{InjectionName, NftSocket};
use crate::sys::testing::{Child, eventually, in_single_threaded_process};
use crate::sys::{Identity, namespace, own_pid, proc};

const BUSY: &str = "(while :; do :; done) & while :; do :; done";

/// A fault on a victim of its own.
struct Scene {
    name: &'static str,
    victim: Child,
    injector: Box<dyn Injector>,
    plan: InjectionPlan,
}

impl Scene {
    fn new(name: &'static str, fault: &str, victim: Child) -> Self {
        let process = victim.identity();
        let instance = Instance {
            id: name.to_owned(),
            process,
            processes: vec![process],
            command: String::new(),
            ready: true,
            managed: false,
            ports: Vec::new(),
            network_namespace: 0,
            shares_host_network: false,
            own_cgroup: None,
            host: String::new(),
        };
        let plan = InjectionPlan {
            id: InjectionId(format!("t{}-{}", own_pid(), name.len())),
            fault: serde_json::from_str(fault).unwrap(),
            instance,
            duration: Duration::from_secs(600),
        };
        let surroundings = Surroundings { registered: Vec::new(), kernel_lease: Duration::from_secs(5) };
        let injector = injector(&plan, &surroundings);
        Self { name, victim, injector, plan }
    }

    fn all() -> Vec<Self> {
        let busy = || {
            let victim = Child::start("sh", &["-c", BUSY]);
            let pid = victim.pid();
            let has_child = || proc::pids().unwrap().into_iter().any(|other| is_child(other, pid));
            eventually("the victim has its child", has_child);
            victim
        };
        let mut scenes = vec![
            Self::new("pause", r#"{"process_pause":{}}"#, busy()),
            Self::new("cpu_stress", r#"{"cpu_stress":{"load":"15%","cores":2}}"#, Child::sleeping()),
            Self::new("memory_pressure", r#"{"memory_pressure":{"size":"2Mi"}}"#, Child::sleeping()),
        ];
        if has(Capability::SysAdmin) && has(Capability::NetAdmin) {
            let alone = Child::start("unshare", &["--net", "sleep", "300"]);
            let own = proc::namespace_inode(own_pid(), "net").unwrap();
            let inside = || proc::namespace_inode(alone.pid(), "net").is_ok_and(|inode| inode != own);
            eventually("the victim is in its namespace", inside);
            scenes.push(Self::new("partition", r#"{"network_partition":{}}"#, alone));
            scenes.push(Self::new("shared_partition", r#"{"network_partition":{}}"#, Child::sleeping()));
        }
        scenes
    }

    /// One step; true when it was the last.
    fn step(&mut self) -> bool {
        matches!(self.injector.apply().unwrap_or_else(|error| panic!("{}: {error}", self.name)), Step::Done)
    }

    fn apply(&mut self) {
        while !self.step() {}
    }

    fn prove(&mut self) -> Result<Vec<Evidence>, FaultError> {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            match self.injector.prove_active() {
                Ok(Some(evidence)) => return Ok(evidence),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_micros(300)),
                Ok(None) => return Err(FaultError::not_proven("nothing was seen")),
                Err(error) => return Err(error),
            }
        }
    }

    fn undo(&mut self) {
        self.injector.undo().unwrap_or_else(|error| panic!("{}: {error}", self.name));
        self.injector.prove_reverted().unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    fn workers(&self) -> Vec<Identity> {
        let id = &self.plan.id;
        let titles = [format!("chaos-cpu {id}"), format!("chaos-memory {id}")];
        let titled = |pid: &i32| {
            proc::command_line(*pid).is_ok_and(|line| line.first().is_some_and(|l| titles.contains(l)))
        };
        proc::pids().unwrap().into_iter().filter(titled).filter_map(|pid| proc::identity(pid).ok()).collect()
    }

    /// Takes the effect away as somebody else would.
    fn sabotage(&self) {
        match self.name {
            "pause" => nix::sys::ptrace::cont(Pid::from_raw(self.victim.pid()), None).unwrap(),
            "cpu_stress" | "memory_pressure" => {
                let worker = self.workers()[0];
                kill(Pid::from_raw(worker.pid), Signal::SIGKILL).unwrap();
                eventually("the worker ends", || !proc::runs(worker));
            }
            _ => {
                let there =
                    namespace::Namespace::of(self.victim.identity(), namespace::Kind::Network).unwrap();
                let remove = || {
                    NftSocket::open().unwrap().remove(&InjectionName::new(self.plan.id.0.clone()).unwrap())
                };
                assert!(there.within(remove).unwrap().unwrap(), "it was there");
            }
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // A child of the victim would go on without it.
        let root = self.victim.pid();
        for pid in proc::pids().unwrap_or_default().into_iter().filter(|pid| is_child(*pid, root)) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn is_child(pid: i32, parent: i32) -> bool {
    proc::stat(pid).is_ok_and(|stat| stat.parent == parent && !stat.is_dead())
}

fn for_every_fault(check: impl Fn(&mut Scene)) {
    in_single_threaded_process(move || {
        for mut scene in Scene::all() {
            check(&mut scene);
        }
        Ok(())
    });
}

#[test]
fn applying_twice_is_applying_once() {
    for_every_fault(|scene| {
        scene.injector.plan().unwrap();
        scene.apply();
        let workers = scene.workers();
        scene.prove().unwrap();
        assert!(scene.step() && scene.step(), "{}: done is done", scene.name);
        assert_eq!(scene.workers(), workers, "{}", scene.name);
        scene.prove().unwrap();
        scene.undo();
        assert!(scene.workers().is_empty());
    });
}

#[test]
fn undoing_twice_is_undoing_once_and_undoing_nothing_is_fine() {
    for_every_fault(|scene| {
        scene.undo();
        scene.injector.plan().unwrap();
        scene.undo();
        scene.apply();
        scene.prove().unwrap();
        scene.undo();
        scene.undo();
        assert!(scene.victim.identity() == proc::identity(scene.victim.pid()).unwrap(), "{}", scene.name);
    });
}

#[test]
fn whichever_step_is_the_last_everything_is_undone() {
    for steps in 0..4 {
        for_every_fault(move |scene| {
            scene.injector.plan().unwrap();
            for _ in 0..steps {
                if scene.step() {
                    break;
                }
            }
            scene.undo();
            assert!(scene.workers().is_empty(), "{}", scene.name);
            let stat = proc::stat(scene.victim.pid()).unwrap();
            assert!(
                stat.state != 't' && proc::thread_tracer(stat.pid, stat.pid) == 0,
                "{}: {stat:?}",
                scene.name
            );
        });
    }
}

#[test]
fn an_effect_that_somebody_took_away_is_not_proven() {
    for_every_fault(|scene| {
        scene.injector.plan().unwrap();
        scene.apply();
        scene.sabotage();
        assert!(scene.prove().is_err(), "{}", scene.name);
        scene.undo();
    });
}

#[test]
fn an_instance_that_does_not_die_is_not_proven_killed() {
    in_single_threaded_process(|| {
        let victim = Child::start("sh", &["-c", "trap '' TERM; while :; do :; done"]);
        let used = || proc::process_cpu_time(victim.pid()).unwrap();
        let before = used();
        eventually("the trap is set", || used() > before);
        let mut scene = Scene::new("kill", r#"{"pod_kill":{"gracePeriod":"10m"}}"#, victim);
        scene.injector.plan().map_err(|error| error.to_string())?;
        assert!(!scene.step() && !scene.step(), "it waits for the end of the grace period");
        assert!(matches!(scene.injector.prove_active(), Ok(None)));
        scene.undo();
        Ok(())
    });
}

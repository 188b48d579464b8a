//! What must not be hit is not hit, and what can't be undone is not done.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use chaos_agent::local::{Limits, LocalConfig, LocalNode};
use chaos_core::port::{Node, NodeAction, NodeError};
use chaos_core::run::InjectionState::{ApplyFailed, TargetGone};
use chaos_core::spec::FaultKind;
use chaos_core::target::{Instance, ProcessRef};

use super::support::*;

#[test]
fn a_reused_pid_is_never_hit() {
    let site = Site::new();
    let bystander = Victim::busy();
    let mut instance = bystander.instance();
    instance.process.start_time -= 1;
    instance.processes = vec![instance.process];
    for kind in FaultKind::ALL {
        let gone =
            site.inject(order(default_fault(kind), std::slice::from_ref(&instance))).wait_for(TargetGone);
        assert!(gone.error.unwrap().contains("was reused"), "{kind}");
    }
    assert!(bystander.is_running() && runs_on(bystander.process));
}

#[test]
fn a_process_of_this_product_is_refused() {
    let (site, victim) = (Site::new(), Victim::sleeping());
    site.node.register(victim.process);
    for kind in FaultKind::ALL {
        let failed = site.inject(order(default_fault(kind), &[victim.instance()])).wait_for(ApplyFailed);
        assert!(failed.error.unwrap().contains("protected"));
    }
    let own = chaos_agent::sys::proc::identity(chaos_agent::sys::own_pid()).unwrap();
    site.inject(order(default_fault(FaultKind::PodKill), &[instance_of(own)])).wait_for(ApplyFailed);
    assert!(victim.is_running());
}

/// A tiny file system that is unmounted with its value.
struct FullDisk<'a>(&'a Path);

impl<'a> FullDisk<'a> {
    fn at(path: &'a Path) -> Self {
        use nix::mount::{MsFlags, mount};
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some("size=16k")).unwrap();
        let disk = Self(path);
        std::fs::create_dir(path.join("undo")).unwrap();
        assert!(std::fs::write(path.join("filler"), vec![1; 64 << 10]).is_err(), "it is full");
        disk
    }
}

impl Drop for FullDisk<'_> {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn on_a_full_disk_nothing_is_applied() {
    if !super::scene::is_root() {
        return;
    }
    let (site, victim) = (Site::new(), Victim::busy());
    let _disk = FullDisk::at(site.state.path());
    for kind in FaultKind::ALL {
        let mut fault = default_fault(kind);
        if kind == FaultKind::MemoryPressure {
            fault = serde_json::from_str(r#"{"memory_pressure":{"size":"1Mi"}}"#).unwrap();
        }
        let reports = site.inject(order(fault, &[victim.instance()]));
        let failed = reports.wait_for(ApplyFailed);
        assert!(failed.error.as_ref().unwrap().contains("No space left"), "{failed:?}");
        assert_eq!(reports.states(), [ApplyFailed]);
    }
    assert!(victim.is_running() && runs_on(victim.process));
}

#[test]
fn an_order_beyond_the_limits_of_the_node_is_refused() {
    let victim = Victim::sleeping();
    let state = tempfile::tempdir().unwrap();
    let (duration_max, faults) = (std::time::Duration::from_secs(1), vec![FaultKind::PodKill]);
    let limits = Limits { duration_max, faults, ..Limits::default() };
    let node = LocalNode::new(LocalConfig { limits, ..config(state.path()) });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for kind in [FaultKind::PodKill, FaultKind::ProcessPause] {
        let order = order(default_fault(kind), &[victim.instance()]);
        let refused = runtime.block_on(node.inject(order, Reports::default().sink()));
        assert!(matches!(refused, Err(NodeError::Refused { .. })), "{kind}: {refused:?}");
    }
    assert!(victim.is_running());
}

#[test]
fn only_the_apps_of_the_configuration_are_hit() {
    let victim = Victim::sleeping();
    let state = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let inject = |app: &str| {
        let limits = Limits { apps: Some(vec![app.to_owned()]), ..Limits::default() };
        let node = LocalNode::new(LocalConfig { limits, ..config(state.path()) });
        let order = order(default_fault(FaultKind::PodKill), &[victim.instance()]);
        runtime.block_on(async {
            let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
            node.inject(order, std::sync::Arc::new(move |report| drop(tell.send(report)))).await?;
            while told.recv().await.is_some_and(|report| !report.state.is_final()) {}
            Ok::<_, NodeError>(())
        })
    };
    let refused = inject("an-app-that-nobody-has").unwrap_err().to_string();
    assert!(refused.contains("is of no app that may be hit here (an-app-that-nobody-has)"), "{refused}");
    assert!(victim.is_running());
    inject("sleep").unwrap();
    assert!(!victim.is_running());
}

#[test]
fn a_restart_ends_what_somebody_starts_again_and_nothing_else() {
    let site = Site::new();
    let restart = |app: &str, process: ProcessRef| {
        let id = format!("{app}/{}", process.pid);
        let instance = Box::new(Instance { id, managed: true, ..instance_of(process) });
        site.runtime.block_on(site.node.act(&NodeAction::Restart(instance)))
    };
    let alone = Victim::busy();
    let refused = restart("sh", alone.process).unwrap_err();
    assert!(matches!(&refused, NodeError::Refused { reason } if reason.contains("nobody would start")));
    let own = chaos_agent::sys::proc::identity(chaos_agent::sys::own_pid()).unwrap();
    let refused = restart("chaos", own).unwrap_err().to_string();
    assert!(refused.contains("protected"), "{refused}");
    assert!(alone.is_running());
    // A name that no other process has: the root of it is a supervisor, its child an instance.
    let app = format!("app-{}", std::process::id());
    let script = format!("bash -c 'exec -a {app} sleep 600' & wait");
    let supervisor = Victim::from(
        Command::new("bash").arg0(&app).args(["-c", &script]).stdin(std::process::Stdio::null()),
    );
    let mut found = None;
    eventually("the supervisor has its instance", || {
        found = child_of(supervisor.process.pid).filter(|pid| {
            let line = chaos_agent::sys::proc::command_line(*pid).unwrap_or_default();
            line.first() == Some(&app)
        });
        found.is_some()
    });
    let child = chaos_agent::sys::proc::identity(found.unwrap()).unwrap();
    assert!(matches!(restart("sleep", child), Err(NodeError::Refused { .. })), "seen only as its app");
    let evidence = restart(&app, child).unwrap();
    assert!(evidence.iter().any(|evidence| evidence.observed == "exited"), "{evidence:?}");
    assert!(!chaos_agent::sys::proc::runs(child));
    restart(&app, child).unwrap();
}

#[test]
fn memory_that_a_host_needs_itself_is_refused() {
    let (site, victim) = (Site::new(), Victim::sleeping());
    let fault = serde_json::from_str(r#"{"memory_pressure":{"size":"8Ti"}}"#).unwrap();
    let failed = site.inject(order(fault, &[victim.instance()])).wait_for(ApplyFailed);
    assert!(failed.error.unwrap().contains("reserve"));
}

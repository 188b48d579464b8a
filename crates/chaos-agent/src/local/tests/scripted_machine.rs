//! A machine whose processes are tasks: each runs the session that ships, at the other end of a pipe in memory.

use std::collections::BTreeSet;

use chaos_core::target::Protected;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{Notify, watch};
use tokio::task::yield_now;

use super::*;
use crate::holder::session::Session;
use crate::holder::world::World;
use crate::host::HostError;
use crate::scripted::{NODE, ScriptedHost, instance};
use crate::sweep::Remains;
use crate::sys::SysError;

/// Number of the instance that does not end.
pub(super) const IMMORTAL: usize = 7;
/// Number of the instance that nobody starts again.
pub(super) const ALONE: usize = 6;
/// Number of the instance that is seen to have a supervisor when its app is looked up.
pub(super) const SUPERVISED: usize = 5;

/// A machine whose processes are tasks.
pub(super) struct ScriptedMachine {
    pub(super) host: ScriptedHost,
    /// Each fault process with what kills it.
    holders: Mutex<Vec<(ProcessRef, Arc<Notify>)>>,
    /// Tells every fault process to look at the clock.
    clock_moved: watch::Sender<()>,
    /// Fault processes stand still while this is false.
    pub(super) running: watch::Sender<bool>,
    /// The end of a fault process is seen only while this is true.
    pub(super) ends_are_seen: watch::Sender<bool>,
}

impl ScriptedMachine {
    pub(super) fn new() -> Self {
        Self {
            host: ScriptedHost::new(),
            holders: Mutex::default(),
            clock_moved: watch::Sender::new(()),
            running: watch::Sender::new(true),
            ends_are_seen: watch::Sender::new(true),
        }
    }

    pub(super) fn holders(&self) -> Vec<(ProcessRef, Arc<Notify>)> {
        self.holders.lock().unwrap().clone()
    }

    pub(super) fn kill(&self, number: usize) {
        self.holders()[number].1.notify_one();
    }

    pub(super) fn pass(&self, time: Duration) {
        self.host.pass(time);
        self.clock_moved.send_replace(());
    }
}

/// The shell of a fault process.
async fn hold(
    mut session: Session<ScriptedHost>,
    host: ScriptedHost,
    mut control: DuplexStream,
    killed: Arc<Notify>,
    mut clock_moved: watch::Receiver<()>,
    mut running: watch::Receiver<bool>,
) -> bool {
    let mut buffer = [0; 4096];
    loop {
        tokio::select! {
            biased;
            () = killed.notified() => return false,
            _ = running.wait_for(|running| *running) => {}
        }
        session.step();
        let said = session.output().to_vec();
        let _ = control.write_all(&said).await;
        session.written(said.len());
        if session.is_over() {
            return true;
        }
        let is_due = session.wake_at().is_some_and(|wake| wake <= World::now(&host));
        tokio::select! {
            biased;
            () = killed.notified() => return false,
            read = control.read(&mut buffer), if session.is_connected() => match read {
                Ok(length @ 1..) => session.receive(&buffer[..length]),
                _ => session.control_closed(),
            },
            () = yield_now(), if is_due => {}
            _ = clock_moved.changed() => {}
            _ = running.changed() => {}
        }
    }
}

impl Machine for ScriptedMachine {
    fn remains(&self) -> &dyn Remains {
        &self.host
    }

    fn own_identity(&self) -> Result<ProcessRef, SysError> {
        Ok(NODE)
    }

    fn start_holder(&self, _: &RunId) -> Result<HolderProcess, SysError> {
        let mut holders = self.holders.lock().unwrap();
        let identity = ProcessRef { pid: 300 + i32::try_from(holders.len()).unwrap(), start_time: 1 };
        let (host, killed) = (self.host.seen_by(identity), Arc::new(Notify::new()));
        holders.push((identity, Arc::clone(&killed)));
        let (control, theirs) = tokio::io::duplex(1 << 16);
        let session = Session::new(host.clone());
        let (clock_moved, running) = (self.clock_moved.subscribe(), self.running.subscribe());
        let task = tokio::spawn(hold(session, host.clone(), theirs, killed, clock_moved, running));
        let mut ends_are_seen = self.ends_are_seen.subscribe();
        let ended = Box::pin(async move {
            let everything_is_undone = task.await.unwrap();
            host.end(identity);
            ends_are_seen.wait_for(|seen| *seen).await.unwrap();
            everything_is_undone
        });
        Ok(HolderProcess { identity, control: Box::new(control), ended })
    }

    fn terminate(&self, _: ProcessRef) -> Result<(), SysError> {
        Ok(())
    }

    fn kill(&self, holder: ProcessRef) -> Result<(), SysError> {
        let holders = self.holders();
        let found = holders.iter().find(|(process, _)| *process == holder);
        found.map(|(_, killed)| killed.notify_one()).ok_or(SysError::Gone { pid: holder.pid })
    }

    fn inventory(&self, target: &HostTarget, _: &Asker) -> Result<Inventory, HostError> {
        let HostTarget::Pid(pid) = target else {
            let supervised = instance(SUPERVISED);
            let is_its_app = *target == HostTarget::App("app".into());
            let instances = is_its_app.then_some(supervised).into_iter().collect();
            return Ok(Inventory { instances, ..Inventory::default() });
        };
        if *pid == NODE.pid {
            let protected = Protected { process: NODE, name: "node".into(), reason: "it is ours".into() };
            return Ok(Inventory { protected: vec![protected], ..Inventory::default() });
        }
        let running = self.host.is_taken(*pid).then(|| {
            let number = usize::try_from(pid - 1000).unwrap();
            Instance { managed: ![ALONE, SUPERVISED].contains(&number), ..instance(number) }
        });
        Ok(Inventory { instances: running.into_iter().collect(), ..Inventory::default() })
    }

    fn processes_of_apps(&self, apps: &[String]) -> Result<BTreeSet<ProcessRef>, HostError> {
        Ok(apps.iter().filter(|app| *app == "app").map(|_| instance(0).process).collect())
    }

    fn end_instance(&self, instance: &Instance) -> Result<Vec<Evidence>, FaultError> {
        if instance.process == self::instance(IMMORTAL).process {
            return Err(FaultError::NotProven { observed: "it still runs".into() });
        }
        self.host.end(instance.process);
        Ok(vec![Evidence::new("host", "it has ended")])
    }

    fn run_program<'a>(&'a self, argv: &'a [String]) -> BoxFuture<'a, Result<String, String>> {
        let ended = if argv == ["false"] { Err("false ended with exit code 1") } else { Ok(argv.join(" ")) };
        Box::pin(std::future::ready(ended.map_err(str::to_owned)))
    }

    /// Not at once: whoever else waits goes first.
    fn apart(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            yield_now().await;
            work();
        })
    }
}

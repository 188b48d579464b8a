//! Temporary measurement.
#![allow(clippy::all, missing_docs, clippy::print_stdout)]
use chaos_agent::local::*;
use chaos_core::port::*;
use chaos_core::run::*;
use chaos_core::spec::*;
use std::sync::{Arc, Mutex};
use std::time::*;
fn main() {
    if let Some(_) = chaos_agent::holder::run_if_holder() { return; }
    let rt = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let dir = std::env::temp_dir().join(format!("lat-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let node = LocalNode::new(LocalConfig::new(&dir));
    let mut n = 0;
    for kind in FaultKind::ALL {
        let (mut up, mut down, mut total) = (vec![], vec![], vec![]);
        for _ in 0..40 {
            n += 1;
            let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
            let process = chaos_agent::sys::proc::identity(child.id() as i32).unwrap();
            let ns = chaos_agent::sys::proc::namespace_inode(process.pid, "net").unwrap();
            let instance = chaos_core::target::Instance { id: "x".into(), process, processes: vec![process], command: "".into(), ready: true, managed: false, ports: vec![], network_namespace: ns, shares_host_network: true, own_cgroup: None };
            let fault = if kind == FaultKind::MemoryPressure { serde_json::from_str(r#"{"memory_pressure":{"size":"16Mi"}}"#).unwrap() } else { kind.with_defaults() };
            let run = RunId(format!("{n:012x}"));
            let id = InjectionId::of(&run, 0);
            let got: Arc<Mutex<Vec<InjectionReport>>> = Default::default();
            let g = got.clone();
            let t = Instant::now();
            rt.block_on(node.inject(InjectOrder { run: run.clone(), owner: Owner::Command, lease: Duration::from_secs(15), injections: vec![InjectionPlan { id: id.clone(), fault, instance, duration: Duration::from_secs(60) }] }, Arc::new(move |r| g.lock().unwrap().push(r)))).unwrap();
            let wait = |state: InjectionState| loop {
                if let Some(r) = got.lock().unwrap().iter().find(|r| r.state == state) { break r.clone(); }
                if got.lock().unwrap().iter().any(|r| r.state.is_final()) { panic!("{:?}", got.lock().unwrap()); }
                std::thread::sleep(Duration::from_micros(100));
            };
            let a = wait(InjectionState::Active);
            total.push(t.elapsed().as_secs_f64() * 1e3);
            up.push(a.took_ms);
            rt.block_on(node.revert(&run, vec![id]));
            let r = wait(InjectionState::Reverted);
            down.push(r.took_ms);
            let _ = child.kill();
            let _ = child.wait();
        }
        let q = |v: &mut Vec<f64>, q: f64| { v.sort_by(f64::total_cmp); v[((v.len() - 1) as f64 * q) as usize] };
        println!("{kind}: active p50 {:.2} p99 {:.2} (seen p50 {:.2}), reverted p50 {:.2} p99 {:.2}", q(&mut up, 0.5), q(&mut up, 0.99), q(&mut total, 0.5), q(&mut down, 0.5), q(&mut down, 0.99));
    }
    std::fs::remove_dir_all(dir).unwrap();
}

//! Part.
use chaos_agent::faults::*;
use std::time::{Duration, Instant};
fn main() {
    let arg = std::env::args().nth(1).unwrap();
    if arg == "victim" { let l = std::net::TcpListener::bind("127.0.0.1:0").unwrap(); let _c = std::net::TcpStream::connect(l.local_addr().unwrap()); let n: usize = std::env::args().nth(2).unwrap().parse().unwrap(); for _ in 0..n { std::thread::spawn(|| std::thread::sleep(Duration::from_secs(100))); } println!("ok"); std::thread::sleep(Duration::from_secs(60)); return; }
    let n = std::env::args().nth(2).unwrap_or("0".into());
    let mut child = std::process::Command::new("/proc/self/exe").args(["victim", &n]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    use std::io::Read; child.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
    let process = chaos_agent::sys::proc::identity(child.id() as i32).unwrap();
    let dir = std::path::PathBuf::from(format!("/sys/fs/cgroup/unified/chaos-bench-{}", process.pid));
    if arg == "own" { std::fs::create_dir(&dir).unwrap(); std::fs::write(dir.join("cgroup.procs"), process.pid.to_string()).unwrap(); }
    let found = chaos_agent::host::inventory(&chaos_core::spec::HostTarget::Pid(process.pid), &Default::default()).unwrap();
    let mut instance = found.instances.into_iter().next().unwrap();
    instance.id = "x".into();
    let mut t: Vec<Vec<Duration>> = vec![vec![]; 6];
    let count: usize = std::env::args().nth(4).map_or(100, |x| x.parse().unwrap());
    for i in 0..count {
        let plan = chaos_core::port::InjectionPlan { id: chaos_core::run::InjectionId(format!("b{i}")), fault: serde_json::from_str(r#"{"network_partition":{}}"#).unwrap(), instance: instance.clone(), duration: Duration::from_secs(10) };
        let s = Surroundings { registered: vec![], kernel_lease: Duration::from_secs(5) };
        let mut inj = injector(&plan, &s);
        std::thread::sleep(Duration::from_millis(std::env::args().nth(3).map_or(0, |x| x.parse().unwrap())));
        let a = Instant::now(); inj.plan().unwrap();
        let b = Instant::now(); while inj.apply().unwrap() != Step::Done {}
        let c = Instant::now(); inj.prove_active().unwrap().unwrap();
        let d = Instant::now(); inj.undo().unwrap();
        let e = Instant::now(); inj.prove_reverted().unwrap();
        let f = Instant::now();
        for (k, x) in [b-a, c-b, d-c, d-a, e-d, f-e].into_iter().enumerate() { t[k].push(x); }
    }
    for (name, mut v) in ["plan", "apply", "prove", "plan+apply+prove", "undo", "proverev"].into_iter().zip(t) { v.sort(); println!("{name}: p50 {:?} p95 {:?} max {:?}", v[v.len()/2], v[v.len()*95/100], v[v.len()-1]); }
    child.kill().unwrap(); child.wait().unwrap();
    if arg == "own" { std::thread::sleep(Duration::from_millis(50)); std::fs::remove_dir(&dir).unwrap(); }
}

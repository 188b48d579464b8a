//! Timing.
fn main() {
    let app = std::env::args().nth(1).unwrap();
    let target = app
        .parse()
        .map_or_else(|_| chaos_core::spec::HostTarget::App(app.clone()), chaos_core::spec::HostTarget::Pid);
    let asker = chaos_agent::host::Asker::default();
    let mut t = Vec::new();
    for _ in 0..200 {
        let s = std::time::Instant::now();
        let found = chaos_agent::host::inventory(&target, &asker).unwrap();
        t.push(s.elapsed());
        if t.len() == 1 {
            println!(
                "{} instances, {:?} ready {}",
                found.instances.len(),
                found.instances.first(),
                found.ready()
            );
        }
    }
    t.sort();
    println!("min {:?} p50 {:?} p95 {:?} p99 {:?} max {:?}", t[0], t[100], t[190], t[198], t[199]);
}

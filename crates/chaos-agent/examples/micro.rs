//! Micro.
use std::time::Instant;
fn main() {
    let pids = chaos_agent::sys::proc::pids().unwrap();
    let user: Vec<i32> = pids
        .iter()
        .copied()
        .filter(|p| !chaos_agent::sys::proc::stat(*p).unwrap().is_kernel_thread())
        .collect();
    println!("{} pids {} user", pids.len(), user.len());
    let time = |name: &str, f: &dyn Fn()| {
        let mut v: Vec<_> = (0..200)
            .map(|_| {
                let s = Instant::now();
                f();
                s.elapsed()
            })
            .collect();
        v.sort();
        println!("{name}: p50 {:?} p95 {:?}", v[100], v[190]);
    };
    time("pids", &|| {
        chaos_agent::sys::proc::pids().unwrap();
    });
    for f in ["stat", "statm", "cmdline", "cgroup", "status", "comm"] {
        time(f, &|| {
            for p in &pids {
                let _ = std::fs::read(format!("/proc/{p}/{f}"));
            }
        });
        time(&format!("{f} user"), &|| {
            for p in &user {
                let _ = std::fs::read(format!("/proc/{p}/{f}"));
            }
        });
    }
    time("exe user", &|| {
        for p in &user {
            let _ = std::fs::read_link(format!("/proc/{p}/exe"));
        }
    });
    time("exe all", &|| {
        for p in &pids {
            let _ = std::fs::read_link(format!("/proc/{p}/exe"));
        }
    });
    time("metadata", &|| {
        for p in &pids {
            let _ = std::fs::metadata(format!("/proc/{p}"));
        }
    });
    time("ns", &|| {
        for p in &pids {
            let _ = std::fs::metadata(format!("/proc/{p}/ns/net"));
        }
    });
    time("nslink", &|| {
        for p in &pids {
            let _ = std::fs::read_link(format!("/proc/{p}/ns/net"));
        }
    });
    time("mountinfo", &|| {
        let _ = std::fs::read("/proc/self/mountinfo");
    });
    time("table", &|| {
        chaos_agent::sys::proc::table::ProcessTable::read().unwrap();
    });
    for f in ["tcp", "tcp6", "udp", "udp6"] {
        time(f, &|| {
            let _ = std::fs::read(format!("/proc/self/net/{f}"));
        });
    }
    let l = std::net::TcpListener::bind("127.0.0.1:0").unwrap(); let _c = std::net::TcpStream::connect(l.local_addr().unwrap());
    let me = i32::try_from(std::process::id()).unwrap();
    time("sockets", &|| { chaos_agent::sys::proc::sockets::sockets(&[me]).unwrap(); });
    time("listeners", &|| { let _ = chaos_agent::sys::proc::sockets::listeners_of_groups(&[&[me]]); });
    time("threads16", &|| {
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {});
            }
        })
    });
}

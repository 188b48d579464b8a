//! Partitions by a plain user in namespaces of its own, without the right to make a cgroup.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use chaos_core::target::ProcessRef;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

use super::*;
use crate::sys::nft::NftSocket;
use crate::sys::private::enter_private_namespaces;
use crate::sys::testing::{Forked, eventually, in_single_threaded_process};

/// Where the victim accepts, and where it connects to once somebody accepts there.
const VICTIM: ([u8; 4], u16) = ([127, 0, 0, 1], 7001);
const OTHER: ([u8; 4], u16) = ([127, 0, 0, 1], 7002);
const NOBODY: u32 = 65_534;

/// Becomes a plain user with a network of its own; says why when that can't be.
fn become_plain_user() -> Result<(), String> {
    let words = |errno: nix::Error| errno.to_string();
    if Uid::effective().is_root() {
        setgroups(&[]).map_err(words)?;
        setgid(Gid::from_raw(NOBODY)).map_err(words)?;
        setuid(Uid::from_raw(NOBODY)).map_err(words)?;
        // Else the files of this process stay root's.
        nix::sys::prctl::set_dumpable(true).map_err(words)?;
    }
    enter_private_namespaces().map_err(|error| error.to_string())
}

/// Accepts whatever comes, and answers every byte on one connection that it opens itself as soon as it can.
fn serve() {
    let listener = TcpListener::bind(SocketAddr::from(VICTIM)).expect("the port of a new network is free");
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let mut out = loop {
        match TcpStream::connect(SocketAddr::from(OTHER)) {
            Ok(out) => break out,
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let mut byte = [0];
    while out.read_exact(&mut byte).and_then(|()| out.write_all(&byte)).is_ok() {}
}

fn cut(process: ProcessRef, direction: &str) -> Cut {
    let instance = Instance {
        id: "victim/1".to_owned(),
        process,
        processes: vec![process],
        command: String::new(),
        ready: true,
        managed: false,
        ports: Vec::new(),
        network_namespace: 0,
        shares_host_network: true,
        own_cgroup: None,
        host: String::new(),
    };
    let parameters = serde_json::from_str(&format!(r#"{{"direction":"{direction}"}}"#)).unwrap();
    let surroundings = Surroundings { registered: Vec::new(), kernel_lease: Duration::from_secs(5) };
    Cut::new(
        &InjectionId(format!("plain-{direction}")),
        parameters,
        instance,
        surroundings,
        Readings::default(),
    )
}

fn reaches_victim() -> bool {
    TcpStream::connect_timeout(&SocketAddr::from(VICTIM), Duration::from_millis(50)).is_ok()
}

fn answers(stream: &mut TcpStream, within: Duration) -> bool {
    stream.set_read_timeout(Some(within)).unwrap();
    stream.write_all(b"x").is_ok() && stream.read_exact(&mut [0]).is_ok()
}

#[test]
fn a_plain_user_cuts_what_arrives_and_is_told_what_else_it_would_take() {
    in_single_threaded_process(|| {
        if let Err(reason) = become_plain_user() {
            eprintln!("skipped: no namespaces of its own for a plain user: {reason}");
            return Ok(());
        }
        let victim = Forked::start(serve);
        eventually("the victim accepts", reaches_victim);
        for direction in ["out", "both"] {
            let refused = cut(victim.identity(), direction).plan().unwrap_err().to_string();
            assert!(refused.contains("no right") && refused.contains("direction: in"), "{refused}");
        }
        let mut inbound = cut(victim.identity(), "in");
        inbound.plan().unwrap();
        assert_eq!(inbound.apply().unwrap(), Step::Done);
        let evidence = inbound.prove_active().unwrap().unwrap();
        assert!(evidence.iter().any(|one| one.observed.contains("within 200 ms")), "{evidence:?}");
        assert!(!reaches_victim());
        // What the victim opens now is found at the next look.
        let listener = TcpListener::bind(SocketAddr::from(OTHER)).unwrap();
        let (mut opened, _) = listener.accept().unwrap();
        assert!(answers(&mut opened, Duration::from_secs(5)), "not yet found");
        assert!(matches!(inbound.hold().unwrap(), Held::For(next) if next <= LOOK_OFTEN));
        assert!(!answers(&mut opened, Duration::from_millis(100)));
        inbound.undo().unwrap();
        inbound.prove_reverted().unwrap();
        eventually("the victim accepts again", reaches_victim);
        let _ = opened.shutdown(Shutdown::Both);
        Ok(())
    });
}

#[test]
fn rules_that_somebody_removed_are_a_lost_fault_at_the_next_refresh() {
    in_single_threaded_process(|| {
        if let Err(reason) = become_plain_user() {
            eprintln!("skipped: no namespaces of its own for a plain user: {reason}");
            return Ok(());
        }
        let victim = Forked::start(serve);
        eventually("the victim accepts", reaches_victim);
        let mut inbound = cut(victim.identity(), "in");
        inbound.surroundings.kernel_lease = Duration::from_millis(300);
        inbound.plan().unwrap();
        assert_eq!(inbound.apply().unwrap(), Step::Done);
        let removed = NftSocket::open().unwrap().remove(&InjectionName::new("plain-in").unwrap()).unwrap();
        assert!(removed);
        let deadline = Instant::now() + Duration::from_secs(5);
        let reason = loop {
            match inbound.hold().unwrap() {
                Held::Lost(reason) => break reason,
                held => assert!(Instant::now() < deadline, "{held:?}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        assert!(reason.contains("removed by somebody else"), "{reason}");
        inbound.undo().unwrap();
        inbound.prove_reverted().unwrap();
        Ok(())
    });
}

//! Targets as they are found, among processes that are only thought of and among real ones.

use super::*;
use chaos_core::spec::ProcessMatch;

use crate::sys::cgroup::own::OwnCgroup;
use crate::sys::testing::{Child, eventually};
use std::process::{Command, Stdio};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn process(pid: i32, parent: i32, name: &str, cgroup: &str) -> Process {
    Process::imagined(pid, parent, name, false, cgroup)
}

fn look_up(target: &HostTarget, asker: &Asker, list: &[Process]) -> Inventory {
    let empty = tempfile::tempdir().unwrap();
    let table = ProcessTable::from_processes(list.iter().cloned());
    resolve(target, asker, &table, &RestartPolicies::below(empty.path())).unwrap()
}

fn ids(inventory: &Inventory) -> Vec<&str> {
    inventory.instances.iter().map(|instance| instance.id.as_str()).collect()
}

fn app(name: &str) -> HostTarget {
    HostTarget::App(name.to_owned())
}

#[test]
fn children_of_one_root_are_the_instances_and_it_supervises_them() {
    let list = [
        process(1, 0, "init", "/"),
        process(10, 1, "web", "/"),
        process(11, 10, "web", "/"),
        process(12, 10, "sh", "/"),
        process(13, 12, "web", "/"),
        process(14, 13, "helper", "/"),
    ];
    let found = look_up(&app("web"), &Asker::default(), &list);
    assert_eq!(ids(&found), ["web/11", "web/13"]);
    assert_eq!(found.supervisor.map(|process| process.pid), Some(10));
    assert!(found.instances.iter().all(|instance| instance.managed));
    let pids: Vec<i32> = found.instances[1].processes.iter().map(|process| process.pid).collect();
    assert_eq!(pids, [13, 14]);
    assert!(found.apps.is_empty(), "it was found");
    assert_eq!(look_up(&app("wep"), &Asker::default(), &list).apps, ["helper", "sh", "web"]);
}

#[test]
fn several_roots_are_an_instance_each_with_all_below_them() {
    let list = [
        process(1, 0, "init", "/"),
        process(10, 1, "web", "/"),
        process(11, 10, "web", "/"),
        process(20, 1, "web", "/"),
    ];
    let found = look_up(&app("web"), &Asker::default(), &list);
    assert_eq!(ids(&found), ["web/10", "web/20"]);
    assert_eq!(found.instances[0].processes.len(), 2);
    assert!(found.supervisor.is_none() && found.instances.iter().all(|instance| !instance.managed));
}

#[test]
fn an_app_is_also_a_unit_or_a_container_by_its_cgroup() {
    let container = format!("/system.slice/docker-{ID}.scope");
    let list = [
        process(1, 0, "init", "/"),
        process(10, 1, "java", "/system.slice/shop.service"),
        process(11, 10, "helper", "/system.slice/shop.service"),
        process(20, 1, "redis", &container),
    ];
    let at = |target: HostTarget| look_up(&target, &Asker::default(), &list);
    let shop = at(app("shop"));
    assert_eq!(ids(&shop), ["shop/10"]);
    assert_eq!(shop.instances[0].processes.len(), 2);
    assert_eq!(ids(&at(HostTarget::Unit("shop".into()))), ["java/10"]);
    assert_eq!(ids(&at(HostTarget::Unit("shop.service".into()))), ["java/10"]);
    assert_eq!(ids(&at(HostTarget::Container(ID[..8].into()))), ["redis/20"]);
    assert_eq!(ids(&at(HostTarget::Container("ffffffff".into()))), Vec::<&str>::new());
    assert_eq!(ids(&at(HostTarget::Cgroup("/system.slice/shop.service".into()))), ["java/10"]);
    assert_eq!(ids(&at(HostTarget::Cgroup("system.slice/shop".into()))), Vec::<&str>::new());
}

#[test]
fn what_is_protected_is_named_with_its_reason_and_never_an_instance() {
    let own = sys::own_pid();
    let kernel = Process::imagined(2, 0, "kthreadd", true, "/");
    let list = [
        process(1, 0, "init", "/"),
        kernel,
        process(30, 1, "sshd", "/ssh"),
        process(31, 30, "shell", "/ssh"),
        process(40, 1, "containerd", "/"),
        process(50, 1, "server", "/"),
        process(51, 50, "demo", "/"),
        process(own, 31, "test", "/ssh"),
    ];
    let asker = Asker { registered: vec![ProcessRef { pid: 50, start_time: 50 }], callers: vec![] };
    let reason = |target: HostTarget| {
        let found = look_up(&target, &asker, &list);
        assert!(found.instances.is_empty(), "{target}: {:?}", found.instances);
        found.protected.first().map(|protected| protected.reason.clone()).unwrap_or_default()
    };
    assert_eq!(reason(app("init")), "init");
    assert_eq!(reason(HostTarget::Pid(1)), "init");
    assert_eq!(reason(app("kthreadd")), "a kernel thread");
    assert_eq!(reason(app("sshd")), "the way into this host");
    assert_eq!(reason(app("shell")), "an ancestor of the caller");
    assert_eq!(reason(app("test")), "the caller");
    assert_eq!(reason(app("containerd")), "the container runtime");
    assert_eq!(reason(app("server")), "a process of this product");
    assert_eq!(reason(HostTarget::Cgroup("ssh".into())), "the way into this host");
    assert_eq!(ids(&look_up(&app("demo"), &asker, &list)), ["demo/51"], "a child of ours is fair game");
    let reused = Asker { registered: vec![ProcessRef { pid: 50, start_time: 7 }], callers: vec![] };
    assert_eq!(ids(&look_up(&app("server"), &reused, &list)), ["server/50"], "a reused pid is not ours");
}

#[test]
fn the_whole_host_and_an_unknown_user_are_refused() {
    let refused = |target: HostTarget| inventory(&target, &Asker::default()).unwrap_err().to_string();
    assert!(refused(HostTarget::Cgroup("/".into())).contains("whole host"));
    let process = ProcessMatch { user: Some("nobody-of-that-name".into()), ..ProcessMatch::default() };
    assert!(refused(HostTarget::Process(process)).contains("not known"));
}

/// A real service by a name that nobody else has: one listening socket on loopback.
fn listening(name: &str) -> Child {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("perl");
    command.arg0(name).args(["-e", LISTENER]).stdin(Stdio::null()).stdout(Stdio::piped());
    serving(&mut command)
}

const LISTENER: &str = "use IO::Socket::INET; $s = IO::Socket::INET->new(Listen => 128, LocalAddr => '127.0.0.1'); \
                        $| = 1; print qq(ready\\n) if $s; sleep 300;";

fn serving(command: &mut Command) -> Child {
    use std::io::{BufRead, BufReader};
    let mut child = Child::from_command(command);
    let mut line = String::new();
    BufReader::new(child.inner().stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "ready");
    child
}

#[test]
fn a_real_service_is_found_in_every_way_and_its_readiness_follows_its_state() {
    if Command::new("perl").arg("-v").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: no perl to be the service");
        return;
    }
    let name = format!("chaos-test-app-{}", std::process::id());
    let mut service = listening(&name);
    let asker = Asker::default();
    let found = inventory(&app(&name), &asker).unwrap();
    assert_eq!(found.instances.len(), 1, "{:?}", found.protected);
    let instance = &found.instances[0];
    assert_eq!(instance.process, service.identity());
    assert!(instance.ready && !instance.managed && instance.shares_host_network);
    assert_eq!(instance.ports.len(), 1);
    let port = instance.ports[0].port;
    let by_port = ProcessMatch { port: Some(port), ..ProcessMatch::default() };
    let by_line =
        ProcessMatch { name: Some(name.clone()), cmdline: Some("LocalAddr".into()), ..by_port.clone() };
    for target in [HostTarget::Process(by_port), HostTarget::Process(by_line), HostTarget::Pid(service.pid())]
    {
        let again = inventory(&target, &asker).unwrap();
        assert_eq!(
            again.instances.first().map(|instance| instance.process),
            Some(service.identity()),
            "{target}"
        );
    }
    let held = crate::sys::pidfd::PidFd::open(service.identity()).unwrap();
    held.send_signal(libc::SIGSTOP).unwrap();
    eventually("a stopped service is not ready", || !is_ready(instance));
    held.send_signal(libc::SIGCONT).unwrap();
    eventually("it is ready again", || is_ready(instance));
    service.end();
    assert!(!is_ready(instance));
    assert!(inventory(&app(&name), &asker).unwrap().instances.is_empty());
}

#[test]
fn a_real_cgroup_is_one_instance_with_a_cgroup_of_its_own() {
    let hierarchies = Hierarchies::detect().unwrap();
    let mine = sys::proc::cgroups(sys::own_pid()).unwrap();
    let name = format!("chaos-test-host-{}", std::process::id());
    let made = hierarchies.directory("cpu", &mine).and_then(|parent| OwnCgroup::create(&parent, &name).ok());
    let Some(own) = made else {
        eprintln!("skipped: no right to make a cgroup");
        return;
    };
    let (first, second) = (Child::sleeping(), Child::sleeping());
    let admitted = own.admit(first.identity()).and_then(|()| own.admit(second.identity()));
    let found = inventory(&app(&name), &Asker::default());
    drop((first, second));
    own.remove().unwrap();
    admitted.unwrap();
    let found = found.unwrap();
    assert_eq!(found.instances.len(), 1);
    assert_eq!(found.instances[0].processes.len(), 2);
    assert!(found.instances[0].own_cgroup.as_deref().is_some_and(|path| path.ends_with(&name)));
}

#[test]
fn a_service_in_a_network_of_its_own_is_asked_there() {
    let script = format!("ip link set lo up && exec perl -e \"{}\"", LISTENER.replace('$', "\\$"));
    let tools = [("perl", "-v"), ("ip", "-V"), ("unshare", "-V")];
    let missing = tools.iter().any(|(tool, flag)| {
        Command::new(tool).arg(flag).stdout(Stdio::null()).stderr(Stdio::null()).status().is_err()
    });
    if missing || !crate::sys::capability::has(crate::sys::capability::Capability::SysAdmin) {
        eprintln!("skipped: needs CAP_SYS_ADMIN, unshare, ip and perl");
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped());
    let service = serving(&mut command);
    let found = inventory(&HostTarget::Pid(service.pid()), &Asker::default()).unwrap();
    let instance = &found.instances[0];
    assert!(instance.ready && !instance.shares_host_network && instance.ports.len() == 1, "{instance:?}");
    let mut elsewhere = instance.clone();
    elsewhere.ports[0].port ^= 1;
    assert!(!is_ready(&elsewhere), "nobody accepts on the next port");
}

#[test]
fn an_instance_whose_sockets_cannot_be_read_is_not_ready() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let child = Child::sleeping();
    let target = HostTarget::Pid(child.pid());
    assert!(inventory(&target, &Asker::default()).unwrap().instances[0].ready, "it runs and has no port");
    crate::sys::testing::in_single_threaded_process(|| {
        nix::unistd::setuid(nix::unistd::Uid::from_raw(65_534)).map_err(|errno| errno.to_string())?;
        let found = inventory(&target, &Asker::default()).map_err(|error| error.to_string())?;
        assert!(!found.instances[0].ready && found.instances[0].ports.is_empty());
        assert!(!is_ready(&found.instances[0]));
        Ok(())
    });
}

#[test]
fn ports_that_do_not_answer_do_not_add_up() {
    // A listener whose queue is full lets connections wait.
    let full: Vec<Full> = (0..12).map(|_| Full::new()).collect();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let own = sys::proc::identity(sys::own_pid()).unwrap();
    let instance = |listener: &std::net::TcpListener| {
        let address = listener.local_addr().unwrap();
        Instance {
            id: address.to_string(),
            process: own,
            processes: vec![own],
            command: String::new(),
            ready: false,
            managed: false,
            ports: vec![ListeningPort {
                protocol: Protocol::Tcp,
                address: address.ip(),
                port: address.port(),
            }],
            network_namespace: sys::proc::namespace_inode(own.pid, "net").unwrap(),
            shares_host_network: true,
            own_cgroup: None,
            host: String::new(),
        }
    };
    let mut instances: Vec<Instance> = full.iter().map(|full| instance(&full.listener)).collect();
    instances.push(instance(&free));
    let begun = std::time::Instant::now();
    readiness::check_all(&mut instances.iter_mut().collect::<Vec<_>>());
    let took = begun.elapsed();
    let ready: Vec<bool> = instances.iter().map(|instance| instance.ready).collect();
    assert_eq!(ready.iter().filter(|ready| **ready).count(), 1);
    assert!(ready[12] && took < READY_TIMEOUT * 6, "one after another would take longer: {took:?}");
}

/// A listener that accepts nobody any more.
struct Full {
    listener: std::net::TcpListener,
    _waiting: Vec<std::net::TcpStream>,
}

impl Full {
    fn new() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        // Listening again changes the length of the queue.
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        let to = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = std::net::TcpStream::connect_timeout(&to, std::time::Duration::from_millis(50))
        {
            waiting.push(stream);
        }
        Self { listener, _waiting: waiting }
    }
}

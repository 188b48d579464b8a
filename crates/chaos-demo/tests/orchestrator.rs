//! The whole system, run for real: this executable is both the tests and, under the other `argv[0]`, the
//! system they start. Owns a harness just large enough for that, which speaks the language of libtest.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a harness prints")]

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use chaos_demo::{BreakerState, Config, FleetHealth, Handle, Orchestrator, ReplicaInfo, StartError, Tuning};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The name under which this executable starts a system, tells its pid and waits to be killed.
const CALLER: &str = "caller-that-will-be-killed";
const PATIENCE: Duration = Duration::from_secs(10);

const TESTS: &[(&str, fn())] = &[
    ("it_is_ready_soon_and_serves_every_route", it_is_ready_soon_and_serves_every_route),
    ("stop_leaves_no_process", stop_leaves_no_process),
    ("each_replica_has_cgroups_of_its_own_and_they_go", each_replica_has_cgroups_of_its_own_and_they_go),
    ("a_killed_supervisor_takes_its_replicas_along", a_killed_supervisor_takes_its_replicas_along),
    ("the_next_start_sweeps_what_nobody_could_remove", the_next_start_sweeps_what_nobody_could_remove),
    ("requests_under_way_are_answered_at_the_end", requests_under_way_are_answered_at_the_end),
    ("a_burst_does_not_empty_the_rotation", a_burst_does_not_empty_the_rotation),
    ("a_killed_caller_leaves_nothing", a_killed_caller_leaves_nothing),
    ("a_killed_replica_is_replaced_and_no_request_fails", a_killed_replica_is_replaced_and_no_request_fails),
    ("a_replica_that_is_stopped_leaves_the_rotation", a_replica_that_is_stopped_leaves_the_rotation),
    ("without_any_replica_health_says_503", without_any_replica_health_says_503),
    ("a_port_in_use_is_named", a_port_in_use_is_named),
    ("more_work_than_workers_is_refused_or_waits", more_work_than_workers_is_refused_or_waits),
    ("the_breaker_hides_a_gray_failure", the_breaker_hides_a_gray_failure),
    ("without_the_breaker_a_gray_failure_shows", without_the_breaker_a_gray_failure_shows),
    ("the_breaker_hides_dropped_packets", the_breaker_hides_dropped_packets),
    ("without_the_breaker_dropped_packets_show", without_the_breaker_dropped_packets_show),
    ("who_asks_for_nonsense_is_told_so", who_asks_for_nonsense_is_told_so),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let argv0 = arguments.next().unwrap_or_default();
    if chaos_demo::is_orchestrator(argv0.as_ref()) {
        return chaos_demo::main(arguments);
    }
    if argv0 == CALLER {
        return start_and_wait();
    }
    let arguments: Vec<String> = arguments.collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in TESTS {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let wanted = |name: &str| filter.is_none_or(|filter| name.contains(filter.as_str()));
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in TESTS.iter().filter(|(name, _)| wanted(name)) {
        let ok = catch_unwind(AssertUnwindSafe(test)).is_ok();
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        if ok { passed += 1 } else { failed += 1 }
    }
    let out = TESTS.len() - passed - failed;
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {out} filtered out"
    );
    ExitCode::from(u8::from(failed > 0))
}

fn start_and_wait() -> ExitCode {
    let handle = start(&Config::default());
    println!("{}", serde_json::to_string(&handle.replicas).expect("replicas"));
    let _ = std::io::stdout().flush();
    let _ = std::io::stdin().read(&mut [0]);
    ExitCode::SUCCESS
}

fn start(config: &Config) -> Handle {
    Orchestrator::start(&Config { port: 0, ..config.clone() }).expect("the system starts")
}

/// Runs `future` on a runtime of its own.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

fn get(url: &str) -> (u16, String) {
    block_on(async {
        let response = client().get(url).send().await.expect(url);
        (response.status().as_u16(), response.text().await.expect("a body"))
    })
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().expect("a client")
}

fn replicas(handle: &Handle) -> Vec<ReplicaInfo> {
    block_on(handle.current_replicas()).expect("replicas")
}

fn health(handle: &Handle) -> (u16, FleetHealth) {
    let (code, body) = get(&format!("{}/health", handle.base_url));
    (code, serde_json::from_str(&body).expect("health"))
}

fn pid(replica: &ReplicaInfo) -> Pid {
    Pid::from_raw(replica.pid.expect("it lives").try_into().expect("a pid"))
}

#[track_caller]
fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether the process is there and not a zombie.
fn alive(pid: Pid) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|arguments| !arguments.is_empty())
}

/// What came of an open-loop load.
#[derive(Debug, Default)]
struct Load {
    sent: usize,
    ok_in_time: usize,
    late: usize,
    failed: usize,
    worst: Duration,
}

/// `rate` requests a second for so many seconds, each sent at its time whatever became of those before; the
/// latency counts from that time. Late is more than 200 ms.
async fn load(base_url: &str, rate: u32, seconds: u32, middle: impl Future<Output = ()>) -> Load {
    let client = client();
    let begin = tokio::time::Instant::now() + Duration::from_millis(20);
    let calls: Vec<_> = (0..rate * seconds)
        .map(|number| {
            let (client, url) = (client.clone(), format!("{base_url}/work"));
            tokio::spawn(async move {
                let due = begin + Duration::from_secs(1) * number / rate;
                tokio::time::sleep_until(due).await;
                let answer = client.get(url).send().await;
                (answer.is_ok_and(|response| response.status().is_success()), due.elapsed())
            })
        })
        .collect();
    middle.await;
    let mut load = Load::default();
    for call in calls {
        let (ok, took) = call.await.expect("a call");
        load.sent += 1;
        load.worst = load.worst.max(took);
        match (ok, took <= Duration::from_millis(200)) {
            (true, true) => load.ok_in_time += 1,
            (true, false) => load.late += 1,
            (false, _) => load.failed += 1,
        }
    }
    load
}

fn it_is_ready_soon_and_serves_every_route() {
    // Several tries, since this machine may be busy with something else.
    let fastest = (0..5)
        .map(|_| {
            let begin = Instant::now();
            drop(start(&Config::default()));
            begin.elapsed()
        })
        .min()
        .expect("tries");
    eprintln!("start and stop took {} ms", fastest.as_millis());
    assert!(fastest < Duration::from_millis(500), "{fastest:?}");

    let mut handle = start(&Config::default());
    let (code, fleet) = health(&handle);
    assert_eq!((code, fleet.status.as_str(), fleet.in_rotation), (200, "ok", 4));
    let mut seen = BTreeSet::new();
    for _ in 0..8 {
        let (code, body) = get(&format!("{}/work", handle.base_url));
        assert_eq!(code, 200, "{body}");
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        seen.insert(body["pid"].as_u64().expect("a pid"));
    }
    assert_eq!(seen.len(), 4, "round robin reaches every replica");
    let metrics = get(&format!("{}/metrics", handle.base_url)).1;
    for line in [
        "http_requests_total{code=\"200\"} 8",
        "http_request_duration_seconds_count 8",
        "replicas_in_rotation 4",
        "up{replica=\"3\"} 1",
        "circuit_breaker_state{replica=\"0\"} 0",
        "retries_total 0",
        "worker_queue_wait_seconds{replica=\"0\"}",
    ] {
        assert!(metrics.contains(line), "no {line} in\n{metrics}");
    }
    let listed = replicas(&handle);
    assert_eq!(listed.len(), 4);
    for replica in &listed {
        assert!(replica.in_rotation && replica.breaker == BreakerState::Closed && replica.restarts == 0);
        let own = get(&format!("http://127.0.0.1:{}/metrics", replica.admin_port)).1;
        assert!(own.contains("worker_queue_wait_seconds_count 2"), "{own}");
    }
    handle.stop().expect("it stops");
}

fn stop_leaves_no_process() {
    let mut handle = start(&Config::default());
    let processes = handle.processes();
    assert_eq!(processes.len(), 5, "{processes:?}");
    handle.stop().expect("everything goes");
    handle.stop().expect("a second stop has nothing to do");
    for process in processes {
        assert!(!alive(Pid::from_raw(process.try_into().expect("a pid"))), "{process}");
    }
}

fn each_replica_has_cgroups_of_its_own_and_they_go() {
    let mut handle = start(&Config::default());
    let cgroups: Vec<_> = handle.replicas.iter().flat_map(|replica| replica.cgroups.clone()).collect();
    if cgroups.is_empty() {
        eprintln!("skipped: this host lets us make no cgroups");
        return;
    }
    for replica in &handle.replicas {
        for cgroup in &replica.cgroups {
            let members = fs::read_to_string(cgroup.join("cgroup.procs")).expect("members");
            assert_eq!(members.trim(), pid(replica).to_string(), "{}", cgroup.display());
        }
    }
    let limit = cgroups.iter().map(|cgroup| cgroup.join("memory.limit_in_bytes")).find(|file| file.exists());
    if let Some(limit) = limit {
        assert_eq!(fs::read_to_string(limit).expect("a limit").trim(), (256 << 20).to_string());
    }
    // The next process of a replica is put there, too.
    kill(pid(&handle.replicas[0]), Signal::SIGKILL).expect("it lives");
    eventually("it is back", || {
        let now = replicas(&handle);
        now[0].pid.is_some() && now[0].pid != handle.replicas[0].pid
    });
    let now = replicas(&handle);
    for cgroup in &now[0].cgroups {
        let members = fs::read_to_string(cgroup.join("cgroup.procs")).expect("members");
        assert_eq!(members.trim(), pid(&now[0]).to_string(), "{}", cgroup.display());
    }
    handle.stop().expect("everything goes");
    for cgroup in cgroups {
        assert!(!cgroup.exists() && !cgroup.parent().is_some_and(Path::exists), "{}", cgroup.display());
    }
}

fn a_killed_supervisor_takes_its_replicas_along() {
    let mut handle = start(&Config::default());
    let cgroups: Vec<_> = handle.replicas.iter().flat_map(|replica| replica.cgroups.clone()).collect();
    kill(Pid::from_raw(handle.pid.try_into().expect("a pid")), Signal::SIGKILL).expect("it lives");
    eventually("the replicas die", || handle.replicas.iter().all(|replica| !alive(pid(replica))));
    eventually("the handle sees it", || !handle.is_running());
    handle.stop().expect("leftovers are removed");
    assert!(cgroups.iter().all(|cgroup| !cgroup.exists()));
}

fn the_next_start_sweeps_what_nobody_could_remove() {
    let mut handle = start(&Config::default());
    let replicas = handle.replicas.clone();
    let cgroups: Vec<_> = replicas.iter().flat_map(|replica| replica.cgroups.clone()).collect();
    if cgroups.is_empty() {
        eprintln!("skipped: this host lets us make no cgroups");
        return;
    }
    kill(Pid::from_raw(handle.pid.try_into().expect("a pid")), Signal::SIGKILL).expect("it lives");
    eventually("it is dead", || !handle.is_running());
    handle.detach();
    eventually("the replicas die", || replicas.iter().all(|replica| !alive(pid(replica))));
    assert!(cgroups.iter().all(|cgroup| cgroup.exists()), "nobody was there to remove them");
    start(&Config { replicas: 1, ..Config::default() }).stop().expect("it stops");
    assert!(cgroups.iter().all(|cgroup| !cgroup.exists()));
}

fn requests_under_way_are_answered_at_the_end() {
    let mut handle = start(&Config::default());
    let codes = block_on(async {
        let (client, url) = (client(), format!("{}/work", handle.base_url));
        let calls: Vec<_> = (0..12).map(|_| tokio::spawn(client.get(&url).send())).collect();
        let mut calls = calls.into_iter();
        let first = calls.next().expect("a call").await.expect("a task");
        // The others are on their way or done; none may be cut off.
        handle.stop().expect("it stops");
        let mut codes = vec![first.map(|response| response.status().as_u16()).ok()];
        for call in calls {
            codes.push(call.await.expect("a task").map(|response| response.status().as_u16()).ok());
        }
        codes
    });
    // A call that came too late to be accepted has no answer; one that was accepted has a good one.
    assert!(codes.iter().flatten().all(|code| *code == 200), "{codes:?}");
    assert!(codes.iter().flatten().count() > 0, "{codes:?}");
}

fn a_burst_does_not_empty_the_rotation() {
    // A millisecond is what the work itself takes: any burst is an overload.
    let slow_call = Duration::from_millis(1);
    let tuning = Tuning { slow_call, attempt_timeout: Duration::from_secs(4), ..Tuning::default() };
    let mut handle = start(&Config { tuning, ..Config::default() });
    let codes = block_on(async {
        let (client, url) = (client(), format!("{}/work", handle.base_url));
        let calls: Vec<_> = (0..60).map(|_| tokio::spawn(client.get(&url).send())).collect();
        let mut codes = Vec::new();
        for call in calls {
            codes.push(call.await.expect("a task").expect("an answer").status().as_u16());
        }
        codes
    });
    let (code, fleet) = health(&handle);
    assert!(codes.iter().all(|code| *code == 200), "{codes:?}");
    assert!(code == 200 && fleet.in_rotation >= 2, "{fleet:?}");
    handle.stop().expect("it stops");
}

fn a_killed_caller_leaves_nothing() {
    use std::{
        io::{BufRead as _, BufReader},
        os::unix::process::CommandExt as _,
    };
    let mut caller = Command::new("/proc/self/exe")
        .arg0(CALLER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a caller");
    let mut line = String::new();
    BufReader::new(caller.stdout.take().expect("output")).read_line(&mut line).expect("a line");
    let replicas: Vec<ReplicaInfo> = serde_json::from_str(&line).expect("replicas");
    assert!(replicas.iter().all(|replica| alive(pid(replica))));
    caller.kill().expect("it lives");
    caller.wait().expect("it ends");
    eventually("the replicas die", || replicas.iter().all(|replica| !alive(pid(replica))));
    eventually("the cgroups go", || {
        replicas.iter().flat_map(|replica| &replica.cgroups).all(|cgroup| !cgroup.exists())
    });
}

fn a_killed_replica_is_replaced_and_no_request_fails() {
    let mut handle = start(&Config::default());
    let victims: Vec<Pid> = handle.replicas.iter().take(2).map(pid).collect();
    let load = block_on(load(&handle.base_url, 100, 3, async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for victim in &victims {
            kill(*victim, Signal::SIGKILL).expect("it lives");
        }
    }));
    eprintln!("two of four killed: {load:?}");
    assert_eq!(load.failed, 0, "{load:?}");
    eventually("both are back", || health(&handle).1.in_rotation == 4);
    let after = replicas(&handle);
    for (before, after) in handle.replicas.iter().zip(&after) {
        let killed = victims.contains(&pid(before));
        assert_eq!((before.pid != after.pid, after.restarts), (killed, u32::from(killed)));
        assert_eq!((before.port, before.admin_port), (after.port, after.admin_port), "ports stay");
    }
    handle.stop().expect("it stops");
}

fn a_replica_that_is_stopped_leaves_the_rotation() {
    let mut handle = start(&Config { breaker: false, ..Config::default() });
    let victim = pid(&handle.replicas[2]);
    kill(victim, Signal::SIGSTOP).expect("it lives");
    eventually("its health check fails", || !replicas(&handle)[2].healthy);
    let (code, fleet) = health(&handle);
    assert_eq!((code, fleet.status.as_str(), fleet.in_rotation, fleet.live), (200, "degraded", 3, 4));
    kill(victim, Signal::SIGCONT).expect("it lives");
    eventually("it comes back", || health(&handle).1.in_rotation == 4);
    kill(victim, Signal::SIGSTOP).expect("it lives");
    handle.stop().expect("a stopped replica does not hold the end up");
}

fn without_any_replica_health_says_503() {
    let tuning = Tuning { restart_backoff: Duration::from_secs(30), ..Tuning::default() };
    let mut handle = start(&Config { replicas: 2, tuning, ..Config::default() });
    for replica in &handle.replicas {
        kill(pid(replica), Signal::SIGKILL).expect("it lives");
    }
    eventually("the fleet is down", || health(&handle).0 == 503);
    assert_eq!(health(&handle).1.status, "down");
    assert_eq!(get(&format!("{}/work", handle.base_url)).0, 503);
    let begin = Instant::now();
    handle.stop().expect("it stops");
    assert!(begin.elapsed() < Duration::from_secs(2), "the restart pause does not hold the end up");
}

fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    match Orchestrator::start(&Config { port, ..Config::default() }) {
        Err(StartError::Failed { reason }) => {
            assert!(reason.contains(&format!("127.0.0.1:{port}")), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

fn more_work_than_workers_is_refused_or_waits() {
    let mut handle = start(&Config { replicas: 1, ..Config::default() });
    let url = format!("http://127.0.0.1:{}/work", handle.replicas[0].port);
    let codes = block_on(async {
        let client = client();
        let calls: Vec<_> = (0..600)
            .map(|_| {
                let call = client.get(&url).send();
                tokio::spawn(async move { call.await.expect("an answer").status().as_u16() })
            })
            .collect();
        let mut codes = Vec::new();
        for call in calls {
            codes.push(call.await.expect("a call"));
        }
        codes
    });
    let refused = codes.iter().filter(|code| **code == 503).count();
    let done = codes.iter().filter(|code| **code == 200).count();
    eprintln!("600 at once: {done} done, {refused} refused");
    assert_eq!(done + refused, 600);
    assert!(done > 64, "{done} done");
    let own = get(&format!("http://127.0.0.1:{}/metrics", handle.replicas[0].admin_port)).1;
    assert!(own.contains(&format!("worker_queue_wait_seconds_count {done}")), "{own}");
    assert!(own.contains(&format!("worker_jobs_rejected_total {refused}")), "{own}");
    handle.stop().expect("it stops");
}

fn the_breaker_hides_a_gray_failure() {
    holds_once_in_three(|| {
        let mut handle = start(&Config::default());
        let victim = handle.replicas[1].clone();
        let load = block_on(load(&handle.base_url, 100, 10, async {
            handle.hang(&victim, true).await.expect("the admin port answers");
        }));
        eprintln!("breaker on: {load:?}");
        let now = &replicas(&handle)[1];
        assert!(now.healthy, "its health check does not see it: {now:?}");
        assert_ne!(now.breaker, BreakerState::Closed);
        block_on(handle.hang(&victim, false)).expect("the admin port answers");
        eventually("the trial closes the circuit", || health(&handle).1.in_rotation == 4);
        handle.stop().expect("it stops");
        Some(load)
    });
}

/// A machine that is starved for seconds by somebody else can spoil a run, but not each of three; a breaker
/// that does not work spoils all.
fn holds_once_in_three(run: impl Fn() -> Option<Load>) {
    let mut spoilt = Vec::new();
    for _ in 0..3 {
        match run() {
            Some(load) if load.ok_in_time * 100 < load.sent * 99 => spoilt.push(load),
            _ => return,
        }
    }
    panic!("never 99 % within 200 ms: {spoilt:?}");
}

fn without_the_breaker_a_gray_failure_shows() {
    let mut handle = start(&Config { breaker: false, ..Config::default() });
    let victim = handle.replicas[1].clone();
    let load = block_on(load(&handle.base_url, 100, 5, async {
        handle.hang(&victim, true).await.expect("the admin port answers");
    }));
    eprintln!("breaker off: {load:?}");
    assert!(load.ok_in_time * 100 <= load.sent * 85, "{load:?}");
    assert!(load.late > 0 && load.failed > 0, "late within the retry budget, failed beyond: {load:?}");
    handle.stop().expect("it stops");
}

fn the_breaker_hides_dropped_packets() {
    holds_once_in_three(|| partitioned(true, 10));
}

fn without_the_breaker_dropped_packets_show() {
    let Some(load) = partitioned(false, 5) else { return };
    assert!(load.ok_in_time * 100 <= load.sent * 85, "{load:?}");
}

/// The load on a system in a network namespace of its own, while all packets to and from one replica's
/// traffic port are dropped there, half a second after the load began. `None` where that can't be done.
fn partitioned(breaker: bool, seconds: u32) -> Option<Load> {
    // The namespace belongs to the thread and to whatever it starts, and ends with them.
    std::thread::spawn(move || {
        if let Err(errno) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
            eprintln!("skipped: no network namespace of its own: {errno}");
            return None;
        }
        if !succeeds("ip", &["link", "set", "lo", "up"], "") || !succeeds("nft", &["list", "ruleset"], "") {
            eprintln!("skipped: needs the programs ip and nft");
            return None;
        }
        let mut handle = start(&Config { breaker, ..Config::default() });
        let port = handle.replicas[1].port;
        let rules = format!(
            "table inet cut {{ chain cut {{ type filter hook input priority 0; \
             tcp dport {port} drop; tcp sport {port} drop; }}; }}\n"
        );
        let load = block_on(load(&handle.base_url, 100, seconds, async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert!(succeeds("nft", &["-f", "-"], &rules));
        }));
        eprintln!("packets dropped, breaker {}: {load:?}", if breaker { "on" } else { "off" });
        assert!(replicas(&handle)[1].healthy, "the health check does not see it");
        assert!(succeeds("nft", &["delete", "table", "inet", "cut"], ""));
        eventually("it heals", || health(&handle).1.in_rotation == 4);
        handle.stop().expect("it stops");
        Some(load)
    })
    .join()
    .expect("the test ran")
}

fn succeeds(program: &str, arguments: &[&str], input: &str) -> bool {
    let child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    let Ok(mut child) = child else { return false };
    let written = child.stdin.take().is_some_and(|mut stdin| stdin.write_all(input.as_bytes()).is_ok());
    child.wait().is_ok_and(|status| status.success()) && written
}

fn who_asks_for_nonsense_is_told_so() {
    use std::os::unix::process::CommandExt as _;
    for (arguments, code) in [(["--replicas", "0"], 2), (["replica", "--what"], 2), (["--port", "x"], 2)] {
        let output =
            Command::new("/proc/self/exe").arg0(chaos_demo::NAME).args(arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    // A replica is nobody's but a supervisor's.
    let stray = ["replica", "--supervisor", "1"];
    let output = Command::new("/proc/self/exe").arg0(chaos_demo::NAME).args(stray).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
}

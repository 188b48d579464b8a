//! Runs without a server, on victims that the test itself starts: a program of ours under a name of its own that only
//! sleeps. Real faults by the real program; nothing else on this machine is touched.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Nothing here takes longer, however busy the machine.
const DEADLINE: Duration = Duration::from_secs(40);

/// A sleeping process under a name that nothing else has; gone when the test is.
struct Victim {
    child: Child,
    name: String,
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Victim {
    fn state(&self) -> char {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the victim lives");
        let after = stat.rsplit_once(") ").expect("a state").1;
        after.chars().next().expect("a letter")
    }
}

/// A folder of its own for state, home and victims.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn victim(&self, suffix: &str) -> Victim {
        let name = format!("victim-{}-{suffix}", std::process::id());
        let program = self.path(&name);
        fs::copy(sleep_program(), &program).expect("copied");
        let child = start(Command::new(&program).arg("600").stdin(Stdio::null()));
        Victim { child, name }
    }

    fn chaos(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
        command.env_clear().env("HOME", self.0.path()).env("CHAOS_STATE", self.path("state")).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.chaos(arguments).output().expect("the program starts"))
    }

    /// A pause of a whole app, which needs the caps lifted.
    fn pause(&self, victim: &Victim, name: &str, duration: &str) -> Command {
        self.chaos(&[
            "run",
            "--type",
            "process_pause",
            "--name",
            name,
            "--target-app",
            &victim.name,
            "--duration",
            duration,
            "--override",
            "max_affected,last_ready_instance",
            "--reason",
            "a test",
        ])
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.run(&[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
    }

    fn wait_for_phase(&self, name: &str, phase: &str) {
        eventually(&format!("{name} is {phase}"), || {
            let rows = self.json(&["list"]);
            rows.as_array()
                .is_some_and(|rows| rows.iter().any(|row| row["name"] == name && row["phase"] == phase))
        });
    }
}

/// Copying a program races with forks of other threads that still hold it open for writing.
fn start(command: &mut Command) -> Child {
    let begin = Instant::now();
    loop {
        match command.spawn() {
            Ok(child) => return child,
            Err(error)
                if error.kind() == std::io::ErrorKind::ExecutableFileBusy && begin.elapsed() < DEADLINE => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn sleep_program() -> &'static Path {
    let found = ["/usr/bin/sleep", "/bin/sleep"].into_iter().map(Path::new).find(|path| path.exists());
    found.expect("a program that sleeps")
}

#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A started program that does not outlive a failed test.
struct Running(Option<Child>);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(Some(command.spawn().expect("the program starts")))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.as_ref().expect("running").id() as i32)
    }

    fn wait(mut self) -> Ended {
        let mut child = self.0.take().expect("running");
        let begin = Instant::now();
        while child.try_wait().expect("a child").is_none() {
            assert!(begin.elapsed() < DEADLINE, "the program does not end");
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ended::of(child.wait_with_output().expect("ended"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < DEADLINE, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn a_run_in_this_process_holds_and_is_found_afterwards() {
    let place = Place::new();
    let victim = place.victim("held");
    let ended = Ended::of(place.pause(&victim, "held", "1").output().expect("starts"));
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.starts_with("held  default/held"), "{}", ended.out);
    assert!(ended.out.contains("report: chaos report held"), "{}", ended.out);
    assert!(ended.err.contains("active after"), "{}", ended.err);
    assert_eq!(victim.state(), 'S');
    let rows = place.json(&["list"]);
    assert_eq!((&rows[0]["status"], &rows[0]["verdict"]), (&"completed".into(), &"held".into()));
    assert_eq!(place.json(&["status", "held"])["latest"]["injections"][0]["state"], "reverted");
    assert!(place.run(&["report", "held"]).out.contains("held"));
    assert_eq!(place.run(&["delete", "held"]).code, 0);
    assert_eq!(place.json(&["list"]), Value::Array(Vec::new()));
}

#[test]
fn what_a_gate_refuses_is_exit_5_and_touches_nothing() {
    let place = Place::new();
    let victim = place.victim("blocked");
    let arguments =
        ["run", "--type", "pod_kill", "--name", "blocked", "--target-app", &victim.name, "--duration", "1"];
    let ended = place.run(&arguments);
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(ended.out.contains("last_ready_instance"), "{}", ended.out);
    assert!(ended.out.contains("unmanaged_kill"), "{}", ended.out);
    assert_eq!(victim.state(), 'S');
    assert_eq!(place.run(&[&arguments[..], &["--expect", "blocked"]].concat()).code, 0);
    assert_eq!(place.run(&[&arguments[..], &["--expect", "held"]].concat()).code, 3);
    let plan = place.run(&[&arguments[..], &["--dry-run"]].concat());
    assert_eq!(plan.code, 5, "{plan:?}");
    assert!(plan.out.contains("would be blocked; nothing was changed"), "{}", plan.out);
}

#[test]
fn a_target_that_matches_nothing_is_exit_2_and_names_what_was_seen() {
    let place = Place::new();
    let victim = place.victim("seen");
    let ended =
        place.run(&["run", "--type", "pod_kill", "--target-app", "no-such-app-anywhere", "--duration", "1"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    let all = format!("{}{}", ended.out, ended.err);
    assert!(all.contains("nothing matches app \"no-such-app-anywhere\""), "{all}");
    assert!(all.contains("apps seen:"), "{all}");
    let preview = place.run(&["targets", "--target-app", "no-such-app-anywhere"]);
    assert_eq!(preview.code, 2, "{preview:?}");
    let found = place.json(&["targets", "--target-app", &victim.name, "--select", "all"]);
    assert_eq!(found["instances"].as_array().map(Vec::len), Some(1), "{found}");
}

#[test]
fn an_interrupted_run_is_undone_before_the_program_ends() {
    let place = Place::new();
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let victim = place.victim(signal.as_str());
        let name = format!("interrupted-{code}");
        let run = Running::start(&mut place.pause(&victim, &name, "60"));
        place.wait_for_phase(&name, "active");
        assert_eq!(victim.state(), 't');
        kill(run.pid(), signal).expect("sent");
        let ended = run.wait();
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(ended.err.contains("everything reverted, proven after"), "{}", ended.err);
        assert_eq!(victim.state(), 'S');
    }
}

#[test]
fn another_terminal_finds_the_run_and_stops_it() {
    let place = Place::new();
    let victim = place.victim("stopped");
    let run = Running::start(&mut place.pause(&victim, "stopped", "60"));
    place.wait_for_phase("stopped", "active");
    let stop = place.run(&["stop", "stopped", "--reason", "enough"]);
    assert_eq!(stop.code, 0, "{stop:?}");
    assert!(stop.out.contains("1 fault reverted, proven after"), "{}", stop.out);
    assert_eq!(victim.state(), 'S');
    let ended = run.wait();
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.out.contains("enough"), "{}", ended.out);
}

#[test]
fn a_second_run_joins_the_first_which_stays_until_both_have_ended() {
    let place = Place::new();
    let (one, two) = (place.victim("first"), place.victim("second"));
    let first = Running::start(&mut place.pause(&one, "first", "60"));
    place.wait_for_phase("first", "active");
    let second = Running::start(&mut place.pause(&two, "second", "60"));
    place.wait_for_phase("second", "active");
    assert_eq!(place.run(&["stop", "first"]).code, 0);
    place.wait_for_phase("first", "finished");
    assert_eq!(two.state(), 't');
    assert_eq!(place.run(&["stop", "--all"]).code, 0);
    assert_eq!(second.wait().code, 4);
    let first = first.wait();
    assert_eq!(first.code, 4, "{first:?}");
    assert!(first.err.contains("go on in this process"), "{}", first.err);
}

#[test]
fn a_killed_run_leaves_nothing_and_its_journal_is_closed() {
    let place = Place::new();
    let victim = place.victim("killed");
    let mut run = Running::start(&mut place.pause(&victim, "killed", "60"));
    place.wait_for_phase("killed", "active");
    let mut child = run.0.take().expect("running");
    child.kill().expect("killed");
    child.wait().expect("ended");
    eventually("the victim goes on", || victim.state() == 'S');
    let row = place.json(&["status", "killed"]);
    assert_eq!(row["status"], "error", "{row}");
    assert_eq!(row["latest"]["injections"][0]["state"], "reverted", "{row}");
}

#[test]
fn a_server_takes_what_create_gives_it_and_reverts_at_its_end() {
    let place = Place::new();
    let victim = place.victim("served");
    let mut serve = place.chaos(&["serve", "--listen", "127.0.0.1:0"]);
    let mut serve = Running::start(serve.stderr(Stdio::piped()));
    let lock = place.path("state/lock");
    eventually("the server is up", || fs::read_to_string(&lock).is_ok_and(|text| text.contains("http://")));
    let document = serde_json::json!({
        "apiVersion": "chaos.engineering/v1",
        "kind": "Experiment",
        "metadata": { "name": "served" },
        "spec": {
            "target": { "host": { "app": victim.name } },
            "faults": [ { "process_pause": {} } ],
            "duration": "60s",
        },
    });
    fs::write(place.path("served.json"), document.to_string()).expect("written");
    let file = place.path("served.json");
    let created = place.run(&[
        "create",
        "--yaml",
        file.to_str().expect("UTF-8"),
        "--override",
        "max_affected,last_ready_instance",
        "--reason",
        "a test",
    ]);
    assert_eq!(created.code, 0, "{created:?}");
    place.wait_for_phase("served", "active");
    assert_eq!(victim.state(), 't');
    kill(serve.pid(), Signal::SIGTERM).expect("sent");
    let mut said = String::new();
    let mut child = serve.0.take().expect("running");
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("UTF-8");
    assert_eq!(child.wait().expect("ended").code(), Some(0), "{said}");
    assert!(said.contains("1 fault reverted, proven after"), "{said}");
    assert_eq!(victim.state(), 'S');
}

#[test]
fn who_looks_and_who_runs_at_the_same_time_do_not_disturb_each_other() {
    let place = Place::new();
    let victim = place.victim("watched");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..15 {
                    let ended = place.run(&["list"]);
                    assert_eq!(ended.code, 0, "{ended:?}");
                }
            });
        }
        for number in 0..4 {
            let ended = Ended::of(
                place.pause(&victim, &format!("watched-{number}"), "200ms").output().expect("starts"),
            );
            assert_eq!(ended.code, 0, "{ended:?}");
        }
    });
    assert_eq!(place.json(&["list", "--verdict", "held"]).as_array().map(Vec::len), Some(4));
}

/// Registers a pause of that length; the caps refuse to start it.
fn register(place: &Place, victim: &Victim, duration: &str) {
    let arguments = ["run", "--type", "process_pause", "--name", "risky", "--target-app", &victim.name];
    let ended = place.run(&[&arguments[..], &["--duration", duration]].concat());
    assert_eq!(ended.code, 5, "{ended:?}");
}

/// Passes every connection on until one comes when it is `over`; calls `before` ahead of bytes that hold `needle`.
fn pass_on(listener: &TcpListener, to: &str, needle: &str, before: impl Fn() + Sync, over: &AtomicBool) {
    std::thread::scope(|scope| {
        for caller in listener.incoming() {
            let mut caller = caller.expect("accepted");
            if over.load(Ordering::SeqCst) {
                return;
            }
            let before = &before;
            scope.spawn(move || {
                let mut server = TcpStream::connect(to).expect("the server is there");
                let (mut answers, mut back) =
                    (server.try_clone().expect("open"), caller.try_clone().expect("open"));
                let answering = std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
                let mut bytes = [0; 16 << 10];
                while let Ok(read @ 1..) = caller.read(&mut bytes) {
                    let bytes = &bytes[..read];
                    if String::from_utf8_lossy(bytes).contains(needle) {
                        before();
                    }
                    server.write_all(bytes).expect("passed on");
                }
                let _ = server.shutdown(Shutdown::Write);
                let _ = answering.join();
            });
        }
    });
}

#[test]
fn a_document_that_is_swapped_between_the_look_and_the_approval_is_not_approved() {
    let place = Place::new();
    let victim = place.victim("approved");
    let _serve = Running::start(&mut place.chaos(&["serve", "--listen", "127.0.0.1:0"]));
    let lock = place.path("state/lock");
    let address = || {
        let text = fs::read_to_string(&lock).ok()?;
        let after = text.split_once("http://")?.1;
        Some(after.split(['"', '/', '\n', ' ']).next()?.to_owned())
    };
    eventually("the server is up", || address().is_some());
    let address = address().expect("an address");
    register(&place, &victim, "60s");
    let first = place.json(&["status", "risky"])["document_hash"].as_str().expect("a hash").to_owned();
    assert!(place.run(&["status", "risky"]).out.contains(&format!("document: {first}")));

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let door = listener.local_addr().expect("an address");
    let over = AtomicBool::new(false);
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| pass_on(&listener, &address, "/approve", || register(&place, &victim, "90s"), &over));
        let ended = place.run(&["approve", "risky", "--server", &format!("http://{door}")]);
        over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(door));
        ended
    });
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.err.contains(&format!("faults:   process_pause\n  document: {first}\n")), "{ended:?}");
    assert!(ended.err.contains(&victim.name) && ended.err.contains("default/risky"), "{ended:?}");
    assert!(ended.err.contains("look at it again"), "{ended:?}");

    let second = place.json(&["status", "risky"])["document_hash"].as_str().expect("a hash").to_owned();
    assert_ne!(first, second);
    assert_eq!(place.run(&["approve", "risky", "--document", &first]).code, 2);
    let ended = place.run(&["approve", "risky", "--document", &second]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains(&second), "{ended:?}");
    assert_eq!(place.run(&["approve", "risky"]).code, 0);
}

//! Every example for a host, run for real against the sample system, in namespaces of its own: nothing else on this
//! machine has its processes, its ports or its network.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

/// Set for the part of the test that runs inside.
const INSIDE: &str = "CHAOS_TEST_INSIDE_NAMESPACES";
/// The sample system is up by then.
const STARTS_WITHIN: Duration = Duration::from_secs(30);
/// The examples that a user meets first; those of `host/` come in addition.
const FIRST: [&str; 4] = [
    "pod-kill-experiment",
    "cpu-stress-experiment",
    "network-partition-experiment",
    "memory-pressure-experiment",
];

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let first = FIRST.map(|name| folder.join(format!("{name}.yaml")));
    let host = chaos_core::spec::FaultKind::ALL.map(|kind| folder.join("host").join(format!("{kind}.yaml")));
    first.into_iter().chain(host).collect()
}

#[test]
fn every_example_holds_against_the_sample_system() {
    if !geteuid().is_root() {
        eprintln!("skipped: needs root for namespaces of its own");
        return;
    }
    let found = |program: &str| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !found("unshare") || !found("ip") {
        eprintln!("skipped: needs unshare (util-linux) and ip (iproute2)");
        return;
    }
    let output = Command::new("unshare")
        .args(["--net", "--pid", "--fork", "--mount-proc", "--kill-child"])
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", "inside", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare starts");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
}

/// The other half of the test above; alone it does nothing.
#[test]
fn inside() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip starts");
    assert!(up.success(), "the loopback interface comes up");
    let home = tempfile::tempdir().expect("a folder");
    let chaos = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
        command.env_clear().env("HOME", home.path()).env("CHAOS_STATE", home.path().join("state"));
        command.stdin(Stdio::null());
        command
    };
    let mut sample = Sample::start(chaos().args(["demo", "--keep"]));
    let mut run = chaos();
    run.args(["run", "--quiet", "--duration", "1s", "--output", "json"]);
    for example in examples() {
        run.arg("-f").arg(example);
    }
    let output = run.output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).expect("an array");
    let rows = rows.as_array().expect("an array");
    for row in rows {
        assert_eq!(row["verdict"], "held", "{}: {}", row["name"], row["reason"]);
    }
    assert_eq!((output.status.code(), rows.len()), (Some(0), examples().len()), "{said}");
    sample.end();
}

/// The sample system, gone when the test is.
struct Sample(Child);

impl Sample {
    fn start(command: &mut Command) -> Self {
        let sample = Self(command.stdout(Stdio::null()).spawn().expect("the program starts"));
        let begin = Instant::now();
        while TcpStream::connect("127.0.0.1:8080").is_err() {
            assert!(begin.elapsed() < STARTS_WITHIN, "the sample system does not start");
            std::thread::park_timeout(Duration::from_millis(50));
        }
        sample
    }

    fn end(&mut self) {
        kill(Pid::from_raw(self.0.id() as i32), Signal::SIGINT).expect("it runs");
        assert_eq!(self.0.wait().expect("it ends").code(), Some(0));
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

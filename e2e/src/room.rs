//! Rooms: namespaces of their own for one test or one soak, with their own processes, network, mounts and cgroups.
//!
//! Owns their making and their end. What happens in a room can't be seen from other rooms, whatever runs beside it,
//! and when its first process ends the kernel ends all the others. It never changes anything outside but for one
//! cgroup per hierarchy, which it removes.

mod build;
mod cgroups;
mod init;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

pub use init::{bring_loopback_up, init};

/// Set inside of a room.
pub const INSIDE: &str = "CHAOS_E2E_ROOM";
/// Exit code of the program `room` when this machine allows no rooms.
pub const NO_ROOM: u8 = 77;
/// Longest life of the room of one test.
pub const TEST_LIMIT: Duration = Duration::from_secs(150);

/// Whether the calling process is in a room.
#[must_use]
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// A program that snapshots need and this machine lacks.
#[must_use]
pub fn missing_program() -> Option<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    // A plain user's path often lacks the administration folders.
    folders.extend(["/usr/sbin".into(), "/sbin".into()]);
    ["nft", "tc"].into_iter().find(|name| !folders.iter().any(|folder| folder.join(name).is_file()))
}

/// The command that runs `program` in a room of its own; add its arguments.
#[must_use]
pub fn command(room: &Path, limit: Duration, program: &Path) -> Command {
    let mut command = Command::new(room);
    command.arg(limit.as_secs().to_string()).arg(program);
    command
}

/// Runs the calling test again in a room and judges it there; true when this is that second time. To be called
/// through [`crate::in_a_room`].
///
/// # Panics
/// The test failed in its room; what it printed is printed.
#[expect(clippy::print_stderr, reason = "the way a test says that it was skipped, or why it failed")]
#[must_use]
pub fn hold(room: &str, marker: &str) -> bool {
    if is_inside() {
        return true;
    }
    if let Some(name) = missing_program() {
        eprintln!("skipped: {name} is not installed");
        return false;
    }
    let test = test_name(marker);
    let program = std::env::current_exe().expect("the path of this test");
    let mut command = command(Path::new(room), TEST_LIMIT, &program);
    command.args(["--exact", &test, "--nocapture", "--test-threads", "1", "--color", "never"]);
    let output = command.stdin(Stdio::null()).output().expect("the program `room`");
    let errors = String::from_utf8_lossy(&output.stderr);
    for line in errors.lines().filter(|line| line.starts_with("skipped: ")) {
        eprintln!("{line}");
    }
    let code = output.status.code();
    if code == Some(i32::from(NO_ROOM)) {
        return false;
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "{test} failed in its room ({}):\n{printed}\n{errors}",
        output.status
    );
    false
}

/// `crate::module::test::here` → `module::test`.
fn test_name(marker: &str) -> String {
    let path = marker.strip_suffix("::here").unwrap_or(marker);
    path.split_once("::").map_or(path, |(_, rest)| rest).to_owned()
}

/// Goes on only inside of a room: outside, it runs the calling test in one, and returns from the test.
#[macro_export]
macro_rules! in_a_room {
    () => {
        fn here() {}
        if !$crate::room::hold(env!("CARGO_BIN_EXE_room"), std::any::type_name_of_val(&here)) {
            return;
        }
    };
}

/// The program `room`.
#[must_use]
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let role = arguments.next().unwrap_or_default();
    let arguments: Vec<_> = arguments.collect();
    if role == build::INIT {
        return init(&arguments);
    }
    if role == build::BUILDER {
        return build::builder(&arguments);
    }
    build::outside(&arguments)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_test_is_named_as_the_test_harness_names_it() {
        assert_eq!(super::test_name("e2e::soak::it_heals::here"), "soak::it_heals");
        assert_eq!(super::test_name("soak::it_heals::here"), "it_heals");
    }
}

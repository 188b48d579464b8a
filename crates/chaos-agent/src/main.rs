//! `chaos-agent`: the node agent's own small program.
//!
//! Owns its command line. It never listens, and it prints what the library found, nothing else.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use chaos_agent::{doctor, holder, sweep};
use chaos_core::run::InjectionState;

const USAGE: &str = "usage: chaos-agent recover [--state DIR] [--force] | doctor | --version";
/// Something could not be undone: act now.
const EXIT_REVERT_INCOMPLETE: u8 = 7;

fn main() -> ExitCode {
    if let Some(code) = holder::run_if_holder() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["recover", options @ ..] => recover(options),
        ["doctor"] => print(&doctor::examine().to_string(), ExitCode::SUCCESS),
        ["--version" | "-V"] => print(concat!("chaos-agent ", env!("CARGO_PKG_VERSION")), ExitCode::SUCCESS),
        ["--help" | "-h"] => print(USAGE, ExitCode::SUCCESS),
        _ => usage(),
    }
}

fn recover(options: &[&str]) -> ExitCode {
    let (mut state, mut force) = (chaos_agent::default_state_dir(), false);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match (*option, options.as_slice().first()) {
            ("--force", _) => force = true,
            ("--state", Some(folder)) => (state, _) = (PathBuf::from(folder), options.next()),
            _ => return usage(),
        }
    }
    match sweep::recover(&state, force) {
        Ok(reports) => {
            let failed = reports.iter().any(|report| report.state == InjectionState::RevertFailed);
            let lines: Vec<_> = reports.iter().flat_map(serde_json::to_string).collect();
            print(&lines.join("\n"), if failed { EXIT_REVERT_INCOMPLETE.into() } else { ExitCode::SUCCESS })
        }
        Err(error) => print(&format!("chaos-agent: {error}"), ExitCode::FAILURE),
    }
}

fn usage() -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{USAGE}");
    ExitCode::from(2)
}

fn print(text: &str, code: ExitCode) -> ExitCode {
    // A reader that has gone away is no reason to panic.
    let newline = if text.is_empty() { "" } else { "\n" };
    let _ = write!(std::io::stdout(), "{text}{newline}");
    code
}

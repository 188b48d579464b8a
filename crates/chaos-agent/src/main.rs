//! `chaos-agent`: the node agent's own small program.
//!
//! Owns its command line. It never listens, and it prints what the library found, nothing else.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use chaos_agent::link::config::{Options, Setup, SetupError};
use chaos_agent::link::program::{self, AgentError};
use chaos_agent::{doctor, holder, sweep};
use chaos_core::run::InjectionState;

const USAGE: &str = "\
usage: chaos-agent run --server URL [--name HOST] [--token-file FILE] [--ca FILE] [--config-file FILE] [--state DIR]
       chaos-agent recover [--state DIR] [--force]
       chaos-agent doctor | --version
The token may also be in CHAOS_TOKEN; it is never an argument.";
/// The command line makes no sense.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    if let Some(code) = holder::run_if_holder() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["run", options @ ..] => run(options),
        ["recover", options @ ..] => recover(options),
        ["doctor"] => print(&doctor::examine().to_string(), ExitCode::SUCCESS),
        ["--version" | "-V"] => print(concat!("chaos-agent ", env!("CARGO_PKG_VERSION")), ExitCode::SUCCESS),
        ["--help" | "-h"] => print(USAGE, ExitCode::SUCCESS),
        _ => usage(),
    }
}

fn run(options: &[&str]) -> ExitCode {
    let Some(options) = read_options(options) else { return usage() };
    let setup = match Setup::from(options) {
        Ok(setup) => setup,
        Err(error @ (SetupError::NoServer | SetupError::Server(_) | SetupError::Defect { .. })) => {
            complain(&error.to_string());
            return ExitCode::from(EXIT_USAGE);
        }
        Err(error) => {
            complain(&error.to_string());
            return ExitCode::FAILURE;
        }
    };
    match program::run(&setup, &complain) {
        Ok(code) => code.into(),
        Err(error) => {
            complain(&error.to_string());
            let usage = matches!(error, AgentError::Lock(_));
            if usage { ExitCode::from(EXIT_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// `None` when they make no sense.
fn read_options(mut given: &[&str]) -> Option<Options> {
    let mut options = Options::default();
    while let [name, rest @ ..] = given {
        let (name, value, rest) = match (name.split_once('='), rest) {
            (Some((name, value)), rest) => (name, value, rest),
            (None, [value, rest @ ..]) => (*name, *value, rest),
            (None, []) => return None,
        };
        match name {
            "--server" => options.server = Some(value.to_owned()),
            "--name" => options.name = Some(value.to_owned()),
            "--token-file" => options.token_file = Some(PathBuf::from(value)),
            "--ca" => options.ca = Some(PathBuf::from(value)),
            "--config-file" => options.file = Some(PathBuf::from(value)),
            "--state" => options.state = Some(PathBuf::from(value)),
            _ => return None,
        }
        given = rest;
    }
    Some(options)
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
            let code = if failed { program::EXIT_REVERT_INCOMPLETE.into() } else { ExitCode::SUCCESS };
            print(&lines.join("\n"), code)
        }
        Err(error) => print(&format!("chaos-agent: {error}"), ExitCode::FAILURE),
    }
}

fn usage() -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{USAGE}");
    ExitCode::from(EXIT_USAGE)
}

/// A line for people.
fn complain(text: &str) {
    // A reader that has gone away is no reason to panic.
    let _ = writeln!(std::io::stderr(), "chaos-agent: {text}");
}

fn print(text: &str, code: ExitCode) -> ExitCode {
    let newline = if text.is_empty() { "" } else { "\n" };
    let _ = write!(std::io::stdout(), "{text}{newline}");
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_in_both_forms() {
        let read = read_options(&["--server", "http://a:1", "--name=web", "--state", "/s"]).expect("sound");
        assert_eq!(read.server.as_deref(), Some("http://a:1"));
        assert_eq!(read.name.as_deref(), Some("web"));
        assert_eq!(read.state, Some(PathBuf::from("/s")));
        assert_eq!(read_options(&["--server"]), None);
        assert_eq!(read_options(&["--token", "secret"]), None, "a token is never an argument");
    }
}

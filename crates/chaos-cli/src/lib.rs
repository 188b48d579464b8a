//! The command line `chaos`.
//!
//! Owns arguments, configuration, output and exit codes, and the composition of node and server for work on this host.
//! It never decides: what may start, what is proven and what is learnt is the core's and the engine's.

mod args;
mod catalogue;
mod commands;
mod config;
mod connect;
mod documents;
mod exit;
mod output;
mod show;
mod signals;
mod watch;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Cli, Command};
use config::{Environment, Settings};
use exit::Failure;
use output::{Output, complain};

/// The program. To be called first in `main`: a fault process and the demo system are this executable, run again.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(code) = chaos_agent::holder::run_if_holder() {
        return code;
    }
    if std::env::args_os().next().is_some_and(|argv0| chaos_demo::is_orchestrator(&argv0)) {
        return chaos_demo::main(std::env::args().skip(1));
    }
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.len() <= 1 {
        let _ = Cli::command().print_help();
        return ExitCode::SUCCESS;
    }
    match Cli::try_parse_from(arguments) {
        Ok(mut cli) => {
            if let Command::Agent(args) = &mut cli.command {
                // Its file is of another kind than everybody else's.
                args.file = cli.global.config_file.take();
            }
            ExitCode::from(run(&cli))
        }
        Err(error) => {
            // A reader that has gone is no error.
            let _ = error.print();
            let _ = std::io::stdout().flush();
            ExitCode::from(if error.use_stderr() { exit::USAGE } else { 0 })
        }
    }
}

fn run(cli: &Cli) -> u8 {
    let outcome = Settings::load(&cli.global, &Environment::current()).and_then(|settings| {
        start_log(&settings, cli.global.verbose)?;
        let out = Output::new(settings.output.value, cli.global.quiet, cli.global.verbose, settings.no_color);
        commands::dispatch(&cli.command, &settings, &out)
    });
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            complain(&format!("error: {failure}"));
            failure.code()
        }
    }
}

/// Log lines go to standard error; `CHAOS_LOG` outweighs `-v`.
fn start_log(settings: &Settings, verbose: u8) -> Result<(), Failure> {
    let filter = match (&settings.log, verbose) {
        (Some(log), _) => log.value.clone(),
        (None, 0) => "error".to_owned(),
        (None, 1) => "info".to_owned(),
        (None, _) => "debug".to_owned(),
    };
    let filter = tracing_subscriber::EnvFilter::try_new(&filter)
        .map_err(|error| Failure::usage(format!("CHAOS_LOG is {filter:?}: {error}")))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    Ok(())
}

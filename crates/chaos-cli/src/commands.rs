//! Every verb, one file each, and the way from the parsed command line to its end.
//!
//! Owns the dispatch. What a verb does stands in its file.

pub(crate) mod agent;
pub(crate) mod approve;
pub(crate) mod audit;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod faults;
pub(crate) mod generate;
pub(crate) mod health;
pub(crate) mod incident;
pub(crate) mod init;
pub(crate) mod lever;
pub(crate) mod list;
pub(crate) mod recover;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod store;
pub(crate) mod targets;
pub(crate) mod token;
pub(crate) mod validate;

use crate::args::Command;
use crate::config::Settings;
use crate::exit::Failure;
use crate::output::Output;

/// Carries a verb out; the result is its exit code.
pub(crate) fn dispatch(command: &Command, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    match command {
        Command::Validate(args) => validate::run(args, out),
        Command::Init(args) => init::run(args, settings, out),
        Command::Faults(args) => faults::run(args, out),
        Command::Config(args) => config::run(args, settings, out),
        Command::Completions(args) => completions::run(args, out),
        Command::Generate(args) => generate::run(args),
        Command::Doctor(args) => block_on(doctor::run(args, settings, out)),
        Command::Agent(args) => agent::run(args, settings, out),
        Command::Recover(args) => recover::run(args, settings, out),
        Command::Run(args) => block_on(run::run(args, settings, out)),
        Command::Create(args) => block_on(create::run(args, settings, out)),
        Command::List(args) => block_on(list::run(args, settings, out)),
        Command::Status(args) => block_on(status::run(args, settings, out)),
        Command::Stop(args) => block_on(stop::run(args, settings, out)),
        Command::Delete(args) => block_on(delete::run(args, settings, out)),
        Command::Health(args) => block_on(health::run(args, settings, out)),
        Command::Report(args) => block_on(report::run(args, settings, out)),
        Command::Lever(args) => block_on(lever::run(args, settings, out)),
        Command::Approve(args) => block_on(approve::run(args, settings, out)),
        Command::Incident(args) => block_on(incident::run(args, settings, out)),
        Command::Audit(args) => block_on(audit::run(args, settings, out)),
        Command::Token(args) => block_on(token::run(args, settings, out)),
        Command::Store(args) => block_on(store::run(args, settings, out)),
        Command::Targets(args) => block_on(targets::run(args, settings, out)),
        Command::Demo(args) => demo::run(args, settings, out),
        Command::Serve(args) => block_on(serve::run(args, settings, out)),
    }
}

/// Threads of the runtime: probes and journals beside the connection.
const WORKERS: usize = 2;

fn block_on(work: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .map_err(|error| anyhow::Error::new(error).context("cannot start the runtime"))?;
    runtime.block_on(Box::pin(work))
}

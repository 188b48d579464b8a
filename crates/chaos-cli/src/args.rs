//! The command line as types: global options and the one list of verbs.
//!
//! Owns what may be written. It never acts; each verb's own options stand in its file under `commands/`.

use std::path::PathBuf;

use chaos_core::spec::ExperimentKey;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands;

const ABOUT: &str = "Run chaos experiments that prove what they break and prove that it is undone";

const LONG_ABOUT: &str = "\
Runs chaos experiments on this host: a document says what should stay true, what is broken and for how long. Every \
fault is proven active from the victim's side and proven undone afterwards; nobody has to stay alive for that.

Without a server, `chaos run` works in its own process, and other terminals find it. `chaos serve` is the server.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos run --type pod_kill --target-app orchestrator --duration 10
  chaos init && chaos validate experiment.yaml && chaos run -f experiment.yaml
  chaos list --output json | jq '.[] | {name, status, phase}'
  chaos stop --all --reason 'customers notice'

EXIT CODES:
  0 the hypothesis held              5 blocked before the start (a gate, the lever)
  1 internal error                   6 inconclusive: no data to judge by
  2 usage or invalid document        7 an undo is not proven: act now
  3 deviated: a weakness was found   130, 143 interrupted, everything reverted
  4 stopped by a guardrail or by hand

ENVIRONMENT:
  CHAOS_SERVER, CHAOS_TOKEN, CHAOS_CA, CHAOS_STATE, CHAOS_CONFIG_FILE, CHAOS_OUTPUT, CHAOS_TARGET_APP,
  CHAOS_SAFETY_THRESHOLD, CHAOS_PROMETHEUS, CHAOS_LOG, DATABASE_URL, NO_COLOR; `chaos config show` tells what holds and why";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "chaos", bin_name = "chaos", version, about = ABOUT, long_about = LONG_ABOUT)]
#[command(after_long_help = EXAMPLES, disable_help_subcommand = true, subcommand_required = true)]
#[command(max_term_width = 110)]
pub(crate) struct Cli {
    /// Options of every verb.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every verb.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config_file: Option<PathBuf>,
    /// State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]
    #[arg(long, global = true, value_name = "FORM", value_enum, hide_possible_values = false)]
    pub(crate) output: Option<Format>,
    /// Say nothing on standard error but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more on standard error; twice: even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// Forms of output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table or a few lines for people
    #[default]
    Text,
    /// The same with more columns
    Wide,
    /// One JSON value; lists are one array
    Json,
    /// One YAML document
    Yaml,
    /// One JSON value a line
    Jsonl,
}

impl Format {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Wide => "wide",
            Self::Json => "json",
            Self::Yaml => "yaml",
            Self::Jsonl => "jsonl",
        }
    }
}

/// Every verb.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run an experiment, watch it live, exit with its verdict
    #[command(long_about = commands::run::LONG)]
    Run(Box<commands::run::RunArgs>),
    /// Register an experiment on a server and start it, without waiting
    #[command(long_about = commands::create::LONG)]
    Create(commands::create::CreateArgs),
    /// List experiments
    #[command(long_about = commands::list::LONG)]
    List(commands::list::ListArgs),
    /// Show one experiment and its latest run
    #[command(long_about = commands::status::LONG)]
    Status(commands::status::StatusArgs),
    /// Stop one or all runs now; returns when every fault is proven reverted
    #[command(long_about = commands::stop::LONG)]
    Stop(commands::stop::StopArgs),
    /// Delete an experiment and its runs; an active run is stopped and reverted first
    #[command(long_about = commands::delete::LONG)]
    Delete(commands::delete::DeleteArgs),
    /// Engage, release or show the safety lever, which stops everything
    #[command(long_about = commands::lever::LONG)]
    Lever(commands::lever::LeverArgs),
    /// Approve an experiment of somebody else, as its document is now
    #[command(long_about = commands::approve::LONG)]
    Approve(commands::approve::ApproveArgs),
    /// Show the health score and each signal behind it
    #[command(long_about = commands::health::LONG)]
    Health(commands::health::HealthArgs),
    /// Print the report of a run
    #[command(long_about = commands::report::LONG)]
    Report(commands::report::ReportArgs),
    /// List, show and close incidents; print a post-mortem
    #[command(long_about = commands::incident::LONG)]
    Incident(commands::incident::IncidentArgs),
    /// Show and verify who asked for what
    #[command(long_about = commands::audit::LONG)]
    Audit(commands::audit::AuditArgs),
    /// Make, list, rotate and revoke tokens
    #[command(long_about = commands::token::LONG)]
    Token(commands::token::TokenArgs),
    /// Copy, restore and check the database of the state folder
    #[command(long_about = commands::store::LONG)]
    Store(commands::store::StoreArgs),
    /// Check documents without touching anything
    #[command(long_about = commands::validate::LONG)]
    Validate(commands::validate::ValidateArgs),
    /// Write a commented starter document
    #[command(long_about = commands::init::LONG)]
    Init(commands::init::InitArgs),
    /// List the faults, or show one with its parameters
    #[command(long_about = commands::faults::LONG)]
    Faults(commands::faults::FaultsArgs),
    /// Show what could be hit, and how many; changes nothing
    #[command(long_about = commands::targets::LONG)]
    Targets(commands::targets::TargetsArgs),
    /// Tell which faults this host can do, and why not
    #[command(long_about = commands::doctor::LONG)]
    Doctor(commands::doctor::DoctorArgs),
    /// Undo whatever a dead process left
    #[command(long_about = commands::recover::LONG)]
    Recover(commands::recover::RecoverArgs),
    /// Show the configuration and where each value comes from
    Config(commands::config::ConfigArgs),
    /// Run four experiments on a small real service and leave nothing
    #[command(long_about = commands::demo::LONG)]
    Demo(commands::demo::DemoArgs),
    /// Run the server
    #[command(long_about = commands::serve::LONG)]
    Serve(commands::serve::ServeArgs),
    /// Make this host a node of a server elsewhere
    #[command(long_about = commands::agent::LONG)]
    Agent(commands::agent::AgentArgs),
    /// Print a completion script for a shell
    Completions(commands::completions::CompletionsArgs),
    /// Write the generated reference files
    #[command(hide = true)]
    Generate(commands::generate::GenerateArgs),
}

/// Names one experiment.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExperimentArgs {
    /// Name of the experiment
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Its namespace
    #[arg(short, long, value_name = "NS", default_value = "default")]
    pub(crate) namespace: String,
}

impl ExperimentArgs {
    /// Namespace and name.
    pub(crate) fn key(&self) -> ExperimentKey {
        ExperimentKey { namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_long_help_with_examples() {
        for verb in Cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let after = verb.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            assert!(after.contains("EXAMPLES:"), "{}", verb.get_name());
            assert!(verb.get_about().is_some(), "{}", verb.get_name());
            let plain = ["config", "completions"].contains(&verb.get_name());
            assert!(plain || verb.get_long_about().is_some(), "{}", verb.get_name());
        }
    }
}

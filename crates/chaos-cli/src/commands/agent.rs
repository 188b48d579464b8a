//! `chaos agent`: this host as a node of a server elsewhere, until a signal ends it.

use std::path::PathBuf;

use chaos_agent::link::config::{Options, Setup, SetupError};
use chaos_agent::link::program::{self, AgentError};
use clap::Args;

use crate::config::{Origin, Setting, Settings};
use crate::exit::Failure;
use crate::output::Output;

/// What the help says of it.
pub(crate) const LONG: &str = "\
Makes this host a node of a server elsewhere. It dials out by WebSocket, shows a token of the role `agent`, says what \
the kernel can do and what its own file allows, and carries out faults for the server. It listens on nothing. Without \
the server every fault is undone at the end of its lease (15 s), and told when the server is there again. At its start \
it undoes whatever a dead process left. SIGTERM or Ctrl-C undoes everything, then ends it.

With this verb --config-file names the agent's own file: server, name, tokenFile, ca, state, and limits: { faults, \
apps, durationMax, commands: { NAME: [PROGRAM, ARGUMENT, …] } }. What it does not allow, no server can order. The token \
may also be in CHAOS_TOKEN; it is never an argument.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos agent --server https://chaos.example --token-file /etc/chaos/token
  chaos agent --config-file /etc/chaos/agent.yaml
  chaos targets --server https://chaos.example --target-app nginx";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct AgentArgs {
    /// What this host is called [default: its host name]
    #[arg(long, value_name = "HOST")]
    name: Option<String>,
    /// File with the bearer token, private to its owner
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The agent's own file: what the global option means with this verb.
    #[arg(skip)]
    pub(crate) file: Option<PathBuf>,
}

/// Does it.
pub(crate) fn run(args: &AgentArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    let options = Options {
        server: settings.server.as_ref().and_then(flag),
        name: args.name.clone(),
        token_file: args.token_file.clone(),
        ca: settings.ca.as_ref().and_then(flag),
        state: (settings.state.origin != Origin::Default).then(|| settings.state.value.clone()),
        file: args.file.clone(),
    };
    let setup = Setup::from(options).map_err(|error| match error {
        SetupError::Read { path, source } => Failure::file("read", &path, source),
        error => Failure::usage(error.to_string()),
    })?;
    program::run(&setup, &|line| out.note(line)).map_err(|error| match error {
        AgentError::Lock(error) => Failure::usage(error.to_string()),
        error => Failure::Other(error.into()),
    })
}

/// The value of an option; what else says it is behind the agent's own file.
fn flag<T: Clone>(setting: &Setting<T>) -> Option<T> {
    matches!(setting.origin, Origin::Flag(_)).then(|| setting.value.clone())
}

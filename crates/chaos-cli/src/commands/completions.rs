//! `chaos completions`: a completion script for a shell.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::Failure;
use crate::output::Output;

const EXAMPLES: &str = "\
EXAMPLES:
  source <(chaos completions bash)
  chaos completions zsh > \"${fpath[1]}/_chaos\"
  chaos completions fish > ~/.config/fish/completions/chaos.fish";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Does it.
pub(crate) fn run(args: &CompletionsArgs, out: &Output) -> Result<u8, Failure> {
    out.text(&script(args.shell))?;
    Ok(0)
}

/// The script of a shell.
pub(crate) fn script(shell: Shell) -> String {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "chaos", &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

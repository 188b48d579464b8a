//! `chaos delete`: an experiment goes, with its runs.

use clap::Args;

use crate::args::ExperimentArgs;
use crate::config::Settings;
use crate::connect;
use crate::exit::{self, Failure, REVERT_INCOMPLETE};
use crate::output::Output;
use crate::show;

/// What the help says of it.
pub(crate) const LONG: &str = "\
Deletes an experiment with its runs and their journals. An active run is stopped and reverted first; when its undo is \
not proven, the exit code is 7.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos delete orchestrator-pod-kill
  chaos delete checkout-latency --namespace shop --reason 'renamed'";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// Why, for the journal of a run that is stopped by it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Does it.
pub(crate) async fn run(args: &DeleteArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    let key = args.experiment.key();
    let reason = args.reason.as_deref();
    let response = connect::ask(settings, out, async |client| Ok(client.delete(&key, reason).await?)).await?;
    let printed = out.record(&response, || {
        let deleted = format!("deleted {key}");
        if response.runs.is_empty() { deleted } else { format!("{}\n{deleted}", show::stopped(&response)) }
    });
    Ok(exit::after_printing(printed, if response.is_complete() { 0 } else { REVERT_INCOMPLETE }))
}

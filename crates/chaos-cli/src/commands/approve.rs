//! `chaos approve`: consent to one experiment, as its document is now.

use chaos_api::ApprovalRequest;
use chaos_core::duration::Span;
use clap::Args;

use crate::args::ExperimentArgs;
use crate::config::Settings;
use crate::connect;
use crate::exit::Failure;
use crate::output::Output;

/// What the help says of it.
pub(crate) const LONG: &str = "\
Approves an experiment that is registered on a server, as its document is now: a changed document needs another \
approval. Who asks for a run can't be the one who approves it; a policy may ask for two people.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos create --yaml experiment.yaml --paused
  chaos approve checkout-pod-kill --reason 'agreed in CHG-4711'
  chaos approve checkout-pod-kill --valid-for 2h";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ApproveArgs {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// Why; recorded
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// How long it counts [default: as the policy says, else a day]
    #[arg(long, value_name = "TIME", value_parser = super::run::span)]
    valid_for: Option<Span>,
}

/// Does it.
pub(crate) async fn run(args: &ApproveArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    let key = args.experiment.key();
    let request = ApprovalRequest { reason: args.reason.clone(), valid_for: args.valid_for };
    let approve = async |client: &chaos_api::Client| Ok(client.approve(&key, &request).await?);
    let approval = connect::ask(settings, out, approve).await?;
    out.record(&approval, || {
        let hash = approval.document_hash.get(..12).unwrap_or(&approval.document_hash);
        format!("{} approved {} (document {hash}…) until {:.0}", approval.approver, key, approval.expires_at)
    })?;
    Ok(0)
}

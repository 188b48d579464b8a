//! `chaos approve`: consent to one experiment, as its document is now.
//!
//! Owns what is shown of that document before it is approved. It never decides whether an approval counts.

use chaos_api::{ApprovalRequest, Client, ExperimentDetail, ExperimentRecord};
use chaos_core::duration::Span;
use chaos_core::safety::Approval;
use clap::Args;

use crate::args::ExperimentArgs;
use crate::config::Settings;
use crate::connect;
use crate::exit::Failure;
use crate::output::{Output, or_dash};

/// What the help says of it.
pub(crate) const LONG: &str = "\
Approves an experiment that is registered on a server, as its document is now: a changed document needs another \
approval. What is approved is said first, and nothing is when another document is registered meanwhile; --document \
does the same since `chaos status` showed its hash. Who asks for a run can't be the one who approves it; a policy may \
ask for two people.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos create --yaml experiment.yaml --paused
  chaos approve checkout-pod-kill --reason 'agreed in CHG-4711'
  chaos approve checkout-pod-kill --document \"$(chaos status checkout-pod-kill --output json | jq -r .document_hash)\"
  chaos approve checkout-pod-kill --valid-for 2h";

/// More hosts than these are counted instead of named.
const HOSTS_SHOWN: usize = 8;

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ApproveArgs {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// Only this document, by the hash that `chaos status` shows [default: the one that is registered now]
    #[arg(long, value_name = "HASH")]
    document: Option<String>,
    /// Why; recorded
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// How long it counts [default: as the policy says, else a day]
    #[arg(long, value_name = "TIME", value_parser = super::run::span)]
    valid_for: Option<Span>,
}

/// Does it.
pub(crate) async fn run(args: &ApproveArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    let approval = connect::ask(settings, out, async |client| approve(client, args, out).await).await?;
    out.record(&approval, || {
        let hash = &approval.document_hash;
        let (who, what) = (&approval.approver, &approval.experiment);
        format!("{who} approved {what} (document {hash}) until {:.0}", approval.expires_at)
    })?;
    Ok(0)
}

async fn approve(client: &Client, args: &ApproveArgs, out: &Output) -> Result<Approval, Failure> {
    let key = args.experiment.key();
    let document_hash = match &args.document {
        Some(hash) => hash.clone(),
        None => {
            let detail = client.get(&key).await?;
            out.note(&shown(&detail));
            detail.document_hash
        }
    };
    let request = ApprovalRequest {
        document_hash: Some(document_hash),
        reason: args.reason.clone(),
        valid_for: args.valid_for,
    };
    Ok(client.approve(&key, &request).await?)
}

/// What is approved: of the document, as the latest run may have had another.
fn shown(detail: &ExperimentDetail) -> String {
    let document = &detail.document;
    let registered = ExperimentRecord::of(document, detail.record.created_at, None);
    let target = or_dash(Some(&registered.target));
    let hosts = match document.spec.target.hosts.as_slice() {
        [] => "every connected host".to_owned(),
        few if few.len() <= HOSTS_SHOWN => few.join(", "),
        many => format!("{} hosts", many.len()),
    };
    let faults: Vec<&str> = document.spec.faults.iter().map(|item| item.fault.kind().name()).collect();
    format!(
        "approving {}\n  target:   {target} on {hosts}\n  faults:   {}\n  document: {}",
        registered.key(),
        or_dash(Some(faults.join(", "))),
        detail.document_hash
    )
}

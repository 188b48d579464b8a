//! `chaos list`: every experiment with its latest run.

use chaos_api::ListQuery;
use chaos_core::run::{Status, Verdict};
use clap::Args;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::config::Settings;
use crate::connect;
use crate::exit::Failure;
use crate::output::Output;
use crate::show;

/// What the help says of it.
pub(crate) const LONG: &str = "\
Lists experiments of every namespace with how their latest run stands. With --output json it is one array. Without a \
server the state folder is read.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos list
  chaos list --status running --output wide
  chaos list --output json | jq '.[] | {name, status, phase}'";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ListArgs {
    /// Only this namespace
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,
    /// Only this status: pending, running, completed, stopped, blocked, cancelled, error
    #[arg(long, value_name = "STATUS", value_parser = word::<Status>)]
    status: Option<Status>,
    /// Only this type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only this verdict: held, deviated, stopped, blocked, inconclusive, error
    #[arg(long, value_name = "VERDICT", value_parser = word::<Verdict>)]
    verdict: Option<Verdict>,
}

/// A word of the vocabulary; an unknown one is told with the known.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string().replace('`', ""))
}

/// Does it.
pub(crate) async fn run(args: &ListArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    let query = ListQuery {
        namespace: args.namespace.clone(),
        status: args.status,
        kind: args.kind.clone(),
        verdict: args.verdict,
        ..ListQuery::default()
    };
    let records = connect::ask(settings, out, async |client| Ok(client.list(&query).await?)).await?;
    out.list(&records, || show::list(&records, out.is_wide(), Timestamp::now()))?;
    if records.is_empty() && out.for_people() {
        out.note("no experiment yet; `chaos run --type pod_kill --target-app APP` makes one");
    }
    Ok(0)
}

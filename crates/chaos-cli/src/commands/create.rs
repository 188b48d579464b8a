//! `chaos create`: registers documents on a server and starts them, without waiting for their end.

use std::path::PathBuf;

use chaos_api::{Client, CreateQuery, ExperimentDetail};
use chaos_core::spec::Experiment;
use clap::Args;
use jiff::Timestamp;

use crate::config::Settings;
use crate::connect::Connection;
use crate::documents;
use crate::exit::Failure;
use crate::output::Output;
use crate::show;

/// What the help says of it.
pub(crate) const LONG: &str = "\
Registers every document on a server and starts it; returns as soon as the gates have let it through, while it runs. \
--paused registers only. It needs a server, because this process does not stay: `chaos serve` starts one, and \
`chaos run` works without.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos create --yaml experiment.yaml
  chaos create --yaml experiments/ --paused
  chaos create --yaml - < experiment.yaml && chaos status NAME --watch";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct CreateArgs {
    /// File, folder, or - for standard input; may be given several times
    #[arg(short = 'f', long = "yaml", visible_alias = "file", required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Look into folders below a folder too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Register only, start nothing
    #[arg(long)]
    paused: bool,
    #[command(flatten)]
    overrides: super::run::OverrideArgs,
}

/// Does it.
pub(crate) async fn run(args: &CreateArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    let documents = documents::experiments(&args.files, args.recursive)?;
    let query = CreateQuery { start: Some(!args.paused), ..args.overrides.query()? };
    let connection = Connection::to_server(settings).await?;
    let created = create(&connection.client, documents, &query).await;
    connection.finish(out).await;
    let (created, failure) = created;
    let records: Vec<_> = created.iter().map(|detail| detail.record.clone()).collect();
    if !records.is_empty() {
        match records.as_slice() {
            [one] => out.record(one, || show::list(&records, out.is_wide(), Timestamp::now()))?,
            _ => out.list(&records, || show::list(&records, out.is_wide(), Timestamp::now()))?,
        }
    }
    failure.map_or(Ok(0), Err)
}

/// What was created before the first refusal, and that refusal.
async fn create(
    client: &Client,
    documents: Vec<Experiment>,
    query: &CreateQuery,
) -> (Vec<ExperimentDetail>, Option<Failure>) {
    let mut created = Vec::new();
    for document in documents {
        match client.create(&document.into(), query).await {
            Ok(detail) => created.push(detail),
            Err(error) => return (created, Some(error.into())),
        }
    }
    (created, None)
}

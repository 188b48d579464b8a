//! `chaos report`: the report of a run.

use std::path::PathBuf;

use chaos_api::{Client, ReportFormat};
use chaos_core::run::RunId;
use chaos_core::spec::ExperimentKey;
use clap::{Args, ValueEnum};

use crate::args::{ExperimentArgs, Format};
use crate::config::{Origin, Settings};
use crate::connect;
use crate::exit::Failure;
use crate::output::Output;

/// What the help says of it.
pub(crate) const LONG: &str = "\
Prints the report of the latest run of an experiment, or of the one that --run names: made from the journal alone, so \
that it is the same tomorrow. Without a server the state folder is read.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos report orchestrator-pod-kill
  chaos report orchestrator-pod-kill --format md -o report.md
  chaos report orchestrator-pod-kill --format junit > chaos.xml";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// Form of the report [default: text, or json with --output json]
    #[arg(long, value_enum, value_name = "FORM")]
    format: Option<ReportForm>,
    /// This run instead of the latest
    #[arg(long, value_name = "ID")]
    run: Option<String>,
    /// Write it to a file
    #[arg(short = 'o', value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Forms of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportForm {
    /// For a terminal
    Text,
    /// Markdown
    Md,
    /// For programs
    Json,
    /// JUnit XML, for CI
    Junit,
}

impl From<ReportForm> for ReportFormat {
    fn from(form: ReportForm) -> Self {
        match form {
            ReportForm::Text => Self::Text,
            ReportForm::Md => Self::Md,
            ReportForm::Json => Self::Json,
            ReportForm::Junit => Self::Junit,
        }
    }
}

/// Does it.
pub(crate) async fn run(args: &ReportArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    let as_json = settings.output.origin != Origin::Default
        && matches!(settings.output.value, Format::Json | Format::Jsonl | Format::Yaml);
    let form = args.format.unwrap_or(if as_json { ReportForm::Json } else { ReportForm::Text });
    let (key, run) = (args.experiment.key(), args.run.as_deref());
    let report =
        connect::ask(settings, out, async |client| fetch(client, &key, run, form.into()).await).await?;
    match &args.file {
        None => out.text(&report)?,
        Some(path) => {
            std::fs::write(path, report).map_err(|error| Failure::file("write", path, error))?;
            out.note(&format!("wrote {}", path.display()));
        }
    }
    Ok(0)
}

async fn fetch(
    client: &Client,
    key: &ExperimentKey,
    run: Option<&str>,
    format: ReportFormat,
) -> Result<String, Failure> {
    let run = match run {
        Some(run) => RunId(run.to_owned()),
        None => client.get(key).await?.record.run.ok_or_else(|| {
            Failure::usage(format!("{key} was never started, so there is nothing to report"))
        })?,
    };
    Ok(client.report(key, &run, format).await?)
}

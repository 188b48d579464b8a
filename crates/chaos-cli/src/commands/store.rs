//! `chaos store`: copies and checks of the state folder's database.

use std::path::PathBuf;

use chaos_server::upkeep::{self, CheckReport, UpkeepError};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::config::Settings;
use crate::exit::{Failure, INTERNAL};
use crate::output::{Mood, Output};

/// What the help says of it.
pub(crate) const LONG: &str = "\
Works on the database of the state folder: journals, lever, tokens, audit log, incidents. `backup` may run beside a \
server; `restore` needs the folder for itself; `check` looks whether every journal leads to what is told of its run, \
and whether the audit log is as it was written. With DATABASE_URL the database is PostgreSQL, which has pg_dump and \
pg_restore for copies.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos store backup chaos-2026-11-24.db
  chaos store check
  chaos store restore chaos-2026-11-24.db --replace";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Copy the database to a new file
    Backup(FileArgs),
    /// Put a copy in its place
    Restore(RestoreArgs),
    /// Check that everything fits together
    Check,
}

#[derive(Debug, Args)]
struct FileArgs {
    /// The copy
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, Args)]
struct RestoreArgs {
    /// The copy
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Although there is a database
    #[arg(long)]
    replace: bool,
}

/// What a check found, as it is printed.
#[derive(Debug, Serialize)]
struct Checked<'c> {
    whole: bool,
    schema: i64,
    experiments: u64,
    runs: u64,
    records: u64,
    audit_entries: u64,
    problems: &'c [String],
}

/// Does it.
pub(crate) async fn run(args: &StoreArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    let state = &settings.state.value;
    let database = settings.database.as_ref().map(|url| url.value.as_str());
    match &args.what {
        What::Backup(FileArgs { file }) => {
            only_of_files(database)?;
            Box::pin(upkeep::backup(state, file)).await.map_err(failure)?;
            out.note(&format!("{} is a copy of the database of {}", file.display(), state.display()));
            Ok(0)
        }
        What::Restore(RestoreArgs { file, replace }) => {
            only_of_files(database)?;
            Box::pin(upkeep::restore(state, file, *replace)).await.map_err(failure)?;
            out.note(&format!("{} is the database of {} now", file.display(), state.display()));
            Ok(0)
        }
        What::Check => {
            let report = Box::pin(upkeep::check(state, database)).await.map_err(failure)?;
            out.record(&checked(&report), || people(&report, out))?;
            Ok(if report.is_whole() { 0 } else { INTERNAL })
        }
    }
}

fn only_of_files(database: Option<&str>) -> Result<(), Failure> {
    match database {
        None => Ok(()),
        Some(_) => Err(Failure::usage(
            "DATABASE_URL names a PostgreSQL database; copy it with pg_dump, bring it back with pg_restore",
        )),
    }
}

fn failure(error: UpkeepError) -> Failure {
    match error {
        UpkeepError::Store(error) if error.conflict => Failure::usage(error.to_string()),
        UpkeepError::InUse(_) => Failure::usage(format!("{error}; stop that process first")),
        error => Failure::Other(error.into()),
    }
}

fn checked(report: &CheckReport) -> Checked<'_> {
    Checked {
        whole: report.is_whole(),
        schema: report.schema,
        experiments: report.experiments,
        runs: report.runs,
        records: report.records,
        audit_entries: report.audit_entries,
        problems: &report.problems,
    }
}

fn people(report: &CheckReport, out: &Output) -> String {
    let CheckReport { experiments, runs, records, audit_entries, problems, .. } = report;
    let counts =
        format!("{experiments} experiments, {runs} runs, {records} records, {audit_entries} audit entries");
    if problems.is_empty() {
        return format!("{}: {counts}", out.paint(Mood::Good, "everything fits together"));
    }
    let lines: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
    format!("{}: {counts}\n{}", out.paint(Mood::Bad, "something does not fit"), lines.join("\n"))
}

//! `chaos audit`: who asked for what, and whether the log is as it was written.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use chaos_api::{AuditVerification, Client};
use chaos_core::audit::{AuditEntry, Verification};
use clap::{Args, Subcommand};

use crate::config::Settings;
use crate::connect;
use crate::exit::{Failure, INTERNAL};
use crate::output::{self, Mood, Output, or_dash};

/// What the help says of it.
pub(crate) const LONG: &str = "\
Every call that changes something is an entry of the audit log, bound to the entry before it by its hash. `verify` \
goes through the whole log, or an exported file, and names the first entry that is not as it was written: the exit \
code is 1 then.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos audit list
  chaos audit verify
  chaos audit export > audit.jsonl
  chaos audit verify --file audit.jsonl";

/// Entries that are asked for at a time.
const PAGE: u32 = 500;
/// The longest line of an exported file, in bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show entries, the latest last
    List(ListArgs),
    /// Check that nothing was changed, added or cut off
    Verify(VerifyArgs),
    /// Print every entry, one JSON value a line
    Export,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only entries after this one
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    after: u64,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// An exported file instead of the server's log
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Does it.
pub(crate) async fn run(args: &AuditArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    match &args.what {
        What::List(which) => {
            let (after, limit) = (which.after, which.limit);
            let page = async |client: &Client| Ok(client.audit(after, Some(limit)).await?);
            let entries = connect::ask(settings, out, page).await?;
            out.list(&entries, || table(&entries))?;
            Ok(0)
        }
        What::Export => connect::ask(settings, out, async |client| export(client, out).await).await,
        What::Verify(VerifyArgs { file: Some(path) }) => said(&of_file(path)?, out),
        What::Verify(VerifyArgs { file: None }) => {
            let found = connect::ask(settings, out, async |client| Ok(client.verify_audit().await?)).await?;
            said(&found, out)
        }
    }
}

fn said(found: &AuditVerification, out: &Output) -> Result<u8, Failure> {
    out.record(found, || match (&found.reason, found.tampered_at) {
        (Some(reason), Some(seq)) => {
            out.paint(Mood::Bad, &format!("the audit log was changed at entry {seq}: {reason}"))
        }
        _ => out.paint(Mood::Good, &format!("{} entries, each as it was written", found.entries)),
    })?;
    Ok(if found.intact { 0 } else { INTERNAL })
}

async fn export(client: &Client, out: &Output) -> Result<u8, Failure> {
    let mut after = 0;
    loop {
        let page = client.audit(after, Some(PAGE)).await?;
        let Some(last) = page.last() else { return Ok(0) };
        after = last.seq;
        let lines: Result<String, serde_json::Error> =
            page.iter().map(|entry| serde_json::to_string(entry).map(|line| line + "\n")).collect();
        out.text(&lines.map_err(anyhow::Error::new)?)?;
    }
}

/// What came of checking a file. Where the log should have ended only its server knows.
fn of_file(path: &Path) -> Result<AuditVerification, Failure> {
    let failed = |source| Failure::file("read", path, source);
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let (mut verification, mut line) = (Verification::default(), String::new());
    let count = |verification: &Verification| verification.head().map_or(0, |(seq, _)| seq);
    loop {
        line.clear();
        if reader.by_ref().take(LINE_BYTES_MAX).read_line(&mut line).map_err(failed)? == 0 {
            let entries = count(&verification);
            return Ok(AuditVerification { intact: true, entries, tampered_at: None, reason: None });
        }
        let next = count(&verification) + 1;
        let taken = serde_json::from_str::<AuditEntry>(&line)
            .map_err(|error| (next, format!("it is no entry: {error}")))
            .and_then(|entry| verification.take(&entry).map_err(|error| (error.seq, error.reason)));
        if let Err((seq, reason)) = taken {
            let entries = count(&verification);
            return Ok(AuditVerification {
                intact: false,
                entries,
                tampered_at: Some(seq),
                reason: Some(reason),
            });
        }
    }
}

fn table(entries: &[AuditEntry]) -> String {
    let rows = entries.iter().map(|entry| match entry.event() {
        Ok(event) => {
            let detail: Vec<String> =
                event.detail.iter().map(|(name, value)| format!("{name}={value}")).collect();
            vec![
                entry.seq.to_string(),
                format!("{:.0}", event.at),
                event.actor.to_string(),
                event.action,
                event.subject,
                or_dash(event.status),
                detail.join(" "),
            ]
        }
        Err(error) => vec![entry.seq.to_string(), format!("not readable: {error}")],
    });
    output::table(&["SEQ", "AT", "WHO", "ACTION", "SUBJECT", "STATUS", "DETAIL"], rows)
}

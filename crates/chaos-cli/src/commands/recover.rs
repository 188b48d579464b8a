//! `chaos recover`: undoes whatever a dead process left.

use chaos_agent::sweep;
use chaos_core::port::InjectionReport;
use chaos_core::run::InjectionState;
use clap::Args;

use crate::config::Settings;
use crate::exit::{self, Failure, REVERT_INCOMPLETE};
use crate::output::{self, Output};

/// What the help says of it.
pub(crate) const LONG: &str = "\
Reads the undo records of this host's state folder and undoes and proves whatever a dead fault process left. Faults \
that are held by a living process are left alone; --force asks those to undo everything and end, and kills what \
does not: then it is undone from its record. Every start of chaos does the same without --force. Exit code 7 when an undo \
can't be proven.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos recover
  chaos recover --force";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct RecoverArgs {
    /// Also end the faults of living fault processes
    #[arg(long)]
    force: bool,
}

/// Does it.
pub(crate) fn run(args: &RecoverArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    let reports = sweep::recover(&settings.state.value, args.force).map_err(anyhow::Error::new)?;
    let printed = out.list(&reports, || table(&reports));
    let code = if reports.iter().any(is_unproven) { REVERT_INCOMPLETE } else { 0 };
    Ok(exit::after_printing(printed, code))
}

/// Is its undo not proven?
pub(crate) fn is_unproven(report: &InjectionReport) -> bool {
    report.state == InjectionState::RevertFailed
}

/// What became of each record.
pub(crate) fn table(reports: &[InjectionReport]) -> String {
    if reports.is_empty() {
        return "nothing was left behind".to_owned();
    }
    let rows = reports.iter().map(|report| {
        let proofs: Vec<String> =
            report.evidence.iter().map(|one| format!("{}: {}", one.source, one.observed)).collect();
        vec![
            report.injection.to_string(),
            report.state.to_string(),
            output::milliseconds(Some(report.took_ms)),
            output::or_dash(Some(proofs.join("; "))),
            report.error.clone().unwrap_or_default(),
        ]
    });
    output::table(&["INJECTION", "STATE", "MS", "PROOF", "NOTE"], rows)
}

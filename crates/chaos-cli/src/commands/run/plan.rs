//! `chaos run --dry-run`: what would be hit, what every gate says.
//!
//! Owns how a plan looks. It starts nothing.

use chaos_api::DryRun;
use chaos_core::spec::Experiment;

use super::session::Session;
use crate::exit::{self, Failure};
use crate::output;
use crate::show as people;

/// Prints what would happen; the exit code is 5 when a gate would refuse.
pub(super) async fn show(session: &Session<'_>, documents: Vec<Experiment>) -> Result<u8, Failure> {
    let mut codes = Vec::new();
    let mut plans: Vec<DryRun> = Vec::new();
    for document in documents {
        let plan = session.connection.client.dry_run(&document.into(), &session.query).await?;
        codes.push(if plan.blocked { exit::BLOCKED } else { 0 });
        plans.push(plan);
    }
    match plans.as_slice() {
        [one] => session.out.record(one, || plan_text(one))?,
        _ => session.out.list(&plans, || plans.iter().map(plan_text).collect::<Vec<_>>().join("\n---\n"))?,
    }
    Ok(exit::worst(codes))
}

fn plan_text(plan: &DryRun) -> String {
    let resolution = &plan.resolution;
    let document = output::yaml(&plan.plan).unwrap_or_default();
    let rows = resolution.chosen.iter().map(|one| {
        vec![one.id.clone(), if one.ready { "yes" } else { "no" }.to_owned(), one.command.clone()]
    });
    let verdict = if plan.blocked { "would be blocked" } else { "would start" };
    format!(
        "{}\n# {verdict}; nothing was changed\n# {} instances match, {} ready; chosen with seed {}:\n{}\n\n{}",
        document.trim_end(),
        resolution.matching.len(),
        resolution.ready,
        resolution.selection.seed,
        output::table(&["INSTANCE", "READY", "COMMAND"], rows),
        people::gates(&resolution.decisions)
    )
}

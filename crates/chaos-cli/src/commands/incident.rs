//! `chaos incident`: runs that a guardrail ended, or whose undo is not proven.

use chaos_api::Client;
use chaos_core::incident::{Incident, IncidentCause, IncidentStatus};
use clap::{Args, Subcommand, ValueEnum};

use crate::config::Settings;
use crate::connect;
use crate::exit::Failure;
use crate::output::{self, Mood, Output};

/// What the help says of it.
pub(crate) const LONG: &str = "\
A run that a guardrail ended, or of which an undo is not proven, opens an incident: what happened when, signals before \
and after, decisions, targets, and the runbook that the experiment's annotation `runbook_url` names. `show --format \
md` prints a post-mortem to be completed.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos incident list
  chaos incident show inc-4f1c09a2b7de
  chaos incident show inc-4f1c09a2b7de --format md > post-mortem.md
  chaos incident close inc-4f1c09a2b7de --note 'the pool was too small'";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct IncidentArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List incidents, the latest first
    List(ListArgs),
    /// Show one, or its post-mortem
    Show(ShowArgs),
    /// Close one, with what was found out
    Close(CloseArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Closed ones too
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// Its id
    #[arg(value_name = "ID")]
    id: String,
    /// Markdown of a post-mortem instead
    #[arg(long, value_enum, value_name = "FORM")]
    format: Option<Form>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    /// A post-mortem in Markdown
    Md,
}

#[derive(Debug, Args)]
struct CloseArgs {
    /// Its id
    #[arg(value_name = "ID")]
    id: String,
    /// What was found out
    #[arg(long, value_name = "TEXT")]
    note: String,
}

/// Does it.
pub(crate) async fn run(args: &IncidentArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    match &args.what {
        What::List(ListArgs { all }) => {
            let status = (!all).then_some(IncidentStatus::Open);
            let listed = async |client: &Client| Ok(client.incidents(status, None).await?);
            let incidents = connect::ask(settings, out, listed).await?;
            out.list(&incidents, || table(&incidents))?;
        }
        What::Show(ShowArgs { id, format: Some(Form::Md) }) => {
            let text = connect::ask(settings, out, async |client| Ok(client.post_mortem(id).await?)).await?;
            out.text(&text)?;
        }
        What::Show(ShowArgs { id, format: None }) => {
            let incident = connect::ask(settings, out, async |client| Ok(client.incident(id).await?)).await?;
            out.record(&incident, || people(&incident, out))?;
        }
        What::Close(CloseArgs { id, note }) => {
            let closed = async |client: &Client| Ok(client.close_incident(id, note).await?);
            let incident = connect::ask(settings, out, closed).await?;
            out.record(&incident, || format!("{} is closed", incident.id))?;
        }
    }
    Ok(0)
}

fn cause(cause: IncidentCause) -> &'static str {
    match cause {
        IncidentCause::Guardrail => "guardrail",
        IncidentCause::RevertIncomplete => "revert incomplete",
    }
}

fn status(status: IncidentStatus) -> &'static str {
    match status {
        IncidentStatus::Open => "open",
        IncidentStatus::Closed => "closed",
    }
}

fn table(incidents: &[Incident]) -> String {
    let rows = incidents.iter().map(|incident| {
        vec![
            incident.id.clone(),
            incident.experiment.to_string(),
            cause(incident.cause).to_owned(),
            status(incident.status).to_owned(),
            format!("{:.0}", incident.opened_at),
            incident.summary.clone(),
        ]
    });
    output::table(&["ID", "EXPERIMENT", "CAUSE", "STATUS", "OPENED", "SUMMARY"], rows)
}

fn people(incident: &Incident, out: &Output) -> String {
    let mut lines = vec![
        format!("{} ({}): {}", incident.id, status(incident.status), out.paint(Mood::Bad, &incident.summary)),
        format!("experiment  {}, run {}", incident.experiment, incident.run),
        format!("cause       {}", cause(incident.cause)),
        format!("opened      {:.0}", incident.opened_at),
        format!("targets     {}", incident.targets.join(", ")),
        format!("runbook     {}", output::or_dash(incident.runbook.as_deref())),
    ];
    if let (Some(at), Some(note)) = (incident.closed_at, &incident.note) {
        let by = output::or_dash(incident.closed_by.as_deref());
        lines.push(format!("closed      {at:.0} by {by}: {note}"));
    }
    let rows = incident
        .timeline
        .iter()
        .map(|entry| vec![format!("+{:.3}s", entry.elapsed_ms as f64 / 1000.0), entry.text.clone()]);
    format!("{}\n\n{}", lines.join("\n"), output::table(&["AT", "WHAT"], rows))
}

//! `chaos status`: one experiment and its latest run, once or until it is finished.

use chaos_api::{Client, EventsQuery, ExperimentDetail};
use chaos_core::run::{Phase, RunId};
use chaos_core::spec::ExperimentKey;
use clap::Args;
use futures_util::StreamExt as _;

use crate::args::ExperimentArgs;
use crate::config::Settings;
use crate::connect;
use crate::exit::Failure;
use crate::output::Output;
use crate::show;
use crate::signals::Signals;
use crate::watch;

/// What the help says of it.
pub(crate) const LONG: &str = "\
Shows one experiment: where it is or what it learnt, what was hit with the time of every proof, what was measured. \
--watch goes on until the run is finished; ending the watch does not end the run.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos status orchestrator-pod-kill
  chaos status orchestrator-pod-kill --watch
  chaos status orchestrator-pod-kill --output json | jq '{status, phase, verdict}'";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// Go on until the run is finished
    #[arg(short, long)]
    watch: bool,
}

/// Does it.
pub(crate) async fn run(args: &StatusArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    let key = args.experiment.key();
    connect::ask(settings, out, async |client| look(client, &key, args.watch, out).await).await
}

async fn look(client: &Client, key: &ExperimentKey, watch: bool, out: &Output) -> Result<u8, Failure> {
    let mut detail = client.get(key).await?;
    if watch && let Some(run) = active(&detail) {
        if let Some(code) = until_finished(client, &run, out).await? {
            return Ok(code);
        }
        detail = client.get(key).await?;
    }
    out.record(&detail, || show::experiment(&detail, out))?;
    Ok(0)
}

fn active(detail: &ExperimentDetail) -> Option<RunId> {
    detail.record.run.clone().filter(|_| detail.record.phase != Some(Phase::Finished))
}

/// Prints events until the run is finished; an exit code when a signal ended the watch.
async fn until_finished(client: &Client, run: &RunId, out: &Output) -> Result<Option<u8>, Failure> {
    let mut signals = Signals::new()?;
    let query = EventsQuery { after: Some(0), run: Some(run.clone()), ..EventsQuery::default() };
    let mut events = Box::pin(client.events(query));
    loop {
        tokio::select! {
            event = events.next() => match event {
                None => return Ok(None),
                Some(event) => watch::print_line("", &event?.1, out),
            },
            signal = signals.next() => return Ok(Some(signal.exit_code())),
        }
    }
}

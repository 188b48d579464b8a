//! `chaos lever`: the safety lever of an installation.

use chaos_api::{LeverRequest, LeverResponse};
use chaos_core::safety::Lever;
use clap::{Args, Subcommand};

use crate::config::Settings;
use crate::connect;
use crate::exit::{self, Failure, REVERT_INCOMPLETE};
use crate::output::{self, Mood, Output};
use crate::show;

/// What the help says of it.
pub(crate) const LONG: &str = "\
One lever for everything that this installation runs. Engaged, every run is stopped and reverted, and new starts are \
recorded as cancelled, until it is released; it survives restarts. Everybody who may read may engage it; releasing \
it needs an operator. Engaging returns when every fault is proven reverted, says how long that took, and names what \
could not be proven: the exit code is 7 then.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos lever engage --reason 'incident 4711'
  chaos lever show
  chaos lever release --reason 'incident is over'";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct LeverArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Stop everything, and let nothing start
    Engage(Reason),
    /// Let runs start again
    Release(Reason),
    /// Show how it stands, who moved it, and why
    Show,
}

#[derive(Debug, Args)]
struct Reason {
    /// Why; recorded
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Does it.
pub(crate) async fn run(args: &LeverArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    let (engaged, reason) = match &args.what {
        What::Engage(given) => (true, &given.reason),
        What::Release(given) => (false, &given.reason),
        What::Show => {
            let lever = connect::ask(settings, out, async |client| Ok(client.lever().await?)).await?;
            out.record(&lever, || standing(&lever, out))?;
            return Ok(0);
        }
    };
    let request = LeverRequest { engaged, reason: reason.clone() };
    let moved = async |client: &chaos_api::Client| Ok(client.set_lever(&request).await?);
    let response = connect::ask(settings, out, moved).await?;
    let printed = out.record(&response, || moved_text(&response, out));
    Ok(exit::after_printing(printed, if response.stopped.is_complete() { 0 } else { REVERT_INCOMPLETE }))
}

fn standing(lever: &Lever, out: &Output) -> String {
    let word = if lever.engaged {
        out.paint(Mood::Bad, "engaged: nothing may run")
    } else {
        out.paint(Mood::Good, "released")
    };
    if lever.actor.is_empty() {
        return format!("{word}; nobody has moved it yet");
    }
    format!("{word}; by {} at {:.0}: {}", lever.actor, lever.at, lever.reason)
}

fn moved_text(response: &LeverResponse, out: &Output) -> String {
    let text = standing(&response.lever, out);
    if !response.lever.engaged {
        return text;
    }
    let took = output::milliseconds(Some(response.stopped.took_ms));
    if response.stopped.runs.is_empty() {
        return format!("{text}\nno run was active; it took {took} ms");
    }
    format!("{text}\n{}", show::stopped(&response.stopped))
}

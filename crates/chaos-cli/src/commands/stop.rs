//! `chaos stop`: the emergency stop of one run or of all.

use chaos_api::{Client, StopRequest};
use chaos_core::spec::ExperimentKey;
use clap::{ArgGroup, Args};

use crate::config::Settings;
use crate::connect;
use crate::exit::{self, Failure, REVERT_INCOMPLETE};
use crate::output::Output;
use crate::show;

/// What the help says of it.
pub(crate) const LONG: &str = "\
Stops a run in whatever phase it is, also while it waits or injects, and returns when every fault is proven reverted. \
Prints how long that took. What could not be proven is named, and the exit code is 7 then: act now.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos stop orchestrator-pod-kill
  chaos stop --all --reason 'customers notice'";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
#[command(group(ArgGroup::new("which").args(["name", "all"]).required(true)))]
pub(crate) struct StopArgs {
    /// Name of the experiment
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Its namespace
    #[arg(short, long, value_name = "NS", default_value = "default")]
    namespace: String,
    /// Everything that runs or waits
    #[arg(long)]
    all: bool,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Does it.
pub(crate) async fn run(args: &StopArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    let request = StopRequest { reason: args.reason.clone(), interrupted: false };
    let key = args
        .name
        .as_ref()
        .map(|name| ExperimentKey { namespace: args.namespace.clone(), name: name.clone() });
    let stop = async |client: &Client| {
        Ok(match &key {
            Some(key) => client.stop(key, &request).await?,
            None => client.stop_all(&request).await?,
        })
    };
    let response = connect::ask(settings, out, stop).await?;
    let printed = out.record(&response, || show::stopped(&response));
    Ok(exit::after_printing(printed, if response.is_complete() { 0 } else { REVERT_INCOMPLETE }))
}

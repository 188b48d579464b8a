//! `chaos faults`: the catalogue, and one fault with its parameters.

use chaos_api::{FaultDescription, catalogue as descriptions};
use chaos_core::spec::FaultKind;
use clap::Args;

use crate::catalogue;
use crate::exit::Failure;
use crate::output::Output;

/// What the help says of it.
pub(crate) const LONG: &str = "\
Lists every fault of this build, or shows one: what it does, how it is proven, who ends it when every process of \
chaos is dead, what it needs, and each parameter with its default. With --output json the JSON Schema of the \
parameters is there too.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos faults
  chaos faults network_partition
  chaos faults cpu_stress --output json | jq .schema";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct FaultsArgs {
    /// Only this one, in full
    #[arg(value_name = "TYPE", value_parser = catalogue::fault_kind)]
    kind: Option<FaultKind>,
}

/// Does it.
pub(crate) fn run(args: &FaultsArgs, out: &Output) -> Result<u8, Failure> {
    match args.kind {
        Some(kind) => out.record(&FaultDescription::of(kind), || catalogue::describe(kind))?,
        None => out.list(&descriptions(), || catalogue::overview(out.is_wide()))?,
    }
    Ok(0)
}

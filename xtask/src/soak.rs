//! `cargo xtask soak`: kills processes of ours at random, and at every step, and looks for what is left.
//!
//! Builds the release programs and runs `soak` of the end-to-end crate. It never judges: the last line and the exit
//! code are that program's.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::process::{self, Ending};
use crate::workspace::{cargo, root};

/// The limit of the build.
const BUILD_LIMIT: Duration = Duration::from_mins(40);
/// The limit of a soak: it is long for somebody who asks for thousands of kills.
const SOAK_LIMIT: Duration = Duration::from_hours(6);

/// Arguments of `cargo xtask soak`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many kills at random points.
    #[arg(long, default_value_t = 200)]
    kills: u32,
    /// Where chance begins; drawn and printed when absent.
    #[arg(long)]
    seed: Option<u64>,
    /// Instead kill fault processes at each of their steps, one after the other.
    #[arg(long)]
    steps: bool,
    /// With --steps: only every n-th step.
    #[arg(long, value_name = "N")]
    every: Option<u32>,
    /// Leave something behind on purpose (rule, stopped, cgroup, worker, record): the soak must then fail.
    #[arg(long, value_name = "WHAT")]
    plant: Option<String>,
}

/// Runs the verb; false when anything was left behind.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let build = ["build", "--release", "-p", "chaos-cli", "-p", "e2e", "--bins"];
    let built = process::run(&mut cargo(&build), BUILD_LIMIT)?;
    if built != Ending::Success {
        println!("soak: cargo {} {built}", build.join(" "));
        return Ok(false);
    }
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    let mut soak = Command::new(folder.join("release/soak"));
    soak.current_dir(root()).args(["--kills", &arguments.kills.to_string()]);
    if let Some(seed) = arguments.seed {
        soak.args(["--seed", &seed.to_string()]);
    }
    if arguments.steps {
        soak.arg("--steps");
    }
    if let Some(every) = arguments.every {
        soak.args(["--every", &every.to_string()]);
    }
    if let Some(plant) = &arguments.plant {
        soak.args(["--plant", plant]);
    }
    Ok(process::run(&mut soak, SOAK_LIMIT)? == Ending::Success)
}

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

/// The exit code of a soak that this machine has no rooms for.
const NO_ROOM: i32 = 77;

/// Arguments of `cargo xtask soak`.
#[derive(clap::Args, Default)]
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

impl Arguments {
    /// So many kills at random points.
    pub(crate) fn kills(kills: u32) -> Self {
        Self { kills, ..Self::default() }
    }
}

/// How a soak ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Soaked {
    /// Nothing was left.
    Clean,
    /// Something was, or it could not be built.
    Left,
    /// This machine lets nobody make rooms, which was said.
    NoRoom,
}

/// Runs the verb; false when anything was left behind, or nothing could be tried.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    Ok(soak(arguments)? == Soaked::Clean)
}

/// Builds and soaks.
pub(crate) fn soak(arguments: &Arguments) -> Result<Soaked> {
    let build = ["build", "--release", "-p", "chaos-cli", "-p", "e2e", "--bins"];
    let built = process::run(&mut cargo(&build), BUILD_LIMIT)?;
    if built != Ending::Success {
        println!("soak: cargo {} {built}", build.join(" "));
        return Ok(Soaked::Left);
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
    Ok(match process::run(&mut soak, SOAK_LIMIT)? {
        Ending::Success => Soaked::Clean,
        Ending::Failure(status) if status.code() == Some(NO_ROOM) => Soaked::NoRoom,
        _ => Soaked::Left,
    })
}

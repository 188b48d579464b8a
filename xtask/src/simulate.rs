//! `cargo xtask simulate`: plays seeds of the deterministic simulator, in an optimised build.
//!
//! Owns the build and hands the arguments on. What is played and checked is `test-support`'s.

use std::time::Duration;

use anyhow::Result;

use crate::process::{self, Ending};
use crate::workspace;

/// The limit of one run: ten million seeds take less.
const LIMIT: Duration = Duration::from_hours(24);

/// Arguments of `cargo xtask simulate`.
#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// How many seeds are played.
    #[arg(long, value_name = "COUNT", default_value_t = 20_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    from: u64,
    /// A deliberately broken variant instead of the product.
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Print every step.
    #[arg(long)]
    trace: bool,
}

impl Arguments {
    /// So many seeds of the product, from the first.
    pub(crate) fn seeds(seeds: u64) -> Self {
        Self { seeds, ..Self::default() }
    }
}

/// Builds and plays; false when a promise did not hold.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let (seeds, from) = (arguments.seeds.to_string(), arguments.from.to_string());
    let mut words =
        vec!["run", "--release", "--quiet", "--package", "test-support", "--bin", "simulate", "--"];
    words.extend(["--seeds", &seeds, "--from", &from]);
    if let Some(variant) = &arguments.variant {
        words.extend(["--variant", variant]);
    }
    if arguments.trace {
        words.push("--trace");
    }
    Ok(matches!(process::run(&mut workspace::cargo(&words), LIMIT)?, Ending::Success))
}

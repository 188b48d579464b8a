//! `cargo xtask bench`: builds the release programs and prints the figures of the product as one table.
//!
//! Owns the build and the call. What is measured is in `e2e/src/bin/bench`.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::process::{self, Ending};
use crate::workspace;

const BUILD_LIMIT: Duration = Duration::from_secs(40 * 60);
const RUN_LIMIT: Duration = Duration::from_secs(20 * 60);

pub(crate) fn run() -> Result<bool> {
    for build in [
        ["build", "--release", "-p", "chaos-cli", "-p", "chaos-agent", "-p", "e2e", "--bins"].as_slice(),
        ["build", "--release", "-p", "chaos-probes", "--example", "jitter"].as_slice(),
        ["build", "--release", "-p", "chaos-store", "--example", "append_rate"].as_slice(),
    ] {
        if process::run(&mut workspace::cargo(build), BUILD_LIMIT)? != Ending::Success {
            return Ok(false);
        }
    }
    let mut bench = Command::new(workspace::root().join("target/release/bench"));
    Ok(process::run(bench.current_dir(workspace::root()), RUN_LIMIT)? == Ending::Success)
}

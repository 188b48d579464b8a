//! `cargo xtask`: the project's own tasks, the same on a laptop and in CI.
//!
//! Owns the list of verbs; each verb is one file beside this one. It imports no crate of the product, so it
//! works while they do not compile, and it is never shipped.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a task talks to the person who runs it")]

mod bench;
mod cluster;
mod fuzz;
mod generate;
mod process;
mod setup;
mod simulate;
mod soak;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks of the chaos project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what the tests need, or name what is missing.
    Setup,
    /// Run every check and every test; the last line is the count.
    Test(test::Arguments),
    /// Check the rules of the house: layers, lengths, leftovers.
    Tidy,
    /// Measure the figures of the product and print them as one table.
    Bench,
    /// Kill processes of ours during faults, and look for what is left.
    Soak(soak::Arguments),
    /// Play seeds of the deterministic simulator: crashes between any two steps, lost messages, clocks that jump.
    Simulate(simulate::Arguments),
    /// Look for inputs that break a reader of foreign bytes.
    Fuzz(fuzz::Arguments),
    /// A real Kubernetes on this machine, for tests and for trying out.
    #[command(subcommand)]
    Cluster(cluster::Verb),
    /// Write the generated files, or check that they are current.
    Generate(generate::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Setup => setup::run(),
        Verb::Test(arguments) => test::run(&arguments),
        Verb::Tidy => tidy::run(),
        Verb::Bench => bench::run(),
        Verb::Soak(arguments) => soak::run(&arguments),
        Verb::Simulate(arguments) => simulate::run(&arguments),
        Verb::Fuzz(arguments) => fuzz::run(&arguments),
        Verb::Cluster(verb) => cluster::run(&verb),
        Verb::Generate(arguments) => generate::run(&arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

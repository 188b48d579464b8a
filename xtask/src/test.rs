//! `cargo xtask test`: the one test command, for a laptop and for CI.
//!
//! Runs every step even after one has failed, so that one run shows the whole picture. The very last line it prints
//! is `N passed, N failed, N skipped`: `passed` counts tests; `failed` counts tests and steps; `skipped` counts tests
//! and steps that could not run here, each listed with its reason above.

mod libtest;

use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use self::libtest::LibtestReader;
use crate::process::{self, Ending, Stream};
use crate::soak::Soaked;
use crate::workspace::{cargo, has_program};
use crate::{fuzz, generate, setup, simulate, soak, tidy};

/// The limit of a step that compiles.
const BUILD_LIMIT: Duration = Duration::from_mins(40);
/// The limit of all tests together, once they are built: a test that hangs must not hang the machine.
const TESTS_LIMIT: Duration = Duration::from_mins(20);
/// The limit of a step that only reads.
const CHECK_LIMIT: Duration = Duration::from_mins(5);

/// Seeds of the simulator that are played.
const SEEDS: u64 = 20_000;
/// Kills at random points on the real kernel.
const KILLS: u32 = 100;
/// How long the fuzz targets look together, in seconds.
const FUZZ_SECONDS: u64 = 20;

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// For the work in between: no set-up, no clippy, no generated files, no cargo-deny, no end-to-end tests, no
    /// simulation, no soak, no fuzzing.
    #[arg(long)]
    fast: bool,
}

/// How a step ended.
enum Step {
    Passed,
    Failed(String),
    /// Failed in parts that are counted one by one, so the step itself is not.
    FailedInParts(String),
    Skipped(String),
}

/// What all steps together came to.
#[derive(Default)]
struct Tally {
    passed: usize,
    failures: Vec<String>,
    skips: Vec<String>,
}

impl Tally {
    /// Runs one step under its heading, and says whether it passed; an error in it is a failure of the step, not the
    /// end of the run.
    fn step(&mut self, name: &str, run: impl FnOnce() -> Result<Step>) -> bool {
        println!("== {name}");
        let start = Instant::now();
        let outcome = run().unwrap_or_else(|error| Step::Failed(format!("{error:#}")));
        let passed = matches!(outcome, Step::Passed);
        let word = match outcome {
            Step::Passed => "ok".to_owned(),
            Step::Failed(why) => {
                self.failures.push(format!("{name}: {why}"));
                format!("FAILED ({why})")
            }
            Step::FailedInParts(why) => format!("FAILED ({why})"),
            Step::Skipped(why) => {
                self.skips.push(format!("{name}: {why}"));
                format!("skipped ({why})")
            }
        };
        println!("== {name}: {word}, {:.1} s", start.elapsed().as_secs_f64());
        passed
    }

    /// A step that is one cargo command.
    fn cargo(&mut self, arguments: &[&str], limit: Duration) -> bool {
        self.step(&format!("cargo {}", arguments.join(" ")), || bounded(&mut cargo(arguments), limit))
    }

    fn print(&self) {
        for skip in &self.skips {
            println!("skipped: {skip}");
        }
        for failure in &self.failures {
            println!("failed: {failure}");
        }
    }

    fn last_line(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failures.len(), self.skips.len())
    }
}

/// Runs the verb; false when anything failed.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let start = Instant::now();
    let mut tally = Tally::default();
    if arguments.fast {
        tally.skips.push(
            "set-up, clippy, generated files, cargo-deny, end-to-end tests, simulation, soak, fuzzing: left out \
             by --fast"
                .to_owned(),
        );
    } else {
        tally.step("set-up", || {
            // What is missing is printed there; the tests that need it say so themselves.
            setup::ensure().map(|_| Step::Passed)
        });
    }
    tally.cargo(&["fmt", "--all", "--check"], CHECK_LIMIT);
    if !arguments.fast {
        tally.cargo(
            &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
            BUILD_LIMIT,
        );
    }
    tally.step("tidy", || tidy::run().map(|clean| passed_if(clean, "a rule of the house is broken")));
    if !arguments.fast {
        tally.step("generated files", || {
            let current = generate::run(&generate::Arguments { check: true })?;
            Ok(passed_if(current, "not current"))
        });
        tally.step("cargo deny", deny);
    }
    tally.cargo(&["build", "--workspace", "--bins"], BUILD_LIMIT);
    tests(arguments, &mut tally);
    if !arguments.fast {
        proofs(&mut tally);
    }
    println!("== all: {:.1} s", start.elapsed().as_secs_f64());
    tally.print();
    // Everything else is out before the last line, whichever stream it went to.
    std::io::stderr().flush()?;
    println!("{}", tally.last_line());
    Ok(tally.failures.is_empty())
}

/// That nothing is ever left broken: simulated, on the real kernel, and with inputs that nobody thought of.
fn proofs(tally: &mut Tally) {
    tally.step(&format!("simulation, {SEEDS} seeds"), || {
        Ok(passed_if(simulate::run(&simulate::Arguments::seeds(SEEDS))?, "a promise did not hold"))
    });
    tally.step(&format!("soak, {KILLS} kills"), || {
        Ok(match soak::soak(&soak::Arguments::kills(KILLS))? {
            Soaked::Clean => Step::Passed,
            Soaked::Left => Step::Failed("something was left behind".to_owned()),
            Soaked::NoRoom => Step::Skipped("no namespaces can be made here".to_owned()),
        })
    });
    tally.step(&format!("fuzzing, {FUZZ_SECONDS} s"), || {
        if !fuzz::can_run() {
            return Ok(Step::Skipped("libFuzzer needs a compiler for C++ (apt-get install g++)".to_owned()));
        }
        Ok(passed_if(fuzz::run(&fuzz::Arguments::seconds(FUZZ_SECONDS))?, "an input breaks a promise"))
    });
}

fn passed_if(condition: bool, otherwise: &str) -> Step {
    if condition { Step::Passed } else { Step::Failed(otherwise.to_owned()) }
}

fn bounded(command: &mut Command, limit: Duration) -> Result<Step> {
    Ok(match process::run(command, limit)? {
        Ending::Success => Step::Passed,
        ending => Step::Failed(ending.to_string()),
    })
}

fn deny() -> Result<Step> {
    if !has_program("cargo-deny") {
        return Ok(Step::Skipped(
            "cargo-deny is not installed (cargo install cargo-deny --locked)".to_owned(),
        ));
    }
    bounded(&mut cargo(&["deny", "check", "bans", "licenses", "sources"]), CHECK_LIMIT)
}

/// Builds the tests, then runs them within the limit and adds their counts.
fn tests(arguments: &Arguments, tally: &mut Tally) {
    let mut selection = vec!["test", "--workspace"];
    if arguments.fast {
        selection.extend(["--exclude", "e2e"]);
    }
    let build: Vec<_> = selection.iter().copied().chain(["--no-run"]).collect();
    if !tally.cargo(&build, BUILD_LIMIT) {
        return;
    }
    let mut reader = LibtestReader::default();
    let name = format!("cargo {}", selection.join(" "));
    tally.step(&name, || {
        selection.extend(["--no-fail-fast", "--", "--show-output", "--color", "never"]);
        let mut command = cargo(&selection);
        command.env("CARGO_TERM_COLOR", "never");
        let ending = process::run_lines(&mut command, TESTS_LIMIT, |stream, line| match stream {
            Stream::Stdout => {
                if reader.stdout_line(line) {
                    println!("{line}");
                }
            }
            Stream::Stderr => {
                reader.stderr_line(line);
                eprintln!("{line}");
            }
        })?;
        match ending {
            Ending::Success => Ok(Step::Passed),
            Ending::TimedOut(_) => {
                let slow = reader.unfinished();
                let named =
                    if slow.is_empty() { "no slow test was named".to_owned() } else { slow.join(", ") };
                Ok(Step::Failed(format!("{ending}; still running: {named}")))
            }
            // The failed tests count themselves; a failure without one is the step's own (it did not compile).
            Ending::Failure(_) if reader.has_failures() => {
                Ok(Step::FailedInParts("see the tests".to_owned()))
            }
            Ending::Failure(status) => bail!("{status}, and no test failed"),
        }
    });
    let counts = reader.finish();
    tally.passed += counts.passed;
    tally.failures.extend(counts.failures);
    tally.skips.extend(counts.skips);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_step_counts_once_and_the_next_step_still_runs() {
        let mut tally = Tally::default();
        tally.step("first", || bail!("broken"));
        tally.step("second", || Ok(Step::Skipped("no tool".to_owned())));
        tally.step("third", || Ok(Step::Passed));
        assert_eq!(tally.last_line(), "0 passed, 1 failed, 1 skipped");
        assert_eq!(tally.failures, ["first: broken"]);
        assert_eq!(tally.skips, ["second: no tool"]);
    }
}

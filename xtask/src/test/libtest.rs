//! Reads what `cargo test -- --show-output` prints, and counts.
//!
//! A test that can't run here returns early and prints a line that starts with `skipped: `; libtest calls it passed,
//! we call it skipped. Such a line is found in the captured output of the test, or, when the test wrote around the
//! capture, on either stream of the process. Pure: lines in, counts out.

use std::collections::BTreeSet;

/// How a test says that it could not run here.
const SKIP_MARK: &str = "skipped: ";

/// What a whole run of `cargo test` came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Tests that ran and passed.
    pub(crate) passed: usize,
    /// Tests that failed, and test programs that ended without a result, by name.
    pub(crate) failures: Vec<String>,
    /// Tests that did not run here, each with its reason.
    pub(crate) skips: Vec<String>,
}

/// Which part of the output of one test program is being read.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
enum Section {
    #[default]
    Results,
    /// The captured output of the tests that passed; it also opens the list of their names.
    Successes,
    /// The captured output of the tests that failed.
    Failures,
}

/// Reads the two streams of `cargo test` line by line.
#[derive(Debug, Default)]
pub(crate) struct LibtestReader {
    section: Section,
    /// The test whose captured output is being read.
    captured: Option<String>,
    /// Whether that test has been counted as skipped already.
    captured_skipped: bool,
    passed: usize,
    failures: Vec<String>,
    /// How many tests of the current program are in `failures`.
    failures_named: usize,
    skips: Vec<String>,
    /// How many of `skips` libtest has counted as passed.
    skips_counted_passed: usize,
    slow: BTreeSet<String>,
    programs: Vec<String>,
    results: usize,
}

impl LibtestReader {
    /// Reads a line of standard output; true when it is worth showing.
    pub(crate) fn stdout_line(&mut self, line: &str) -> bool {
        match line {
            "successes:" => self.enter(Section::Successes),
            "failures:" => self.enter(Section::Failures),
            _ if line.starts_with("test result: ") => self.result(line),
            _ if self.section == Section::Results => self.result_line(line),
            _ => self.captured_line(line),
        }
        self.section != Section::Successes
    }

    /// Reads a line of standard error.
    pub(crate) fn stderr_line(&mut self, line: &str) {
        let text = line.trim_start();
        if let Some(program) = text.strip_prefix("Running ").or_else(|| text.strip_prefix("Doc-tests ")) {
            // "Running" also opens cargo's messages about a custom command line; those have a backtick.
            if !program.starts_with('`') {
                self.programs.push(program.to_owned());
            }
        } else if let Some(reason) = line.strip_prefix(SKIP_MARK) {
            self.skip(reason.to_owned());
        }
    }

    /// Whether a test has failed so far, or a program ended without its result.
    pub(crate) fn has_failures(&self) -> bool {
        !self.failures.is_empty() || self.results < self.programs.len()
    }

    /// The tests that libtest called slow and that have not ended.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        self.slow.iter().cloned().collect()
    }

    /// The counts, once both streams have ended.
    pub(crate) fn finish(mut self) -> Counts {
        let without_result = self.programs.len().saturating_sub(self.results);
        if without_result > 0 {
            self.failures
                .extend((0..without_result).map(|_| "a test program ended without a result".to_owned()));
        }
        Counts {
            passed: self.passed.saturating_sub(self.skips_counted_passed),
            failures: self.failures,
            skips: self.skips,
        }
    }

    fn enter(&mut self, section: Section) {
        self.section = section;
        self.captured = None;
    }

    /// `test result: ok. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.01s`
    fn result(&mut self, line: &str) {
        self.results += 1;
        self.enter(Section::Results);
        let number = |word: &str| {
            let part = line.split([';', '.']).find_map(|part| part.trim().strip_suffix(word));
            part.and_then(|number| number.trim().parse::<usize>().ok()).unwrap_or(0)
        };
        self.passed += number(" passed");
        // A test that prints past the capture can hide the line with its name, never the sum.
        let unnamed = number(" failed").saturating_sub(std::mem::take(&mut self.failures_named));
        self.failures.extend((0..unnamed).map(|_| "a test whose name was lost in its output".to_owned()));
    }

    /// `test name ... ok`, `test name ... FAILED`, `test name ... ignored, reason`, and what tests print between.
    fn result_line(&mut self, line: &str) {
        if let Some(reason) = line.strip_prefix(SKIP_MARK) {
            self.skip(reason.to_owned());
            return;
        }
        let Some(rest) = line.strip_prefix("test ") else { return };
        if let Some(name) = rest.strip_suffix(" has been running for over 60 seconds") {
            self.slow.insert(name.to_owned());
            return;
        }
        // A panic's text may follow on the same line, and a name may itself hold the dots of a doc test's path.
        let Some((name, outcome)) = rest.rsplit_once(" ... ") else { return };
        self.slow.remove(name);
        if outcome.starts_with("FAILED") {
            self.failures.push(name.to_owned());
            self.failures_named += 1;
        } else if let Some(reason) = outcome.strip_prefix("ignored") {
            let reason = reason.trim_start_matches([',', ' ']);
            self.skips.push(format!("{name}: {}", if reason.is_empty() { "ignored" } else { reason }));
        } else if let Some(reason) = outcome.strip_prefix(SKIP_MARK) {
            self.skip(format!("{name}: {reason}"));
        }
    }

    /// Captured output: `---- name stdout ----`, then the lines of that test.
    fn captured_line(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            self.captured = Some(name.to_owned());
            self.captured_skipped = false;
        } else if let (Section::Successes, Some(name), Some(reason), false) =
            (self.section, &self.captured, line.strip_prefix(SKIP_MARK), self.captured_skipped)
        {
            let skip = format!("{name}: {reason}");
            self.captured_skipped = true;
            self.skip(skip);
        }
    }

    fn skip(&mut self, skip: String) {
        self.skips.push(skip);
        self.skips_counted_passed += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stdout: &str, stderr: &str) -> Counts {
        let mut reader = LibtestReader::default();
        stderr.lines().for_each(|line| reader.stderr_line(line));
        stdout.lines().for_each(|line| {
            reader.stdout_line(line);
        });
        reader.finish()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    const TWO_PROGRAMS: &str = "
running 4 tests
test a::holds ... ok
test a::needs_root ... ok
test a::slow ... ignored, only by hand
test a::breaks ... FAILED

successes:

---- a::needs_root stdout ----
skipped: not root
skipped: said twice


successes:
    a::holds
    a::needs_root

failures:

---- a::breaks stdout ----
skipped: a failed test is no skipped one
thread panicked

failures:
    a::breaks

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s


running 1 test
test src/lib.rs - map (line 3) ... ok

successes:

successes:
    src/lib.rs - map (line 3)

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn passed_failed_and_skipped_are_summed_over_all_programs() {
        let stderr = "     Running unittests src/lib.rs (target/debug/deps/a-1)\n   Doc-tests a\n";
        let counts = read(TWO_PROGRAMS, stderr);
        assert_eq!(
            counts,
            Counts {
                passed: 2,
                failures: names(&["a::breaks"]),
                skips: names(&["a::slow: only by hand", "a::needs_root: not root"]),
            }
        );
    }

    #[test]
    fn a_skip_that_went_around_the_capture_is_counted_too() {
        let result =
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.0s";
        let counts = read(
            &format!("skipped: no nft\n{result}\n"),
            "     Running tests/a.rs (x)\nskipped: no strace\n",
        );
        assert_eq!(counts.passed, 1);
        assert_eq!(counts.skips, names(&["no strace", "no nft"]));
    }

    #[test]
    fn a_program_that_dies_without_its_result_is_a_failure() {
        let counts =
            read("running 2 tests\ntest a ... ok\n", "     Running tests/a.rs (x)\nerror: test failed\n");
        assert_eq!(counts.passed, 0);
        assert_eq!(counts.failures.len(), 1);
    }

    #[test]
    fn a_test_that_hangs_can_be_named() {
        let mut reader = LibtestReader::default();
        for line in
            ["test a has been running for over 60 seconds", "test b has been running for over 60 seconds"]
        {
            reader.stdout_line(line);
        }
        reader.stdout_line("test a ... ok");
        assert_eq!(reader.unfinished(), ["b"]);
    }

    #[test]
    fn captured_output_of_passing_tests_is_not_shown() {
        let mut reader = LibtestReader::default();
        let shown: Vec<_> = TWO_PROGRAMS.lines().filter(|line| reader.stdout_line(line)).collect();
        assert!(!shown.contains(&"skipped: not root"));
        assert!(shown.contains(&"thread panicked"));
        assert!(shown.contains(&"test a::holds ... ok"));
    }

    #[test]
    fn a_failure_whose_line_was_torn_is_still_counted() {
        let result = "test result: FAILED. 0 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.0s";
        let counts = read(&format!("test a ... FAILED\ntest b ... noise\nFAILED\n{result}\n"), "");
        assert_eq!(counts.failures, names(&["a", "a test whose name was lost in its output"]));
    }

    #[test]
    fn nothing_at_all_counts_nothing() {
        assert_eq!(read("", ""), Counts::default());
    }
}

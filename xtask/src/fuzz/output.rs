//! What libFuzzer prints, read for the one line that is shown of a target.
//!
//! Owns the reading of its lines. It never judges: how the process ended is the caller's.

use std::collections::VecDeque;
use std::fmt;

/// The last lines that are kept for the case that it ends badly.
const TAIL_LINES: usize = 40;

/// How far a target has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    executions: u64,
    per_second: u64,
    edges: u64,
    corpus: String,
    /// Where it has written inputs that broke something.
    pub(super) reproducers: Vec<String>,
    /// The seed of its chance, as an argument of the program.
    pub(super) seed: String,
    tail: VecDeque<String>,
}

impl Progress {
    /// Takes one line of output.
    pub(super) fn line(&mut self, line: &str) {
        if let Some(path) = line.split_once("Test unit written to ").map(|(_, path)| path.trim()) {
            self.reproducers.push(path.to_owned());
        } else if let Some(seed) = line.strip_prefix("INFO: Seed: ") {
            self.seed = format!("-seed={}", seed.trim());
        } else if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
            self.executions = count.trim().parse().unwrap_or(self.executions);
        } else if line.starts_with('#') {
            self.status(line);
        }
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line.to_owned());
    }

    /// `#123 NEW    cov: 45 ft: 67 corp: 8/90b lim: 4 exec/s: 12 rss: 34Mb …`
    fn status(&mut self, line: &str) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let after = |name: &str| Some(*words.get(words.iter().position(|word| *word == name)? + 1)?);
        let number = |name: &str| after(name)?.parse().ok();
        let count = words.first().and_then(|word| word.trim_start_matches('#').parse().ok());
        self.executions = count.unwrap_or(self.executions);
        self.per_second = number("exec/s:").unwrap_or(self.per_second);
        self.edges = number("cov:").unwrap_or(self.edges);
        if let Some(corpus) = after("corp:") {
            corpus.clone_into(&mut self.corpus);
        }
    }

    /// Prints the last lines: the panic, and what libFuzzer says of it.
    pub(super) fn print_tail(&self) {
        for line in &self.tail {
            println!("  {line}");
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Progress { executions, per_second, edges, corpus, reproducers, .. } = self;
        write!(
            f,
            "{executions:>10} executions {per_second:>7}/s {edges:>6} edges, corpus {corpus}, {} crashes",
            reproducers.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_target_holds_its_figures() {
        let mut progress = Progress::default();
        progress.line("INFO: Seed: 42");
        progress.line("#9\tINITED cov: 41 ft: 42 corp: 2/8b exec/s: 0 rss: 26Mb");
        progress.line(
            "#700\tNEW    cov: 45 ft: 67 corp: 8/90b lim: 4 exec/s: 12 rss: 34Mb L: 4/9 MS: 1 CopyPart-",
        );
        progress.line("stat::number_of_executed_units: 777");
        assert_eq!(
            progress.to_string(),
            "       777 executions      12/s     45 edges, corpus 8/90b, 0 crashes"
        );
        assert_eq!(progress.seed, "-seed=42");
    }

    #[test]
    fn an_input_that_broke_something_is_named() {
        let mut progress = Progress::default();
        progress.line("artifact_prefix='a/'; Test unit written to a/crash-0f");
        assert_eq!(progress.reproducers, ["a/crash-0f"]);
    }
}

//! `cargo xtask tidy`: the rules of the house that no compiler checks.
//!
//! Owns the list of rules and the report; each rule is one file below and pure, text in and findings out. A finding
//! says where, what, and what to do. Never changes a file.

mod layers;
mod lengths;
mod purity;
mod source;
mod text;

use std::fmt;

use anyhow::{Context, Result};

use self::source::Source;
use crate::workspace;

/// Where the exceptions to the length limits are listed.
const RATCHET: &str = "xtask/ratchet.toml";

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    found: String,
    remedy: String,
}

impl Finding {
    fn new(path: &str, line: usize, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { path: path.to_owned(), line, found: found.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}; {}", self.path, self.line, self.found, self.remedy)
    }
}

/// Runs the verb; false when a rule is broken.
pub(crate) fn run() -> Result<bool> {
    let findings = check()?;
    for finding in &findings {
        println!("{finding}");
    }
    println!("tidy: {} findings", findings.len());
    Ok(findings.is_empty())
}

/// Every broken rule in the repository, in the order of files and lines.
fn check() -> Result<Vec<Finding>> {
    let root = workspace::root();
    let mut findings = Vec::new();
    let mut sources = Vec::new();
    for path in workspace::files()? {
        let bytes = std::fs::read(root.join(&path)).with_context(|| format!("reading {path}"))?;
        // What is not text (a picture) has no lines to check.
        let Ok(content) = String::from_utf8(bytes) else { continue };
        findings.extend(text::check(&path, &content));
        if std::path::Path::new(&path).extension().is_some_and(|extension| extension == "rs") {
            match Source::parse(&path, &content) {
                Ok(source) => sources.push(source),
                Err(finding) => findings.push(finding),
            }
        }
    }
    for source in &sources {
        findings.extend(purity::check(source));
    }
    let ratchet =
        std::fs::read_to_string(root.join(RATCHET)).with_context(|| format!("reading {RATCHET}"))?;
    findings.extend(lengths::check(&sources, &ratchet));
    findings.extend(layers::check(&layers::packages()?));
    findings.sort();
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_is_tidy() {
        let findings: Vec<_> = check().unwrap().iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }
}

//! The length limits, held by a ratchet: `xtask/ratchet.toml` lists what was longer when the limit came, each with
//! its size, and a size there may only shrink.

use std::collections::BTreeMap;

use super::source::Source;
use super::{Finding, RATCHET};

/// The most lines of a file that are built into the product.
const FILE_LINES_MAX: usize = 500;
/// The most lines of code in a function, counted as clippy counts them.
const FUNCTION_LINES_MAX: usize = 70;

/// Every file and function over its limit, and every exception that could be tighter.
pub(super) fn check(sources: &[Source], ratchet: &str) -> Vec<Finding> {
    let (mut exceptions, mut findings) = read(ratchet);
    for source in sources {
        let lines = source.product_lines();
        let file =
            Measure { path: &source.path, line: 1, key: source.path.clone(), lines, limit: FILE_LINES_MAX };
        findings.extend(file.check(&mut exceptions, "file"));
        for function in &source.functions {
            let measure = Measure {
                path: &source.path,
                line: function.line,
                key: format!("{}::{}", source.path, function.name),
                lines: function.code_lines,
                limit: FUNCTION_LINES_MAX,
            };
            findings.extend(measure.check(&mut exceptions, "function"));
        }
    }
    let unused = exceptions.into_iter().filter(|(_, exception)| !exception.used);
    findings.extend(unused.map(|(key, exception)| {
        Finding::new(RATCHET, exception.line, format!("{key} is within its limit"), "remove the line")
    }));
    findings
}

/// One line of the ratchet file.
struct Exception {
    line: usize,
    lines: usize,
    used: bool,
}

struct Measure<'a> {
    path: &'a str,
    line: usize,
    key: String,
    lines: usize,
    limit: usize,
}

impl Measure<'_> {
    fn check(&self, exceptions: &mut BTreeMap<String, Exception>, kind: &str) -> Option<Finding> {
        let Measure { path, line, key, lines, limit } = self;
        if lines <= limit {
            return None;
        }
        let Some(exception) = exceptions.get_mut(key) else {
            let found = format!("a {kind} of {lines} lines, the limit is {limit}");
            return Some(Finding::new(path, *line, found, "split it by what its parts are about"));
        };
        exception.used = true;
        if *lines > exception.lines {
            let found =
                format!("a {kind} grew from {} to {lines} lines, the limit is {limit}", exception.lines);
            return Some(Finding::new(path, *line, found, "split it; an exception may only shrink"));
        }
        (*lines < exception.lines).then(|| {
            let found = format!("{key} has shrunk to {lines}");
            Finding::new(RATCHET, exception.line, found, format!("write {lines} for {}", exception.lines))
        })
    }
}

/// Reads the lines `"key" = number`; headings, comments and blank lines are for people.
fn read(ratchet: &str) -> (BTreeMap<String, Exception>, Vec<Finding>) {
    let mut exceptions = BTreeMap::new();
    let mut findings = Vec::new();
    for (index, text) in ratchet.lines().map(str::trim).enumerate() {
        if text.is_empty() || text.starts_with(['#', '[']) {
            continue;
        }
        let entry = text.split_once('=').and_then(|(key, lines)| {
            let key = key.trim().strip_prefix('"')?.strip_suffix('"')?;
            Some((key.to_owned(), lines.trim().parse().ok()?))
        });
        match entry {
            Some((key, lines)) => {
                exceptions.insert(key, Exception { line: index + 1, lines, used: false });
            }
            None => findings.push(Finding::new(
                RATCHET,
                index + 1,
                "a line that is no entry",
                "write \"key\" = lines",
            )),
        }
    }
    (exceptions, findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long_function(lines: usize) -> Vec<Source> {
        let content = format!("//! b\nfn long() {{\n{}}}\n", "    a();\n".repeat(lines));
        vec![Source::parse("a.rs", &content).unwrap()]
    }

    fn found(sources: &[Source], ratchet: &str) -> Vec<(usize, String)> {
        check(sources, ratchet).into_iter().map(|finding| (finding.line, finding.found)).collect()
    }

    #[test]
    fn what_is_within_its_limit_is_no_finding() {
        assert_eq!(found(&long_function(70), ""), []);
    }

    #[test]
    fn what_is_over_its_limit_is_named() {
        let expected = [(2, "a function of 71 lines, the limit is 70".to_owned())];
        assert_eq!(found(&long_function(71), ""), expected);
        let lines = vec![Source::parse("a.rs", &"//! b\n".repeat(501)).unwrap()];
        assert_eq!(found(&lines, ""), [(1, "a file of 501 lines, the limit is 500".to_owned())]);
    }

    #[test]
    fn an_exception_may_only_shrink() {
        let ratchet = "[functions]\n\"a.rs::long\" = 80\n";
        assert_eq!(found(&long_function(80), ratchet), []);
        assert_eq!(
            found(&long_function(81), ratchet),
            [(2, "a function grew from 80 to 81 lines, the limit is 70".to_owned())]
        );
        assert_eq!(found(&long_function(75), ratchet), [(2, "a.rs::long has shrunk to 75".to_owned())]);
        assert_eq!(found(&long_function(10), ratchet), [(2, "a.rs::long is within its limit".to_owned())]);
    }

    #[test]
    fn a_line_that_is_no_entry_is_a_finding() {
        assert_eq!(found(&[], "a.rs = many\n"), [(1, "a line that is no entry".to_owned())]);
    }
}

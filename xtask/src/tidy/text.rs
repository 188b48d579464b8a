//! Rules on the plain text of a file: how it opens, what must not be left in it, how it may be called.
//!
//! Looks at lines only; what needs the grammar of Rust is in the sibling modules.

use std::path::Path;

use super::Finding;

/// Words that mark unfinished work. Put together here so that this file does not find itself.
const LEFTOVERS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
/// Kinds of file in which a leftover is looked for; prose may speak of them.
const CODE: [&str; 8] = ["rs", "toml", "yaml", "yml", "sh", "sql", "js", "css"];
/// Starts of absolute paths that exist on one machine only.
const MACHINE_PATHS: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// Every finding in one file of any kind.
pub(super) fn check(path: &str, content: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let extension = Path::new(path).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if extension == "rs" {
        findings.extend(opening(path, content));
        findings.extend(name(path));
    }
    for (index, line) in content.lines().enumerate() {
        if let Some(machine) = MACHINE_PATHS.iter().find(|machine| holds_path(line, machine)) {
            let remedy = "make it relative, or a temporary folder made at run time";
            findings.push(Finding::new(
                path,
                index + 1,
                format!("a path of one machine ({machine})"),
                remedy,
            ));
        }
        if !CODE.contains(&extension) && path != ".ci/run" {
            continue;
        }
        if let Some(word) = LEFTOVERS.iter().find(|word| holds_word(line, word)) {
            findings.push(Finding::new(
                path,
                index + 1,
                format!("{word} is left"),
                "do it now, or open an issue",
            ));
        }
    }
    findings
}

fn opening(path: &str, content: &str) -> Option<Finding> {
    let first = content.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let remedy = "open with what the module owns and what it never does";
    (!first.starts_with("//!")).then(|| Finding::new(path, 1, "the file does not open with //!", remedy))
}

fn name(path: &str) -> Option<Finding> {
    let file = Path::new(path).file_name()?;
    let remedy = "rename it: foo.rs beside the folder foo";
    (file == "mod.rs").then(|| Finding::new(path, 1, "a file named mod.rs", remedy))
}

/// Whether the line holds the word with no letter, digit or underscore on either side.
fn holds_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
    })
}

/// Whether an absolute path starts with `prefix` somewhere in the line; a longer path or an address does not count.
fn holds_path(line: &str, prefix: &str) -> bool {
    line.match_indices(prefix).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "_-.~}/*".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, content: &str) -> Vec<(usize, String)> {
        check(path, content).into_iter().map(|finding| (finding.line, finding.found)).collect()
    }

    #[test]
    fn a_clean_file_has_no_finding() {
        assert_eq!(found("a/src/b.rs", "//! Owns b.\nfn main() {}\n"), []);
    }

    #[test]
    fn a_source_file_opens_with_its_purpose() {
        assert_eq!(found("a.rs", "// b\n//! c\n"), [(1, "the file does not open with //!".to_owned())]);
        assert_eq!(found("a.md", "# b\n"), []);
    }

    #[test]
    fn a_leftover_is_found_as_a_word_in_code_only() {
        for word in LEFTOVERS {
            assert_eq!(found("a.toml", &format!("a\n# {word}: b\n")), [(2, format!("{word} is left"))]);
            assert_eq!(found("a.toml", &format!("a{word} {word}B\n")), []);
            assert_eq!(found("a.md", &format!("we leave no {word}\n")), []);
        }
    }

    #[test]
    fn a_machine_path_is_found_in_every_text_file() {
        for prefix in MACHINE_PATHS {
            let finding = (1, format!("a path of one machine ({prefix})"));
            assert_eq!(found("a.md", &format!("see {prefix}b")), std::slice::from_ref(&finding));
            assert_eq!(found("a.yaml", &format!("file: \"{prefix}b\"")), [finding]);
            assert_eq!(
                found("a.md", &format!("home{prefix}b and https://host{prefix}b and ./a{prefix}")),
                []
            );
        }
    }

    #[test]
    fn a_file_named_mod_is_refused() {
        assert_eq!(found("a/src/b/mod.rs", "//! b\n"), [(1, "a file named mod.rs".to_owned())]);
    }
}

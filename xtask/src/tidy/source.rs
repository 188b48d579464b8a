//! A Rust file as the rules see it: its tokens with their lines, the lines that are only built for tests, the paths it
//! names, and its functions.
//!
//! Comments and strings are no tokens here, so a rule on tokens never trips over prose. Knows no rule.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::Finding;

/// One token: its text and the line it stands on, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

/// A function with a body: its name, the line of its `fn`, and how many lines of code its body holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) code_lines: usize,
}

/// A parsed file.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: String,
    pub(super) tokens: Vec<Token>,
    pub(super) functions: Vec<Function>,
    pub(super) lines: usize,
    test_lines: Vec<RangeInclusive<usize>>,
}

impl Source {
    /// Reads a file; one that is not Rust is a finding.
    pub(super) fn parse(path: &str, content: &str) -> Result<Source, Finding> {
        let stream = TokenStream::from_str(content)
            .map_err(|error| Finding::new(path, error.span().start().line, "not Rust", "make it compile"))?;
        let trees: Vec<_> = stream.into_iter().collect();
        let mut source = Source {
            path: path.to_owned(),
            tokens: Vec::new(),
            functions: Vec::new(),
            lines: content.lines().count(),
            test_lines: Vec::new(),
        };
        source.flatten(&trees);
        source.find_tests(&trees);
        source.find_functions(&trees);
        Ok(source)
    }

    /// Whether the whole file is only built for tests.
    pub(super) fn is_test_file(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs" || part == "benches")
    }

    /// Whether the line is only built for tests.
    pub(super) fn is_test_line(&self, line: usize) -> bool {
        self.is_test_file() || self.test_lines.iter().any(|range| range.contains(&line))
    }

    /// How many lines of the file are built into the product.
    pub(super) fn product_lines(&self) -> usize {
        (1..=self.lines).filter(|line| !self.is_test_line(*line)).count()
    }

    /// Every path the file names, `a::b::c`, with its line; the groups of a `use` are spelt out.
    pub(super) fn paths(&self) -> Vec<(String, usize)> {
        let mut paths = Vec::new();
        let mut index = 0;
        while index < self.tokens.len() {
            index = self.path_at(index, "", &mut paths).max(index + 1);
        }
        paths
    }

    /// Reads the path that starts at `index`, after `prefix`; returns the index behind it.
    fn path_at(&self, mut index: usize, prefix: &str, paths: &mut Vec<(String, usize)>) -> usize {
        let mut path = prefix.to_owned();
        let line = self.tokens.get(index).map_or(0, |token| token.line);
        while let Some(token) = self.tokens.get(index) {
            if !is_identifier(&token.text) && token.text != "*" {
                break;
            }
            path = if path.is_empty() { token.text.clone() } else { format!("{path}::{}", token.text) };
            index += 1;
            if self.text(index) != ":" || self.text(index + 1) != ":" {
                break;
            }
            index += 2;
            if self.text(index) == "{" {
                return self.group_at(index, &path, paths);
            }
        }
        if path.contains("::") {
            paths.push((path, line));
        }
        index
    }

    /// Reads the `{a, b::c}` of a `use`; returns the index behind it.
    fn group_at(&self, mut index: usize, prefix: &str, paths: &mut Vec<(String, usize)>) -> usize {
        while !matches!(self.text(index), "}" | "") {
            index = self.path_at(index + 1, prefix, paths).max(index + 1);
            // `as name` of a renamed import.
            while !matches!(self.text(index), "," | "}" | "") {
                index += 1;
            }
        }
        index + 1
    }

    fn text(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| &token.text)
    }

    fn flatten(&mut self, trees: &[TokenTree]) {
        for tree in trees {
            let line = tree.span().start().line;
            let TokenTree::Group(group) = tree else {
                self.tokens.push(Token { text: tree.to_string(), line });
                continue;
            };
            let (open, close) = match group.delimiter() {
                Delimiter::Brace => ("{", "}"),
                Delimiter::Bracket => ("[", "]"),
                Delimiter::Parenthesis => ("(", ")"),
                Delimiter::None => ("", ""),
            };
            self.tokens.push(Token { text: open.to_owned(), line });
            self.flatten(&group.stream().into_iter().collect::<Vec<_>>());
            self.tokens.push(Token { text: close.to_owned(), line: group.span_close().start().line });
        }
    }

    fn find_tests(&mut self, trees: &[TokenTree]) {
        let mut index = 0;
        while index < trees.len() {
            if let TokenTree::Group(group) = &trees[index] {
                let starts_item =
                    index > 0 && is_punct(&trees[index - 1], '#') && is_cfg_test(&group.stream());
                if starts_item {
                    let end = item_end(&trees[index..]);
                    let last = trees[index + end].span().end().line;
                    self.test_lines.push(trees[index].span().start().line..=last);
                    index += end;
                } else {
                    self.find_tests(&group.stream().into_iter().collect::<Vec<_>>());
                }
            }
            index += 1;
        }
    }

    fn find_functions(&mut self, trees: &[TokenTree]) {
        for (index, tree) in trees.iter().enumerate() {
            match tree {
                TokenTree::Group(group) => {
                    self.find_functions(&group.stream().into_iter().collect::<Vec<_>>())
                }
                TokenTree::Ident(word) if word == "fn" => {
                    // `fn(…)` is a type and has no name.
                    let Some(TokenTree::Ident(name)) = trees.get(index + 1) else { continue };
                    if let Some(TokenTree::Group(body)) = trees.get(index + item_end(&trees[index..]))
                        && body.delimiter() == Delimiter::Brace
                    {
                        let code_lines = code_lines(body);
                        self.functions.push(Function {
                            name: name.to_string(),
                            line: word.span().start().line,
                            code_lines,
                        });
                    }
                }
                _ => {}
            }
        }
    }
}

/// The index of the tree that ends the item: its braces or its semicolon.
fn item_end(trees: &[TokenTree]) -> usize {
    let ends = |tree: &TokenTree| match tree {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        other => is_punct(other, ';'),
    };
    trees.iter().position(ends).unwrap_or(trees.len().saturating_sub(1))
}

/// How many lines between the braces hold a token, as clippy counts them: no blank lines, no comments.
fn code_lines(body: &proc_macro2::Group) -> usize {
    fn collect(stream: TokenStream, lines: &mut BTreeSet<usize>) {
        for tree in stream {
            // A string may go over many lines; each of them is one.
            if let TokenTree::Group(group) = &tree {
                lines.insert(group.span_open().start().line);
                lines.insert(group.span_close().start().line);
                collect(group.stream(), lines);
            } else {
                lines.extend(tree.span().start().line..=tree.span().end().line);
            }
        }
    }
    let mut lines = BTreeSet::new();
    collect(body.stream(), &mut lines);
    lines.len()
}

fn is_punct(tree: &TokenTree, wanted: char) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn is_identifier(text: &str) -> bool {
    text.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_')
}

/// Whether the attribute is `cfg(test)`, alone or among other conditions, and not `cfg(not(test))`.
fn is_cfg_test(attribute: &TokenStream) -> bool {
    let text: String = attribute.to_string().split_whitespace().collect();
    text.starts_with("cfg(")
        && !text.contains("not(test")
        && text.split(['(', ')', ',']).any(|condition| condition == "test")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(content: &str) -> Source {
        Source::parse("crates/a/src/b.rs", content).unwrap()
    }

    #[test]
    fn lines_built_only_for_tests_are_not_the_products() {
        let source = parse(
            "//! b\nfn a() {}\n#[cfg(test)]\nmod tests {\n    fn c() {}\n}\n#[cfg(not(test))]\nfn d() {}\n",
        );
        let tests: Vec<_> = (1..=source.lines).filter(|line| source.is_test_line(*line)).collect();
        assert_eq!(tests, [3, 4, 5, 6]);
        assert_eq!(source.product_lines(), 4);
    }

    #[test]
    fn a_file_of_tests_has_no_product_lines() {
        assert_eq!(Source::parse("e2e/tests/a.rs", "//! b\nfn a() {}\n").unwrap().product_lines(), 0);
        assert_eq!(Source::parse("crates/a/src/b/tests.rs", "//! b\n").unwrap().product_lines(), 0);
    }

    #[test]
    fn a_function_is_as_long_as_its_code() {
        let source = parse(
            "impl A {\n  pub fn a(f: fn(u8)) -> u8 {\n\n    // why\n    let b = 1;\n    b\n  }\n}\nfn c();\nfn d() {}\n",
        );
        let expected = [("a", 2, 2), ("d", 10, 0)];
        let expected =
            expected.map(|(name, line, code_lines)| Function { name: name.to_owned(), line, code_lines });
        assert_eq!(source.functions, expected);
    }

    #[test]
    fn the_groups_of_a_use_are_spelt_out() {
        let source = parse(
            "use std::{fs, net::{TcpStream, IpAddr as Ip}};\nfn a() { let _ = std::thread::spawn(b); }\n",
        );
        let expected =
            [("std::fs", 1), ("std::net::TcpStream", 1), ("std::net::IpAddr", 1), ("std::thread::spawn", 2)];
        assert_eq!(source.paths(), expected.map(|(path, line)| (path.to_owned(), line)));
    }

    #[test]
    fn words_in_comments_and_strings_are_no_paths() {
        assert_eq!(parse("// std::fs::read\nconst A: &str = \"std::fs::read\";\n").paths(), []);
    }
}

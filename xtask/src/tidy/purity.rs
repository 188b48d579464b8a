//! Rules on the code of one file: nothing unfinished, `unsafe` in one place only, and a core without a world.
//!
//! The core's rule is also in `crates/chaos-core/clippy.toml`; here it covers what clippy can't name (whole modules).

use super::Finding;
use super::source::Source;

/// The only folder where `unsafe` may stand.
const UNSAFE_HOME: &str = "crates/chaos-agent/src/sys";
/// The folder whose code has no clock, no files, no sockets, no threads.
const PURE: &str = "crates/chaos-core/src/";
/// Macros that mark unfinished work.
const UNFINISHED_MACROS: [&str; 3] = ["todo", "unimplemented", "dbg"];
/// What the core must not name, and what it does instead.
const WORLD: [(&str, &str); 9] = [
    ("std::fs", "take the content as an argument"),
    ("std::net", "open sockets in an adapter, behind a port"),
    ("std::process", "run programs in an adapter, behind a port"),
    ("std::thread", "leave tasks to the engine"),
    ("std::env", "take the value as an argument"),
    ("tokio", "leave the runtime to the engine"),
    ("SystemTime::now", "take the time as an argument"),
    ("Instant::now", "take the time as an argument"),
    ("Timestamp::now", "take the time as an argument"),
];
/// Types below `std::net` that hold an address and open nothing.
const ADDRESSES: [&str; 7] =
    ["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "SocketAddrV4", "SocketAddrV6", "AddrParseError"];

/// Every finding in one Rust file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = unfinished(source);
    findings.extend(unsafe_code(source));
    if source.path.starts_with(PURE) {
        findings.extend(world(source));
    }
    findings
}

fn unfinished(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for window in source.tokens.windows(4) {
        let [first, second, third, fourth] = window else { continue };
        let path = &source.path;
        if second.text == "!" && third.text != "=" && UNFINISHED_MACROS.contains(&first.text.as_str()) {
            findings.push(Finding::new(
                path,
                first.line,
                format!("{}! is left", first.text),
                "finish it or remove it",
            ));
        }
        if first.text == "#"
            && second.text == "["
            && third.text == "ignore"
            && matches!(&*fourth.text, "]" | "=")
        {
            let remedy = "let it run, or return early with a line that starts with `skipped: `";
            findings.push(Finding::new(path, first.line, "an ignored test", remedy));
        }
    }
    findings
}

fn unsafe_code(source: &Source) -> Vec<Finding> {
    if source.path.starts_with(UNSAFE_HOME) {
        return Vec::new();
    }
    let remedy = format!("use a safe wrapper, or put one into {UNSAFE_HOME}");
    let uses = source.tokens.iter().filter(|token| token.text == "unsafe");
    uses.map(|token| Finding::new(&source.path, token.line, "unsafe code", remedy.clone())).collect()
}

fn world(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, line) in source.paths() {
        if source.is_test_line(line) {
            continue;
        }
        if let Some((name, remedy)) = WORLD.iter().find(|(name, _)| touches(&path, name)) {
            findings.push(Finding::new(&source.path, line, format!("the core names {name}"), *remedy));
        }
    }
    findings
}

fn touches(path: &str, name: &str) -> bool {
    let below = path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    let by_method = name.ends_with("::now") && path.ends_with(name);
    let address = ADDRESSES.iter().any(|kind| path.split("::").nth(2) == Some(kind));
    (below && !(name == "std::net" && address)) || by_method
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, content: &str) -> Vec<(usize, String)> {
        let source = Source::parse(path, content).unwrap();
        check(&source).into_iter().map(|finding| (finding.line, finding.found)).collect()
    }

    #[test]
    fn the_core_names_nothing_of_the_world() {
        let content = "use std::{fs, collections::BTreeMap};\nuse std::time::Instant;\nuse std::net::{IpAddr, UdpSocket};\n\
                       fn a() { let b = Instant::now(); let c = jiff::Timestamp::now(); tokio::spawn(d); }\n";
        let expected = [
            (1, "the core names std::fs"),
            (3, "the core names std::net"),
            (4, "the core names Instant::now"),
            (4, "the core names Timestamp::now"),
            (4, "the core names tokio"),
        ];
        assert_eq!(
            found("crates/chaos-core/src/a.rs", content),
            expected.map(|(line, text)| (line, text.to_owned()))
        );
        assert_eq!(found("crates/chaos-engine/src/a.rs", content), []);
    }

    #[test]
    fn tests_of_the_core_may_read_files() {
        let content = "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert_eq!(found("crates/chaos-core/src/a.rs", content), []);
    }

    #[test]
    fn unsafe_code_has_one_home() {
        let content = "fn a() { unsafe { b() } } // unsafe\n";
        assert_eq!(found("crates/chaos-agent/src/a.rs", content), [(1, "unsafe code".to_owned())]);
        assert_eq!(found("crates/chaos-agent/src/sys/a.rs", content), []);
        assert_eq!(found("crates/chaos-agent/src/sys.rs", content), []);
    }

    #[test]
    fn unfinished_work_is_found_in_code_and_not_in_words() {
        for name in UNFINISHED_MACROS {
            assert_eq!(found("a.rs", &format!("fn a() {{\n{name}!() }}")), [(2, format!("{name}! is left"))]);
        }
        assert_eq!(
            found("a.rs", "#[test]\n#[ignore = \"slow\"]\nfn a() {}"),
            [(2, "an ignored test".to_owned())]
        );
        assert_eq!(found("a.rs", "fn a(todo: u8) -> bool { todo != 1 } // dbg!(x) #[ignore]"), []);
    }
}

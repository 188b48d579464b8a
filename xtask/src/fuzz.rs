//! `cargo xtask fuzz`: builds the fuzz targets with libFuzzer and runs each for its share of the time.
//!
//! Owns the instrumentation, the limits and the report. What is looked for is in the crate `fuzz`. It is coverage-guided on
//! the pinned stable compiler: the sanitizer-coverage pass is LLVM's and is asked for by its plain name, and libFuzzer
//! comes as C++ source in the crate `libfuzzer-sys`. There is no address sanitizer on stable; what is looked for are
//! panics, hangs, memory without bound and broken promises. Flags and build folder are its own, so that nothing of the
//! ordinary build is disturbed.

mod output;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::output::Progress;
use crate::process::{self, Ending};
use crate::workspace::{cargo, has_program, root};

/// The limit of the build: everything below the targets is compiled anew with instrumentation.
const BUILD_LIMIT: Duration = Duration::from_mins(60);
/// How long a target may take beyond its share: reading the seeds, and the last input.
const GRACE: Duration = Duration::from_mins(2);
/// The instrumentation: counters at edges, with their places, and the operands of comparisons.
const INSTRUMENTATION: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
/// The largest input that is made, in bytes.
const INPUT_BYTES_MAX: usize = 16 * 1024;
/// An input that takes longer is a finding, on a machine that has other work too.
const INPUT_LIMIT: Duration = Duration::from_secs(10);
/// Memory beyond which an input is a finding.
const MEMORY_MIB_MAX: usize = 1024;
/// Shortest and longest word of the seeds that becomes part of the dictionary.
const WORD_BYTES: std::ops::RangeInclusive<usize> = 3..=40;
/// The compilers that the C++ of libFuzzer is built with when nobody chooses another.
const COMPILERS: [&str; 3] = ["c++", "g++", "clang++"];

/// Arguments of `cargo xtask fuzz`.
#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// How long to look, over all targets together; each has at least one second.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Only this target.
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
}

impl Arguments {
    /// All targets, so many seconds together.
    pub(crate) fn seconds(seconds: u64) -> Self {
        Self { seconds, ..Self::default() }
    }
}

/// Where things are.
struct Folders {
    /// `fuzz/` of the repository: seeds and regressions.
    kept: PathBuf,
    /// Below the build folder: the program and what it finds on its way.
    work: PathBuf,
}

/// There is a compiler for libFuzzer.
pub(crate) fn can_run() -> bool {
    std::env::var_os("CXX").is_some() || COMPILERS.iter().any(|name| has_program(name))
}

/// Runs the verb; false when a promise was broken or nothing could be run.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    if !can_run() {
        println!("fuzz: libFuzzer is C++, and there is no compiler for it ({})", COMPILERS.join(", "));
        println!(
            "to install one, as root: apt-get install g++; the kept inputs run without: cargo test -p fuzz"
        );
        return Ok(false);
    }
    let build = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let folders = Folders { kept: root().join("fuzz"), work: build.join("fuzz") };
    let targets = chosen(&folders, arguments.target.as_deref())?;
    let Some(program) = built(&folders)? else { return Ok(false) };
    let share = Duration::from_secs((arguments.seconds / targets.len() as u64).max(1));
    let mut findings = Vec::new();
    for target in &targets {
        findings.extend(look(&folders, &program, target, share)?);
    }
    for finding in &findings {
        println!("found: {finding}");
    }
    if !findings.is_empty() {
        println!("to see one again, with its backtrace: RUST_BACKTRACE=1 cargo test -p fuzz");
    }
    println!("fuzz: {} targets, {} s each, {} findings", targets.len(), share.as_secs(), findings.len());
    Ok(findings.is_empty())
}

/// The targets: each has a folder of seeds, which a test of the crate holds.
fn chosen(folders: &Folders, wanted: Option<&str>) -> Result<Vec<String>> {
    let seeds = folders.kept.join("corpus");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&seeds).with_context(|| format!("listing {}", seeds.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    match wanted {
        None => Ok(names),
        Some(name) if names.iter().any(|known| known == name) => Ok(vec![name.to_owned()]),
        Some(name) => bail!("no target {name:?}; there are {}", names.join(", ")),
    }
}

/// Builds the one program of all targets; none when it does not compile.
fn built(folders: &Folders) -> Result<Option<PathBuf>> {
    let triple = host()?;
    // With a triple the flags are for the program alone: build scripts and macros run in the compiler, uninstrumented.
    let arguments =
        ["build", "--profile", "fuzz", "-p", "fuzz", "--features", "libfuzzer", "--bin", "fuzz", "--target"];
    let mut command = cargo(&arguments);
    command.arg(&triple).env("RUSTFLAGS", INSTRUMENTATION).env("CARGO_TARGET_DIR", &folders.work);
    // It would outweigh the flags.
    command.env_remove("CARGO_ENCODED_RUSTFLAGS");
    match process::run(&mut command, BUILD_LIMIT)? {
        Ending::Success => Ok(Some(folders.work.join(triple).join("fuzz/fuzz"))),
        ending => {
            println!("fuzz: cargo {} {ending}", arguments.join(" "));
            Ok(None)
        }
    }
}

/// The triple of this machine, as its compiler names it.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").current_dir(root()).output().context("starting rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

/// Runs one target, prints its line and gives what it found.
fn look(folders: &Folders, program: &Path, target: &str, share: Duration) -> Result<Vec<String>> {
    let (seeds, regressions) =
        (folders.kept.join("corpus").join(target), folders.kept.join("regressions").join(target));
    let (corpus, dictionary) =
        (folders.work.join("corpus").join(target), folders.work.join(format!("{target}.dict")));
    for folder in [&corpus, &regressions] {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    std::fs::write(&dictionary, words(&seeds)?)
        .with_context(|| format!("writing {}", dictionary.display()))?;
    let mut command = Command::new(program);
    // A backtrace would push the words of the panic out of the lines that are shown.
    command.current_dir(root()).env("CHAOS_FUZZ_TARGET", target).env("RUST_BACKTRACE", "0").args([
        format!("-max_total_time={}", share.as_secs()),
        format!("-max_len={INPUT_BYTES_MAX}"),
        format!("-timeout={}", INPUT_LIMIT.as_secs()),
        format!("-rss_limit_mb={MEMORY_MIB_MAX}"),
        format!("-artifact_prefix={}/", regressions.display()),
        "-print_final_stats=1".to_owned(),
    ]);
    // A dictionary without a word is refused: bytes without a meaning have none.
    if std::fs::metadata(&dictionary).is_ok_and(|file| file.len() > 0) {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    // What is new goes into the first folder; the others are only read.
    command.args([&corpus, &seeds, &regressions]);
    let mut progress = Progress::default();
    let ending = process::run_lines(&mut command, share + GRACE, |_, line| progress.line(line))?;
    println!("{target:<20}{progress}");
    // An empty folder says nothing; git does not keep it either.
    let _ = std::fs::remove_dir(&regressions);
    if ending == Ending::Success {
        return Ok(Vec::new());
    }
    progress.print_tail();
    let place = |path: &String| {
        format!("{target}: {}", path.strip_prefix(&format!("{}/", root().display())).unwrap_or(path))
    };
    if progress.reproducers.is_empty() {
        // A stack that overflows leaves no input behind; the seed repeats the way there.
        return Ok(vec![format!("{target}: {ending}, no input was kept; {}", progress.seed)]);
    }
    Ok(progress.reproducers.iter().map(place).collect())
}

/// The words of the seeds as a dictionary of libFuzzer's, so that keywords need not be guessed byte by byte.
fn words(seeds: &Path) -> Result<String> {
    let mut found = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(seeds).with_context(|| format!("listing {}", seeds.display()))? {
        let path = entry?.path();
        let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let part_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
        let words = bytes.split(|byte| !part_of_word(byte)).filter(|word| WORD_BYTES.contains(&word.len()));
        found.extend(words.map(|word| String::from_utf8_lossy(word).into_owned()));
    }
    Ok(found.iter().map(|word| format!("\"{word}\"\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_seeds_become_a_dictionary() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "kind: Experiment\n{ to: pod_kill, at: 0.5 }\0\"kind\"")
            .unwrap();
        assert_eq!(words(folder.path()).unwrap(), "\"0.5\"\n\"Experiment\"\n\"kind\"\n\"pod_kill\"\n");
    }

    #[test]
    fn a_target_that_does_not_exist_is_refused_with_those_that_do() {
        let folders = Folders { kept: root().join("fuzz"), work: PathBuf::new() };
        let error = chosen(&folders, Some("documents")).unwrap_err().to_string();
        assert!(
            error.starts_with("no target \"documents\"; there are ") && error.contains("document, "),
            "{error}"
        );
        assert_eq!(chosen(&folders, Some("document")).unwrap(), ["document"]);
    }
}

//! Every kept input against its target, as it ships: seeds, and what once broke one.
//!
//! Owns the walk over the folders. It finds nothing new: that is `cargo xtask fuzz`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fuzz::TARGETS;

const KEPT: [&str; 2] = ["corpus", "regressions"];
/// Seeds are small: what is found on the way stays below the build folder.
const SEEDS_MAX: usize = 200;
const SEEDS_BYTES_MAX: u64 = 300 * 1024;

/// Names the input when a target panics on it.
struct Running<'p>(&'p Path);

impl Drop for Running<'_> {
    #[expect(clippy::print_stderr, reason = "a failed test says of what")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input was {}", self.0.display());
        }
    }
}

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(kind)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = found.map(|entry| entry.path()).collect();
    paths.sort_unstable();
    paths
}

#[test]
fn every_kept_input_keeps_the_promises_of_its_target() {
    for target in TARGETS {
        for path in KEPT.iter().flat_map(|kind| entries(&folder(kind).join(target.name))) {
            let _running = Running(&path);
            target.check(&std::fs::read(&path).expect("a kept input is readable"));
        }
    }
}

#[test]
fn every_target_has_seeds_and_every_folder_a_target() {
    let names = BTreeSet::from_iter(TARGETS.map(|target| target.name.to_owned()));
    for kind in KEPT {
        let found = entries(&folder(kind)).into_iter();
        let found: BTreeSet<String> =
            found.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
        assert!(found.is_subset(&names), "{kind}: {:?}", found.difference(&names));
        assert!(kind != "corpus" || found == names, "{:?}", names.difference(&found));
    }
}

#[test]
fn the_seeds_stay_small() {
    let seeds: Vec<PathBuf> = entries(&folder("corpus")).iter().flat_map(|target| entries(target)).collect();
    let bytes: u64 = seeds.iter().map(|path| std::fs::metadata(path).map_or(0, |data| data.len())).sum();
    assert!(seeds.len() <= SEEDS_MAX && bytes <= SEEDS_BYTES_MAX, "{} seeds, {bytes} bytes", seeds.len());
}

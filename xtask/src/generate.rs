//! `cargo xtask generate`: the files under `docs/` that are made from the code.
//!
//! The product writes them itself (`chaos generate --out FOLDER`, a hidden verb); this only copies or compares.
//! The three folders in [`GENERATED`] belong to it whole: what is not generated there is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{self, Ending};
use crate::workspace;

/// The folders below `docs/` that hold nothing but generated files.
const GENERATED: [&str; 3] = ["reference", "man", "completions"];
/// The limit for building the command line and writing the files.
const GENERATE_LIMIT: Duration = Duration::from_mins(30);

/// Arguments of `cargo xtask generate`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Change nothing; fail when a file is not current.
    #[arg(long)]
    pub(crate) check: bool,
}

/// One difference between what is generated and what is checked in.
#[derive(Debug, PartialEq, Eq)]
enum Difference {
    Missing(String),
    Changed(String),
    Stale(String),
}

/// Runs the verb; false when `--check` found a difference.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let folder = tempfile::tempdir().context("making a temporary folder")?;
    let out = folder.path().to_str().context("the temporary folder's name is not UTF-8")?;
    let mut command =
        workspace::cargo(&["run", "-q", "-p", "chaos-cli", "--bin", "chaos", "--", "generate", "--out", out]);
    let ending = process::run(&mut command, GENERATE_LIMIT)?;
    if ending != Ending::Success {
        bail!("chaos generate --out {out}: {ending}");
    }
    let fresh = read_tree(folder.path())?;
    if fresh.is_empty() {
        bail!("chaos generate wrote no file");
    }
    let docs = workspace::root().join("docs");
    let mut present = BTreeMap::new();
    for name in GENERATED {
        let files = read_tree(&docs.join(name))?;
        present.extend(files.into_iter().map(|(path, bytes)| (format!("{name}/{path}"), bytes)));
    }
    let differences = compare(&fresh, &present)?;
    if arguments.check { Ok(report(&differences)) } else { write(&docs, &fresh, &differences).map(|()| true) }
}

fn report(differences: &[Difference]) -> bool {
    for difference in differences {
        match difference {
            Difference::Missing(path) => println!("docs/{path}: is not there"),
            Difference::Changed(path) => println!("docs/{path}: is not what the code generates"),
            Difference::Stale(path) => println!("docs/{path}: nothing generates it"),
        }
    }
    if !differences.is_empty() {
        println!("to write them anew: cargo xtask generate");
    }
    differences.is_empty()
}

fn write(docs: &Path, fresh: &BTreeMap<String, Vec<u8>>, differences: &[Difference]) -> Result<()> {
    for difference in differences {
        match difference {
            Difference::Missing(path) | Difference::Changed(path) => {
                let file = docs.join(path);
                let bytes = fresh.get(path).map_or(&[][..], Vec::as_slice);
                if let Some(folder) = file.parent() {
                    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
                }
                fs::write(&file, bytes).with_context(|| format!("writing {}", file.display()))?;
                println!("wrote docs/{path}");
            }
            Difference::Stale(path) => {
                fs::remove_file(docs.join(path)).with_context(|| format!("removing docs/{path}"))?;
                println!("removed docs/{path}");
            }
        }
    }
    println!("generate: {} files, {} changed", fresh.len(), differences.len());
    Ok(())
}

/// What would have to change in `present` to be `fresh`.
fn compare(
    fresh: &BTreeMap<String, Vec<u8>>,
    present: &BTreeMap<String, Vec<u8>>,
) -> Result<Vec<Difference>> {
    if let Some(stray) =
        fresh.keys().find(|path| !GENERATED.iter().any(|name| path.starts_with(&format!("{name}/"))))
    {
        bail!("chaos generate wrote {stray}, outside of the generated folders ({})", GENERATED.join(", "));
    }
    let paths: BTreeSet<_> = fresh.keys().chain(present.keys()).collect();
    Ok(paths
        .into_iter()
        .filter_map(|path| match (fresh.get(path), present.get(path)) {
            (Some(_), None) => Some(Difference::Missing(path.clone())),
            (None, _) => Some(Difference::Stale(path.clone())),
            (Some(new), Some(old)) => (new != old).then(|| Difference::Changed(path.clone())),
        })
        .collect())
}

/// Every file below `folder` by its relative path; none when the folder is not there.
fn read_tree(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut queue = vec![folder.to_path_buf()];
    while let Some(current) = queue.pop() {
        if !current.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&current).with_context(|| format!("listing {}", current.display()))? {
            let path = entry.with_context(|| format!("listing {}", current.display()))?.path();
            if path.is_dir() {
                queue.push(path);
                continue;
            }
            let relative = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            files.insert(relative, fs::read(&path).with_context(|| format!("reading {}", path.display()))?);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn each_kind_of_difference_is_named() {
        let fresh =
            tree(&[("man/chaos.1", "new"), ("reference/faults.md", "same"), ("completions/chaos.bash", "x")]);
        let present = tree(&[("man/chaos.1", "old"), ("reference/faults.md", "same"), ("man/gone.1", "x")]);
        let found = compare(&fresh, &present).unwrap();
        assert_eq!(
            found,
            [
                Difference::Missing("completions/chaos.bash".into()),
                Difference::Changed("man/chaos.1".into()),
                Difference::Stale("man/gone.1".into()),
            ]
        );
    }

    #[test]
    fn a_file_outside_of_the_generated_folders_is_refused() {
        assert!(compare(&tree(&[("guide/intro.md", "x")]), &tree(&[])).is_err());
    }

    #[test]
    fn writing_makes_the_tree_current() {
        let docs = tempfile::tempdir().unwrap();
        let fresh = tree(&[("man/chaos.1", "new"), ("reference/deep/a.json", "{}")]);
        fs::create_dir_all(docs.path().join("man")).unwrap();
        fs::write(docs.path().join("man/old.1"), "old").unwrap();
        let differences = compare(&fresh, &read_tree(docs.path()).unwrap()).unwrap();
        write(docs.path(), &fresh, &differences).unwrap();
        assert_eq!(read_tree(docs.path()).unwrap(), fresh);
    }
}

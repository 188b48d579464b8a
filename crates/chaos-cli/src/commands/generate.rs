//! `chaos generate`: the files of the documentation that are made from the code. Hidden; `cargo xtask generate` calls it.

use std::fs;
use std::path::{Path, PathBuf};

use chaos_core::spec::document_schema;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use serde_json::Value;

use super::completions;
use crate::args::Cli;
use crate::catalogue;
use crate::exit::Failure;

const LONG: &str = "\
Writes reference/, man/ and completions/ below a folder. The same build writes the same bytes, whenever and wherever.";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(long_about = LONG)]
pub(crate) struct GenerateArgs {
    /// The folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Completion scripts and the usual names of their files.
const COMPLETIONS: [(Shell, &str); 5] = [
    (Shell::Bash, "chaos.bash"),
    (Shell::Elvish, "chaos.elv"),
    (Shell::Fish, "chaos.fish"),
    (Shell::PowerShell, "_chaos.ps1"),
    (Shell::Zsh, "_chaos"),
];

/// Does it.
pub(crate) fn run(args: &GenerateArgs) -> Result<u8, Failure> {
    for (path, bytes) in files()? {
        let path = args.out.join(path);
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|error| Failure::file("create", folder, error))?;
        fs::write(&path, bytes).map_err(|error| Failure::file("write", &path, error))?;
    }
    Ok(0)
}

fn files() -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut files = vec![
        ("reference/experiment.schema.json".to_owned(), json(&document_schema())?),
        ("reference/openapi.json".to_owned(), json(&chaos_api::openapi())?),
        ("reference/faults.md".to_owned(), catalogue::reference().into_bytes()),
    ];
    for (shell, name) in COMPLETIONS {
        files.push((format!("completions/{name}"), completions::script(shell).into_bytes()));
    }
    let mut root = Cli::command();
    root.build();
    pages(&root, "", &mut files)?;
    Ok(files)
}

/// The manual page of a verb and of what is below it.
fn pages(command: &clap::Command, before: &str, files: &mut Vec<(String, Vec<u8>)>) -> Result<(), Failure> {
    let name = if before.is_empty() {
        command.get_name().to_owned()
    } else {
        format!("{before}-{}", command.get_name())
    };
    let mut bytes = Vec::new();
    let page = command.clone().name(name.clone()).disable_help_subcommand(true);
    clap_mangen::Man::new(page)
        .date("")
        .render(&mut bytes)
        .map_err(|error| Failure::file("write", format!("man/{name}.1"), error))?;
    files.push((format!("man/{name}.1"), bytes));
    command.get_subcommands().filter(|one| !one.is_hide_set()).try_for_each(|one| pages(one, &name, files))
}

fn json(value: &Value) -> Result<Vec<u8>, Failure> {
    let mut text = serde_json::to_vec_pretty(value).map_err(anyhow::Error::new)?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_build_writes_the_same_bytes() {
        assert_eq!(files().expect("files"), files().expect("files"));
    }

    #[test]
    fn every_verb_has_a_manual_page_and_no_other_place_is_named() {
        let files = files().expect("files");
        for verb in Cli::command().get_subcommands().filter(|one| !one.is_hide_set()) {
            let page = format!("man/chaos-{}.1", verb.get_name());
            assert!(files.iter().any(|(path, _)| *path == page), "{page}");
        }
        for (path, bytes) in &files {
            let text = String::from_utf8_lossy(bytes);
            assert!(!text.contains(env!("CARGO_MANIFEST_DIR")), "{path}");
        }
    }
}

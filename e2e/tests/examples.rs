//! Every example is valid, and runs as it stands against the orchestrator on its usual port, only shorter.

use std::path::{Path, PathBuf};

use e2e::terminal::{Terminal, orchestrator};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("examples")
}

fn documents(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder of examples");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let yaml = paths.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let mut found: Vec<String> = yaml.map(|path| path.display().to_string()).collect();
    found.sort();
    found
}

fn run_all(folder: &Path) {
    let documents = documents(folder);
    assert!(!documents.is_empty());
    let (terminal, _house) = (Terminal::new(), orchestrator(env!("CARGO_BIN_EXE_soak")));
    for document in &documents {
        terminal.expect(0, &["validate", document]);
        terminal.expect(0, &["run", "-f", document, "--duration", "3"]);
    }
}

#[test]
fn the_examples_with_probes_run_and_hold() {
    e2e::in_a_room!();
    run_all(&folder());
}

#[test]
fn the_example_of_each_fault_runs_and_holds() {
    e2e::in_a_room!();
    run_all(&folder().join("host"));
    let names: Vec<String> = documents(&folder().join("host"))
        .iter()
        .filter_map(|path| Path::new(path).file_stem()?.to_str().map(str::to_owned))
        .collect();
    for kind in chaos_core::spec::FaultKind::ALL {
        assert!(names.iter().any(|name| name == kind.name()), "no example of {kind}");
    }
}

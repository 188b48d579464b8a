//! `chaos validate`: checks documents without touching anything.

use std::path::PathBuf;

use chaos_core::spec::DocumentError;
use clap::Args;
use serde::Serialize;

use crate::documents::{self, Entry};
use crate::exit::{Failure, USAGE};
use crate::output::{Mood, Output};

/// What the help says of it.
pub(crate) const LONG: &str = "\
Reads every document of the files, folders or standard input (`-`) and says of each whether it is valid: unknown \
fields, wrong units, missing parts, each with its path, the value and the nearest known name. Whether a target exists \
or a URL answers is not looked at: that is `chaos run --dry-run`.

Exit code 2 when any document has a defect.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos validate experiment.yaml
  chaos validate --recursive examples/
  cat experiment.yaml | chaos validate -
  chaos validate experiments/ --output json | jq '.[] | select(.valid | not)'";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ValidateArgs {
    /// Files, folders, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Look into folders below a folder too
    #[arg(short = 'R', long)]
    recursive: bool,
}

/// What is said of one document.
#[derive(Debug, Serialize)]
struct Finding {
    file: String,
    document: usize,
    valid: bool,
    name: Option<String>,
    namespace: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    errors: Vec<DocumentError>,
}

impl Finding {
    fn of(entry: Entry) -> Self {
        let (file, document) = (entry.source, entry.index);
        match entry.document {
            Ok(good) => Self {
                file,
                document,
                valid: true,
                name: Some(good.metadata.name.clone()),
                namespace: Some(good.metadata.namespace.clone()),
                kind: Some(good.type_name()),
                errors: Vec::new(),
            },
            Err(errors) => {
                Self { file, document, valid: false, name: None, namespace: None, kind: None, errors }
            }
        }
    }

    fn lines(&self, out: &Output) -> String {
        if let (Some(name), Some(namespace), Some(kind)) = (&self.name, &self.namespace, &self.kind) {
            return format!("{}: {}: {namespace}/{name}, {kind}", self.file, out.paint(Mood::Good, "ok"));
        }
        let lines: Vec<String> = self.errors.iter().map(|error| format!("{}: {error}", self.file)).collect();
        lines.join("\n")
    }
}

/// Does it.
pub(crate) fn run(args: &ValidateArgs, out: &Output) -> Result<u8, Failure> {
    let inputs = documents::read(&args.files, args.recursive)?;
    let findings: Vec<Finding> = inputs.iter().flat_map(documents::entries).map(Finding::of).collect();
    out.list(&findings, || findings.iter().map(|finding| finding.lines(out)).collect::<Vec<_>>().join("\n"))?;
    Ok(if findings.iter().all(|finding| finding.valid) { 0 } else { USAGE })
}

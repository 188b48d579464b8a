//! Input files: which there are, what is in them.
//!
//! Owns reading: a file, a folder, standard input, all bounded. It never judges a document; `chaos-core` does.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use chaos_core::spec::{DOCUMENT_BYTES_MAX, DocumentError, Experiment, parse_documents, plain_values};

use crate::exit::Failure;

/// Extensions of documents in a folder.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];
/// The most files that are taken from folders.
const FILES_MAX: usize = 1000;
/// The deepest that folders are followed.
const DEPTH_MAX: usize = 16;

/// Text with the name of its origin.
#[derive(Debug)]
pub(crate) struct Input {
    /// Path as given, or `standard input`.
    pub(crate) name: String,
    /// What it says.
    pub(crate) text: String,
}

/// One document of an input, or what is wrong with it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Where it came from.
    pub(crate) source: String,
    /// Which document of its source, from 0.
    pub(crate) index: usize,
    /// The document.
    pub(crate) document: Result<Experiment, Vec<DocumentError>>,
}

/// Reads files, folders (their documents by name; below them too when `recursive`) and `-` for standard input.
///
/// # Errors
/// When something can't be read, or a folder has no document.
pub(crate) fn read(paths: &[PathBuf], recursive: bool) -> Result<Vec<Input>, Failure> {
    let mut inputs = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let text = read_bounded(io::stdin().lock())
                .map_err(|source| Failure::file("read", "standard input", source))?;
            inputs.push(Input { name: "standard input".to_owned(), text });
        } else if path.is_dir() {
            let mut files = Vec::new();
            collect(path, recursive, DEPTH_MAX, &mut files)?;
            if files.is_empty() {
                let hint = if recursive { "" } else { "; --recursive looks below it" };
                return Err(Failure::usage(format!(
                    "{} has no .yaml, .yml or .json file{hint}",
                    path.display()
                )));
            }
            for file in files {
                inputs.push(read_file(&file)?);
            }
        } else {
            inputs.push(read_file(path)?);
        }
    }
    Ok(inputs)
}

fn collect(folder: &Path, recursive: bool, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |source| Failure::file("read", folder, source);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if recursive && depth > 0 {
                collect(&path, recursive, depth - 1, files)?;
            }
        } else if path
            .extension()
            .and_then(|text| text.to_str())
            .is_some_and(|text| EXTENSIONS.contains(&text))
        {
            files.push(path);
        }
        if files.len() > FILES_MAX {
            return Err(Failure::usage(format!("{} has more than {FILES_MAX} documents", folder.display())));
        }
    }
    Ok(())
}

fn read_file(path: &Path) -> Result<Input, Failure> {
    let failed = |source| Failure::file("read", path, source);
    let text = File::open(path).and_then(read_bounded).map_err(failed)?;
    Ok(Input { name: path.display().to_string(), text })
}

/// Reads one byte more than a document may have, so that the parser can say that it is too large.
fn read_bounded(reader: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    reader.take(DOCUMENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > DOCUMENT_BYTES_MAX {
        // A character cut in two at the limit is not what is wrong with it.
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8 text"))
}

/// Every document of an input, each good or with what is wrong.
pub(crate) fn entries(input: &Input) -> Vec<Entry> {
    let entry = |index, document| Entry { source: input.name.clone(), index, document };
    let values = match plain_values(&input.text) {
        Ok(values) => values,
        Err(error) => return vec![entry(0, Err(vec![error]))],
    };
    if values.len() == 1 {
        let document = parse_documents(&input.text).map(|mut documents| documents.remove(0));
        return vec![entry(0, document)];
    }
    let parse = |(index, value): (usize, serde_json::Value)| {
        let document =
            parse_documents(&value.to_string()).map(|mut documents| documents.remove(0)).map_err(|errors| {
                errors.into_iter().map(|error| DocumentError { document: index, ..error }).collect()
            });
        entry(index, document)
    };
    values.into_iter().enumerate().map(parse).collect()
}

/// Every document of these files; the first bad input ends it.
///
/// # Errors
/// When something can't be read, or has a defect.
pub(crate) fn experiments(paths: &[PathBuf], recursive: bool) -> Result<Vec<Experiment>, Failure> {
    let mut documents = Vec::new();
    for input in read(paths, recursive)? {
        let parsed = parse_documents(&input.text);
        documents.extend(parsed.map_err(|errors| Failure::Document { source: input.name, errors })?);
    }
    Ok(documents)
}

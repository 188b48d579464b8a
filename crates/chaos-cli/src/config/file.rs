//! The configuration file: its shape and how it is read.
//!
//! Owns the format, strict as a document. It never fills in a default.

use std::path::{Path, PathBuf};

use chaos_core::spec::{parse_value, plain_values};
use chaos_probes::SignalConfig;
use serde::{Deserialize, Serialize};

use crate::exit::Failure;

/// `config.yaml`; every field may be absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct File {
    /// Server to ask.
    #[serde(default)]
    pub(crate) server: Option<String>,
    /// Bearer token for it.
    #[serde(default)]
    pub(crate) token: Option<String>,
    /// State folder.
    #[serde(default)]
    pub(crate) state: Option<PathBuf>,
    /// App that is meant when a command names none.
    #[serde(default)]
    pub(crate) target_app: Option<String>,
    /// Safety.
    #[serde(default)]
    pub(crate) safety: FileSafety,
}

/// `safety` of the file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FileSafety {
    /// Health score below which nothing starts.
    #[serde(default)]
    pub(crate) threshold: Option<f64>,
    /// Base URL of a Prometheus.
    #[serde(default)]
    pub(crate) prometheus: Option<String>,
    /// Health signals read from it.
    #[serde(default)]
    pub(crate) signals: Option<Vec<SignalConfig>>,
}

impl File {
    /// Reads a file; `None` when it is not there and need not be.
    ///
    /// # Errors
    /// When it can't be read, or has a defect.
    pub(crate) fn read(path: &Path, must_exist: bool) -> Result<Option<Self>, Failure> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => return Ok(None),
            Err(error) => return Err(Failure::file("read", path, error)),
        };
        let defect = |error| Failure::Document { source: path.display().to_string(), errors: vec![error] };
        let only_comments = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
        if text.lines().all(only_comments) {
            return Ok(Some(Self::default()));
        }
        let mut values = plain_values(&text).map_err(defect)?;
        if values.len() > 1 {
            return Err(Failure::usage(format!("{} has {} documents, expected one", path.display(), values.len())));
        }
        let file: Self = parse_value(values.swap_remove(0)).map_err(defect)?;
        match file.safety.threshold {
            Some(value) if !(0.0..=1.0).contains(&value) => Err(Failure::usage(format!(
                "{}: safety.threshold: out of range: {value}; expected 0 to 1",
                path.display()
            ))),
            _ => Ok(Some(file)),
        }
    }
}

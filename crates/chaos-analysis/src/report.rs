//! Reports of a run: for a terminal, as Markdown, as JSON, as JUnit XML.
//!
//! Owns the formats and their names. Every figure comes from [`crate::measures`]; texts of the outside are escaped
//! for each format, secrets were removed before.

mod escape;
mod figures;
mod json;
mod junit;
mod markdown;
mod table;
mod text;

use chaos_core::journal::{Record, RunHeader};

pub(crate) use escape::{code, markdown};
pub use json::{JsonReport, SCHEMA_VERSION, schema};

use crate::measures::{DamagedJournal, Measures};

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For a terminal, at most 100 columns.
    Text,
    /// GitHub-flavoured Markdown.
    Markdown,
    /// One JSON object with `schema_version`.
    Json,
    /// JUnit XML, for continuous integration.
    Junit,
}

impl Format {
    /// Every format of this build.
    pub const ALL: [Format; 4] = [Self::Text, Self::Markdown, Self::Json, Self::Junit];

    /// Its name on the command line and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Markdown => "md",
            Self::Json => "json",
            Self::Junit => "junit",
        }
    }

    /// The format of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Its media type, for `Content-Type`.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Markdown => "text/markdown; charset=utf-8",
            Self::Json => "application/json",
            Self::Junit => "application/xml",
        }
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The journal can't be that of a run.
    #[error("cannot measure the run: {0}")]
    Journal(#[from] DamagedJournal),
    /// The JSON could not be written.
    #[error("cannot write the report as JSON")]
    Json(#[from] serde_json::Error),
    /// The XML could not be written.
    #[error("cannot write the report as JUnit XML")]
    Xml(#[from] std::io::Error),
}

/// The report of a run, finished or not, from its journal alone.
///
/// # Errors
/// [`ReportError`] when the journal is damaged or the format can't be written.
pub fn render(format: Format, header: &RunHeader, records: &[Record]) -> Result<String, ReportError> {
    write(format, &Measures::of(header, records)?)
}

/// The report of a run that was measured before.
///
/// # Errors
/// [`ReportError`] when the format can't be written.
pub fn write(format: Format, measures: &Measures) -> Result<String, ReportError> {
    match format {
        Format::Text => Ok(text::write(measures)),
        Format::Markdown => Ok(markdown::write(measures)),
        Format::Json => json::write(measures),
        Format::Junit => junit::write(measures),
    }
}

//! Output: data on standard output in the form asked for, everything else on standard error.
//!
//! Owns tables, colours and the manners of closed pipes. It never knows what it prints.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::args::Format;
use crate::exit::Failure;

/// Where and how to print.
#[derive(Debug)]
pub(crate) struct Output {
    /// Form of data.
    pub(crate) format: Format,
    /// Nothing on standard error but errors.
    pub(crate) quiet: bool,
    /// How much more to say on standard error.
    pub(crate) verbose: u8,
    colour: bool,
    /// Whoever read our standard output has gone: the rest is for nobody.
    closed: AtomicBool,
}

impl Output {
    /// Output in `format`; colours only on a terminal and without `NO_COLOR`.
    pub(crate) fn new(format: Format, quiet: bool, verbose: u8, no_color: bool) -> Self {
        let colour = io::stdout().is_terminal() && !no_color;
        Self { format, quiet, verbose, colour, closed: AtomicBool::new(false) }
    }

    /// Is the form one for people?
    pub(crate) fn for_people(&self) -> bool {
        matches!(self.format, Format::Text | Format::Wide)
    }

    /// With more columns?
    pub(crate) fn is_wide(&self) -> bool {
        self.format == Format::Wide
    }

    /// May a live view be drawn on standard error?
    pub(crate) fn is_live(&self) -> bool {
        !self.quiet
            && io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    }

    /// Prints text as it is, with a newline at its end. A reader that has gone is no error.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        if self.closed.load(Ordering::Relaxed) || text.is_empty() {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        let end = if text.ends_with('\n') { "" } else { "\n" };
        match write!(out, "{text}{end}").and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed.store(true, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => Err(Failure::file("write", "standard output", error)),
            Ok(()) => Ok(()),
        }
    }

    /// Prints one record: `people` for people, else the record itself.
    pub(crate) fn record<T: Serialize>(
        &self,
        record: &T,
        people: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Text | Format::Wide => self.text(&people()),
            Format::Json => self.text(&json(record, true)?),
            Format::Jsonl => self.text(&json(record, false)?),
            Format::Yaml => self.text(&yaml(record)?),
        }
    }

    /// Prints a list: `people` for people, else the records as one array or one a line.
    pub(crate) fn list<T: Serialize>(
        &self,
        records: &[T],
        people: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.format != Format::Jsonl {
            return self.record(&records, people);
        }
        records.iter().try_for_each(|record| self.text(&json(record, false)?))
    }

    /// Says something on standard error, unless told to be quiet.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            complain(text);
        }
    }

    /// Marks a verdict or a state: good, bad, or in between.
    pub(crate) fn paint(&self, mood: Mood, text: &str) -> String {
        let code = match mood {
            _ if !self.colour => return text.to_owned(),
            Mood::Good => "32",
            Mood::Bad => "31",
            Mood::Between => "33",
        };
        format!("\x1b[1;{code}m{text}\x1b[0m")
    }
}

/// How good news is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As hoped.
    Good,
    /// A weakness, or worse.
    Bad,
    /// Neither.
    Between,
}

/// One line on standard error; losing it is no reason to fail.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Columns under upper-case heads, two spaces apart, as in kubectl.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.iter().map(|name| (*name).to_owned()));
    for row in rows {
        table.add_row(row.into_iter().map(|cell| cell.replace(['\n', '\r', '\t'], " ")));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// `-` for what is absent or empty.
pub(crate) fn or_dash(text: Option<impl ToString>) -> String {
    text.map(|text| text.to_string()).filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
}

/// Seconds for people: `412ms`, `9.8s`, and from ten on as [`whole_seconds`].
pub(crate) fn seconds(seconds: f64) -> String {
    match seconds.max(0.0) {
        short if short < 0.9995 => format!("{:.0}ms", short * 1000.0),
        short if short < 9.95 => format!("{short:.1}s"),
        long => whole_seconds(long.round() as u64),
    }
}

/// Seconds for people: `41s`, `2m5s`, `3h10m`, `2d4h`.
pub(crate) fn whole_seconds(whole: u64) -> String {
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => format!("{}m{}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h{}m", whole / 3600, whole % 3600 / 60),
        _ => format!("{}d{}h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// Milliseconds for people, without their unit: `0.4`, `12`.
pub(crate) fn milliseconds(ms: Option<f64>) -> String {
    match ms {
        None => "-".to_owned(),
        Some(ms) if ms < 10.0 => format!("{ms:.1}"),
        Some(ms) => format!("{ms:.0}"),
    }
}

fn json<T: Serialize>(record: &T, pretty: bool) -> Result<String, Failure> {
    let text = if pretty { serde_json::to_string_pretty(record) } else { serde_json::to_string(record) };
    text.map_err(|error| Failure::Other(anyhow::Error::new(error).context("cannot write the result as JSON")))
}

/// A record as YAML, its fields in the order of their declaration.
pub(crate) fn yaml<T: Serialize>(record: &T) -> Result<String, Failure> {
    let text = serde_saphyr::to_string(record);
    text.map_err(|error| Failure::Other(anyhow::anyhow!("cannot write the result as YAML: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_has_no_trailing_blanks() {
        let text = table(
            &["NAME", "STATUS"],
            [vec!["a".into(), "running".into()], vec!["longer-name".into(), "x\ny".into()]],
        );
        assert_eq!(text, "NAME         STATUS\na            running\nlonger-name  x y");
    }

    #[test]
    fn yaml_says_the_same_as_json() {
        let text = "apiVersion: chaos.engineering/v1\nkind: Experiment\nmetadata: { name: 'true' }\nspec:\n  \
                    target: { host: { app: '007' } }\n  faults: [ { pod_kill: {} }, { cpu_stress: { cores: 2 } } ]\n";
        let document = chaos_core::spec::parse_documents(text).expect("valid");
        let written = yaml(&document[0]).expect("YAML");
        assert_eq!(chaos_core::spec::parse_documents(&written).expect("valid"), document, "{written}");
        let values = chaos_core::spec::plain_values(&written).expect("YAML");
        assert_eq!(values[0], serde_json::to_value(&document[0]).expect("JSON"));
    }

    #[test]
    fn lengths_of_time_are_short() {
        for (value, text) in [
            (0.4123, "412ms"),
            (9.84, "9.8s"),
            (41.2, "41s"),
            (125.0, "2m5s"),
            (0.9999, "1.0s"),
            (9.97, "10s"),
            (11_400.0, "3h10m"),
            (-1.0, "0ms"),
        ] {
            assert_eq!(seconds(value), text);
        }
    }
}

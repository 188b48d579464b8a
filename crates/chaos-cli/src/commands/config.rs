//! `chaos config show`: the configuration as it holds, each value with its origin, secrets masked.

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};

use crate::config::{Origin, Setting, Settings};
use crate::exit::Failure;
use crate::output::{self, Output};

const EXAMPLES: &str = "\
EXAMPLES:
  chaos config show
  CHAOS_SERVER=http://127.0.0.1:8081 chaos config show --output json";

const LONG_SHOW: &str = "\
Prints every value with its origin: a flag, a CHAOS_* variable, the configuration file or the default, in this order \
of weight; only the target app of the file outweighs CHAOS_TARGET_APP. Tokens and passwords in URLs are masked.";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ConfigArgs {
    /// What to do with it
    #[command(subcommand)]
    action: Action,
}

/// What can be done with the configuration.
#[derive(Debug, Subcommand)]
enum Action {
    /// Print every value with its origin
    #[command(long_about = LONG_SHOW, after_long_help = EXAMPLES)]
    Show,
}

/// One value.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    value: Value,
    origin: String,
}

/// Does it.
pub(crate) fn run(args: &ConfigArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    let Action::Show = args.action;
    let rows = rows(settings);
    out.list(&rows, || {
        let cells = rows.iter().map(|row| {
            let value = row.value.as_str().map_or_else(|| row.value.to_string(), str::to_owned);
            let value = if row.value.is_null() { "-".to_owned() } else { value };
            vec![row.name.to_owned(), value, row.origin.clone()]
        });
        output::table(&["NAME", "VALUE", "ORIGIN"], cells)
    })?;
    if !settings.config_file_found {
        out.note(&format!("no configuration file at {}", settings.config_file.value.display()));
    }
    Ok(0)
}

fn rows(settings: &Settings) -> Vec<Row> {
    let row = |name, value: Value, origin: &Origin| Row { name, value, origin: origin.to_string() };
    let optional = |name, setting: &Option<Setting<String>>, mask: fn(&str) -> String| match setting {
        Some(setting) => row(name, Value::from(mask(&setting.value)), &setting.origin),
        None => row(name, Value::Null, &Origin::Default),
    };
    let file = if settings.config_file_found {
        Origin::File(settings.config_file.value.clone())
    } else {
        Origin::Default
    };
    vec![
        row("configFile", json!(settings.config_file.value), &settings.config_file.origin),
        optional("server", &settings.server, without_password),
        optional("token", &settings.token, |_| "***".to_owned()),
        row("state", json!(settings.state.value), &settings.state.origin),
        row("output", json!(settings.output.value.name()), &settings.output.origin),
        row("targetApp", json!(settings.target_app.value), &settings.target_app.origin),
        row("safety.threshold", json!(settings.threshold.value), &settings.threshold.origin),
        optional("safety.prometheus", &settings.prometheus, without_password),
        row("safety.signals", json!(settings.signals.value), &settings.signals.origin),
        match &settings.ca {
            Some(ca) => row("ca", json!(ca.value), &ca.origin),
            None => row("ca", Value::Null, &Origin::Default),
        },
        optional("database", &settings.database, without_password),
        row("safety.rules", json!(settings.rest.safety.policy()), &file),
        row("store", json!(settings.rest.store), &file),
        row("probes", json!(settings.rest.probes), &file),
        optional("log", &settings.log, str::to_owned),
    ]
}

/// A URL with what stands before `@` in its host masked.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://***@{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_masked() {
        assert_eq!(without_password("http://ada:secret@host:9090/a?b=c@d"), "http://***@host:9090/a?b=c@d");
        assert_eq!(without_password("http://host:9090/a@b"), "http://host:9090/a@b");
    }
}

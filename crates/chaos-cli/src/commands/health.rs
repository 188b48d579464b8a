//! `chaos health`: the health score, the threshold, each signal.

use chaos_api::SystemHealth;
use clap::Args;

use crate::config::Settings;
use crate::connect;
use crate::exit::Failure;
use crate::output::{self, Mood, Output, or_dash};

/// What the help says of it.
pub(crate) const LONG: &str = "\
Prints the health score (0 to 1), the threshold below which nothing starts or goes on, and each signal behind it: the \
readiness of the targets and the PromQL signals of the configuration. A signal without data makes the score unknown, \
and an unknown score blocks.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos health
  chaos health --target-app checkout
  chaos health --output json | jq .score";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct HealthArgs {
    /// App whose readiness counts
    #[arg(long, value_name = "APP")]
    target_app: Option<String>,
}

/// Does it.
pub(crate) async fn run(args: &HealthArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    let app = args.target_app.as_deref();
    let health = connect::ask(settings, out, async |client| Ok(client.system_health(app).await?)).await?;
    out.record(&health, || people(&health, out))?;
    Ok(0)
}

fn people(health: &SystemHealth, out: &Output) -> String {
    let score = health.score.map_or_else(|| "unknown".to_owned(), |score| format!("{score:.2}"));
    let safe =
        if health.safe { out.paint(Mood::Good, "safe") } else { out.paint(Mood::Bad, "not safe: blocked") };
    let rows = health.signals.iter().map(|signal| {
        let score = match signal.score {
            _ if signal.not_evaluated => "not evaluated".to_owned(),
            score => score.map_or_else(|| "no data".to_owned(), |score| format!("{score:.2}")),
        };
        vec![
            signal.name.clone(),
            or_dash(signal.value),
            score,
            signal.weight.to_string(),
            if signal.critical { "yes" } else { "no" }.to_owned(),
            signal.source.clone(),
            signal.error.clone().unwrap_or_default(),
        ]
    });
    let table = output::table(&["SIGNAL", "VALUE", "SCORE", "WEIGHT", "CRITICAL", "SOURCE", "PROBLEM"], rows);
    format!("score {score}, threshold {}: {safe}\n{}\n\n{table}", health.threshold, health.explanation)
}

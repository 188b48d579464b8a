//! `chaos run`: registers experiments, starts them, watches them live, exits with the verdict.

mod plan;
mod session;

use std::path::PathBuf;

use chaos_api::CreateQuery;
use chaos_core::duration::Span;
use chaos_core::run::Verdict;
use chaos_core::safety::Override;
use chaos_core::spec::{Experiment, FaultKind, HostTarget, Select, ShortRequest};
use chaos_core::text::nearest;
use chaos_core::units::Percent;
use clap::{ArgGroup, Args, ValueEnum};
use serde_json::{Map, Value};

use super::init::experiment_name;
use crate::catalogue;
use crate::config::Settings;
use crate::connect::Connection;
use crate::documents;
use crate::exit::{self, Failure};
use crate::output::Output;
use crate::signals::Signals;
use session::Session;

/// What the help says of it.
pub(crate) const LONG: &str = "\
Runs experiments from documents or from flags, watches each live and exits with its verdict. Several documents, or a \
folder, are a suite: they run one after the other, or --parallel at a time (never two on one target), and end in one \
table; the exit code is the worst of them: 7, then 143 or 130, 1, 2, 3, 4, 5, 6, 0. --on-deviation stop ends the suite \
at the first that does not hold.

With a document, --name, --namespace, --target-app, --duration, --percent, --safety-threshold and --seed outweigh what \
it says. With a server configured or running the run is carried out there; else in this process, where other terminals \
find it (`list`, `status`, `stop`) and a second `run` joins it.

Ctrl-C and SIGTERM stop the run; the program ends when every fault is proven reverted (exit code 130, 143). If it is \
killed, its faults are undone at once all the same.

--expect makes that verdict exit 0 and another one 3; 7, 1, 2 and an interruption stay what they are.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos run --type pod_kill --name orchestrator-test --target-app orchestrator --duration 10
  chaos run --type cpu_stress --set load=60% --set cores=1 --duration 30s
  chaos run -f experiment.yaml --dry-run
  chaos run -f experiments/ --parallel 4 --on-deviation stop
  chaos run -f experiments/ --seed 7
  chaos run --type pod_kill --percent 100 --override max_affected,last_ready_instance --reason 'game day'
  chaos run -f experiment.yaml --expect blocked";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
#[command(group(ArgGroup::new("what").args(["files", "kind"]).required(true)))]
pub(crate) struct RunArgs {
    /// File, folder, or - for standard input; may be given several times
    #[arg(short = 'f', long = "config", visible_alias = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Look into folders below a folder too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Fault, e.g. pod_kill; `chaos faults` lists them
    #[arg(long = "type", value_name = "TYPE", value_parser = catalogue::fault_kind)]
    kind: Option<FaultKind>,
    /// Name of the experiment [default: made of app and type]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// App on this host [default: as configured, else orchestrator]
    #[arg(long, value_name = "APP")]
    target_app: Option<String>,
    /// Namespace [default: default]
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,
    /// How long, e.g. 30s, 2m, or a number of seconds [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = span)]
    duration: Option<Span>,
    /// Share of the instances, e.g. 50 [default: one instance]
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    percent: Option<Percent>,
    /// Health score below which nothing starts or goes on, 0 to 1 [default: as configured, else 0.8]
    #[arg(long, value_name = "SCORE", value_parser = score)]
    safety_threshold: Option<f64>,
    /// Parameter of the fault, a YAML scalar; may be given several times
    #[arg(long = "set", value_name = "NAME=VALUE", requires = "kind", value_parser = parameter)]
    parameters: Vec<(String, Value)>,
    /// Seed of every choice [default: drawn and recorded]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    #[command(flatten)]
    overrides: OverrideArgs,
    /// Resolve targets, ask every gate and print the plan; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Exit 0 when this is the verdict, 3 when it is another
    #[arg(long, value_enum, value_name = "VERDICT")]
    expect: Option<Expected>,
    /// What becomes of the other documents when one deviates
    #[arg(long, value_enum, value_name = "WHAT", default_value = "continue")]
    on_deviation: OnDeviation,
    /// How many documents run at the same time; never two on one target
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=PARALLEL_MAX))]
    parallel: u8,
    /// Run in this process although a server is configured
    #[arg(long)]
    standalone: bool,
}

/// The most runs that one command watches.
const PARALLEL_MAX: i64 = 16;

/// What follows a run that found a weakness, or could not be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnDeviation {
    /// The next document
    Continue,
    /// Nothing any more; what runs at the same time goes on to its end
    Stop,
}

/// Caps that are lifted for a run.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OverrideArgs {
    /// Caps to lift for this run: max_affected, last_ready_instance, unmanaged_kill, protected, window, budget
    #[arg(long = "override", value_name = "NAME,…", value_delimiter = ',', requires = "reason", value_parser = cap)]
    names: Vec<Override>,
    /// Why they are lifted; logged
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Start although a stop condition has no data and so could never end the run
    #[arg(long)]
    lenient: bool,
}

impl OverrideArgs {
    /// The query parameters that say so.
    pub(crate) fn query(&self) -> Result<CreateQuery, Failure> {
        if !self.names.is_empty() && self.reason.as_ref().is_none_or(|reason| reason.trim().is_empty()) {
            return Err(Failure::usage("--override needs a --reason that says something"));
        }
        let names: Vec<&str> = self.names.iter().map(|one| one.name()).collect();
        Ok(CreateQuery {
            overrides: (!names.is_empty()).then(|| names.join(",")),
            reason: self.reason.clone(),
            lenient: self.lenient.then_some(true),
            ..CreateQuery::default()
        })
    }
}

/// Verdicts that may be expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Expected {
    /// The hypothesis holds
    Held,
    /// A weakness is found
    Deviated,
    /// A guardrail or a hand ends it
    Stopped,
    /// A gate refuses it
    Blocked,
}

impl Expected {
    fn verdict(self) -> Verdict {
        match self {
            Self::Held => Verdict::Held,
            Self::Deviated => Verdict::Deviated,
            Self::Stopped => Verdict::Stopped,
            Self::Blocked => Verdict::Blocked,
        }
    }

    /// The exit code in the light of what was expected: what needs hands, or could not be carried out, stays as it is.
    fn judge(self, verdict: Option<Verdict>, code: u8) -> u8 {
        match code {
            exit::REVERT_INCOMPLETE | exit::INTERNAL | exit::USAGE | 128.. => code,
            _ if verdict == Some(self.verdict()) => 0,
            _ => exit::DEVIATED,
        }
    }
}

pub(crate) fn span(text: &str) -> Result<Span, String> {
    Span::parse(text)
        .ok_or_else(|| "expected a duration such as 30s, 1m30s, 500ms or a number of seconds".to_owned())
}

/// Reads `50` or `50%`.
pub(crate) fn percent(text: &str) -> Result<Percent, String> {
    Percent::parse(text).ok_or_else(|| "expected a share above 0 and up to 100, such as 50 or 50%".to_owned())
}

fn score(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

fn cap(text: &str) -> Result<Override, String> {
    Override::parse(text).ok_or_else(|| {
        let names = Override::ALL.map(Override::name);
        let hint = nearest(text, names).map(|name| format!("; did you mean {name:?}?")).unwrap_or_default();
        format!("no cap has that name; expected {}{hint}", names.join(", "))
    })
}

/// Reads `name=value`; the value is YAML, so that numbers, truth values and lists are what they look like.
fn parameter(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    if name.trim().is_empty() {
        return Err("expected NAME=VALUE".to_owned());
    }
    let value = if value.trim().is_empty() {
        Value::String(String::new())
    } else {
        serde_saphyr::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()))
    };
    Ok((name.trim().to_owned(), value))
}

impl RunArgs {
    fn documents(&self, settings: &Settings) -> Result<Vec<Experiment>, Failure> {
        let Some(kind) = self.kind else {
            let mut documents = documents::experiments(&self.files, self.recursive)?;
            if documents.len() > 1 && self.name.is_some() {
                return Err(Failure::usage(format!(
                    "--name is for one document, here are {}",
                    documents.len()
                )));
            }
            for document in &mut documents {
                self.outweigh(document);
                document.validate().map_err(|error| invalid(vec![error]))?;
            }
            return Ok(documents);
        };
        let app = self.target_app.clone().unwrap_or_else(|| settings.target_app.value.clone());
        let mut parameters = Map::new();
        parameters.extend(self.parameters.iter().cloned());
        let short = ShortRequest {
            name: self.name.clone().unwrap_or_else(|| experiment_name(&app, kind)),
            kind: kind.name().to_owned(),
            target_app: Some(app),
            namespace: self.namespace.clone(),
            duration: self.duration,
            percent: self.percent,
            safety_threshold: self.safety_threshold,
            parameters,
        };
        let mut document = short.into_experiment().map_err(|error| invalid(vec![error]))?;
        document.spec.target.seed = self.seed;
        Ok(vec![document])
    }

    /// Flags outweigh the document.
    fn outweigh(&self, document: &mut Experiment) {
        let Experiment { metadata, spec, .. } = document;
        if let Some(name) = &self.name {
            metadata.name.clone_from(name);
        }
        if let Some(namespace) = &self.namespace {
            metadata.namespace.clone_from(namespace);
        }
        if let Some(app) = &self.target_app {
            spec.target.host = Some(HostTarget::App(app.clone()));
        }
        spec.duration = self.duration.unwrap_or(spec.duration);
        spec.target.select = self.percent.map_or(spec.target.select, Select::Percent);
        spec.target.seed = self.seed.or(spec.target.seed);
        spec.safety.threshold = self.safety_threshold.or(spec.safety.threshold);
    }
}

fn invalid(errors: Vec<chaos_core::spec::DocumentError>) -> Failure {
    Failure::Document { source: "the experiment".to_owned(), errors }
}

/// Does it.
pub(crate) async fn run(args: &RunArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    let documents = args.documents(settings)?;
    let query = args.overrides.query()?;
    let signals = Signals::new()?;
    let connection = Connection::open(settings, args.standalone, out).await?;
    let mut session = Session { args, settings, connection, query, signals, out };
    let outcome =
        if args.dry_run { plan::show(&session, documents).await } else { session.run_all(documents).await };
    session.end().await;
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expected_verdict_is_exit_0_and_another_one_3() {
        assert_eq!(Expected::Deviated.judge(Some(Verdict::Deviated), 3), 0);
        assert_eq!(Expected::Held.judge(Some(Verdict::Deviated), 3), 3);
        assert_eq!(Expected::Deviated.judge(Some(Verdict::Held), 0), 3);
        assert_eq!(Expected::Blocked.judge(Some(Verdict::Blocked), 5), 0);
        assert_eq!(Expected::Stopped.judge(Some(Verdict::Stopped), 4), 0);
        assert_eq!(Expected::Held.judge(Some(Verdict::Inconclusive), 6), 3);
    }

    #[test]
    fn what_needs_hands_or_never_ran_stays_what_it_is_whatever_was_expected() {
        for code in [7, 1, 2, 129, 130, 143] {
            assert_eq!(Expected::Held.judge(Some(Verdict::Error), code), code);
            assert_eq!(Expected::Stopped.judge(Some(Verdict::Stopped), code), code);
        }
    }

    #[test]
    fn a_parameter_is_what_it_looks_like() {
        for (text, value) in [
            ("load=60%", Value::from("60%")),
            ("cores=2", Value::from(2)),
            ("peers=[10.0.0.0/8, ::1]", serde_json::json!(["10.0.0.0/8", "::1"])),
            ("signal=", Value::from("")),
            ("size='64Mi'", Value::from("64Mi")),
        ] {
            let name = text.split('=').next().unwrap_or_default().to_owned();
            assert_eq!(parameter(text), Ok((name, value)), "{text}");
        }
        assert!(parameter("load").is_err());
        assert!(parameter("=1").is_err());
    }
}

//! `chaos init`: writes a commented starter document.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::PathBuf;

use chaos_core::spec::{FaultKind, parse_documents};
use clap::Args;

use crate::catalogue;
use crate::config::Settings;
use crate::exit::Failure;
use crate::output::Output;

/// What the help says of it.
pub(crate) const LONG: &str = "\
Writes a starter document with a comment on every part, valid as it stands. It never overwrites a file unless told \
to with --force.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos init
  chaos init checkout.yaml --type cpu_stress --target-app checkout
  chaos init - --type network_partition | chaos validate -";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct InitArgs {
    /// Where to write it; - for standard output
    #[arg(default_value = "experiment.yaml", value_name = "FILE")]
    file: PathBuf,
    /// Fault that it starts with
    #[arg(long = "type", value_name = "TYPE", default_value = "pod_kill", value_parser = catalogue::fault_kind)]
    kind: FaultKind,
    /// App that it hits
    #[arg(long, value_name = "APP")]
    target_app: Option<String>,
    /// Overwrite a file that is there
    #[arg(long)]
    force: bool,
}

/// Does it.
pub(crate) fn run(args: &InitArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    let app = args.target_app.as_deref().unwrap_or(&settings.target_app.value);
    let text = starter(args.kind, app);
    if let Err(errors) = parse_documents(&text) {
        return Err(Failure::Document { source: "the starter for this app".to_owned(), errors });
    }
    if args.file.as_os_str() == "-" {
        out.text(&text)?;
        return Ok(0);
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).create_new(!args.force);
    let written = options.open(&args.file).and_then(|mut file| file.write_all(text.as_bytes()));
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Failure::usage(format!(
                "{} is there already; --force overwrites it",
                args.file.display()
            )));
        }
        Err(error) => return Err(Failure::file("write", &args.file, error)),
        Ok(()) => {}
    }
    let file = args.file.display();
    out.note(&format!("wrote {file}; next: chaos validate {file} && chaos run -f {file} --dry-run"));
    Ok(0)
}

/// The starter document of a fault.
fn starter(kind: FaultKind, app: &str) -> String {
    // JSON strings are YAML strings, whatever is in them.
    let quoted = serde_json::Value::from(app).to_string();
    let name = experiment_name(app, kind);
    let parameters = catalogue::parameter_comments(kind, "        ");
    format!(
        "\
# A chaos experiment: what should stay true, what is broken, what is watched, how far to go.
#   chaos validate FILE           checks it
#   chaos run -f FILE --dry-run   resolves the target and asks every gate, changes nothing
#   chaos run -f FILE             runs it
apiVersion: chaos.engineering/v1
kind: Experiment
metadata:
  name: {name}
  namespace: default
spec:
  # What should stay true, in words.
  hypothesis: the app keeps serving while one instance is hit
  target:
    # On this host: app, process {{name, cmdline, user, port}}, unit, container, cgroup or pid.
    host: {{ app: {quoted} }}
    # How many of what matches: one, all, 3, 50%, or a random number up to a share: <=30%
    select: one
    # seed: 7                     # replays the same choice; drawn and recorded when absent
  faults:
    # Run together; name one and write `after: NAME` beside another to order them. `chaos faults` lists them.
    - {kind}:{parameters}
  # From the first proven activation to the undo.
  duration: 30s
  # What is measured before, during and after. Without probes: the targets are ready again, health stays good.
  # probes:
  #   - name: health
  #     http: {{ url: \"http://127.0.0.1:8080/health\", expect: {{ status: 200 }} }}   # http, tcp, command, prometheus, load
  #     every: 2s
  #     timeout: 1s
  #     during: [before, chaos, after]
  #     tolerance: {{ success: 99% }}
  #     stopOnFailure: false
  safety:
    # A health score below this blocks the start and stops a run.
    threshold: 0.8
    # The largest share of the target that may be affected, counting what is already unready.
    maxAffected: 50%
  recovery:
    # How long to wait for steady state after the undo, and how long it must last.
    timeout: 2m
    hold: 0s
"
    )
}

/// A name for an experiment on an app: what a name may not have is left out.
pub(crate) fn experiment_name(app: &str, kind: FaultKind) -> String {
    const NAME_CHARS_MAX: usize = 63;
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let kind: String = kind.name().chars().map(plain).collect();
    let app: String = app.chars().map(plain).take(NAME_CHARS_MAX - 1 - kind.len()).collect();
    match app.trim_matches('-') {
        "" => kind,
        app => format!("{app}-{kind}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_starter_of_every_fault_is_valid_and_spells_out_its_defaults() {
        for kind in FaultKind::ALL {
            let text = starter(kind, "check \"out");
            let document = parse_documents(&text).expect("valid").remove(0);
            assert_eq!(document.spec.faults[0].fault, kind.with_defaults(), "{text}");
        }
    }

    #[test]
    fn a_name_is_made_of_what_names_may_have() {
        assert_eq!(experiment_name("My App.2", FaultKind::PodKill), "my-app-2-pod-kill");
        assert_eq!(experiment_name("…", FaultKind::CpuStress), "cpu-stress");
        assert!(experiment_name(&"a".repeat(200), FaultKind::NetworkPartition).len() <= 63);
    }
}

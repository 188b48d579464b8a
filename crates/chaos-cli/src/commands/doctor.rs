//! `chaos doctor`: which faults this host can do, and why not.

use chaos_agent::doctor::{self, Examination, Grade};
use clap::Args;

use crate::exit::Failure;
use crate::output::{self, Mood, Output};

/// What the help says of it.
pub(crate) const LONG: &str = "\
Tries what the kernel lets this user do and says of every fault whether it can be done here, by what means, and what \
is missing. Nothing is changed.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos doctor
  chaos doctor --output json | jq '.faults[] | select(.grade != \"ok\")'";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct DoctorArgs {}

/// Does it.
pub(crate) fn run(_: &DoctorArgs, out: &Output) -> Result<u8, Failure> {
    let found = doctor::examine();
    out.record(&found, || people(&found, out))?;
    Ok(0)
}

fn people(found: &Examination, out: &Output) -> String {
    let faults = found.faults.iter().map(|one| {
        let grade = match one.grade {
            Grade::Ok => "yes",
            Grade::Degraded => "partly",
            Grade::No => "no",
        };
        vec![one.fault.to_string(), grade.to_owned(), one.engine.to_owned(), one.reason.clone()]
    });
    let facts = found.facts.iter().map(|fact| {
        vec![fact.name.clone(), if fact.available { "yes" } else { "no" }.to_owned(), fact.detail.clone()]
    });
    let all = found.faults.iter().all(|one| one.grade == Grade::Ok);
    let sum = match all {
        true => out.paint(Mood::Good, "every fault can be done here"),
        false => out.paint(Mood::Between, "some faults are limited here"),
    };
    format!(
        "kernel {}: {sum}\n\n{}\n\n{}",
        found.kernel,
        output::table(&["FAULT", "HERE", "BY", "MISSING"], faults),
        output::table(&["ABILITY", "HERE", "SEEN"], facts)
    )
}

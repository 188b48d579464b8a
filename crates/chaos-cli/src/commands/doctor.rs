//! `chaos doctor`: which faults this host can do, and every host of a server, and why not.

use chaos_agent::doctor;
use chaos_core::link::{Examination, Grade, HostInfo, LOCAL_HOST};
use clap::Args;
use serde::Serialize;

use crate::config::Settings;
use crate::connect::{Connection, is_local};
use crate::exit::Failure;
use crate::output::{self, Mood, Output};

/// What the help says of it.
pub(crate) const LONG: &str = "\
Tries what the kernel lets this user do and says of every fault whether it can be done here, by what means, and what \
is missing. With a server, the same follows for every host whose agent is connected to it, and what that agent allows. \
Nothing is changed.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos doctor
  chaos doctor --output json | jq '.faults[] | select(.grade != \"ok\")'
  chaos doctor --server https://chaos.example --output json | jq '.hosts[] | {name, connected}'";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct DoctorArgs {}

/// What was found here, and what the server knows of its hosts.
#[derive(Debug, Serialize)]
struct Found {
    #[serde(flatten)]
    here: Examination,
    hosts: Vec<HostInfo>,
}

/// Does it.
pub(crate) async fn run(_: &DoctorArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    let here = doctor::examine();
    let hosts = match hosts(settings).await {
        Ok(hosts) => hosts,
        Err(failure) => {
            out.note(&format!("this host only: {failure}"));
            Vec::new()
        }
    };
    let found = Found { here, hosts };
    out.record(&found, || people(&found, out))?;
    Ok(0)
}

/// Every host of the server, this one left out.
async fn hosts(settings: &Settings) -> Result<Vec<HostInfo>, Failure> {
    let Some(client) = Connection::to_server_if_any(settings).await? else { return Ok(Vec::new()) };
    let mut hosts = client.agents().await?;
    let here = is_local(client.endpoint());
    hosts.retain(|host| !(here && host.name == LOCAL_HOST));
    Ok(hosts)
}

fn people(found: &Found, out: &Output) -> String {
    let mut parts = vec![examination(&found.here, out, "here")];
    parts.extend(found.hosts.iter().map(|host| section(host, out)));
    parts.join("\n\n")
}

fn section(host: &HostInfo, out: &Output) -> String {
    let state = match host.connected {
        true => out.paint(Mood::Good, "connected"),
        false => out.paint(Mood::Bad, "not connected"),
    };
    let since = host.since.strftime("%Y-%m-%d %H:%M:%S UTC");
    let (name, version, held) = (&host.name, &host.version, host.held);
    let limits = limits(host);
    format!(
        "HOST {name}: {state} since {since}, agent {version}, {held} injections held\n{limits}\n{}",
        examination(&host.examination, out, "there")
    )
}

fn limits(host: &HostInfo) -> String {
    let limits = &host.limits;
    let names = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let faults: Vec<String> = limits.faults.iter().map(ToString::to_string).collect();
    let apps = limits.apps.as_ref().map_or_else(|| "any".to_owned(), |apps| names(apps));
    let longest = limits.duration_max.map_or_else(|| "any".to_owned(), |longest| longest.to_string());
    format!(
        "allows faults: {}; apps: {apps}; duration: up to {longest}; commands: {}",
        names(&faults),
        names(&limits.commands)
    )
}

fn examination(found: &Examination, out: &Output, place: &str) -> String {
    let faults = found.faults.iter().map(|one| {
        let grade = match one.grade {
            Grade::Ok => "yes",
            Grade::Degraded => "partly",
            Grade::No => "no",
        };
        vec![one.fault.to_string(), grade.to_owned(), one.engine.clone(), one.reason.clone()]
    });
    let facts = found.facts.iter().map(|fact| {
        vec![fact.name.clone(), if fact.available { "yes" } else { "no" }.to_owned(), fact.detail.clone()]
    });
    let all = found.faults.iter().all(|one| one.grade == Grade::Ok);
    let sum = match all {
        true => out.paint(Mood::Good, &format!("every fault can be done {place}")),
        false => out.paint(Mood::Between, &format!("some faults are limited {place}")),
    };
    let column = place.to_uppercase();
    format!(
        "kernel {}: {sum}\n\n{}\n\n{}",
        found.kernel,
        output::table(&["FAULT", &column, "BY", "MISSING"], faults),
        output::table(&["ABILITY", &column, "SEEN"], facts)
    )
}

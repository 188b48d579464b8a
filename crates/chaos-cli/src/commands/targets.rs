//! `chaos targets`: what could be hit, and how many; changes nothing.

use chaos_api::{Client, TargetsPreview, TargetsQuery};
use chaos_core::link::{HostInfo, LOCAL_HOST};
use chaos_core::spec::Select;
use chaos_core::units::Percent;
use clap::Args;

use crate::config::Settings;
use crate::connect;
use crate::exit::{Failure, USAGE};
use crate::output::{self, Output};

/// What the help says of it.
pub(crate) const LONG: &str = "\
Shows every instance that a target matches, what would be chosen of them, what is protected and why, and whether the \
cap on the affected share allows it. Nothing is changed. Exit code 2 when nothing matches; the apps that were seen \
are named then.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos targets --target-app orchestrator --select 50%
  chaos targets --process-name nginx --port 8080
  chaos targets --target-app orchestrator --select 50% --seed 7 --output json | jq .selected.chosen";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
#[group(id = "target", multiple = true)]
pub(crate) struct TargetsArgs {
    /// A unit, a container, or processes by this name [default: as configured]
    #[arg(long, visible_alias = "app", value_name = "APP", conflicts_with_all = ["unit", "container", "cgroup", "pid"])]
    target_app: Option<String>,
    /// Processes with this name of the executable or of argv[0]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["target_app", "unit", "container", "cgroup", "pid"])]
    process_name: Option<String>,
    /// Processes with this part in their command line
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["target_app", "unit", "container", "cgroup", "pid"])]
    cmdline: Option<String>,
    /// Processes of this user
    #[arg(long, value_name = "USER", conflicts_with_all = ["target_app", "unit", "container", "cgroup", "pid"])]
    user: Option<String>,
    /// Processes that listen on this port
    #[arg(long, value_name = "PORT", conflicts_with_all = ["target_app", "unit", "container", "cgroup", "pid"])]
    port: Option<u16>,
    /// A systemd unit
    #[arg(long, value_name = "UNIT", conflicts_with_all = ["container", "cgroup", "pid"])]
    unit: Option<String>,
    /// A container by id
    #[arg(long, value_name = "ID", conflicts_with_all = ["cgroup", "pid"])]
    container: Option<String>,
    /// A cgroup by its path
    #[arg(long, value_name = "PATH", conflicts_with = "pid")]
    cgroup: Option<String>,
    /// One process
    #[arg(long, value_name = "PID")]
    pid: Option<i32>,
    /// How many of what matches: one, all, 3, 50%, <=30%
    #[arg(long, value_name = "HOW-MANY", value_parser = select, default_value = "one")]
    select: Select,
    /// Hosts to look at, of those that are connected to the server [default: every one]
    #[arg(long, value_name = "HOST,…", value_delimiter = ',')]
    hosts: Vec<String>,
    /// Seed of the choice
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Cap on the affected share
    #[arg(long, value_name = "PERCENT", value_parser = super::run::percent)]
    max_affected: Option<Percent>,
}

fn select(text: &str) -> Result<Select, String> {
    Select::parse(text)
        .ok_or_else(|| "expected one, all, a count of at least 1, a share such as 50%, or <=30%".to_owned())
}

impl TargetsArgs {
    fn query(&self, settings: &Settings) -> TargetsQuery {
        let process = [&self.process_name, &self.cmdline, &self.user].into_iter().any(Option::is_some);
        let other = process
            || self.port.is_some()
            || self.pid.is_some()
            || [&self.unit, &self.container, &self.cgroup].into_iter().any(Option::is_some);
        let default = (!other).then(|| settings.target_app.value.clone());
        TargetsQuery {
            app: self.target_app.clone().or(default),
            pid: self.pid,
            unit: self.unit.clone(),
            container: self.container.clone(),
            cgroup: self.cgroup.clone(),
            process_name: self.process_name.clone(),
            process_cmdline: self.cmdline.clone(),
            process_user: self.user.clone(),
            process_port: self.port,
            hosts: (!self.hosts.is_empty()).then(|| self.hosts.join(",")),
            select: Some(self.select),
            seed: self.seed,
            max_affected: self.max_affected,
        }
    }
}

/// Does it.
pub(crate) async fn run(args: &TargetsArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    let query = args.query(settings);
    let ask = async |client: &Client| {
        let preview = client.targets(&query).await?;
        // A server of before there were agents has no list of them.
        Ok((preview, client.agents().await.unwrap_or_default()))
    };
    let (preview, hosts) = connect::ask(settings, out, ask).await?;
    out.record(&preview, || people(&preview, &hosts))?;
    match &preview.problem {
        None => Ok(0),
        Some(_) if out.for_people() => Ok(USAGE),
        Some(problem) => Err(Failure::usage(problem.clone())),
    }
}

fn people(preview: &TargetsPreview, hosts: &[HostInfo]) -> String {
    let mut parts = Vec::new();
    if hosts.len() > 1 {
        parts.push(by_host(preview, hosts));
    }
    if let Some(problem) = &preview.problem {
        parts.push(problem.clone());
    }
    if !preview.instances.is_empty() {
        parts.push(instances(preview));
    }
    if !preview.protected.is_empty() {
        let rows = preview
            .protected
            .iter()
            .map(|one| vec![one.process.pid.to_string(), one.name.clone(), one.reason.clone()]);
        parts.push(output::table(&["PROTECTED", "NAME", "WHY"], rows));
    }
    if let Some(selection) = &preview.selected {
        let cap = if preview.within_cap { "within" } else { "BEYOND" };
        parts.push(format!(
            "{}: {} match, {} ready; {} chosen with seed {}; {} affected, {cap} the cap of {} ({})",
            preview.target,
            selection.total,
            preview.ready,
            selection.chosen.len(),
            selection.seed,
            preview.affected,
            preview.affected_max,
            preview.max_affected
        ));
    }
    parts.join("\n\n")
}

/// Every host that the server knows, also where nothing matches.
fn by_host(preview: &TargetsPreview, hosts: &[HostInfo]) -> String {
    let rows = hosts.iter().map(|host| {
        let name = if host.name == LOCAL_HOST { "" } else { &host.name };
        let there = || preview.instances.iter().filter(|one| one.host == name);
        let ready = there().filter(|one| one.ready).count();
        let connected = if host.connected { "yes" } else { "no" };
        vec![host.name.clone(), connected.to_owned(), there().count().to_string(), ready.to_string()]
    });
    output::table(&["HOST", "CONNECTED", "MATCH", "READY"], rows)
}

fn instances(preview: &TargetsPreview) -> String {
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let chosen =
        |id: &String| preview.selected.as_ref().is_some_and(|selection| selection.chosen.contains(id));
    let rows = preview.instances.iter().map(|one| {
        let ports: Vec<String> = one.ports.iter().map(|port| port.port.to_string()).collect();
        vec![
            one.id.clone(),
            yes(chosen(&one.id)),
            yes(one.ready),
            yes(one.managed),
            one.processes.len().to_string(),
            output::or_dash(Some(ports.join(","))),
            output::or_dash(one.own_cgroup.as_ref()),
            one.command.clone(),
        ]
    });
    output::table(
        &["INSTANCE", "CHOSEN", "READY", "MANAGED", "PROCESSES", "PORTS", "OWN CGROUP", "COMMAND"],
        rows,
    )
}

//! A thousand faults on one node, ended at once: how long until every one of them is proven undone.
//!
//! Owns the victims and this measurement. The victims do nothing: what is measured is ours.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use chaos_api::{CreateQuery, StopRequest};
use chaos_core::run::InjectionState;
use chaos_core::spec::{Experiment, ExperimentKey};

use crate::table::Row;
use crate::world::World;

/// Faults that are active at the same time.
const INJECTIONS: usize = 1000;
/// What a stop of all of them may take to the last proof.
const STOP: Duration = Duration::from_secs(1);
/// How long all of them may take to be active.
const ACTIVE_LIMIT: Duration = Duration::from_secs(120);
/// How long a victim that is forgotten sleeps.
const VICTIM_SECONDS: &str = "900";
const POLL: Duration = Duration::from_millis(100);

/// Some of the faults: one run with a victim for each.
struct Part {
    fault: &'static str,
    parameters: serde_json::Value,
    victims: usize,
    /// Each victim holds a listening socket.
    listens: bool,
}

impl Part {
    fn pauses(victims: usize) -> Self {
        Self { fault: "process_pause", parameters: serde_json::json!({}), victims, listens: false }
    }

    fn partitions(victims: usize) -> Self {
        Self { fault: "network_partition", parameters: serde_json::json!({}), victims, listens: true }
    }

    /// Few, and light: two cores have to carry them.
    fn loads(victims: usize) -> Self {
        let parameters = serde_json::json!({ "load": "1%", "cores": 1 });
        Self { fault: "cpu_stress", parameters, victims, listens: false }
    }
}

/// Stops a thousand of each kind that the network and the process table hold, and a mixture.
pub(crate) async fn measure(world: &mut World) -> Result<Vec<Row>> {
    let mixed = || vec![Part::pauses(590), Part::partitions(400), Part::loads(10)];
    let rounds = [
        ("process_pause", vec![Part::pauses(INJECTIONS)]),
        ("network_partition", vec![Part::partitions(INJECTIONS)]),
        ("590 process_pause, 400 network_partition, 10 cpu_stress", mixed()),
    ];
    let mut rows = Vec::new();
    for (round, (what, parts)) in rounds.into_iter().enumerate() {
        eprintln!("{INJECTIONS} active injections: {what} …");
        let (active, stop) = stop_all(world, round, &parts).await.with_context(|| what.to_owned())?;
        rows.push(Row::new(
            format!("{INJECTIONS} active injections on one node ({what}), stop all → all proven reverted"),
            format!("{:.2} s (all active after {:.1} s)", stop.as_secs_f64(), active.as_secs_f64()),
            format!("≤ {} s", STOP.as_secs()),
            stop <= STOP,
        ));
    }
    Ok(rows)
}

/// Times to all proven active, and from the stop to all proven reverted, as a client sees them.
async fn stop_all(world: &World, round: usize, parts: &[Part]) -> Result<(Duration, Duration)> {
    let herds: Vec<Herd> = parts.iter().map(Herd::start).collect::<Result<_>>()?;
    let begin = Instant::now();
    let mut keys = Vec::new();
    for (part, herd) in parts.iter().zip(&herds) {
        let name = format!("many-{round}-{}", part.fault.replace('_', "-"));
        let query = CreateQuery {
            overrides: Some("max_affected,last_ready_instance".into()),
            reason: Some("all of the victims are there for this".into()),
            ..CreateQuery::default()
        };
        world.client.create(&herd.experiment(&name, part)?.into(), &query).await.context("create")?;
        keys.push((ExperimentKey { namespace: "default".into(), name }, part.victims));
    }
    for (key, victims) in &keys {
        until_active(world, key, *victims, begin).await?;
    }
    let (active, begin) = (begin.elapsed(), Instant::now());
    let stopped = world.client.stop_all(&StopRequest::default()).await.context("stop")?;
    let took = begin.elapsed();
    let reverted: usize = stopped.runs.iter().map(|run| run.reverted).sum();
    if !stopped.is_complete() || reverted != INJECTIONS {
        bail!("{reverted} of {INJECTIONS} are proven reverted: {stopped:?}");
    }
    Ok((active, took))
}

async fn until_active(world: &World, key: &ExperimentKey, victims: usize, begin: Instant) -> Result<()> {
    loop {
        let detail = world.client.get(key).await.context("look at a run")?;
        let run = detail.latest.context("no run")?;
        let injections = &run.injections;
        let in_state = |state| injections.iter().filter(|injection| injection.state == state).count();
        let active = in_state(InjectionState::Active);
        if active == victims {
            return Ok(());
        }
        if begin.elapsed() > ACTIVE_LIMIT || injections.iter().any(|injection| injection.state.is_final()) {
            let failed = injections.iter().find(|injection| injection.error.is_some());
            bail!("{active} of {victims} are active: {failed:?}, {:?}", run.decisions);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Sleeping processes that are told from all others by their name.
struct Herd {
    name: String,
    victims: Vec<Child>,
}

impl Herd {
    fn start(part: &Part) -> Result<Self> {
        let name = format!("bench-victim-{}-{}", part.fault, std::process::id());
        let mut herd = Self { name, victims: Vec::with_capacity(part.victims) };
        for _ in 0..part.victims {
            let mut command = Command::new("sleep");
            command.arg0(&herd.name).arg(VICTIM_SECONDS).stdout(Stdio::null()).stderr(Stdio::null());
            if part.listens {
                let listener = TcpListener::bind("127.0.0.1:0").context("open a port")?;
                command.stdin(Stdio::from(OwnedFd::from(listener)));
            } else {
                command.stdin(Stdio::null());
            }
            herd.victims.push(command.spawn().context("start a victim")?);
        }
        Ok(herd)
    }

    fn experiment(&self, name: &str, part: &Part) -> Result<Experiment> {
        let document = serde_json::json!({
            "apiVersion": chaos_core::spec::API_VERSION,
            "kind": "Experiment",
            "metadata": { "name": name },
            "spec": {
                "target": { "host": { "process": { "cmdline": self.name } }, "select": "all" },
                "faults": [ { part.fault: part.parameters } ],
                "duration": "10m",
            },
        });
        Ok(chaos_core::spec::parse_value(document)?)
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        for victim in &mut self.victims {
            let _ = victim.kill();
        }
        for victim in &mut self.victims {
            let _ = victim.wait();
        }
    }
}

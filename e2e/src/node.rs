//! A bare node in a process of its own: takes one order from standard input, carries it out, prints each report.
//!
//! The smallest owner that a fault process can have. It never decides: target, fault and time come with the order.

use std::collections::BTreeSet;
use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chaos_agent::local::{LocalConfig, LocalNode};
use chaos_core::port::{InjectOrder, InjectionPlan, InjectionReport, Node as _, Owner};
use chaos_core::run::{InjectionId, RunId};
use chaos_core::spec::{Fault, HostTarget, Select, Target};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// `argv[0]` of a node.
pub const NAME: &str = "e2e-node";
/// How the line begins that says an order was not accepted, and so nothing was changed.
pub const REFUSED: &str = "refused: ";
/// A node that is not done by then ends.
const LIMIT: Duration = Duration::from_secs(30);

/// What a node is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// The state folder.
    pub state: PathBuf,
    /// Name of the run; its injections are numbered.
    pub run: String,
    /// Whom to look for.
    pub target: HostTarget,
    /// Which of them, counted from 0; beyond the end it starts again.
    pub pick: usize,
    /// What to do, all at once.
    pub faults: Vec<Fault>,
    /// For how long.
    pub duration_ms: u64,
    /// What the fault process does when the node dies.
    pub owner: Owner,
    /// The lease.
    pub lease_ms: u64,
}

/// Starts a node that waits for its request; write it with [`send`]. Its reports go to `output`.
///
/// # Errors
/// It does not start.
pub fn spawn(output: Stdio) -> Result<Child> {
    use std::os::unix::process::CommandExt as _;
    let program = std::env::current_exe().context("the path of this program")?;
    let mut command = Command::new(program);
    command.arg0(NAME).stdin(Stdio::piped()).stdout(output).stderr(Stdio::null());
    command.spawn().context("starting a node")
}

/// Hands the request to a node.
///
/// # Errors
/// It has ended.
pub fn send(node: &mut Child, request: &Request) -> Result<()> {
    let mut input = node.stdin.take().context("the node has its request already")?;
    let line = serde_json::to_string(request)?;
    writeln!(input, "{line}").context("writing to a node")
}

/// The process of a node.
#[must_use]
#[expect(clippy::print_stderr, reason = "a program that talks to whoever runs it")]
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("node: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    // Read before any thread exists, so that whoever traces this process from then on sees all of it.
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("reading the request")?;
    let request: Request = serde_json::from_str(&line).context("reading the request")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let carried = tokio::time::timeout(LIMIT, carry_out(request)).await;
        carried.with_context(|| format!("not done after {} s", LIMIT.as_secs()))?
    })
}

async fn carry_out(request: Request) -> Result<()> {
    let node = LocalNode::new(LocalConfig::new(&request.state));
    let target = Target {
        host: Some(request.target.clone()),
        hosts: Vec::new(),
        kubernetes: None,
        select: Select::One,
        seed: None,
    };
    let inventory = node.inventory(&target).await?;
    if inventory.instances.is_empty() {
        bail!("nothing matches {}", request.target);
    }
    let instance = &inventory.instances[request.pick % inventory.instances.len()];
    let run = RunId(request.run.clone());
    let plan = |(index, fault): (usize, Fault)| InjectionPlan {
        id: InjectionId(format!("{}-{index}", request.run)),
        fault,
        instance: instance.clone(),
        duration: Duration::from_millis(request.duration_ms),
    };
    let injections: Vec<InjectionPlan> = request.faults.into_iter().enumerate().map(plan).collect();
    let mut open: BTreeSet<String> = injections.iter().map(|plan| plan.id.0.clone()).collect();
    let lease = Duration::from_millis(request.lease_ms);
    let (sender, mut reports) = mpsc::unbounded_channel::<InjectionReport>();
    let sink = Arc::new(move |report| drop(sender.send(report)));
    let order = InjectOrder { run: run.clone(), owner: request.owner, lease, injections };
    if let Err(refused) = node.inject(order, sink).await {
        writeln!(std::io::stdout().lock(), "{REFUSED}{refused}")?;
        return Ok(());
    }
    let mut renewal = tokio::time::interval(lease / 3);
    while !open.is_empty() {
        tokio::select! {
            _ = renewal.tick() => node.renew(&run).await,
            report = reports.recv() => {
                let report = report.context("the node hands on nothing more")?;
                if report.state.is_final() {
                    open.remove(&report.injection.0);
                }
                let mut output = std::io::stdout().lock();
                writeln!(output, "{}", serde_json::to_string(&report)?)?;
            }
        }
    }
    Ok(())
}

//! The agent as a program: lock, sweep, dial, dial again, and at the end undo everything.
//!
//! ```text
//! lock ▶ what the dead left is undone ▶ identity ▶ dial ▶ serve ─┐
//!                                                    ▲ wait ◀────┘ the link broke
//! SIGTERM: everything is undone and told ▶ good-bye ▶ exit
//! ```
//!
//! Owns that order and what is said of it. It prints nothing itself: lines are handed to whoever started it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chaos_core::port::InjectionReport;
use chaos_core::run::InjectionState;
use tokio::signal::unix::{self, SignalKind};
use tokio::time::sleep;

use super::config::Setup;
use super::dial::{DialError, Dialler};
use super::identity::random;
use super::websocket::Over;
use super::{Agent, Ended, Identity, IdentityError, introduce};
use crate::local::{LocalConfig, LocalNode};
use crate::lock::{LockError, OwnerInfo, StateLock};
use crate::sweep;
use crate::undo::UndoError;

/// The first wait before another connection is tried; it grows by half each time.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// The longest such wait.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);
/// How long the undo of everything may take when the agent is told to end.
const UNDONE_WITHIN: Duration = Duration::from_secs(30);
/// How long the server may take to hear of that.
const HEARD_WITHIN: Duration = Duration::from_secs(2);
/// What the lock of a state folder says of an agent's address, before that of its server: an agent is not reached.
pub const AGENT_ADDRESS: &str = "agent of ";
/// Exit code of an agent that could not undo everything: act now.
pub const EXIT_REVERT_INCOMPLETE: u8 = 7;

/// Why an agent does not start. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The state folder belongs to another process.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// What dead processes left can't be read.
    #[error("cannot undo what dead processes left: {0}")]
    Sweep(#[from] UndoError),
    /// It has no identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Whom to trust can't be read, or the token can't.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The system refuses signals or a runtime.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// Runs an agent on a runtime of its own until SIGTERM, SIGINT or SIGHUP, and gives its exit code. `say` takes lines for
/// people.
///
/// # Errors
/// [`AgentError`]: it did not start.
pub fn run(setup: &Setup, say: &(dyn Fn(&str) + Sync)) -> Result<u8, AgentError> {
    // One thread for everything, and few others for what blocks: an agent that idles should not be noticed.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .thread_keep_alive(Duration::from_secs(1))
        .build()?;
    runtime.block_on(start(setup, say))
}

async fn start(setup: &Setup, say: &(dyn Fn(&str) + Sync)) -> Result<u8, AgentError> {
    let mut signals = Signals::new()?;
    let dialler = Dialler::new(setup.server.clone(), setup.ca.as_deref())?;
    setup.token.read().map_err(DialError::from)?;
    let mut lock = StateLock::acquire(&setup.state_dir)?;
    lock.announce(&OwnerInfo {
        pid: std::process::id(),
        address: format!("{AGENT_ADDRESS}{}", setup.server),
        as_server: true,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })?;
    let left = sweep::recover(&setup.state_dir, true)?;
    left.iter().for_each(|report| say(&found(report)));
    let identity = Identity::next(&setup.state_dir)?;
    let node =
        LocalNode::new(LocalConfig { limits: setup.limits.clone(), ..LocalConfig::new(&setup.state_dir) });
    let introduction = introduce(&setup.name, &identity.node, &setup.limits);
    let agent = Agent::new(Arc::new(node), introduction, identity.starts, left);
    say(&format!("agent {:?} of {}, state folder {}", setup.name, setup.server, setup.state_dir.display()));
    let mut dialling = std::pin::pin!(dial_for_ever(setup, &dialler, &agent, say));
    let signal = tokio::select! {
        biased;
        signal = signals.next() => signal,
        () = &mut dialling => return Ok(0),
    };
    say(&format!("{signal}: undoing {} injections", agent.open()));
    let ending = async {
        let (unproven, silent) = agent.end_everything(UNDONE_WITHIN).await;
        agent.say_goodbye(HEARD_WITHIN).await;
        (unproven, silent)
    };
    let (unproven, silent) = tokio::select! {
        biased;
        ended = ending => ended,
        () = dialling => return Ok(0),
    };
    for id in &unproven {
        say(&format!("the undo of {id} is not proven: act now"));
    }
    if silent > 0 {
        say(&format!("{silent} injections have not said what became of them: act now"));
    }
    let incomplete = !unproven.is_empty() || silent > 0;
    if !incomplete {
        say("ended; everything is undone");
    }
    drop(lock);
    Ok(if incomplete { EXIT_REVERT_INCOMPLETE } else { 0 })
}

fn found(report: &InjectionReport) -> String {
    let (id, state) = (&report.injection, report.state);
    match (&report.error, state == InjectionState::RevertFailed) {
        (Some(error), true) => format!("left by a dead process: {id} {state}: {error}: act now"),
        (Some(error), false) => format!("left by a dead process: {id} {state}: {error}"),
        (None, _) => format!("left by a dead process: {id} {state}"),
    }
}

/// Connects, serves, and connects again when the link breaks.
async fn dial_for_ever(setup: &Setup, dialler: &Dialler, agent: &Agent, say: &(dyn Fn(&str) + Sync)) {
    let mut wait = RETRY_AFTER;
    let mut said = String::new();
    let mut lost: Option<Instant> = None;
    loop {
        let times = agent.welcomed().borrow().times;
        let held = agent.open();
        let over = connect_once(setup, dialler, agent, lost, say).await;
        let welcomed = agent.welcomed().borrow().times != times;
        if welcomed {
            (wait, lost) = (RETRY_AFTER, Some(Instant::now()));
        }
        // The same again is not said again.
        let text = over.to_string();
        if (welcomed || text != said) && !agent.is_ending() {
            let open = agent.open().max(if welcomed { 0 } else { held });
            let without = if open > 0 {
                format!("; without the server {open} injections are undone at the end of their leases")
            } else {
                String::new()
            };
            say(&format!("{text}{without}"));
            said = text;
        }
        sleep(jittered(wait)).await;
        wait = (wait + wait / 2).min(RETRY_AFTER_MAX);
    }
}

/// Why there is no connection any more, or none yet.
#[derive(Debug, thiserror::Error)]
enum NoLink {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the server does not take this agent: {0}")]
    Refused(String),
    #[error("the link to the server broke: {0}")]
    Broken(String),
}

async fn connect_once(
    setup: &Setup,
    dialler: &Dialler,
    agent: &Agent,
    lost: Option<Instant>,
    say: &(dyn Fn(&str) + Sync),
) -> NoLink {
    let token = match setup.token.read() {
        Ok(token) => token,
        Err(error) => return NoLink::Dial(error.into()),
    };
    let mut welcomed = agent.welcomed();
    welcomed.mark_unchanged();
    let greeting = async {
        if welcomed.changed().await.is_ok() {
            say(&greeting(&setup.server.to_string(), &welcomed.borrow().version, agent, lost));
        }
        std::future::pending::<()>().await;
    };
    let served = tokio::select! {
        biased;
        served = dialler.serve(agent, token.as_deref()) => served,
        () = greeting => return NoLink::Broken("it was given up".to_owned()),
    };
    match served {
        Err(error) => error.into(),
        Ok((Ended::Refused { reason }, _)) => NoLink::Refused(reason),
        Ok((Ended::Broken, over)) => NoLink::Broken(in_words(&over)),
    }
}

fn greeting(server: &str, version: &str, agent: &Agent, lost: Option<Instant>) -> String {
    let (open, unheard) = (agent.open(), agent.unheard());
    let away =
        lost.map_or(String::new(), |at| format!(" after {:.1} s without it", at.elapsed().as_secs_f64()));
    let ended =
        if unheard > 0 { format!("; {unheard} ended meanwhile and are told now") } else { String::new() };
    format!("connected to {server} (version {version}){away}; {open} injections are held{ended}")
}

fn in_words(over: &Over) -> String {
    match over {
        Over::Here => "it was ended here".to_owned(),
        Over::Closed => "the server closed it".to_owned(),
        Over::Silent => "the server is silent".to_owned(),
        Over::Socket(error) => error.to_string(),
        Over::Frame(error) => error.to_string(),
    }
}

/// Between half of it and all of it, so that many agents do not come at once.
fn jittered(wait: Duration) -> Duration {
    let drawn = random::<1>().map_or(u8::MAX, |[byte]| byte);
    wait / 2 + wait * u32::from(drawn) / (2 * u32::from(u8::MAX))
}

struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_between_half_of_it_and_all_of_it() {
        for _ in 0..1000 {
            let wait = jittered(RETRY_AFTER_MAX);
            assert!((RETRY_AFTER_MAX / 2..=RETRY_AFTER_MAX).contains(&wait), "{wait:?}");
        }
    }
}

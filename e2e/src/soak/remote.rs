//! Rounds on an agent of another host, as far as both know: a server that does nothing here itself, an agent with a
//! state folder of its own, a wire between them; any of them is killed, stopped or cut, and some come back.
//!
//! Owns one such round from the start of both to the proof that nothing is left.

mod site;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chaos_core::port::LEASE_DEFAULT;
use chaos_core::spec::{Fault, FaultKind};
use nix::sys::signal::Signal;

use self::site::Parts;
use super::chance::Chance;
use super::ledger::{Ledger, When};
use super::owner::{self, Plan};
use super::prey::{self, Prey, Role};
use super::rounds::{self, END_WITHIN, KERNEL_LEASE, STRIKES_MAX};
use super::{RECOVERED_WITHIN, SLACK, small, strikes};
use crate::world::World;

pub(super) use site::Site;

/// Kills between two rounds in which a link is cut for longer than the lease, which take that long.
pub(super) const SILENCE_EVERY: u32 = 60;
/// How long a fault may take to be active.
const ACTIVE_WITHIN: Duration = Duration::from_secs(10);
/// How long a run may take to end once server and agent are there: an undo that can't be proven counted.
const OVER_WITHIN: Duration = Duration::from_secs(60);
/// The longest interruption that is none of a lease.
const BLINK_MAX_MS: usize = 300;
const POLL: Duration = Duration::from_millis(10);

/// One round, with strikes at random.
pub(super) fn round(
    world: &World,
    site: &Site,
    number: u32,
    chance: &mut Chance,
    ledger: &mut Ledger,
) -> Result<()> {
    let faults = rounds::draw(chance);
    let label = rounds::label(&faults);
    // Long enough for a server that was killed to find it again.
    let comes_back = chance.percent(30);
    let milliseconds = if comes_back { 2_500 } else { 100 + chance.below(400) };
    let plan = plan(world, site, number, faults, Duration::from_millis(milliseconds as u64), chance);
    let mut parts = site.start()?;
    parts.watch(&plan)?;
    let mut struck = Vec::new();
    for _ in 0..=chance.below(STRIKES_MAX) {
        std::thread::sleep(Duration::from_millis(chance.below(1_000) as u64));
        struck.extend(interrupt(site, &mut parts, &label, chance, ledger)?);
        if comes_back {
            parts.start_again(site)?;
        }
    }
    let case = format!("round {number} (agent elsewhere, {label}) [{}]", struck.join(", "));
    if comes_back && !over(site, &mut parts)? {
        ledger.fault(&case, "a run that was taken up does not end");
    }
    close(site, parts, &case, chance, ledger)?;
    judge(world, site, &case, ledger)
}

/// One round in which nothing is killed, but server and agent don't hear of each other for longer than the lease.
pub(super) fn silence(
    world: &World,
    site: &Site,
    number: u32,
    chance: &mut Chance,
    ledger: &mut Ledger,
) -> Result<()> {
    // A kill leaves nothing to undo.
    let kinds: Vec<_> = FaultKind::ALL.into_iter().filter(|kind| *kind != FaultKind::PodKill).collect();
    let faults = vec![small(*chance.one(&kinds).context("no fault")?)];
    let label = rounds::label(&faults);
    let plan = plan(world, site, number, faults, LEASE_DEFAULT * 4, chance);
    let mut parts = site.start()?;
    parts.watch(&plan)?;
    let how = *chance.one(&["server stopped", "agent stopped", "wire cut"]).context("no way")?;
    let case = format!("round {number} (agent elsewhere, {label}, {how} for longer than the lease)");
    if !until(ACTIVE_WITHIN, || runs("running").iter().any(|run| run["active"].as_u64() > Some(0))) {
        ledger.fault(&case, "it is not active in time");
        return close(site, parts, &case, chance, ledger);
    }
    match how {
        "server stopped" => parts.server.signal(Signal::SIGSTOP),
        "agent stopped" => parts.agent.signal(Signal::SIGSTOP),
        _ => site.wire.cut(),
    }
    let mut present = parts.pids();
    if how == "agent stopped" {
        // It has undone everything, and waits for its agent to hear that.
        present.extend(prey::all()?.iter().filter(|prey| prey.role == Role::Holder).map(Prey::pid));
    }
    let healing = world.heal_beside(&present, LEASE_DEFAULT + SLACK)?;
    ledger.cut(&format!("{how} for longer than the lease"));
    ledger.residue(&case, When::BeforeRecover, &healing.left);
    ledger.outlasted(healing.took);
    parts.server.signal(Signal::SIGCONT);
    parts.agent.signal(Signal::SIGCONT);
    site.wire.mend();
    if !over(site, &mut parts)? {
        ledger.fault(&case, "the run does not end after the link is back");
    }
    close(site, parts, &case, chance, ledger)?;
    judge(world, site, &case, ledger)
}

fn plan<'a>(
    world: &'a World,
    site: &'a Site,
    number: u32,
    faults: Vec<Fault>,
    duration: Duration,
    chance: &mut Chance,
) -> Plan<'a> {
    Plan {
        name: format!("soak-{number}"),
        chaos: &site.chaos,
        state: site.server_state.clone(),
        house: &world.houses[chance.below(world.houses.len())],
        host: Some(site::HOST),
        pick: chance.below(1000),
        faults,
        duration,
    }
}

/// One strike, or something short that a link has to bear.
fn interrupt(
    site: &Site,
    parts: &mut Parts,
    label: &str,
    chance: &mut Chance,
    ledger: &mut Ledger,
) -> Result<Vec<String>> {
    let blink = Duration::from_millis(chance.below(BLINK_MAX_MS) as u64);
    let how = match chance.below(100) {
        0..70 => return strikes::strike(chance, strikes::REMOTE, label, ledger),
        70..80 => {
            // The undo of everything is asked for, and a moment later somebody dies.
            site.stop_all();
            std::thread::sleep(blink / 10);
            return strikes::strike(chance, strikes::REMOTE, label, ledger);
        }
        80..90 => {
            site.wire.cut();
            std::thread::sleep(blink);
            site.wire.mend();
            "wire cut for a moment"
        }
        90..95 => parts.server.blink(blink, "server stopped for a moment"),
        _ => parts.agent.blink(blink, "agent stopped for a moment"),
    };
    ledger.cut(how);
    Ok(vec![how.to_owned()])
}

/// Ends server and agent: in order when both live, else whoever is left is killed, or the other comes back first.
fn close(site: &Site, mut parts: Parts, case: &str, chance: &mut Chance, ledger: &mut Ledger) -> Result<()> {
    if !(parts.server.lives()? && parts.agent.lives()?) {
        if chance.percent(50) {
            parts.kill();
            return Ok(());
        }
        if !over(site, &mut parts)? {
            ledger.fault(case, "a run that was taken up does not end");
        }
    }
    if !parts.watcher_ends(END_WITHIN)? {
        ledger.fault(case, "the command line does not end");
    }
    let (first, second) = if chance.percent(50) { ("agent", "server") } else { ("server", "agent") };
    for name in [first, second] {
        let part = if name == "agent" { &mut parts.agent } else { &mut parts.server };
        match part.end(END_WITHIN)? {
            // Killed before, or by a strike a moment ago.
            None | Some(0) => {}
            Some(code) => {
                ledger.fault(case, &format!("the {name} ends with {code} on SIGTERM"));
                site.show_log();
            }
        }
    }
    parts.kill();
    Ok(())
}

/// Everything is dead: the kernel, then the agent's next start.
fn judge(world: &World, site: &Site, case: &str, ledger: &mut Ledger) -> Result<()> {
    rounds::heal(world, case, KERNEL_LEASE, ledger)?;
    ledger.swept(&world.spotless(Duration::ZERO)?);
    let mut agent = site.dial()?;
    let left = world.spotless_beside(&[agent.pid()], RECOVERED_WITHIN)?;
    ledger.residue(case, When::AfterRecover, &left);
    // Before it says anything it does not listen to signals either.
    if !until(RECOVERED_WITHIN, || site.agent_has_spoken()) {
        ledger.fault(case, "the agent that was started again says nothing");
    }
    let code = agent.end(END_WITHIN)?;
    if code != Some(0) {
        ledger.fault(case, &format!("the agent that was started again ends with {code:?} on SIGTERM"));
        site.show_log();
    }
    let left = world.spotless(RECOVERED_WITHIN)?;
    ledger.residue(case, When::AfterRecover, &left);
    ledger.check()
}

/// Experiments of the server with this status.
fn runs(status: &str) -> Vec<serde_json::Value> {
    let page = crate::terminal::get(owner::LISTEN, &format!("/api/v1/experiments?status={status}"));
    page.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// Starts whoever is dead, and waits until no run of the server is active; false when one is for too long.
fn over(site: &Site, parts: &mut Parts) -> Result<bool> {
    let deadline = Instant::now() + OVER_WITHIN;
    while Instant::now() < deadline {
        // One that was asked to end takes its time.
        parts.start_again(site)?;
        if crate::terminal::get(owner::LISTEN, "/ready").is_some()
            && runs("running").is_empty()
            && runs("pending").iter().all(|run| run["run"].is_null())
        {
            return Ok(true);
        }
        std::thread::sleep(POLL);
    }
    Ok(false)
}

fn until(within: Duration, done: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + within;
    while !done() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
    true
}

//! Kills at random points: each round a fault or two, an owner of a random kind, and strikes against whatever of ours
//! lives at that moment; then the proof that nothing is left.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chaos_agent::sweep;
use chaos_core::run::InjectionState;
use chaos_core::spec::{Fault, FaultKind};

use super::chance::Chance;
use super::ledger::{Ledger, When};
use super::owner::{self, Kind, Plan};
use super::remote::{self, SILENCE_EVERY, Site};
use super::strikes::{self, strike};
use super::{Arguments, LEASE, RECOVERED_WITHIN, SLACK, small};
use crate::world::World;

/// How long a command line may take to end when one of its processes was killed.
pub(super) const END_WITHIN: Duration = Duration::from_secs(25);
/// Of a hundred rounds, how many are on an agent of another host.
const REMOTE_PERCENT: usize = 40;
/// Longest that the kernel keeps a partition of a run whose lease is the usual one.
pub(super) const KERNEL_LEASE: Duration = Duration::from_secs(5);
/// Most strikes of one round.
pub(super) const STRIKES_MAX: usize = 3;

/// Rounds until there were so many kills.
#[expect(clippy::print_stdout, reason = "the soak talks to whoever runs it")]
pub(super) fn run(world: &mut World, arguments: &Arguments, chaos: &Path, seed: u64) -> Result<Ledger> {
    let (mut ledger, mut chance) = (Ledger::default(), Chance::new(seed));
    let site = if arguments.bare { None } else { Some(site(world, chaos)?) };
    let (mut number, mut silences) = (0, 0);
    while ledger.kills() < arguments.kills {
        number += 1;
        let before = ledger.residues();
        match &site {
            Some(site) if ledger.kills() / SILENCE_EVERY > silences => {
                silences += 1;
                remote::silence(world, site, number, &mut chance, &mut ledger)?;
            }
            Some(site) if chance.percent(REMOTE_PERCENT) => {
                remote::round(world, site, number, &mut chance, &mut ledger)?;
            }
            _ => round(world, (!arguments.bare).then_some(chaos), number, &mut chance, &mut ledger)?,
        }
        if ledger.residues() > before {
            world.accept()?;
        }
        if number.is_multiple_of(20) {
            println!("round {number}: {} kills, {} residues", ledger.kills(), ledger.residues());
        }
        if number == 1
            && let Some(plant) = arguments.plant
        {
            let victim = *world.victims().last().context("no victim")?;
            plant.leave(&world.scope.states[0], victim)?;
            judge(world, None, "planted", Duration::ZERO, &mut ledger)?;
            return Ok(ledger);
        }
        // A round in which nothing of ours was there to be killed is rare; many in a row are a soak that does nothing.
        if number > 20 + 4 * arguments.kills {
            ledger.fault("soak", "rounds go by without a kill");
            return Ok(ledger);
        }
    }
    Ok(ledger)
}

fn site(world: &World, chaos: &Path) -> Result<Site> {
    let [_, server, agent] = world.scope.states.as_slice() else { bail!("three state folders are needed") };
    Site::build(chaos, server.clone(), agent.clone())
}

fn round(
    world: &mut World,
    chaos: Option<&Path>,
    number: u32,
    chance: &mut Chance,
    ledger: &mut Ledger,
) -> Result<()> {
    let kinds: &[Kind] = if chaos.is_none() { &[Kind::Node] } else { &[Kind::Node, Kind::Run, Kind::Serve] };
    let kind = *chance.one(kinds).context("no kind of owner")?;
    let (program, chaos) = (chaos, chaos.unwrap_or(Path::new("")));
    let faults = draw(chance);
    let label = label(&faults);
    let case = format!("round {number} ({kind:?}, {label})");
    let plan = Plan {
        name: format!("soak-{number}"),
        chaos,
        state: world.scope.states[0].clone(),
        house: &world.houses[chance.below(world.houses.len())],
        host: None,
        pick: chance.below(1000),
        faults,
        duration: Duration::from_millis(100 + chance.below(400) as u64),
    };
    let mut started = plan.start(kind)?;
    // A command line has to start, look at the target and measure before it injects.
    let span = if kind == Kind::Node { 250 } else { 1_000 };
    let mut struck = Vec::new();
    for _ in 0..=chance.below(STRIKES_MAX) {
        std::thread::sleep(Duration::from_millis(chance.below(span) as u64));
        struck.extend(strike(chance, strikes::LOCAL, &label, ledger)?);
    }
    let case = format!("{case} [{}]", struck.join(", "));
    if !started.wait(kind, END_WITHIN)? {
        ledger.fault(&case, "its owner does not end");
    }
    if !started.close(END_WITHIN)? {
        ledger.fault(&case, "it does not end on SIGTERM");
    }
    if chance.percent(20) && kind == Kind::Serve {
        // The next start recovers as well.
        heal(world, &case, KERNEL_LEASE, ledger)?;
        next_start(chaos, world, &case, ledger)?;
    }
    let recover = program.filter(|_| kind != Kind::Node);
    judge(world, recover, &case, if kind == Kind::Node { LEASE } else { KERNEL_LEASE }, ledger)
}

/// Faults in words.
pub(super) fn label(faults: &[Fault]) -> String {
    faults.iter().map(|fault| fault.kind().name()).collect::<Vec<_>>().join("+")
}

/// One fault, or two different ones.
pub(super) fn draw(chance: &mut Chance) -> Vec<Fault> {
    let first = chance.below(FaultKind::ALL.len());
    let mut chosen = vec![small(FaultKind::ALL[first])];
    if chance.percent(30) {
        let second = (first + 1 + chance.below(FaultKind::ALL.len() - 1)) % FaultKind::ALL.len();
        chosen.push(small(FaultKind::ALL[second]));
    }
    chosen
}

/// A server that is started now must clear up by itself.
fn next_start(chaos: &Path, world: &World, case: &str, ledger: &mut Ledger) -> Result<()> {
    let mut server = owner::serve(chaos, &world.scope.states[0], &[])?;
    owner::terminate(&mut server)?;
    if !owner::ended(std::iter::once(&mut server), END_WITHIN)? {
        ledger.fault(case, "the next server does not end on SIGTERM");
        let _ = server.kill();
        let _ = server.wait();
    }
    let left = world.spotless(RECOVERED_WITHIN)?;
    ledger.residue(case, When::AfterRecover, &left);
    Ok(())
}

/// Waits for the kernel and the living.
pub(super) fn heal(world: &World, case: &str, lease: Duration, ledger: &mut Ledger) -> Result<()> {
    let healing = world.heal(lease + SLACK)?;
    ledger.residue(case, When::BeforeRecover, &healing.left);
    ledger.healed(case, &healing);
    Ok(())
}

/// Waits for the kernel and the living, then recovers, and writes down what is left each time.
/// With a program it is `chaos recover` that does so, else the library.
pub(super) fn judge(
    world: &mut World,
    chaos: Option<&Path>,
    case: &str,
    lease: Duration,
    ledger: &mut Ledger,
) -> Result<()> {
    heal(world, case, lease, ledger)?;
    let for_recover = world.spotless(Duration::ZERO)?;
    ledger.swept(&for_recover);
    // The folders of server and agent are their rounds' own.
    let state = world.scope.states.first().context("no state folder")?;
    if let Some(chaos) = chaos {
        let status = owner::chaos(chaos, state).arg("recover").status().context("starting chaos recover")?;
        if !status.success() {
            ledger.fault(case, &format!("chaos recover: {status}"));
        }
    } else {
        for report in sweep::recover(state, false)? {
            if report.state == InjectionState::RevertFailed {
                ledger.fault(case, &format!("recover: {:?}", report.error));
            }
        }
    }
    let left = world.spotless(RECOVERED_WITHIN)?;
    ledger.residue(case, When::AfterRecover, &left);
    if !left.is_empty() {
        world.accept()?;
    }
    ledger.check()
}

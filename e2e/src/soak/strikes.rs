//! Strikes: which of our processes get which signal, drawn by weight.
//!
//! Owns the tables of what is struck. It hits only processes that it holds by descriptor.

use std::time::Duration;

use anyhow::Result;

use super::chance::Chance;
use super::ledger::Ledger;
use super::prey::{self, Prey, Role};

/// How long the kernel may take to end what was killed.
const DEAD_WITHIN: Duration = Duration::from_secs(2);

/// One kind of strike.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strike {
    /// How often, of the sum of all.
    weight: usize,
    signal: i32,
    /// How many at most are hit in the same moment.
    count: usize,
    /// What they are; whatever there is when none of these is.
    of: &'static [Role],
}

const fn kill(weight: usize, count: usize, of: &'static [Role]) -> Strike {
    Strike { weight, signal: libc::SIGKILL, count, of }
}

const OWNERS: &[Role] = &[Role::Node, Role::Command, Role::Server];

/// Where everything is on one host.
pub(super) const LOCAL: &[Strike] = &[
    kill(30, 1, OWNERS),
    kill(30, 1, &[Role::Holder]),
    kill(10, 1, &[Role::Worker]),
    kill(10, 2, &[]),
    kill(10, usize::MAX, &[]),
    Strike { weight: 5, signal: libc::SIGINT, count: 1, of: OWNERS },
    Strike { weight: 5, signal: libc::SIGTERM, count: 1, of: &[] },
];

/// Where the faults are on an agent's host.
pub(super) const REMOTE: &[Strike] = &[
    kill(15, 1, &[Role::Server]),
    kill(15, 1, &[Role::Agent]),
    kill(15, 1, &[Role::Holder]),
    kill(5, 1, &[Role::Worker]),
    kill(10, 2, &[Role::Server, Role::Agent]),
    kill(10, 2, &[Role::Agent, Role::Holder]),
    kill(15, 3, &[Role::Server, Role::Agent, Role::Holder]),
    kill(5, usize::MAX, &[]),
    Strike { weight: 5, signal: libc::SIGTERM, count: 1, of: &[Role::Agent] },
    Strike { weight: 5, signal: libc::SIGTERM, count: 1, of: &[] },
];

/// One strike: what was hit, in words.
pub(super) fn strike(
    chance: &mut Chance,
    table: &[Strike],
    label: &str,
    ledger: &mut Ledger,
) -> Result<Vec<String>> {
    let mut living = prey::all()?;
    let Some(Strike { signal, count, of, .. }) = draw(chance, table).filter(|_| !living.is_empty()) else {
        return Ok(Vec::new());
    };
    if living.iter().any(|prey| of.contains(&prey.role)) {
        living.retain(|prey| of.contains(&prey.role));
    }
    let (mut hit, mut killed) = (Vec::new(), Vec::new());
    while !living.is_empty() && hit.len() < count {
        let Prey { role, process } = living.swap_remove(chance.below(living.len()));
        // One that has ended in between was not killed by us.
        if process.send_signal(signal).is_ok() {
            if signal == libc::SIGKILL {
                ledger.kill(label, role);
                killed.push(process);
            }
            hit.push(format!("signal {signal} to {role}"));
        }
    }
    // Whoever looks next sees them dead.
    for process in killed {
        process.wait_exit(DEAD_WITHIN)?;
    }
    Ok(hit)
}

fn draw(chance: &mut Chance, table: &[Strike]) -> Option<Strike> {
    let mut left = chance.below(table.iter().map(|strike| strike.weight).sum());
    table.iter().copied().find(|strike| match left.checked_sub(strike.weight) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_strike_is_drawn_about_as_often_as_it_weighs() {
        for table in [LOCAL, REMOTE] {
            let (mut chance, mut drawn) = (Chance::new(7), vec![0; table.len()]);
            for _ in 0..10_000 {
                let strike = draw(&mut chance, table).expect("one of them");
                let place = table.iter().position(|one| {
                    (one.weight, one.signal, one.count, one.of)
                        == (strike.weight, strike.signal, strike.count, strike.of)
                });
                drawn[place.expect("its place")] += 1;
            }
            for (strike, drawn) in table.iter().zip(drawn) {
                assert!((strike.weight * 80..strike.weight * 120).contains(&drawn), "{strike:?}: {drawn}");
            }
        }
    }
}
